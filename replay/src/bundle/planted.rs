//! Faults of each kind, planted into what is expected of a gateway whose masquerade has ports to choose: what is packed up is the frame that parts, and
//! fails alike.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rewire_schema::from_document;
use serde_json::json;

use super::case::Case;
use super::frames::{Chosen, Frame};
use super::{Bundle, Limits, Packing, pack};
use crate::expected::Expected;
use crate::generator::frame::{Packet, SYN, TCP, UDP};
use crate::history::History;
use crate::options::Options;
use crate::player::Replay;
use crate::report::Report;

const FRAMES: usize = 600;
/// The frame that parts, of those that leave: of them all, in order.
const PARTS: usize = 400;
/// The port that the frame goes to, and no other one does.
const ITS_PORT: u16 = 9_999;

/// Clients behind a masquerade, who may be denied that port.
fn history(denies: bool) -> History {
    let denied = if denies { ITS_PORT } else { 1 };
    let document = json!({
        "vpcs": { "left": { "routes": { "0.0.0.0/0": { "next_hops": [{ "interface": "right", "via": "192.0.2.2" }] } } }, "right": {} },
        "interfaces": {
            "left": { "vpc": "left", "port": "null:left", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1/24"], "acl_in": "guard" },
            "right": {
                "vpc": "right", "port": "null:right", "mac": "02:00:00:00:00:02", "addresses": ["192.0.2.1/24"],
                "neighbors": { "192.0.2.2": { "mac": "02:00:00:00:00:22" } }
            }
        },
        "nat": { "masquerade": { "out": {
            "vpc": "left", "interface": "right", "sources": ["10.0.0.0/24"], "ports": "20000-20999"
        } } },
        "acls": { "guard": { "default": "allow", "rules": { "10": {
            "action": "deny", "protocol": "udp", "destination_port": denied.to_string()
        } } } }
    });
    History::of_configuration(&from_document(&document).expect("a configuration"))
}

/// What comes in: many connections, none of which can keep its port.
fn frames() -> Vec<Frame> {
    let frames = (0..FRAMES).map(|number| {
        let client = number % 150;
        let is_tcp = client % 2 == 1;
        let packet = Packet {
            source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10 + (client % 50) as u8)),
            destination: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1 + (client / 50) as u8)),
            protocol: if is_tcp { TCP } else { UDP },
            // Each SYN begins another connection.
            ports: [
                4_000 + if is_tcp { number } else { client } as u16,
                if number == PARTS { ITS_PORT } else { 53 },
            ],
            sequence: number as u32,
            acknowledgment: 0,
            kind: if is_tcp { SYN } else { 0 },
            data: number % 90,
        };
        let mut bytes = Vec::new();
        packet.write(&mut bytes, [[2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]]);
        Frame {
            nanoseconds: 1_000_000_000 + number as u64 * 1_000,
            interface: "left".into(),
            bytes: bytes.into(),
        }
    });
    frames.collect()
}

/// One frame after the other: those of a burst may leave in another order.
fn options() -> Options {
    Options {
        burst: 1,
        ..Options::default()
    }
}

/// What leaves by `right`.
fn leaving(history: &History, frames: &[Frame]) -> Vec<Arc<[u8]>> {
    let case = Case {
        history: history.clone(),
        first: 1,
        options: options(),
        frames: frames.to_vec(),
        expected: Vec::new(),
        absent: [].into(),
    };
    let report = case.departures(&case.all(), 0).expect("it replays");
    let right = report.numbers["right"];
    let departures = report.departures.into_iter();
    let by_right = departures.filter(|departure| departure.interface == right);
    by_right.filter_map(|departure| departure.bytes).collect()
}

fn replayed(history: &History, frames: &[Frame], expected: &[Arc<[u8]>]) -> Report {
    let options = options();
    let mut replay = Replay::new(history, &options);
    replay.expect(Expected::of_frames("right", expected.to_vec()));
    let report = replay.run(1, &mut Chosen::of(frames.iter()), &mut ());
    report.expect("it replays")
}

/// Where frames part, or what else is wrong, in words without numbers.
fn how(report: &Report) -> String {
    let failure = report.failures.first().expect("it fails");
    let parts = failure.details.iter().find_map(|line| {
        let (_, field) = line.strip_prefix("they part ")?.split_once(['n', ','])?;
        field.split([':']).next()
    });
    let text = parts.unwrap_or(&failure.message);
    let words = text.chars().filter(|c| !c.is_ascii_digit());
    words.collect::<String>().trim().to_owned()
}

/// Packs up what differs from what is expected: the one frame that matters. How it fails, before and after.
fn packed_up(history: &History, expected: &[Arc<[u8]>]) -> [String; 2] {
    packed_up_of(&frames(), history, expected)
}

/// As [`packed_up`], where these come in.
fn packed_up_of(frames: &[Frame], history: &History, expected: &[Arc<[u8]>]) -> [String; 2] {
    let report = replayed(history, frames, expected);
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("bundle");
    let packing = Packing {
        history,
        first: 1,
        options: &options(),
        traffic: &mut Chosen::of(frames.iter()),
        expected: vec![Expected::of_frames("right", expected.to_vec())],
        report: &report,
        rewire: "test",
        limits: Limits::default(),
    };
    let manifest = pack(packing, &place).expect("it is packed up");
    assert_eq!(manifest.frames, 1, "{:?}", report.failures.first());
    assert!(manifest.shrunk.is_some_and(|shrunk| shrunk.is_least));
    let bundle = Bundle::open(&place).expect("a bundle");
    let options = bundle.options();
    let mut replay = Replay::new(&bundle.history, &options);
    for expected in bundle.expected().expect("captures") {
        replay.expect(expected);
    }
    let mut traffic = bundle.traffic().expect("a capture");
    let again = replay.run(1, &mut traffic, &mut ()).expect("it replays");
    [&report, &again].map(how)
}

#[test]
fn a_frame_that_parts_in_any_field_is_packed_up_alone() {
    let history = history(false);
    let good = leaving(&history, &frames());
    assert_eq!(good.len(), FRAMES);
    let planted = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut expected = good.clone();
        let mut frame = expected[PARTS].to_vec();
        change(&mut frame);
        expected[PARTS] = frame.into();
        let [was, is] = packed_up(&history, &expected);
        assert_eq!(was, is);
        is
    };
    let bit = |at: usize| planted(&move |frame: &mut Vec<u8>| frame[at] ^= 1);
    let parted = [
        bit(22),
        bit(24),
        bit(29),
        bit(33),
        bit(35),
        bit(37),
        bit(40),
        bit(45),
        planted(&|frame| frame.truncate(frame.len() - 3)),
        planted(&|frame| frame.extend([0, 0, 0])),
    ];
    insta::assert_debug_snapshot!(parted);
}

#[test]
fn a_frame_that_nobody_expects_is_packed_up_alone() {
    let history = history(false);
    let mut expected = leaving(&history, &frames());
    expected.remove(PARTS);
    let between = packed_up(&history, &expected);
    expected.truncate(PARTS);
    let behind = packed_up(&history, &expected);
    insta::assert_debug_snapshot!([between, behind]);
}

#[test]
fn a_frame_that_does_not_leave_is_packed_up_alone() {
    // Another one leaves in its place, which is not what is wrong; or none does.
    let mut expected = leaving(&history(false), &frames());
    let denies = history(true);
    assert_eq!(leaving(&denies, &frames()).len(), FRAMES - 1);
    let others_come = packed_up(&denies, &expected);
    expected.truncate(PARTS + 1);
    let none_comes = packed_up_of(&frames()[..=PARTS], &denies, &expected);
    insta::assert_debug_snapshot!([others_come, none_comes]);
}
