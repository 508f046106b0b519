//! IPv6 translation, as a host on either side sees it: the same policy and the same code as for IPv4.

mod support;

use rewire_dataplane::DropReason;
use rewire_packet::Protocol;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::ipv6::Ipv6View;
use rewire_packet::tcp::TcpFlags;
use support::v6::{self, *};
use support::{BLUE_MAC, HOST_MAC, Lab, UPSTREAM_MAC, WAN_MAC, two_vpcs};

#[test]
fn masquerade_leads_out_and_back() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through6("blue0", udp((HOST, 4000), (SITE, 53), 20).frame(), "wan");
    assert_eq!(out.endpoints(), (WAN, SITE));
    assert_eq!(out.hop_limit, 63);
    assert_eq!(out.link, (WAN_MAC, UPSTREAM_MAC));
    let (port, 53) = out.ports() else {
        panic!("{out:?}")
    };
    let back = lab.through6("wan", udp((SITE, 53), (WAN, port), 30).frame(), "blue0");
    assert_eq!((back.endpoints(), back.ports()), ((SITE, HOST), (53, 4000)));
    assert_eq!(back.link, (BLUE_MAC, HOST_MAC));
    // Whoever was not spoken to does not get in.
    let stranger = udp((SITE, 54), (WAN, port), 0);
    let answer = lab.through6("wan", stranger.frame(), "wan");
    assert_eq!(answer.error(), Icmpv6Error::PortUnreachable);
    assert_eq!(answer.endpoints(), (WAN, SITE));
}

#[test]
fn two_vpcs_share_one_address_and_stay_apart() {
    let mut lab = Lab::new(two_vpcs());
    let blue = lab.through6("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let red = lab.through6("red0", udp((RED_HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_eq!(blue.endpoints(), red.endpoints());
    assert_ne!(blue.ports().0, red.ports().0);
    let to = |port| udp((SITE, 53), (WAN, port), 0).frame();
    let back = lab.through6("wan", to(blue.ports().0), "blue0");
    assert_eq!(back.destination, HOST);
    // The red host's address is not set by hand: the reply waits for its neighbor, in red.
    let question = lab.through6("wan", to(red.ports().0), "red0");
    assert_eq!(question.ndp().target(), RED_HOST);
}

#[test]
fn the_families_have_connections_of_their_own_and_are_counted_together() {
    let mut lab = Lab::new(two_vpcs());
    let four = support::udp((support::HOST, 4000), (support::SITE, 53), 0);
    let six = udp((HOST, 4000), (SITE, 53), 0);
    let sent = lab.burst([("blue0", six.frame()), ("blue0", four.frame())]);
    assert_eq!(sent.len(), 2);
    let totals = lab.gateway.totals();
    assert_eq!((totals.connections, totals.mappings), (2, 2));
    let graph = lab.gateway.graph();
    let numbers = (graph.connections4().len(), graph.connections6().len());
    assert_eq!(numbers, (1, 1));
    lab.gateway.advance(std::time::Duration::from_secs(3600));
    lab.burst([]);
    let totals = lab.gateway.totals();
    assert_eq!((totals.connections, totals.mappings), (0, 0));
    assert_eq!(totals.connections_expired, 2);
}

#[test]
fn echo_requests_are_masqueraded_by_their_identifier() {
    let mut lab = Lab::new(two_vpcs());
    let identifier = |packet: &v6::Ip| match packet.transport {
        L4::Icmp(Icmpv6Repr::EchoRequest { identifier, .. }, _)
        | L4::Icmp(Icmpv6Repr::EchoReply { identifier, .. }, _) => identifier,
        ref other => panic!("{other:?}"),
    };
    let reply = |identifier| Icmpv6Repr::EchoReply {
        identifier,
        sequence: 1,
    };
    let blue = lab.through6("blue0", echo(HOST, SITE, 7777).frame(), "wan");
    let red = lab.through6("red0", echo(RED_HOST, SITE, 7777).frame(), "wan");
    assert_ne!(identifier(&blue), identifier(&red));
    let pong = icmp(SITE, WAN, reply(identifier(&blue)), b"ping").frame();
    let back = lab.through6("wan", pong, "blue0");
    assert_eq!((back.destination, identifier(&back)), (HOST, 7777));
    // A reply that nobody asked for begins nothing.
    let unasked = icmp(SITE, WAN, reply(1), b"").frame();
    lab.dropped("wan", unasked, DropReason::ConnectionInvalid);
}

#[test]
fn a_port_forward_leads_in_and_back() {
    let mut lab = Lab::new(two_vpcs());
    let syn = tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN);
    let syn = lab.through6("wan", syn.frame(), "blue0");
    assert_eq!((syn.endpoints(), syn.ports()), ((SITE, HOST), (5000, 80)));
    let syn_ack = tcp((HOST, 80), (SITE, 5000), TcpFlags::SYN | TcpFlags::ACK);
    let back = lab.through6("blue0", syn_ack.frame(), "wan");
    let expected = ((WAN, SITE), (8080, 5000));
    assert_eq!((back.endpoints(), back.ports()), expected);
    let ack = tcp((SITE, 5000), (WAN, 8080), TcpFlags::ACK);
    let ack = lab.through6("wan", ack.frame(), "blue0");
    assert_eq!(ack.ports(), (5000, 80));
    // Another protocol: not forwarded.
    let answer = lab.through6("wan", udp((SITE, 5000), (WAN, 8080), 0).frame(), "wan");
    assert_eq!(answer.error(), Icmpv6Error::PortUnreachable);
}

#[test]
fn a_static_translation_works_both_ways_and_for_fragments() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through6("blue0", udp((SERVER, 25), (SITE, 25), 3).frame(), "wan");
    assert_eq!((out.endpoints(), out.ports()), ((MAIL, SITE), (25, 25)));
    // Inward, to a host that must be asked for first.
    let question = lab.through6("wan", udp((SITE, 99), (MAIL, 99), 3).frame(), "blue0");
    assert_eq!(question.ndp().target(), SERVER);
    let mut header = vec![0; 8];
    header[3] = 1;
    let fragment = udp((SERVER, 1), (SITE, 1), 64).extension(Protocol::FRAGMENT, header);
    let out = lab.through6("blue0", fragment.frame(), "wan");
    assert_eq!(out.endpoints(), (MAIL, SITE));
}

#[test]
fn what_has_segments_left_is_routed_and_not_translated() {
    let mut lab = Lab::new(two_vpcs());
    let with_segments = |source, left| {
        let routing = vec![0, 0, 253, left, 0, 0, 0, 0];
        udp((source, 1), (SITE, 1), 64).extension(Protocol::ROUTING, routing)
    };
    let out = lab.through6("wan", with_segments(UPSTREAM, 1).frame(), "wan");
    assert_eq!(out.endpoints(), (UPSTREAM, SITE));
    // Its checksum covers a destination that is not in the header.
    let frame = with_segments(HOST, 1).frame();
    lab.dropped("blue0", frame, DropReason::NatRewriteFailed);
    let out = lab.through6("blue0", with_segments(HOST, 0).frame(), "wan");
    assert_eq!(out.endpoints(), (WAN, SITE));
}

#[test]
fn an_icmp_error_is_translated_with_what_it_quotes() {
    let mut lab = Lab::new(two_vpcs());
    let out = udp((HOST, 4000), (SITE, 33434), 12);
    let sent = lab.send("blue0", out.frame());
    let quoted = &sent[0].frame[14..];
    for error in [
        Icmpv6Error::HopLimitExceeded,
        Icmpv6Error::PacketTooBig { mtu: 1300 },
        Icmpv6Error::PortUnreachable,
    ] {
        let message = icmp(UPSTREAM, WAN, Icmpv6Repr::Error(error), quoted);
        let back = lab.through6("wan", message.frame(), "blue0");
        assert_eq!(back.endpoints(), (UPSTREAM, HOST));
        assert_eq!(back.error(), error);
        let L4::Icmp(_, quote) = &back.transport else {
            panic!("{back:?}")
        };
        // The host finds its own packet in the quote, with one hop less to live.
        assert_eq!(quote[..], out.clone().hops(63).packet()[..]);
    }
    // About a packet that never was.
    let never = udp((WAN, 9), (SITE, 9), 0).packet();
    let error = Icmpv6Repr::Error(Icmpv6Error::HopLimitExceeded);
    let frame = icmp(UPSTREAM, WAN, error, &never).frame();
    lab.dropped("wan", frame, DropReason::IcmpErrorUnrelated);
}

#[test]
fn an_error_from_inside_hides_the_inside() {
    let mut lab = Lab::new(two_vpcs());
    let syn = tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN);
    let sent = lab.send("wan", syn.frame());
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = icmp(HOST, SITE, error, &sent[0].frame[14..]);
    let out = lab.through6("blue0", message.frame(), "wan");
    assert_eq!(out.endpoints(), (WAN, SITE));
    let L4::Icmp(_, quote) = &out.transport else {
        panic!("{out:?}")
    };
    let inner = Ipv6View::new_quoted(quote.as_slice()).unwrap();
    assert_eq!((inner.source(), inner.destination()), (SITE, WAN));
    assert_eq!(inner.payload()[2..4], 8080u16.to_be_bytes());
}

#[test]
fn a_flow_that_the_new_policy_forbids_stops_and_the_others_go_on() {
    let mut lab = Lab::new(two_vpcs());
    let syn = tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN);
    lab.through6("wan", syn.frame(), "blue0");
    let out = lab.through6("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let mut next = two_vpcs();
    next["nat"]["port_forward"] = support::json!({});
    lab.commit(next);
    let ack = tcp((SITE, 5000), (WAN, 8080), TcpFlags::ACK);
    lab.dropped("wan", ack.frame(), DropReason::LocalNoService);
    let back = udp((SITE, 53), (WAN, out.ports().0), 0).frame();
    assert_eq!(lab.through6("wan", back, "blue0").ports().1, 4000);
    let totals = lab.gateway.totals();
    let counts = (totals.connections_kept, totals.connections_ended_by_policy);
    assert_eq!(counts, (1, 1));
}

#[test]
fn echoes_go_on_under_a_policy_that_allows_them() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through6("blue0", echo(HOST, SITE, 9).frame(), "wan");
    let mut next = two_vpcs();
    next["nat"]["port_forward"] = support::json!({});
    lab.commit(next);
    let L4::Icmp(
        Icmpv6Repr::EchoRequest {
            identifier,
            sequence,
        },
        _,
    ) = out.transport
    else {
        panic!("{out:?}")
    };
    let reply = Icmpv6Repr::EchoReply {
        identifier,
        sequence,
    };
    let back = icmp(SITE, WAN, reply, b"ping").frame();
    lab.through6("wan", back, "blue0");
    assert_eq!(lab.gateway.totals().connections_kept, 1);
}
