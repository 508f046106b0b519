//! Packets of NAT64 clients to the external addresses of their own gateway (RFC 6146, section 3.8): both ends see addresses behind the
//! prefix.

mod support;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_dataplane::DropReason;
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::tcp::TcpFlags;
use support::nat64::{EXTERNAL, behind, document, down};
use support::v6::{self, HOST};
use support::{HOST_MAC, Lab, SITE, WAN, json};

const OTHER: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);

/// Two clients in blue, whose mappings let this in.
fn with(filtering: &str) -> serde_json::Value {
    let mut document = document();
    document["nat"]["nat64"]["own"]["filtering"] = json!(filtering);
    for address in ["fd00:1::11", "10.1.0.20"] {
        document["interfaces"]["blue0"]["neighbors"][address] =
            json!({ "mac": HOST_MAC.to_string() });
    }
    document
}

fn udp(from: (Ipv6Addr, u16), to: u16) -> Vec<u8> {
    v6::udp(from, (behind(EXTERNAL), to), 8).frame()
}

/// What two clients say to one another by their external endpoints, whose ports are their own.
fn talk(lab: &mut Lab, a: (Ipv6Addr, u16), b: (Ipv6Addr, u16)) {
    for (from, to) in [(a, b), (b, a)] {
        let seen = lab.through6("blue0", udp(from, to.1), "blue0");
        assert_eq!(seen.endpoints(), (behind(EXTERNAL), to.0));
        assert_eq!(seen.ports(), (from.1, to.1));
        assert_eq!(seen.hop_limit, 62, "out and in again");
    }
}

#[test]
fn another_clients_mapping_is_reached_by_its_external_endpoint() {
    let mut lab = Lab::new(with("endpoint_independent"));
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    // The sender has a mapping by this alone.
    talk(&mut lab, (OTHER, 5000), (HOST, 4000));
    let totals = lab.gateway.totals();
    assert_eq!((totals.connections, totals.mappings), (3, 2));
    assert!(lab.gateway.graph().connections4().is_empty());
    // A policy that still allows them leaves them alone.
    let mut changed = with("endpoint_independent");
    changed["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(changed);
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_kept, 3);
    talk(&mut lab, (OTHER, 5000), (HOST, 4000));
    // One that does not ends the connection from outside; the others are those of either host.
    lab.commit(with("address_and_port_dependent"));
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_ended_by_policy, 1);
    lab.dropped("blue0", udp((OTHER, 5000), 4000), DropReason::NatNoMapping);
}

#[test]
fn tcp_opens_between_two_clients() {
    let mut lab = Lab::new(with("endpoint_independent"));
    let segment = |from, to, flags| v6::tcp(from, (behind(EXTERNAL), to), flags).frame();
    down(
        &mut lab,
        v6::tcp((HOST, 80), (behind(SITE), 53), TcpFlags::SYN).frame(),
    );
    let steps = [
        ((OTHER, 5000), 80, TcpFlags::SYN),
        ((HOST, 80), 5000, TcpFlags::SYN | TcpFlags::ACK),
        ((OTHER, 5000), 80, TcpFlags::ACK),
    ];
    for (from, to, flags) in steps {
        let seen = lab.through6("blue0", segment(from, to, flags), "blue0");
        assert_eq!(seen.source, behind(EXTERNAL));
        assert_eq!(seen.transport, v6::L4::Tcp(from.1, to, flags));
    }
    let graph = lab.gateway.graph();
    let connections = graph.connections6().iter();
    let mut states: Vec<String> = connections.map(|(_, f)| f.state.to_string()).collect();
    states.sort();
    assert_eq!(states, ["established", "established", "syn_sent"]);
    // Nothing begins with a reset.
    let late = segment((OTHER, 5001), 80, TcpFlags::RST);
    lab.dropped("blue0", late, DropReason::ConnectionInvalid);
}

/// A query has one identifier: so it reaches a mapping at another external address, of the identifier that its sender was given.
#[test]
fn pings_reach_the_mapping_of_an_identifier() {
    let mut document = with("endpoint_independent");
    document["nat"]["pools"]["shared"]["ranges"] = json!(["203.0.113.64-203.0.113.65"]);
    for last in 0x10..0x20 {
        document["interfaces"]["blue0"]["neighbors"][format!("fd00:1::{last:x}")] =
            json!({ "mac": HOST_MAC.to_string() });
    }
    let mut lab = Lab::new(document);
    let mut given = BTreeMap::new();
    for last in 0x10..0x20 {
        let client = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, last);
        let out = down(&mut lab, v6::echo(client, behind(SITE), 7).frame());
        given.entry(out.source).or_insert(client);
    }
    let [(one, a), (other, b)] = Vec::from_iter(given)[..] else {
        panic!("both addresses are given out")
    };
    let ping = v6::echo(a, behind(other), 7).frame();
    let there = lab.through6("blue0", ping, "blue0");
    assert_eq!(there.endpoints(), (behind(one), b));
    let v6::L4::Icmp(
        Icmpv6Repr::EchoRequest {
            identifier: 7,
            sequence,
        },
        data,
    ) = there.transport
    else {
        panic!("{there:?}")
    };
    let answer = Icmpv6Repr::EchoReply {
        identifier: 7,
        sequence,
    };
    let sent = v6::icmp(b, behind(one), answer, &data);
    let back = lab.through6("blue0", sent.frame(), "blue0");
    assert_eq!(back.endpoints(), (behind(other), a));
    assert_eq!(back.transport, v6::L4::Icmp(answer, data));
}

#[test]
fn behind_strict_filters_both_have_to_speak_first() {
    let mut lab = Lab::new(with("address_and_port_dependent"));
    lab.dropped("blue0", udp((HOST, 4000), 5000), DropReason::NatNoMapping);
    let there = lab.through6("blue0", udp((OTHER, 5000), 4000), "blue0");
    assert_eq!(there.endpoints(), (behind(EXTERNAL), HOST));
    talk(&mut lab, (HOST, 4000), (OTHER, 5000));
    assert_eq!(lab.gateway.totals().connections, 2);
}

#[test]
fn behind_filters_by_address_the_other_has_to_have_spoken_to_any_client() {
    let mut lab = Lab::new(with("address_dependent"));
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    lab.dropped("blue0", udp((OTHER, 5000), 4000), DropReason::NatNoMapping);
    // To the external address, whoever is there.
    lab.dropped("blue0", udp((HOST, 4000), 9), DropReason::NatNoMapping);
    let there = lab.through6("blue0", udp((OTHER, 5000), 4000), "blue0");
    assert_eq!(there.endpoints(), (behind(EXTERNAL), HOST));
}

/// What the other client says about what it got reaches who sent it, as an error about what that had sent.
#[test]
fn errors_come_back_to_the_sender() {
    let mut lab = Lab::new(with("endpoint_independent"));
    down(
        &mut lab,
        v6::udp((HOST, 4000), (behind(SITE), 53), 0).frame(),
    );
    let sent = v6::udp((OTHER, 5000), (behind(EXTERNAL), 4000), 8);
    let delivered = lab.one("blue0", sent.clone().frame(), "blue0");
    let error = Icmpv6Repr::Error(Icmpv6Error::PortUnreachable);
    let message = v6::icmp(HOST, behind(EXTERNAL), error, &delivered[14..]);
    let heard = lab.through6("blue0", message.frame(), "blue0");
    assert_eq!(heard.endpoints(), (behind(EXTERNAL), OTHER));
    let v6::L4::Icmp(Icmpv6Repr::Error(Icmpv6Error::PortUnreachable), quoted) = heard.transport
    else {
        panic!("{heard:?}")
    };
    let mut expected = sent.packet();
    expected[7] -= 2;
    assert_eq!(quoted, expected);
}

/// IPv4's own NAT at an external address is reached, too: it cannot be told from a server outside.
#[test]
fn port_forwards_and_static_translations_of_ipv4_are_reached() {
    let mut lab = Lab::new(with("address_and_port_dependent"));
    let web = v6::tcp((HOST, 4000), (behind(WAN), 8080), TcpFlags::SYN);
    let there = lab.through("blue0", web.frame(), "blue0");
    assert_eq!(
        (there.endpoints(), there.ports()),
        ((EXTERNAL, support::HOST), (4000, 80))
    );
    let flags = TcpFlags::SYN | TcpFlags::ACK;
    let answer = support::tcp((support::HOST, 80), (EXTERNAL, 4000), flags);
    let back = lab.through6("blue0", answer.frame(), "blue0");
    assert_eq!(back.endpoints(), (behind(WAN), HOST));
    assert_eq!(back.transport, v6::L4::Tcp(8080, 4000, flags));
    let mail = Ipv4Addr::new(203, 0, 113, 9);
    let sent = v6::udp((HOST, 4001), (behind(mail), 25), 0);
    let there = lab.through("blue0", sent.frame(), "blue0");
    assert_eq!(
        (there.endpoints(), there.ports()),
        ((EXTERNAL, Ipv4Addr::new(10, 1, 0, 20)), (4001, 25))
    );
    // Each is a connection of IPv6's table and one of IPv4's; a change of policy keeps them.
    let mut changed = with("address_and_port_dependent");
    changed["vpcs"]["red"]["routes"]["192.0.2.0/24"] = json!({ "type": "blackhole" });
    lab.commit(changed);
    (0..10).for_each(|_| drop(lab.burst([])));
    assert_eq!(lab.gateway.totals().connections_kept, 4);
    // What else is for the gateway's own address is for nobody.
    let other = v6::tcp((HOST, 4000), (behind(WAN), 22), TcpFlags::SYN);
    lab.dropped("blue0", other.frame(), DropReason::LocalNoService);
}

/// Each way is a hop, and the last one is told of in its sender's family.
#[test]
fn hops_run_out() {
    let mut lab = Lab::new(with("endpoint_independent"));
    let packet = v6::udp((HOST, 4000), (behind(EXTERNAL), 4001), 0).hops(1);
    let answer = lab.through6("blue0", packet.frame(), "blue0");
    assert_eq!(answer.error(), Icmpv6Error::HopLimitExceeded);
}

/// ACLs see it leave and come in by the interface that the pool's addresses are on.
#[test]
fn acls_see_it_leave_and_come_in() {
    let mut document = with("endpoint_independent");
    document["acls"] = json!({
        "in": { "default": "allow", "rules": {
            "10": { "action": "deny", "sources": ["203.0.113.64"], "destination_port": 4001, "protocol": "udp" },
        } },
        "out": { "default": "allow", "rules": {
            "10": { "action": "reject", "destinations": ["203.0.113.64"], "destination_port": 4002, "protocol": "udp" },
        } },
    });
    document["interfaces"]["wan"]["acl_in"] = json!("in");
    document["interfaces"]["wan"]["acl_out"] = json!("out");
    let mut lab = Lab::new(document);
    for port in 4000..4003 {
        let out = v6::udp((HOST, port), (behind(SITE), 53), 0);
        down(&mut lab, out.frame());
    }
    talk(&mut lab, (OTHER, 5000), (HOST, 4000));
    lab.dropped("blue0", udp((OTHER, 5000), 4001), DropReason::AclInDenied);
    let refused = lab.through6("blue0", udp((OTHER, 5000), 4002), "blue0");
    assert_eq!(refused.error(), Icmpv6Error::AdministrativelyProhibited);
}
