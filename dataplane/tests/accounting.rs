//! Whatever comes in, nothing vanishes, nothing panics, and what goes out is well formed.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use proptest::prelude::*;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::tcp::TcpFlags;
use support::*;

const INTERFACES: [&str; 3] = ["blue0", "red0", "wan"];

#[derive(Clone, Debug)]
enum Step {
    Frame {
        interface: usize,
        frame: Vec<u8>,
    },
    Wait(u64),
    Commit {
        port_forward: bool,
        red: bool,
        broken: bool,
    },
}

fn address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        Just(HOST),
        Just(RED_HOST),
        Just(SITE),
        Just(WAN),
        Just(Ipv4Addr::new(10, 1, 0, 20)),
        Just(Ipv4Addr::new(203, 0, 113, 9)),
        Just(Ipv4Addr::new(203, 0, 113, 2)),
        Just(Ipv4Addr::new(10, 1, 0, 1)),
        any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![Just(80), Just(8080), 4000..4004u16, any::<u16>()]
}

fn good_frame() -> impl Strategy<Value = Vec<u8>> {
    let ends = (
        address(),
        port(),
        address(),
        port(),
        any::<u8>(),
        0..4usize,
        1..5u8,
    );
    ends.prop_map(|(source, sport, destination, dport, flags, kind, ttl)| {
        let build = match kind {
            0 => udp((source, sport), (destination, dport), usize::from(flags)),
            1 => tcp((source, sport), (destination, dport), TcpFlags(flags)),
            2 => echo(source, destination, sport),
            _ => {
                let reply = Icmpv4Repr::EchoReply {
                    identifier: sport,
                    sequence: 1,
                };
                icmp(source, destination, reply, b"x")
            }
        };
        build.ttl(ttl).frame()
    })
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let broken = (
        good_frame(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        any::<prop::sample::Index>(),
    );
    prop_oneof![
        6 => good_frame(),
        3 => broken.prop_map(|(mut frame, changes, cut)| {
            for (index, byte) in changes {
                let index = index.index(frame.len());
                frame[index] = byte;
            }
            let length = frame.len() - cut.index(8);
            frame.truncate(length);
            frame
        }),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..3usize, frame()).prop_map(|(interface, frame)| Step::Frame { interface, frame }),
        2 => (0..100_000u64).prop_map(Step::Wait),
        1 => any::<(bool, bool, bool)>().prop_map(|(port_forward, red, broken)| Step::Commit { port_forward, red, broken }),
    ]
}

fn document(port_forward: bool, red: bool, broken: bool) -> serde_json::Value {
    let mut document = two_vpcs();
    if !port_forward {
        document["nat"]["port_forward"] = json!({});
    }
    if !red {
        document["nat"]["masquerade"]
            .as_object_mut()
            .unwrap()
            .remove("red-out");
    }
    if broken {
        document["vpcs"]["blue"]["routes"]["0.0.0.0/0"] = json!({ "type": "blackhole" });
    }
    document
}

fn run(steps: &[Step]) -> (Vec<Vec<u8>>, Vec<(rewire_dataplane::DropReason, u64)>) {
    let mut lab = Lab::new(two_vpcs());
    let mut out = Vec::new();
    for step in steps {
        // The lab checks after every step that all packets are accounted for.
        let sent = match step {
            Step::Frame { interface, frame } => lab.send(INTERFACES[*interface], frame.clone()),
            Step::Wait(milliseconds) => lab.wait(Duration::from_millis(*milliseconds)),
            Step::Commit {
                port_forward,
                red,
                broken,
            } => {
                lab.commit(document(*port_forward, *red, *broken));
                Vec::new()
            }
        };
        out.extend(sent.into_iter().map(|sent| sent.frame));
    }
    (out, lab.drops())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_vanishes_and_the_same_input_gives_the_same_output(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let first = run(&steps);
        prop_assert_eq!(first, run(&steps));
    }

    /// Packets with good checksums have good checksums when they leave, whatever was rewritten.
    #[test]
    fn what_goes_out_is_well_formed(frames in prop::collection::vec((0..3usize, good_frame()), 1..40)) {
        let mut lab = Lab::new(two_vpcs());
        for (interface, frame) in frames {
            for sent in lab.send(INTERFACES[interface], frame) {
                if sent.frame[12..14] == [8, 0] {
                    Ip::of(&sent.frame);
                } else {
                    arp_of(&sent);
                }
            }
        }
    }
}
