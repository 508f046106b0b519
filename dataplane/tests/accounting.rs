//! Whatever comes in, nothing vanishes, nothing panics, and what goes out is well formed.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::ndp::NdpRepr;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{MacAddress, Protocol};
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

fn address6() -> impl Strategy<Value = Ipv6Addr> {
    let neighbors = (1..4u16, 0..0x30u16)
        .prop_map(|(link, host)| Ipv6Addr::new(0xfd00, link, 0, 0, 0, 0, 0, host));
    prop_oneof![
        Just(v6::HOST),
        Just(v6::RED_HOST),
        Just(v6::SITE),
        Just(v6::WAN),
        Just(v6::MAIL),
        Just(v6::BLUE),
        Just(v6::UPSTREAM),
        Just(v6::BLUE_LINK_LOCAL),
        Just(v6::HOST_LINK_LOCAL),
        neighbors,
        any::<u128>().prop_map(Ipv6Addr::from),
    ]
}

fn good_frame6() -> impl Strategy<Value = Vec<u8>> {
    let ends = (
        (address6(), port(), address6(), port()),
        any::<u8>(),
        0..7usize,
        1..5u8,
        0..4usize,
    );
    ends.prop_map(|(ends, flags, kind, hops, extension)| {
        let (source, sport, destination, dport) = ends;
        let build = match kind {
            0 => v6::udp((source, sport), (destination, dport), usize::from(flags)),
            1 => v6::tcp((source, sport), (destination, dport), TcpFlags(flags)),
            2 => v6::echo(source, destination, sport),
            3 => {
                let reply = Icmpv6Repr::EchoReply {
                    identifier: sport,
                    sequence: 1,
                };
                v6::icmp(source, destination, reply, b"x")
            }
            4 => {
                let quoted = v6::udp((destination, dport), (source, sport), 9).packet();
                let error = Icmpv6Repr::Error(Icmpv6Error::HopLimitExceeded);
                v6::icmp(source, destination, error, &quoted)
            }
            5 => v6::solicitation(source, MacAddress([2, 0, 0, 1, 1, flags]), destination),
            _ => {
                let message = NdpRepr::Advertisement {
                    target: source,
                    router: false,
                    solicited: !destination.is_multicast(),
                    overrides: flags & 1 != 0,
                    target_link_address: Some(MacAddress([2, 0, 0, 1, 2, flags])),
                };
                v6::ndp(source, destination, message)
            }
        };
        let mut build = if kind < 5 { build.hops(hops) } else { build };
        match extension {
            0 => build = build.extension(Protocol::HOP_BY_HOP, vec![0; 8]),
            1 => {
                let fragment = vec![0, 0, 0, flags & 0x19, 0, 0, 0, 1];
                build = build.extension(Protocol::FRAGMENT, fragment);
            }
            _ => {}
        }
        build.frame()
    })
}

fn good_frame() -> impl Strategy<Value = Vec<u8>> {
    // Boxed: by value, what proptest keeps of them would be too much for a stack.
    prop_oneof![3 => good_frame4().boxed(), 3 => good_frame6().boxed(), 1 => large_frame().boxed()]
}

/// Larger than the MTU of the link that it leaves by; some with another part of their datagram behind them.
fn large_frame() -> impl Strategy<Value = Vec<u8>> {
    let inside = prop_oneof![Just(HOST), Just(Ipv4Addr::new(10, 1, 0, 20))];
    let ends = (inside, port(), 1373..1473usize);
    (ends, any::<bool>(), 0..8u8).prop_map(|(ends, more_fragments, ttl)| {
        let (source, port, size) = ends;
        let mut build = udp((source, port), (SITE, port), size);
        build.ip.dont_fragment = ttl == 0;
        build.ip.more_fragments = more_fragments;
        build.ttl(ttl.max(1)).frame()
    })
}

fn good_frame4() -> impl Strategy<Value = Vec<u8>> {
    let ends = (
        address(),
        port(),
        address(),
        port(),
        any::<u8>(),
        0..4usize,
        1..5u8,
    );
    // Some may be larger than the MTU of the link that they leave by, and some are fragments already.
    let size = prop_oneof![2 => 0..256usize, 1 => 1300..1472usize];
    let fragment = prop_oneof![
        6 => Just((false, 0)),
        1 => (any::<bool>(), prop_oneof![0..185u16, 0..8192u16]),
    ];
    (ends, size, any::<bool>(), fragment).prop_map(|(ends, size, dont_fragment, fragment)| {
        let (source, sport, destination, dport, flags, kind, ttl) = ends;
        let mut build = match kind {
            0 => udp((source, sport), (destination, dport), size),
            1 => tcp((source, sport), (destination, dport), TcpFlags(flags)),
            2 => {
                let request = Icmpv4Repr::EchoRequest {
                    identifier: sport,
                    sequence: 1,
                };
                icmp(source, destination, request, &vec![flags; size])
            }
            _ => {
                let reply = Icmpv4Repr::EchoReply {
                    identifier: sport,
                    sequence: 1,
                };
                icmp(source, destination, reply, b"x")
            }
        };
        build.ip.dont_fragment = dont_fragment;
        (build.ip.more_fragments, build.ip.fragment_offset) = fragment;
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
        1 => random_ipv6(),
    ]
}

/// Random bytes that are taken for IPv6, for as long as possible.
fn random_ipv6() -> impl Strategy<Value = Vec<u8>> {
    let chain = prop::sample::select(&[0u8, 6, 17, 43, 44, 58, 60][..]);
    let bytes = prop::collection::vec(any::<u8>(), 40..160);
    (chain, bytes, address6(), address6()).prop_map(|(next, mut bytes, source, destination)| {
        let length = bytes.len() as u16 - 40;
        bytes[0] = 0x60;
        bytes[4..6].copy_from_slice(&length.to_be_bytes());
        bytes[6] = next;
        bytes[8..24].copy_from_slice(&source.octets());
        bytes[24..40].copy_from_slice(&destination.octets());
        let mut frame = BLUE_MAC.octets().to_vec();
        frame.extend([2, 0, 0, 0, 9, 9, 0x86, 0xdd]);
        frame.extend(bytes);
        frame
    })
}

/// Frames with the interface that they arrive at: most for the station that is there.
fn arriving(frames: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = (usize, Vec<u8>)> {
    (0..3usize, frames, 0..8u8).prop_map(|(interface, mut frame, stray)| {
        let station = [BLUE_MAC, RED_MAC, WAN_MAC][interface].octets();
        if let Some(destination) = frame.get_mut(..6)
            && destination[0] & 1 == 0
            && stray != 0
        {
            destination.copy_from_slice(&station);
        }
        (interface, frame)
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => arriving(frame()).prop_map(|(interface, frame)| Step::Frame { interface, frame }),
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
        document["vpcs"]["blue"]["routes"]["::/0"] = json!({ "type": "blackhole" });
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

/// A packet with a link-local address is the gateway's own: none was forwarded.
fn stays_where_it_may(packet: &v6::Ip) {
    let MacAddress([.., last]) = packet.link.0;
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, last.into());
    let (source, destination) = packet.endpoints();
    if source.is_unicast_link_local() {
        assert_eq!(source, own, "{packet:?}");
    } else if destination.is_unicast_link_local() {
        let gateway = [v6::BLUE, v6::RED, v6::WAN, v6::MAIL];
        assert!(gateway.contains(&source), "{packet:?}");
    }
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
    fn what_goes_out_is_well_formed(frames in prop::collection::vec(arriving(good_frame()), 1..40)) {
        let mut lab = Lab::new(two_vpcs());
        for (interface, frame) in frames {
            for sent in lab.send(INTERFACES[interface], frame) {
                let mtu = if lab.name(&sent) == "wan" { 1400 } else { 1500 };
                prop_assert!(sent.frame.len() <= 14 + mtu);
                match sent.frame[12..14] {
                    [8, 0] => drop(Ip::of(&sent.frame)),
                    [8, 6] => drop(arp_of(&sent)),
                    _ => stays_where_it_may(&v6::Ip::of(&sent.frame)),
                }
            }
        }
    }
}
