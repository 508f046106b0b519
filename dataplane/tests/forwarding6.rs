//! IPv6: routing, what stays on its link, and what the gateway itself says.

mod support;

use std::net::Ipv6Addr;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{MacAddress, Protocol};
use support::v6::{self, *};
use support::{BLUE_MAC, HOST_MAC, Lab, UPSTREAM_MAC, WAN_MAC, two_vpcs};

fn is_pong(packet: &v6::Ip, identifier: u16) -> bool {
    let reply = Icmpv6Repr::EchoReply {
        identifier,
        sequence: 1,
    };
    matches!(&packet.transport, L4::Icmp(repr, data) if *repr == reply && data == b"ping")
}

#[test]
fn packets_are_routed_with_one_hop_less() {
    let mut lab = Lab::new(two_vpcs());
    // From the upstream to the site and back: no translation here.
    let transit = udp((UPSTREAM, 7), (SITE, 9), 100).hops(9);
    let out = lab.through6("wan", transit.frame(), "wan");
    assert_eq!((out.endpoints(), out.ports()), ((UPSTREAM, SITE), (7, 9)));
    assert_eq!(out.hop_limit, 8);
    assert_eq!(out.link, (WAN_MAC, UPSTREAM_MAC));
    // Ethernet's padding ends here.
    let mut padded = udp((UPSTREAM, 7), (SITE, 9), 0).frame();
    padded.resize(padded.len() + 9, 0xee);
    lab.through6("wan", padded, "wan");
}

#[test]
fn vpcs_are_apart() {
    let mut lab = Lab::new(two_vpcs());
    let error = lab.through6("blue0", echo(HOST, RED_HOST, 1).frame(), "blue0");
    assert_eq!(error.error(), Icmpv6Error::AddressUnreachable);
    assert_eq!(error.endpoints(), (BLUE, HOST));
    // The internet does not know the inside's addresses.
    let error = lab.through6("wan", echo(SITE, HOST, 1).frame(), "wan");
    assert_eq!(error.error(), Icmpv6Error::NoRoute);
    assert_eq!(lab.gateway.totals().connections_created, 0);
}

#[test]
fn the_gateway_answers_pings_and_refuses_the_rest() {
    let mut lab = Lab::new(two_vpcs());
    let pong = lab.through6("blue0", echo(HOST, BLUE, 5).frame(), "blue0");
    assert_eq!(pong.endpoints(), (BLUE, HOST));
    assert_eq!((pong.hop_limit, pong.link), (64, (BLUE_MAC, HOST_MAC)));
    assert!(is_pong(&pong, 5), "{pong:?}");
    // Options on the way here are not sent back.
    let mut options = vec![0; 8];
    options[2..4].copy_from_slice(&[1, 4]);
    let ping = echo(HOST, BLUE, 6).extension(Protocol::DESTINATION_OPTIONS, options.clone());
    let pong = lab.through6("blue0", ping.frame(), "blue0");
    assert!(is_pong(&pong, 6), "{pong:?}");

    let syn = tcp((HOST, 1), (BLUE, 22), TcpFlags::SYN);
    let error = lab.through6("blue0", syn.frame(), "blue0");
    assert_eq!(error.error(), Icmpv6Error::PortUnreachable);
    // A protocol that the gateway does not speak, and where it is named.
    let ospf = || v6::Build::new(HOST, BLUE, Protocol::OSPF, vec![0; 16]);
    let error = lab.through6("blue0", ospf().frame(), "blue0");
    let problem = |pointer| Icmpv6Error::ParameterProblem { code: 1, pointer };
    assert_eq!(error.error(), problem(6));
    let behind = ospf()
        .extension(Protocol::DESTINATION_OPTIONS, options.clone())
        .extension(Protocol::HOP_BY_HOP, options);
    let error = lab.through6("blue0", behind.frame(), "blue0");
    assert_eq!(error.error(), problem(48));
    // A ping that came damaged.
    let mut damaged = echo(HOST, BLUE, 5).frame();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    lab.dropped("blue0", damaged, DropReason::TransportMalformed);
}

#[test]
fn a_packet_at_the_end_of_its_life_is_answered() {
    let mut lab = Lab::new(two_vpcs());
    for hops in [0, 1] {
        let frame = udp((HOST, 1), (SITE, 33434), 0).hops(hops).frame();
        let error = lab.through6("blue0", frame, "blue0");
        assert_eq!(error.error(), Icmpv6Error::HopLimitExceeded);
        assert_eq!(error.endpoints(), (BLUE, HOST));
    }
    let totals = lab.gateway.totals();
    assert_eq!(
        totals.connections_created, 0,
        "no trace of a dropped packet"
    );
}

#[test]
fn a_packet_too_large_is_answered_with_the_mtu() {
    let mut lab = Lab::new(two_vpcs());
    let large = udp((HOST, 1), (SITE, 1), 1400);
    let error = lab.through6("blue0", large.frame(), "blue0");
    assert_eq!(error.error(), Icmpv6Error::PacketTooBig { mtu: 1400 });
    let L4::Icmp(_, quote) = &error.transport else {
        panic!("{error:?}")
    };
    assert_eq!(quote[..], large.packet()[..1280 - 48], "as much as fits");
    let fits = udp((HOST, 1), (SITE, 1), 1400 - 48);
    lab.through6("blue0", fits.frame(), "wan");
}

#[test]
fn blackholes_are_silent() {
    let mut lab = Lab::new(two_vpcs());
    let nowhere = Ipv6Addr::new(0x2001, 0xdb8, 0xdead, 0, 0, 0, 0, 1);
    let frame = echo(HOST, nowhere, 1).frame();
    lab.dropped("blue0", frame, DropReason::RouteBlackhole);
}

#[test]
fn what_is_link_local_is_answered_on_its_link() {
    let mut lab = Lab::new(two_vpcs());
    let neighbor = MacAddress([2, 0, 0, 0, 7, 7]);
    let ping = echo(HOST_LINK_LOCAL, BLUE_LINK_LOCAL, 5);
    // The neighbor is asked for from the link-local address, and the answer waits.
    let question = lab.through6("blue0", ping.frame(), "blue0");
    assert_eq!(question.ndp().target(), HOST_LINK_LOCAL);
    assert_eq!(question.source, BLUE_LINK_LOCAL);
    let answer = advertisement(HOST_LINK_LOCAL, neighbor, BLUE_LINK_LOCAL).frame();
    let pong = lab.through6("blue0", answer, "blue0");
    assert_eq!(pong.endpoints(), (BLUE_LINK_LOCAL, HOST_LINK_LOCAL));
    assert_eq!(pong.link, (BLUE_MAC, neighbor));
    assert!(is_pong(&pong, 5), "{pong:?}");
    // To the gateway's global address, from a link-local one; and errors.
    let pong = lab.through6("blue0", echo(HOST_LINK_LOCAL, BLUE, 6).frame(), "blue0");
    assert_eq!(pong.endpoints(), (BLUE, HOST_LINK_LOCAL));
    let refused = udp((HOST_LINK_LOCAL, 1), (BLUE_LINK_LOCAL, 1), 0);
    let error = lab.through6("blue0", refused.frame(), "blue0");
    assert_eq!(error.error(), Icmpv6Error::PortUnreachable);
    assert_eq!(error.endpoints(), (BLUE_LINK_LOCAL, HOST_LINK_LOCAL));
    // Whoever was spoken to answers (RFC 4443, section 2.2), on the link.
    let mut refused = udp((HOST, 1), (BLUE_LINK_LOCAL, 1), 0);
    refused.link_destination = BLUE_MAC;
    let error = lab.through6("blue0", refused.frame(), "blue0");
    assert_eq!(error.endpoints(), (BLUE_LINK_LOCAL, HOST));
    assert_eq!(error.link, (BLUE_MAC, HOST_MAC));
    assert_eq!(lab.gateway.totals().connections_created, 0);
}

#[test]
fn an_interface_without_an_ipv6_address_asks_from_its_link_local_one() {
    let mut document = two_vpcs();
    document["interfaces"]["red0"]["addresses"] = support::json!(["10.2.0.1/24"]);
    document["vpcs"]["red"]["routes"]["fd00:2::/64"] =
        support::json!({ "next_hops": [{ "interface": "red0" }] });
    let mut lab = Lab::new(document);
    let mut ping = echo(UPSTREAM, RED_HOST, 1);
    ping.link_destination = support::RED_MAC;
    let question = lab.through6("red0", ping.frame(), "red0");
    let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 2);
    assert_eq!(question.source, link_local);
    assert_eq!(question.ndp().target(), RED_HOST);
}

#[test]
fn what_is_link_local_is_never_forwarded() {
    let mut lab = Lab::new(two_vpcs());
    let other = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99);
    for (source, destination) in [
        (HOST_LINK_LOCAL, SITE),
        (HOST_LINK_LOCAL, HOST),
        (HOST_LINK_LOCAL, other),
        (HOST, other),
    ] {
        let frame = udp((source, 1), (destination, 1), 0).frame();
        lab.dropped("blue0", frame, DropReason::LinkLocalNotForwarded);
    }
    // Another interface's own address is not this link's.
    let mut frame = echo(HOST, BLUE_LINK_LOCAL, 1);
    frame.link_destination = WAN_MAC;
    lab.dropped("wan", frame.frame(), DropReason::LinkLocalNotForwarded);
    // Not even a port forward leads it on.
    let mut syn = tcp((HOST_LINK_LOCAL, 1), (WAN, 8080), TcpFlags::SYN);
    syn.link_destination = WAN_MAC;
    let sent = lab.send("wan", syn.frame());
    assert!(sent.iter().all(|sent| lab.name(sent) == "wan"));
    assert_eq!(lab.gateway.dropped_for(DropReason::LocalNoService), 1);
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
    let from = |source: &str| {
        let mut build = udp((source.parse().unwrap(), 1), (SITE, 1), 0);
        build.link_destination = BLUE_MAC;
        build.frame()
    };
    let to = |destination: &str| udp((HOST, 1), (destination.parse().unwrap(), 1), 0);
    let routing = |kind: u8, left: u8| {
        let mut header = vec![0; 24];
        header[1..4].copy_from_slice(&[2, kind, left]);
        good.clone().extension(Protocol::ROUTING, header)
    };
    let options = vec![0; 8];
    let mut many = good.clone();
    for _ in 0..9 {
        many = many.extension(Protocol::DESTINATION_OPTIONS, options.clone());
    }
    let mut endless = options.clone();
    endless[1] = 200;
    let misplaced = good
        .clone()
        .extension(Protocol::HOP_BY_HOP, options.clone())
        .extension(Protocol::DESTINATION_OPTIONS, options);
    let cases: Vec<(Vec<u8>, DropReason)> = vec![
        (with(&|f| f.truncate(14 + 39)), DropReason::IpTooShort),
        (with(&|f| f[14] = 0x45), DropReason::IpBadVersion),
        (with(&|f| f[19] += 1), DropReason::IpBadTotalLength),
        (
            good.clone()
                .extension(Protocol::DESTINATION_OPTIONS, endless)
                .frame(),
            DropReason::IpBadExtension,
        ),
        (many.frame(), DropReason::IpBadExtension),
        (misplaced.frame(), DropReason::IpBadExtension),
        (routing(0, 1).frame(), DropReason::IpSourceRoute),
        (routing(0, 0).frame(), DropReason::IpSourceRoute),
        (with(&|f| f[59] = 7), DropReason::TransportMalformed),
        (from("::"), DropReason::IpMartianSource),
        (from("::1"), DropReason::IpMartianSource),
        (from("::ffff:192.0.2.1"), DropReason::IpMartianSource),
        (from("ff02::1"), DropReason::IpMartianSource),
        (to("::").frame(), DropReason::IpMartianDestination),
        (to("::1").frame(), DropReason::IpMartianDestination),
        (
            to("::ffff:192.0.2.1").frame(),
            DropReason::IpMartianDestination,
        ),
        (to("ff02::1").frame(), DropReason::Multicast),
        (to("ff0e::101").frame(), DropReason::Multicast),
        (
            with(&|f| f[..6].copy_from_slice(&[0x33, 0x33, 0, 0, 0, 1])),
            DropReason::LinkBroadcast,
        ),
        (with(&|f| f[5] ^= 1), DropReason::OtherStation),
        (
            tcp((HOST, 1), (SITE, 1), TcpFlags::RST).frame(),
            DropReason::ConnectionInvalid,
        ),
    ];
    for (frame, reason) in cases {
        lab.dropped("blue0", frame, reason);
    }
    // What else a routing header can be is the hosts' business, and so is one that has nowhere left to go.
    lab.through6("blue0", routing(253, 0).frame(), "wan");
}

#[test]
fn icmp_errors_are_limited_over_both_families() {
    let mut lab = Lab::new(two_vpcs());
    let host = support::HOST;
    let frames: Vec<_> = (0..550u16)
        .flat_map(|n| {
            let four = support::udp((host, n), (support::SITE, 1), 0)
                .ttl(1)
                .frame();
            let six = udp((HOST, n), (SITE, 1), 0).hops(1).frame();
            [("blue0", four), ("blue0", six)]
        })
        .collect();
    let mut sent = 0;
    for burst in frames.chunks(50) {
        sent += lab.burst(burst.to_vec()).len();
    }
    assert_eq!(sent, 1000);
    assert_eq!(lab.gateway.totals().icmp_suppressed, 100);
}
