//! Connections from inside to external addresses of the gateway's own (RFC 4787, REQ-9): both ends see external addresses.

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_dataplane::DropReason;
use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::tcp::TcpFlags;
use support::*;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 11);
const MAIL: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 20);
const MAIL_OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

/// Two VPCs behind one address, whose hosts are known.
fn known() -> serde_json::Value {
    let mut document = two_vpcs();
    let mac = json!({ "mac": HOST_MAC.to_string() });
    for (interface, address) in [
        ("blue0", "10.1.0.11"),
        ("blue0", "10.1.0.20"),
        ("blue0", "fd00:1::11"),
        ("red0", "10.2.0.10"),
    ] {
        document["interfaces"][interface]["neighbors"][address] = mac.clone();
    }
    document
}

#[test]
fn a_port_forward_is_reached_from_inside_and_its_replies_come_back() {
    let mut lab = Lab::new(known());
    let syn = tcp((OTHER, 5000), (WAN, 8080), TcpFlags::SYN);
    let there = lab.through("blue0", syn.frame(), "blue0");
    assert_eq!(there.endpoints(), (WAN, HOST), "the source is external");
    let (port, 80) = there.ports() else {
        panic!("{there:?}")
    };
    assert_eq!(there.ttl, 63);
    let syn_ack = tcp((HOST, 80), (WAN, port), TcpFlags::SYN | TcpFlags::ACK);
    let back = lab.through("blue0", syn_ack.frame(), "blue0");
    assert_eq!(
        (back.endpoints(), back.ports()),
        ((WAN, OTHER), (8080, 5000))
    );
    let ack = tcp((OTHER, 5000), (WAN, 8080), TcpFlags::ACK);
    let there = lab.through("blue0", ack.frame(), "blue0");
    assert_eq!(
        (there.endpoints(), there.ports()),
        ((WAN, HOST), (port, 80))
    );
    assert_eq!(lab.gateway.totals().connections, 1);
    // Another policy that still allows it keeps it.
    let mut changed = known();
    changed["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(changed.clone());
    let again = lab.through("blue0", ack.frame(), "blue0");
    assert_eq!(again.ports(), (port, 80));
    assert_eq!(lab.gateway.totals().connections_kept, 1);
    // And one that leads elsewhere ends it.
    changed["nat"]["port_forward"]["web"]["internal_port"] = json!(81);
    lab.commit(changed);
    let new = lab.through("blue0", ack.frame(), "blue0");
    assert_eq!(new.ports().1, 81);
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
}

#[test]
fn from_another_vpc_and_to_a_static_translation_too() {
    let mut lab = Lab::new(known());
    let there = lab.through(
        "red0",
        udp((RED_HOST, 25), (MAIL_OUTSIDE, 25), 3).frame(),
        "blue0",
    );
    assert_eq!(there.endpoints(), (WAN, MAIL));
    let port = there.ports().0;
    let back = lab.through("blue0", udp((MAIL, 25), (WAN, port), 3).frame(), "red0");
    assert_eq!(
        (back.endpoints(), back.ports()),
        ((MAIL_OUTSIDE, RED_HOST), (25, 25))
    );
    // Whose own address is translated one to one has its external address here as there.
    let there = lab.through(
        "blue0",
        tcp((MAIL, 30), (WAN, 8080), TcpFlags::SYN).frame(),
        "blue0",
    );
    assert_eq!(
        (there.endpoints(), there.ports()),
        ((MAIL_OUTSIDE, HOST), (30, 80))
    );
    // Queries, too, and both identifiers are one.
    let ping = lab.through("blue0", echo(OTHER, MAIL_OUTSIDE, 77).frame(), "blue0");
    assert_eq!(ping.endpoints(), (WAN, MAIL));
    let L4::Icmp(Icmpv4Repr::EchoRequest { identifier, .. }, _) = ping.transport else {
        panic!("{ping:?}")
    };
    let reply = Icmpv4Repr::EchoReply {
        identifier,
        sequence: 1,
    };
    let back = lab.through("blue0", icmp(MAIL, WAN, reply, b"ping").frame(), "blue0");
    assert_eq!(back.endpoints(), (MAIL_OUTSIDE, OTHER));
    let expected = Icmpv4Repr::EchoReply {
        identifier: 77,
        sequence: 1,
    };
    assert!(matches!(back.transport, L4::Icmp(repr, _) if repr == expected));
    // The sweep holds all of them against a new policy.
    let mut changed = known();
    changed["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(changed);
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_kept, 3);
}

#[test]
fn of_ipv6_as_well() {
    let mut lab = Lab::new(known());
    let other = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);
    let syn = v6::tcp((other, 5000), (v6::WAN, 8080), TcpFlags::SYN);
    let there = v6::Ip::of(&lab.one("blue0", syn.frame(), "blue0"));
    assert_eq!((there.source, there.destination), (v6::WAN, v6::HOST));
    let port = there.ports().0;
    let syn_ack = v6::tcp(
        (v6::HOST, 80),
        (v6::WAN, port),
        TcpFlags::SYN | TcpFlags::ACK,
    );
    let back = v6::Ip::of(&lab.one("blue0", syn_ack.frame(), "blue0"));
    assert_eq!((back.source, back.destination), (v6::WAN, other));
    assert_eq!(back.ports(), (8080, 5000));
}

#[test]
fn what_nothing_leads_elsewhere_ends_here() {
    let mut lab = Lab::new(known());
    // To another port of the external address: it comes back, and nothing is there.
    let syn = tcp((OTHER, 5000), (WAN, 9), TcpFlags::SYN);
    lab.dropped("blue0", syn.frame(), DropReason::LocalNoService);
    // From who is not translated, it leaves as any other.
    let mut plain = known();
    plain["nat"]["masquerade"]["blue-out"]["sources"] = json!(["10.1.0.128/25"]);
    let mut lab = Lab::new(plain);
    let out = lab.through("blue0", syn.frame(), "wan");
    assert_eq!(out.endpoints(), (OTHER, WAN));
}

/// What hosts behind the gateway say to one another by their external endpoints: who says it, and the way back.
fn talk(lab: &mut Lab, links: [&str; 2], a: (Ipv4Addr, u16), b: (Ipv4Addr, u16)) {
    let there = lab.through(links[0], udp(a, (WAN, b.1), 3).frame(), links[1]);
    assert_eq!((there.endpoints(), there.ports()), ((WAN, b.0), (a.1, b.1)));
    assert_eq!(there.ttl, 62, "out and in again");
    let back = lab.through(links[1], udp(b, (WAN, a.1), 3).frame(), links[0]);
    assert_eq!((back.endpoints(), back.ports()), ((WAN, a.0), (b.1, a.1)));
}

#[test]
fn another_hosts_mapping_is_reached_by_its_external_endpoint() {
    let mut open = known();
    for rule in ["blue-out", "red-out"] {
        open["nat"]["masquerade"][rule]["filtering"] = json!("endpoint_independent");
    }
    let mut lab = Lab::new(open.clone());
    lab.through("blue0", udp((HOST, 4000), (SITE, 53), 3).frame(), "wan");
    // In one VPC, and from another one; the sender has a mapping by this alone.
    talk(&mut lab, ["blue0", "blue0"], (OTHER, 5000), (HOST, 4000));
    talk(&mut lab, ["red0", "blue0"], (RED_HOST, 6000), (HOST, 4000));
    // Each end has its connection, and a policy that still allows them leaves them alone.
    assert_eq!(lab.gateway.totals().connections, 5);
    open["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(open.clone());
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_kept, 5);
    talk(&mut lab, ["red0", "blue0"], (RED_HOST, 6000), (HOST, 4000));
    // What the other end says of it comes to the sender (RFC 5508, REQ-7).
    let there = lab.through(
        "red0",
        udp((RED_HOST, 6000), (WAN, 4000), 3).frame(),
        "blue0",
    );
    let sent = udp((WAN, 6000), (HOST, 4000), 3).ttl(there.ttl).packet();
    let unreachable = Icmpv4Repr::Error(Icmpv4Error::PortUnreachable);
    let error = icmp(HOST, WAN, unreachable, &sent[..28]);
    let told = lab.through("blue0", error.frame(), "red0");
    assert_eq!(told.endpoints(), (WAN, RED_HOST));
    let L4::Icmp(_, quoted) = &told.transport else {
        panic!("{told:?}")
    };
    assert_eq!(quoted[12..20], [RED_HOST.octets(), WAN.octets()].concat());
    assert_eq!(
        quoted[20..24],
        [6000_u16.to_be_bytes(), 4000_u16.to_be_bytes()].concat()
    );
    // The filtering is that of any packet from outside.
    open["nat"]["masquerade"]["blue-out"]["filtering"] = json!("address_and_port_dependent");
    lab.commit(open);
    let late = udp((RED_HOST, 6000), (WAN, 4000), 3);
    assert!(lab.send("red0", late.frame()).is_empty());
}

#[test]
fn behind_strict_filters_both_have_to_speak_first() {
    let mut lab = Lab::new(known());
    let packet = |from, to| udp(from, (WAN, to), 3).frame();
    assert!(lab.send("blue0", packet((HOST, 4000), 5000)).is_empty());
    let there = lab.through("blue0", packet((OTHER, 5000), 4000), "blue0");
    assert_eq!(
        (there.endpoints(), there.ports()),
        ((WAN, HOST), (5000, 4000))
    );
    talk(&mut lab, ["blue0", "blue0"], (HOST, 4000), (OTHER, 5000));
}

#[test]
fn mappings_are_reached_within_one_vpc_too() {
    let mut document = home(&["10.1.0.0/24"]);
    document["nat"]["masquerade"]["out"]["filtering"] = json!("endpoint_independent");
    let mut lab = Lab::new(document.clone());
    lab.through("lan", udp((HOST, 4000), (SITE, 53), 3).frame(), "wan");
    talk(&mut lab, ["lan", "lan"], (OTHER, 5000), (HOST, 4000));
    assert_eq!(lab.gateway.totals().connections, 3);
    document["interfaces"]["lan"]["mtu"] = json!(1400);
    lab.commit(document);
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_kept, 3);
    talk(&mut lab, ["lan", "lan"], (OTHER, 5000), (HOST, 4000));
    // Pings to the gateway's own address are for it.
    let answer = lab.through("lan", echo(OTHER, WAN, 7).frame(), "lan");
    assert_eq!(answer.endpoints(), (WAN, OTHER));
}

/// A router with one VPC, as at home.
fn home(sources: &[&str]) -> serde_json::Value {
    json!({
        "vpcs": { "home": { "routes": {
            "0.0.0.0/0": { "next_hops": [{ "interface": "wan", "via": "203.0.113.2" }] }
        } } },
        "interfaces": {
            "lan": {
                "vpc": "home", "port": "null:lan", "mac": BLUE_MAC.to_string(), "addresses": ["10.1.0.1/24"],
                "neighbors": {
                    "10.1.0.10": { "mac": HOST_MAC.to_string() }, "10.1.0.11": { "mac": HOST_MAC.to_string() }
                },
            },
            "wan": {
                "vpc": "home", "port": "null:wan", "mac": WAN_MAC.to_string(), "addresses": ["203.0.113.1/24"],
                "neighbors": { "203.0.113.2": { "mac": UPSTREAM_MAC.to_string() } },
            },
        },
        "nat": {
            "masquerade": { "out": { "vpc": "home", "interface": "wan", "sources": sources } },
            "port_forward": { "web": {
                "protocol": "tcp", "external_vpc": "home", "external_interface": "wan", "external_port": 8080,
                "internal_vpc": "home", "internal_address": "10.1.0.10", "internal_port": 80,
            } },
        },
    })
}

#[test]
fn within_one_vpc_the_source_is_that_of_the_way_out() {
    for sources in [["10.1.0.0/24"], ["0.0.0.0/0"]] {
        let mut lab = Lab::new(home(&sources));
        let syn = tcp((OTHER, 5000), (WAN, 8080), TcpFlags::SYN);
        let there = lab.through("lan", syn.frame(), "lan");
        assert_eq!(there.endpoints(), (WAN, HOST));
        let port = there.ports().0;
        let syn_ack = tcp((HOST, 80), (WAN, port), TcpFlags::SYN | TcpFlags::ACK);
        let back = lab.through("lan", syn_ack.frame(), "lan");
        assert_eq!(
            (back.endpoints(), back.ports()),
            ((WAN, OTHER), (8080, 5000))
        );
        // Who comes from outside is seen as he is.
        let syn = tcp((SITE, 5000), (WAN, 8080), TcpFlags::SYN);
        assert_eq!(
            lab.through("wan", syn.frame(), "lan").endpoints(),
            (SITE, HOST)
        );
        let mut changed = home(&sources);
        changed["interfaces"]["lan"]["mtu"] = json!(1400);
        lab.commit(changed);
        (0..10).for_each(|_| drop(lab.burst([])));
        let totals = lab.gateway.totals();
        assert_eq!(
            (totals.connections_kept, totals.connections_ended_by_policy),
            (2, 0)
        );
    }
}

#[test]
fn a_sender_without_a_port_left_hears_so() {
    let mut document = known();
    document["nat"]["masquerade"]["blue-out"]["ports"] = json!("2000");
    let mut lab = Lab::new(document);
    lab.through("blue0", udp((OTHER, 1), (SITE, 53), 0).frame(), "wan");
    let answer = lab.through("blue0", udp((HOST, 1), (SITE, 53), 0).frame(), "blue0");
    let L4::Icmp(Icmpv4Repr::Error(error), _) = answer.transport else {
        panic!("{answer:?}")
    };
    assert_eq!(
        error,
        Icmpv4Error::CommunicationProhibited,
        "RFC 5508, REQ-8"
    );
    assert_eq!(lab.gateway.dropped_for(DropReason::NatPortsExhausted), 1);
    // And who runs the gateway does, once a second.
    for port in 2..9 {
        lab.send("blue0", udp((HOST, port), (SITE, 53), 0).frame());
    }
    let logged = lab.gateway.take_exhausted();
    let said: Vec<_> = logged
        .iter()
        .map(|entry| (&*entry.rule, entry.source))
        .collect();
    assert_eq!(said, [("blue-out", HOST.into())]);
    lab.wait(std::time::Duration::from_secs(2));
    lab.send("blue0", udp((HOST, 9), (SITE, 53), 0).frame());
    assert_eq!(lab.gateway.take_exhausted().len(), 1);
}
