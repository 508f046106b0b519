//! `rewire replay` as a person uses it, and its promise: the same in, the same out, to the byte.

mod captures;
mod session;

use std::fs;

use captures::{Frame, frames, write};
use session::{Session, assert_transcript};

/// Two interfaces with a router behind each, and a masquerade from left to right.
const NET: &str = "\
vpcs:
  left: {routes: {0.0.0.0/0: {next_hops: [{interface: right, via: 192.0.2.2}]}}}
  right: {}
interfaces:
  left:
    vpc: left
    port: 'null:left'
    mac: '02:00:00:00:00:01'
    addresses: [10.0.0.1/24]
    neighbors: {10.0.0.2: {mac: '02:00:00:00:00:12'}}
  right: {vpc: right, port: 'null:right', mac: '02:00:00:00:00:02', addresses: [192.0.2.1/24]}
nat: {masquerade: {out: {vpc: left, interface: right, sources: [10.0.0.0/24]}}}
";

/// UDP from 10.0.0.2 port 1000 + `number` to 198.51.100.1 port 53, without checksum.
fn query(destination: [u8; 6], number: u8) -> Vec<u8> {
    let mut frame = [&destination[..], &[2, 0, 0, 0, 0, 0x12], &[0x08, 0x00]].concat();
    let mut ip = vec![
        0x45, 0, 0, 29, 0, number, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 198, 51, 100, 1,
    ];
    let sum: u32 = ip
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(ip);
    frame.extend((1000 + u16::from(number)).to_be_bytes());
    frame.extend([0, 53, 0, 9, 0, 0, number]);
    frame
}

/// The next hop's answer to the gateway's ARP request.
fn arp_reply() -> Vec<u8> {
    let (router, gateway) = ([2, 0, 0, 0, 0, 0x22], [2, 0, 0, 0, 0, 2]);
    let head = [
        &gateway[..],
        &router[..],
        &[0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2],
    ]
    .concat();
    [
        &head[..],
        &router,
        &[192, 0, 2, 2],
        &gateway,
        &[192, 0, 2, 1],
    ]
    .concat()
}

const LEFT: [u8; 6] = [2, 0, 0, 0, 0, 1];
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x99];

/// Three queries of which one is for another station, and an answer to ARP a second later.
fn session() -> Session {
    let session = Session::new();
    session.write("net.yaml", NET);
    let second = 1_000_000_000;
    let queries: Vec<Frame> = vec![
        (second, query(LEFT, 0)),
        (second + 50_000, query(LEFT, 1)),
        (second + 60_000, query(STRANGER, 2)),
    ];
    write(&session.path("left.pcap"), &queries);
    write(
        &session.path("right.pcap"),
        &[(second + second / 2, arp_reply())],
    );
    session
}

const REPLAY: [&str; 9] = [
    "replay",
    "--document",
    "net.yaml",
    "--in",
    "left=left.pcap",
    "--in",
    "right=right.pcap",
    "--out",
    "right=out.pcap",
];

#[test]
fn captures_go_through_a_document() {
    let mut s = session();
    assert_eq!(s.rewire(&REPLAY), 0);
    let sent = frames(&s.path("out.pcap"));
    let times: Vec<u64> = sent.iter().map(|(time, _)| *time).collect();
    // The request as the burst's last packet is there; what it held, when the answer is.
    assert_eq!(times, [1_000_060_000, 1_500_000_000, 1_500_000_000]);
    assert_eq!(sent[0].1[12..14], [0x08, 0x06], "an ARP request");
    for (number, (_, frame)) in (0..).zip(&sent[1..]) {
        assert_eq!(frame[..6], [2, 0, 0, 0, 0, 0x22], "to the next hop");
        assert_eq!(frame[26..30], [192, 0, 2, 1], "masqueraded");
        assert_eq!(frame.last(), Some(&number), "in order");
    }
    // Frames for others are taken only where that is asked for.
    assert_eq!(s.rewire(&[&REPLAY[..], &["--any-mac"]].concat()), 0);
    assert_eq!(frames(&s.path("out.pcap")).len(), 4);
    // Nobody answers: what is held comes to its end, and the hosts are told.
    assert_eq!(
        s.rewire(&["replay", "--document", "net.yaml", "--in", "left=left.pcap"]),
        0
    );
    let mut settings = s.settings();
    // The form of the tables may change; the frames that are sent must not.
    settings.add_filter(
        "(tables|report) digest: [0-9a-f]{64}",
        "$1 digest: [DIGEST]",
    );
    settings.bind(|| insta::assert_snapshot!(s.transcript()));
}

#[test]
fn the_same_in_is_the_same_out() {
    let mut s = session();
    let run = |s: &mut Session, name: &str| {
        let out = [
            format!("right={name}-right.pcap"),
            format!("left={name}-left.pcap"),
        ];
        let arguments = [
            &REPLAY[..7],
            &["--out", &out[0], "--out", &out[1], "--json"],
        ]
        .concat();
        let from = s.transcript().len();
        assert_eq!(s.rewire(&arguments), 0);
        let said = s.transcript()[from..]
            .split_once('\n')
            .unwrap()
            .1
            .to_owned();
        let read = |side: &str| fs::read(s.path(&format!("{name}-{side}.pcap"))).unwrap();
        (read("right"), read("left"), said)
    };
    let first = run(&mut s, "first");
    assert_eq!(first, run(&mut s, "second"));
    // The digest sees a change of one bit, and of one nanosecond.
    let digest = |said: &str| {
        let json: serde_json::Value = serde_json::from_str(said).unwrap();
        json["result"]["output_digest"].as_str().unwrap().to_owned()
    };
    let mut all = vec![digest(&first.2)];
    let mut left = frames(&s.path("left.pcap"));
    *left[0].1.last_mut().unwrap() ^= 1;
    write(&s.path("left.pcap"), &left);
    all.push(digest(&run(&mut s, "bit").2));
    *left[0].1.last_mut().unwrap() ^= 1;
    left[2].0 += 1;
    write(&s.path("left.pcap"), &left);
    all.push(digest(&run(&mut s, "time").2));
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3);
}

#[test]
fn a_revision_of_the_store_is_replayed_like_its_document() {
    let mut s = session();
    let digests = |s: &mut Session, arguments: &[&str]| {
        let from = s.transcript().len();
        assert_eq!(
            s.rewire(&[&["replay", "--in", "left=left.pcap"], arguments].concat()),
            0
        );
        let said = s.transcript()[from..]
            .lines()
            .filter(|line| line.contains("digest:"));
        said.map(str::to_owned).collect::<Vec<_>>()
    };
    s.quietly(&["init"]);
    s.quietly(&["load", "net.yaml"]);
    s.quietly(&["commit", "-m", "x"]);
    let document = digests(&mut s, &["--document", "net.yaml"]);
    let head = digests(&mut s, &["--revision", "running"]);
    assert_eq!(document[1], head[1], "the frames that were sent");
    s.quietly(&["rewind", "0"]);
    let earlier = digests(&mut s, &["--revision", "1"]);
    assert_eq!(head, earlier);
    // By its change alone, it is the same tables and the same frames; the report tells of a change.
    let by_change = digests(&mut s, &["--to", "1"]);
    assert_eq!(head[..2], by_change[..2]);
    let from = s.transcript().len();
    assert_eq!(
        s.rewire(&["replay", "--revision", "2", "--in", "left=left.pcap"]),
        2,
        "revision 2 has no interfaces"
    );
    assert!(s.transcript()[from..].contains("there are none at all"));
}

#[test]
fn a_long_pause_ends_connections_and_a_clock_that_goes_back_stands_still() {
    let mut s = session();
    let day = 86_400 * 1_000_000_000;
    let queries = [
        (day, query(LEFT, 0)),
        (2 * day, query(LEFT, 1)),
        (1, query(LEFT, 2)),
    ];
    write(&s.path("left.pcap"), &queries);
    write(&s.path("right.pcap"), &[(day, arp_reply())]);
    assert_eq!(s.rewire(&REPLAY), 0);
    assert!(
        s.transcript().contains("connections: 3 made, 2 at the end"),
        "{}",
        s.transcript()
    );
    let last = frames(&s.path("out.pcap")).last().unwrap().0;
    assert!(
        (2 * day..2 * day + 10_000_000_000).contains(&last),
        "{last}"
    );
}

#[test]
fn what_cannot_be_replayed_is_said() {
    let mut s = session();
    s.write("text", "not a capture, but long enough to be one");
    s.write(
        "next-generation",
        "\u{a}\r\r\u{a}0123456789012345678901234567890",
    );
    s.write("bad.yaml", "vpcs: {blue: {route: {}}}\n");
    let capture = fs::read(s.path("left.pcap")).unwrap();
    fs::write(s.path("cut.pcap"), &capture[..capture.len() - 1]).unwrap();
    let good = ["replay", "--document", "net.yaml", "--in", "left=left.pcap"];
    for bad in [
        &["--in", "lefft=left.pcap"][..],
        &["--in", "elsewhere=left.pcap"],
        &["--in", "left.pcap"],
        &["--in", "left=missing.pcap"],
        &["--in", "left=text"],
        &["--in", "left=next-generation"],
        &["--in", "left=cut.pcap"],
        &["--out", "rihgt=out.pcap"],
        &["--out", "right=left.pcap"],
        &["--out", "right=a.pcap", "--out", "right=b.pcap"],
        &["--revision", "1"],
    ] {
        assert_eq!(s.rewire(&[&good[..], bad].concat()), 2);
    }
    assert_eq!(
        fs::read(s.path("left.pcap")).unwrap(),
        capture,
        "nothing was written over"
    );
    assert_eq!(
        s.rewire(&["replay", "--document", "bad.yaml", "--in", "left=left.pcap"]),
        2
    );
    assert_eq!(s.rewire(&["replay", "--in", "left=left.pcap"]), 3);
    assert_eq!(
        s.rewire(&[&good[..], &["--out", "right=no/folder.pcap"]].concat()),
        1
    );
    assert_transcript!(s);
}
