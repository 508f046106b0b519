//! Routing, ARP and what the gateway itself says.

mod support;

use std::time::Duration;

use rewire_dataplane::DropReason;
use rewire_packet::MacAddress;
use rewire_packet::arp::{ArpOperation, ArpRepr};
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use support::*;

fn error_of(packet: &Ip) -> Icmpv4Error {
    match packet.transport {
        L4::Icmp(Icmpv4Repr::Error(error), _) => error,
        ref other => panic!("no ICMP error: {other:?}"),
    }
}

#[test]
fn the_gateway_answers_arp_for_its_own_and_its_nat_addresses() {
    let mut lab = Lab::new(two_vpcs());
    for address in ["203.0.113.1", "203.0.113.9"] {
        let asker = MacAddress([2, 9, 9, 9, 9, 9]);
        let from = "203.0.113.77".parse().unwrap();
        let request = ArpRepr::request(asker, from, address.parse().unwrap());
        let sent = lab.send("wan", arp_frame(MacAddress::BROADCAST, &request));
        assert_eq!(arp_of(&sent[0]), request.reply(WAN_MAC), "{address}");
    }
    let other = "203.0.113.50".parse().unwrap();
    let request = ArpRepr::request(HOST_MAC, "203.0.113.78".parse().unwrap(), other);
    lab.dropped(
        "wan",
        arp_frame(MacAddress::BROADCAST, &request),
        DropReason::ArpNotForUs,
    );
    lab.dropped(
        "wan",
        arp_frame(MacAddress::BROADCAST, &request)[..30].to_vec(),
        DropReason::ArpMalformed,
    );
}

#[test]
fn packets_wait_for_their_neighbor_and_leave_in_order() {
    let mut lab = Lab::new(two_vpcs());
    // Replies to red wait, because its host's address is not known yet.
    let outs: Vec<_> = (0..3u16)
        .map(|n| {
            lab.through(
                "red0",
                udp((RED_HOST, 4000 + n), (SITE, 53), 0).frame(),
                "wan",
            )
        })
        .collect();
    let replies = outs
        .iter()
        .map(|out| udp((SITE, 53), (WAN, out.ports().0), 0).frame());
    let sent = lab.burst(replies.map(|frame| ("wan", frame)).collect::<Vec<_>>());
    assert_eq!(sent.len(), 1, "one question for all of them");
    let request = arp_of(&sent[0]);
    assert_eq!(
        (request.operation, request.target_protocol),
        (ArpOperation::REQUEST, RED_HOST)
    );
    assert_eq!(lab.gateway.totals().held, 3);
    let host = MacAddress([2, 0, 0, 0, 1, 2]);
    let sent = lab.send("red0", arp_frame(RED_MAC, &request.reply(host)));
    let order: Vec<_> = sent
        .iter()
        .map(|sent| Ip::of(&sent.frame).ports().1)
        .collect();
    assert_eq!(order, [4000, 4001, 4002]);
    assert!(
        sent.iter()
            .all(|sent| Ip::of(&sent.frame).link == (RED_MAC, host))
    );
    assert_eq!(lab.gateway.totals().held, 0);
    // Known by now: the next one does not wait.
    lab.through(
        "wan",
        udp((SITE, 53), (WAN, outs[0].ports().0), 0).frame(),
        "red0",
    );
}

#[test]
fn a_neighbor_that_does_not_answer_is_reported_to_the_sender() {
    let mut lab = Lab::new(two_vpcs());
    let nobody = "10.1.0.99".parse().unwrap();
    let red = udp((HOST, 1), (nobody, 1), 0);
    let sent = lab.send("blue0", red.frame());
    assert_eq!(arp_of(&sent[0]).target_protocol, nobody);
    let mut asked = 1;
    let mut errors = Vec::new();
    for _ in 0..4 {
        for sent in lab.wait(Duration::from_secs(1)) {
            match sent.frame[12..14] {
                [8, 6] => asked += 1,
                _ => errors.push(Ip::of(&sent.frame)),
            }
        }
    }
    assert_eq!(asked, 3);
    assert_eq!(errors.len(), 1);
    assert_eq!(error_of(&errors[0]), Icmpv4Error::HostUnreachable);
    assert_eq!(errors[0].endpoints(), ("10.1.0.1".parse().unwrap(), HOST));
    assert_eq!(lab.gateway.dropped_for(DropReason::NeighborUnreachable), 1);
}

#[test]
fn vpcs_are_apart() {
    let mut lab = Lab::new(two_vpcs());
    let error = lab.through("blue0", echo(HOST, RED_HOST, 1).frame(), "blue0");
    assert_eq!(error_of(&error), Icmpv4Error::HostUnreachable);
    assert_eq!(
        error.source,
        "10.1.0.1".parse::<std::net::Ipv4Addr>().unwrap()
    );
    // The internet does not know the inside's addresses.
    let error = lab.through("wan", echo(SITE, HOST, 1).frame(), "wan");
    assert_eq!(error_of(&error), Icmpv4Error::NetworkUnreachable);
    assert_eq!(lab.gateway.totals().connections_created, 0);
}

#[test]
fn the_gateway_answers_pings_and_refuses_the_rest() {
    let mut lab = Lab::new(two_vpcs());
    let own = "10.1.0.1".parse().unwrap();
    let pong = lab.through("blue0", echo(HOST, own, 5).frame(), "blue0");
    assert_eq!(pong.endpoints(), (own, HOST));
    assert!(
        matches!(pong.transport, L4::Icmp(Icmpv4Repr::EchoReply { identifier: 5, sequence: 1 }, ref data) if data == b"ping")
    );
    let error = lab.through(
        "blue0",
        tcp((HOST, 1), (own, 22), TcpFlags::SYN).frame(),
        "blue0",
    );
    assert_eq!(error_of(&error), Icmpv4Error::PortUnreachable);
}

#[test]
fn a_packet_at_the_end_of_its_life_is_answered() {
    let mut lab = Lab::new(two_vpcs());
    let error = lab.through(
        "blue0",
        udp((HOST, 1), (SITE, 33434), 0).ttl(1).frame(),
        "blue0",
    );
    assert_eq!(error_of(&error), Icmpv4Error::TtlExceeded);
    assert_eq!(
        lab.gateway.totals().connections_created,
        0,
        "a dropped packet leaves no trace"
    );
}

#[test]
fn a_packet_too_large_is_answered_with_the_mtu() {
    let mut lab = Lab::new(two_vpcs());
    let error = lab.through("blue0", udp((HOST, 1), (SITE, 1), 1400).frame(), "blue0");
    assert_eq!(
        error_of(&error),
        Icmpv4Error::FragmentationNeeded { next_hop_mtu: 1400 }
    );
    lab.through("blue0", udp((HOST, 1), (SITE, 1), 1400 - 28).frame(), "wan");
}

#[test]
fn blackholes_are_silent() {
    let mut lab = Lab::new(two_vpcs());
    let frame = echo(HOST, "192.0.2.1".parse().unwrap(), 1).frame();
    lab.dropped("blue0", frame, DropReason::RouteBlackhole);
}

#[test]
fn malformed_and_foreign_frames_are_dropped_by_name() {
    let mut lab = Lab::new(two_vpcs());
    let good = udp((HOST, 1), (SITE, 1), 4);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut frame = good.frame();
        change(&mut frame);
        frame
    };
    let cases: Vec<(Vec<u8>, DropReason)> = vec![
        (vec![0; 13], DropReason::FrameTooShort),
        (with(&|f| f[5] ^= 1), DropReason::OtherStation),
        (
            with(&|f| f[12..14].copy_from_slice(&[0x81, 0])),
            DropReason::VlanUnknown,
        ),
        (
            with(&|f| f[12..14].copy_from_slice(&[0x88, 0xcc])),
            DropReason::EtherTypeUnknown,
        ),
        (
            with(&|f| f[12..14].copy_from_slice(&[0x86, 0xdd])),
            DropReason::IpTooShort,
        ),
        (with(&|f| f.truncate(14 + 19)), DropReason::IpTooShort),
        (with(&|f| f[14] = 0x65), DropReason::IpBadVersion),
        (with(&|f| f[14] = 0x44), DropReason::IpBadHeaderLength),
        (with(&|f| f[17] = 0xff), DropReason::IpBadTotalLength),
        (with(&|f| f[24] ^= 1), DropReason::IpBadChecksum),
        (
            udp(("127.0.0.1".parse().unwrap(), 1), (SITE, 1), 0).frame(),
            DropReason::OtherStation, // its builder takes it for one of the wide area's
        ),
        (
            udp((HOST, 1), ("224.0.0.5".parse().unwrap(), 1), 0).frame(),
            DropReason::Multicast,
        ),
        (
            udp((HOST, 1), ("255.255.255.255".parse().unwrap(), 1), 0).frame(),
            DropReason::IpMartianDestination,
        ),
        (with(&|f| f[..6].fill(0xff)), DropReason::LinkBroadcast),
        (
            udp((HOST, 1), ("10.1.0.255".parse().unwrap(), 1), 0).frame(),
            DropReason::SubnetBroadcast,
        ),
        (
            tcp((HOST, 1), (SITE, 1), TcpFlags::RST).frame(),
            DropReason::ConnectionInvalid,
        ),
    ];
    for (frame, reason) in cases {
        lab.dropped("blue0", frame, reason);
    }
    lab.dropped(
        "wan",
        udp((SITE, 1), (WAN, 1), 1400).frame(),
        DropReason::FrameTooLong,
    );
    let martian = udp(("127.0.0.1".parse().unwrap(), 1), (WAN, 1), 0);
    lab.dropped("wan", martian.frame(), DropReason::IpMartianSource);
}

#[test]
fn icmp_errors_are_limited() {
    let mut lab = Lab::new(two_vpcs());
    let frames: Vec<_> = (0..1100u16)
        .map(|n| ("blue0", udp((HOST, n), (SITE, 1), 0).ttl(1).frame()))
        .collect();
    let mut sent = 0;
    for burst in frames.chunks(50) {
        sent += lab.burst(burst.to_vec()).len();
    }
    assert_eq!(sent, 1000);
    assert_eq!(lab.gateway.totals().icmp_suppressed, 100);
}
