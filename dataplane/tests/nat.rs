//! Translation, as a host on either side sees it.

mod support;

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::ipv4::Ipv4View;
use rewire_packet::tcp::TcpFlags;
use support::*;

#[test]
fn masquerade_leads_out_and_back() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 20).frame(), "wan");
    assert_eq!(out.endpoints(), (WAN, SITE));
    assert_eq!(out.ttl, 63);
    assert_eq!(out.link, (WAN_MAC, UPSTREAM_MAC));
    let (port, 53) = out.ports() else {
        panic!("{out:?}")
    };
    let back = lab.through("wan", udp((SITE, 53), (WAN, port), 30).frame(), "blue0");
    assert_eq!((back.endpoints(), back.ports()), ((SITE, HOST), (53, 4000)));
    assert_eq!(back.link, (BLUE_MAC, HOST_MAC));
    // Whoever was not spoken to does not get in.
    let stranger = udp((SITE, 54), (WAN, port), 0);
    let answer = lab.through("wan", stranger.frame(), "wan");
    let refused = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    assert!(
        matches!(&answer.transport, L4::Icmp(repr, _) if *repr == refused),
        "{answer:?}"
    );
}

#[test]
fn two_vpcs_share_one_address_and_stay_apart() {
    let mut lab = Lab::new(two_vpcs());
    // Both use the same port, to the same destination.
    let blue = lab.through("blue0", udp((HOST, 4000), (SITE, 53), 0).frame(), "wan");
    let red = lab.through("red0", udp((RED_HOST, 4000), (SITE, 53), 0).frame(), "wan");
    assert_eq!(blue.endpoints(), red.endpoints());
    assert_ne!(blue.ports().0, red.ports().0);
    let back = lab.through(
        "wan",
        udp((SITE, 53), (WAN, blue.ports().0), 0).frame(),
        "blue0",
    );
    assert_eq!(back.destination, HOST);
    // The red host's address is not set by hand: the reply waits for ARP, in red.
    let sent = lab.send("wan", udp((SITE, 53), (WAN, red.ports().0), 0).frame());
    assert_eq!(lab.name(&sent[0]), "red0");
    assert_eq!(arp_of(&sent[0]).target_protocol, RED_HOST);
}

#[test]
fn echo_requests_are_masqueraded_by_their_identifier() {
    let mut lab = Lab::new(two_vpcs());
    let identifier = |packet: &Ip| match packet.transport {
        L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _)
        | L4::Icmp(Icmpv4Repr::EchoReply { identifier, .. }, _) => identifier,
        ref other => panic!("{other:?}"),
    };
    let blue = lab.through("blue0", echo(HOST, SITE, 7777).frame(), "wan");
    let red = lab.through("red0", echo(RED_HOST, SITE, 7777).frame(), "wan");
    assert_ne!(identifier(&blue), identifier(&red));
    let reply = Icmpv4Repr::EchoReply {
        identifier: identifier(&blue),
        sequence: 1,
    };
    let back = lab.through("wan", icmp(SITE, WAN, reply, b"ping").frame(), "blue0");
    assert_eq!((back.destination, identifier(&back)), (HOST, 7777));
    // A reply that nobody asked for begins nothing.
    let reply = Icmpv4Repr::EchoReply {
        identifier: 1,
        sequence: 1,
    };
    lab.dropped(
        "wan",
        icmp(SITE, WAN, reply, b"").frame(),
        DropReason::ConnectionInvalid,
    );
}

#[test]
fn a_port_forward_leads_in_and_back() {
    let mut lab = Lab::new(two_vpcs());
    let syn = lab.through(
        "wan",
        tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN).frame(),
        "blue0",
    );
    assert_eq!((syn.endpoints(), syn.ports()), ((SITE, HOST), (5000, 80)));
    let syn_ack = tcp((HOST, 80), (SITE, 5000), TcpFlags::SYN | TcpFlags::ACK);
    let back = lab.through("blue0", syn_ack.frame(), "wan");
    assert_eq!(
        (back.endpoints(), back.ports()),
        ((WAN, SITE), (8080, 5000))
    );
    let ack = lab.through(
        "wan",
        tcp((SITE, 5000), (WAN, 8080), TcpFlags::ACK).frame(),
        "blue0",
    );
    assert_eq!(ack.ports(), (5000, 80));
    // Another protocol, another port: not forwarded.
    let answer = lab.through("wan", udp((SITE, 5000), (WAN, 8080), 0).frame(), "wan");
    assert!(matches!(
        answer.transport,
        L4::Icmp(Icmpv4Repr::Error(_), _)
    ));
}

#[test]
fn a_masquerade_never_takes_the_port_of_a_port_forward() {
    let mut lab = Lab::new(two_vpcs());
    let out = lab.through(
        "blue0",
        tcp((HOST, 8080), (SITE, 443), TcpFlags::SYN).frame(),
        "wan",
    );
    assert_ne!(out.ports().0, 8080);
}

#[test]
fn a_static_translation_works_both_ways_and_for_fragments() {
    let mut lab = Lab::new(two_vpcs());
    let inside = "10.1.0.20".parse().unwrap();
    let outside = "203.0.113.9".parse().unwrap();
    let out = lab.through("blue0", udp((inside, 25), (SITE, 25), 3).frame(), "wan");
    assert_eq!((out.endpoints(), out.ports()), ((outside, SITE), (25, 25)));
    // Inward, to a host that must be asked for first.
    let sent = lab.send("wan", udp((SITE, 99), (outside, 99), 3).frame());
    assert_eq!(arp_of(&sent[0]).target_protocol, inside);
    let mut fragment = udp((inside, 1), (SITE, 1), 64);
    fragment.ip.more_fragments = true;
    fragment.ip.dont_fragment = false;
    let out = lab.through("blue0", fragment.frame(), "wan");
    assert_eq!(out.endpoints(), (outside, SITE));
}

#[test]
fn an_icmp_error_is_translated_with_what_it_quotes() {
    let mut lab = Lab::new(two_vpcs());
    let router = "203.0.113.2".parse().unwrap();
    let out = udp((HOST, 4000), (SITE, 33434), 12);
    let sent = lab.send("blue0", out.frame());
    let quoted = &sent[0].frame[14..];
    let error = Icmpv4Repr::Error(Icmpv4Error::TtlExceeded);
    let back = lab.through("wan", icmp(router, WAN, error, quoted).frame(), "blue0");
    assert_eq!(back.endpoints(), (router, HOST));
    let L4::Icmp(repr, quote) = &back.transport else {
        panic!("{back:?}")
    };
    assert_eq!(*repr, error);
    // The host finds its own packet in the quote, with one hop less to live.
    let inner = Ipv4View::new_quoted(quote.as_slice()).unwrap();
    inner.check_checksum().unwrap();
    assert_eq!(
        (inner.source(), inner.destination(), inner.ttl()),
        (HOST, SITE, 63)
    );
    let mut expected = out.ttl(63).packet();
    expected.truncate(quote.len());
    assert_eq!(quote[..], expected[..]);
    // About a packet that never was.
    let never = udp((WAN, 9), (SITE, 9), 0).packet();
    let error = icmp(router, WAN, error, &never).frame();
    lab.dropped("wan", error, DropReason::IcmpErrorUnrelated);
}

#[test]
fn an_error_about_an_echo_comes_from_who_sent_it() {
    let mut lab = Lab::new(two_vpcs());
    let router = "203.0.113.2".parse().unwrap();
    // Red's echo has the identifier first, so that blue's gets another.
    lab.through("red0", echo(RED_HOST, SITE, 7).frame(), "wan");
    let sent = lab.send("blue0", echo(HOST, SITE, 7).frame());
    let error = Icmpv4Repr::Error(Icmpv4Error::TtlExceeded);
    let quoted = &sent[0].frame[14..];
    let back = lab.through("wan", icmp(router, WAN, error, quoted).frame(), "blue0");
    assert_eq!(back.endpoints(), (router, HOST));
    let L4::Icmp(_, quote) = &back.transport else {
        panic!("{back:?}")
    };
    assert_eq!(quote[..], echo(HOST, SITE, 7).ttl(63).packet()[..]);
}

#[test]
fn an_error_from_inside_hides_the_inside() {
    let mut lab = Lab::new(two_vpcs());
    let syn = lab.send("wan", tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN).frame());
    let error = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let out = lab.through(
        "blue0",
        icmp(HOST, SITE, error, &syn[0].frame[14..]).frame(),
        "wan",
    );
    assert_eq!(out.endpoints(), (WAN, SITE));
    let L4::Icmp(_, quote) = &out.transport else {
        panic!("{out:?}")
    };
    let inner = Ipv4View::new_quoted(quote.as_slice()).unwrap();
    assert_eq!((inner.source(), inner.destination()), (SITE, WAN));
    assert_eq!(
        u16::from_be_bytes([inner.payload()[2], inner.payload()[3]]),
        8080
    );
}

#[test]
fn packets_of_one_connection_in_one_burst_make_one_connection() {
    let mut lab = Lab::new(two_vpcs());
    let frame = udp((HOST, 4000), (SITE, 53), 0).frame();
    let sent = lab.burst([
        ("blue0", frame.clone()),
        ("blue0", frame.clone()),
        ("blue0", frame),
    ]);
    let ports: Vec<_> = sent
        .iter()
        .map(|sent| Ip::of(&sent.frame).ports())
        .collect();
    assert_eq!(ports.len(), 3);
    assert!(ports.iter().all(|port| *port == ports[0]));
    assert_eq!(lab.gateway.totals().connections_created, 1);
}

#[test]
fn a_connection_that_is_over_gives_way_to_one_the_other_way_round() {
    let mut lab = Lab::new(two_vpcs());
    let outside = |flags| tcp((SITE, 5000), (WAN, 8080), flags).frame();
    let inside = |flags| tcp((HOST, 80), (SITE, 5000), flags).frame();
    lab.through("wan", outside(TcpFlags::SYN), "blue0");
    lab.through("blue0", inside(TcpFlags::SYN | TcpFlags::ACK), "wan");
    lab.through("wan", outside(TcpFlags::RST | TcpFlags::ACK), "blue0");
    let again = lab.through("blue0", inside(TcpFlags::SYN), "wan");
    assert_eq!(again.endpoints(), (WAN, SITE));
    assert_ne!(
        again.ports().0,
        8080,
        "masqueraded, as any connection from inside"
    );
    assert_eq!(lab.gateway.totals().connections_created, 2);
}
