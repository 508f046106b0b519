//! Intents: proofs held against every packet of a small world, one by one.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::sample::select;
use rewire_schema::types::Reachability;
use rewire_schema::{Configuration, Row};
use rewire_tables::acl::{AclAction, AclDefault};
use rewire_tables::{
    AclIndex, AclKey, Crossing, PortForwardKey, Route, Tables, Traveller, VpcIndex, Way,
};
use serde_json::{Value, json};

use super::peerings::rows;
use super::{configuration, tables};
use crate::{Compiler, Counterexample, NotProven};

const VPCS: [&str; 3] = ["a", "b", "c"];
const PORTS: [u16; 2] = [80, 8080];
/// Of each of the ranges that rules may name, one.
const SOURCE_PORTS: [u16; 3] = [1000, 20_000, 49_152];

/// A VPC each with an interface, and one more way out of `a` by the other two.
fn world() -> Value {
    let interface = |n: usize| json!({ "vpc": VPCS[n], "port": format!("null:{n}"), "mac": "02:00:00:00:00:01", "addresses": [format!("172.16.{n}.1/24")] });
    json!({
        "vpcs": { "a": {}, "b": {}, "c": {} },
        "interfaces": {
            "ia": interface(0), "ib": interface(1), "ic": interface(2),
            // A second way in, which an ACL may treat otherwise.
            "ia2": { "vpc": "a", "port": "null:3", "mac": "02:00:00:00:00:01", "addresses": ["172.16.3.1/24"] },
        }
    })
}

/// A route out by an interface, or by two.
fn way_out() -> impl Strategy<Value = Vec<Row>> {
    let vpc = select(&VPCS[..]);
    let prefix = select(
        &[
            "10.0.0.0/27",
            "10.0.0.16/28",
            "10.0.0.8/30",
            "10.9.0.0/28",
            "0.0.0.0/0",
        ][..],
    );
    let hops = prop::collection::btree_set(select(&["ia", "ib", "ic"][..]), 1..3);
    (vpc, prefix, hops).prop_map(|(vpc, prefix, hops)| {
        let hops = hops.into_iter().map(|name| json!({ "interface": name }));
        let route = json!({ "next_hops": hops.collect::<Value>() });
        let mut document = world();
        document["vpcs"][vpc]["routes"] = json!({ prefix: route });
        configuration(document).rows().collect()
    })
}

/// An ACL on one interface, for packets that come in or leave; or on a peering, with a way across and out.
fn filtered() -> impl Strategy<Value = Vec<Row>> {
    const NETS: [&str; 4] = [
        "10.0.0.0/28",
        "10.0.0.8/29",
        "10.0.0.4-10.0.0.20",
        "10.9.0.3",
    ];
    let nets = || prop::collection::btree_set(select(&NETS[..]), 0..3);
    let action = select(&["allow", "deny", "reject"][..]);
    let upper = select(vec![
        json!({}),
        json!({ "protocol": "tcp", "destination_port": "80" }),
        json!({ "protocol": "udp", "destination_port": "80" }),
        json!({ "protocol": "tcp_udp", "source_port": "1-1023", "destination_port": "1000-9000" }),
        json!({ "protocol": "tcp", "source_port": "30000-65535" }),
    ]);
    let to = prop::option::of(select(&VPCS[..]));
    let rule = (action, nets(), nets(), upper, to).prop_map(|(action, from, to, upper, vpc)| {
        let mut rule = upper;
        rule["action"] = json!(action);
        for (field, nets) in [("sources", from), ("destinations", to)] {
            if !nets.is_empty() {
                rule[field] = json!(nets);
            }
        }
        if let Some(vpc) = vpc {
            rule["to"] = json!(vpc);
        }
        rule
    });
    let rules = prop::collection::vec(rule, 0..5);
    let interface = (
        select(&["ia", "ia2", "ib", "ic"][..]),
        select(&["acl_in", "acl_out"][..]),
        select(&["allow", "deny"][..]),
    );
    let peering = (
        select(&["p", "p", "q", "r"][..]),
        Just("acl"),
        select(&["allow", "deny", "deny_unless_exposed"][..]),
    );
    (prop_oneof![interface, peering], rules).prop_map(|((place, field, default), rules)| {
        let numbered = rules.into_iter().enumerate();
        let rules: serde_json::Map<String, Value> = numbered
            .map(|(at, rule)| ((10 * at + 10).to_string(), rule))
            .collect();
        let mut document = world();
        let name = format!("{place}-{field}");
        document["acls"] = json!({ &name: { "default": default, "rules": rules } });
        match field {
            "acl" => {
                let sides = match place {
                    "p" => [("a", "ia", "10.0.0.0/28"), ("b", "ib", "10.0.0.16/28")],
                    "q" => [("b", "ib", "10.0.0.16/28"), ("c", "ic", "10.9.0.0/28")],
                    _ => [("c", "ic", "10.9.0.0/28"), ("a", "ia", "10.0.0.0/28")],
                };
                document["peerings"] = json!({ place: { "acl": name, "sides": {} } });
                for (vpc, interface, net) in sides {
                    document["peerings"][place]["sides"][vpc] =
                        json!({ "expose": { "z": { "ips": [net] } } });
                    document["vpcs"][vpc]["routes"] =
                        json!({ net: { "next_hops": [{ "interface": interface }] } });
                }
            }
            _ => document["interfaces"][place][field] = json!(name),
        }
        configuration(document).rows().collect()
    })
}

fn intent(reach: &str, from: &str, to: &str, destination: &str) -> Value {
    json!({
        "from": from, "to": to, "reach": reach, "source": "10.0.0.0/27", "destination": destination,
        "protocol": "tcp", "destination_port": "80,8080"
    })
}

/// A TCP packet: sender, destination, the port that it goes to and the one that it comes from.
type Packet = (IpAddr, IpAddr, u16, u16);

/// Whether an ACL, if there is one, lets a packet pass where its default denies what is not `exposed`.
fn passes(
    tables: &Tables,
    (acl, exposed): (Option<AclIndex>, bool),
    vpcs: (VpcIndex, VpcIndex),
    packet: Packet,
) -> bool {
    let (IpAddr::V4(source), IpAddr::V4(destination), port, source_port) = packet else {
        return true;
    };
    acl.is_none_or(|acl| {
        let key = AclKey {
            from: vpcs.0,
            to: Some(vpcs.1),
            source,
            destination,
            protocol: 6,
            source_port: source_port.into(),
            destination_port: port.into(),
        };
        let (acl, verdict) = (tables.acl(acl), tables.acl(acl).lookup(&key));
        let by_default = verdict.rule.is_none() && exposed;
        verdict.decision.action == AclAction::Allow
            || by_default && acl.default_action() == AclDefault::DenyUnlessExposed
    })
}

/// Whether a packet that enters by an interface gets to a VPC by all of its next hops, and by any: each looked up by itself.
fn reaches(
    tables: &Tables,
    entrance: &str,
    from: VpcIndex,
    to: VpcIndex,
    packet: Packet,
) -> (bool, bool) {
    let nowhere = (false, false);
    let (source, destination, port, _) = packet;
    let key = PortForwardKey {
        vpc: from,
        protocol: 6,
        address: destination,
        port,
    };
    let led = match tables.nat().port_forward(&key) {
        Some(rule) => Some((rule.address, rule.vpc, rule.peering)),
        None => {
            let rule = tables.nat().static_by_external(from, destination);
            let internal = rule.and_then(|rule| rule.to_internal(destination));
            rule.zip(internal)
                .map(|(rule, internal)| (internal, rule.internal_vpc, rule.peering))
        }
    };
    let (destination, vpc, peering) = led.unwrap_or((destination, from, None));
    if peering.is_some_and(|peering| !tables.peering(peering).admits(from, source)) {
        return nowhere;
    }
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (source, destination) else {
        return nowhere;
    };
    let traveller = Traveller {
        destination,
        source: Some(source),
        crossing: peering.map(|peering| Crossing {
            peering,
            from,
            to: vpc,
        }),
    };
    match tables.way(vpc, &traveller) {
        Ok(Way {
            route: Some(Route::Forward(hops)),
            crossing,
            ..
        }) => {
            let entrance = tables
                .interfaces()
                .find(|(_, i)| &*i.name == entrance)
                .unwrap()
                .1;
            let gets_there = |hop: &rewire_tables::NextHop| {
                let exit = tables.interface(hop.interface()).unwrap();
                let passes = |acl| passes(tables, acl, (from, to), packet);
                let across = crossing.and_then(|crossing| tables.peering(crossing.peering).acl());
                exit.vpc == to
                    && passes((entrance.acl_in, false))
                    && passes((across, true))
                    && passes((exit.acl_out, false))
            };
            (hops.iter().all(gets_there), hops.iter().any(gets_there))
        }
        _ => nowhere,
    }
}

/// Every packet of an intent, as far as anything here tells them apart.
fn packets(destination: &str) -> Vec<Packet> {
    let net: ipnet::Ipv4Net = destination.parse().unwrap();
    let last = net.broadcast().to_bits();
    let mut packets = Vec::new();
    for to in net.network().to_bits()..=last {
        for from in 0..32 {
            let (from, to) = (Ipv4Addr::new(10, 0, 0, from), Ipv4Addr::from_bits(to));
            for source_port in SOURCE_PORTS {
                packets.extend(PORTS.map(|port| (from.into(), to.into(), port, source_port)));
            }
        }
    }
    packets
}

proptest! {
    // For a longer run: REWIRE_HISTORIES=10000.
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("REWIRE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(48)
    ))]

    #[test]
    fn what_is_proven_is_so_for_every_packet_and_what_is_not_has_one_that_breaks_it(
        some in prop::collection::vec(prop_oneof![2 => rows(), 2 => way_out(), 2 => filtered()], 1..14),
        (from, to) in select(&[("a", "b"), ("b", "c"), ("c", "a"), ("b", "a")][..]),
        destination in select(&["10.0.0.0/27", "10.0.0.8/29", "10.9.0.0/28"][..]),
    ) {
        let mut state = configuration(world());
        for row in some.concat() {
            // An ACL comes upon a peering that is there, or that is yet to come.
            if let Row::Peering(with) = &row
                && let Some(there) = state.peering.values_mut().find(|there| there.name == with.name)
            {
                there.acl = with.acl.clone().or(there.acl.take());
                continue;
            }
            // An ACL comes upon an interface that is there.
            if let Row::Interface(with) = &row
                && let Some(there) = state.interface.values_mut().find(|there| there.name == with.name)
            {
                there.acl_in = with.acl_in.clone().or(there.acl_in.take());
                there.acl_out = with.acl_out.clone().or(there.acl_out.take());
                continue;
            }
            drop(state.insert(row));
        }
        let mut state: Configuration = super::histories::sensible(state);
        for reach in ["never", "always"] {
            let document = json!({ "vpcs": { from: {}, to: {} }, "intents": { reach: intent(reach, from, to, destination) } });
            let rows: Vec<Row> = configuration(document).rows().collect();
            rows.into_iter().filter(|row| matches!(row, Row::Intent(_))).for_each(|row| drop(state.insert(row)));
        }
        let (compiler, compiled) = Compiler::compile(state, 1).unwrap();
        let tables = tables(&compiled.operations);
        let index = |name: &str| compiler.vpc_index(&name.parse().unwrap()).unwrap();
        let interfaces = compiler.configuration().interface.values();
        let entrances: Vec<&str> =
            interfaces.filter(|row| row.vpc.as_str() == from).map(|row| row.name.as_str()).collect();
        let (from, to) = (index(from), index(to));
        let found: Vec<(bool, bool)> = entrances
            .iter()
            .flat_map(|entrance| packets(destination).into_iter().map(|packet| (*entrance, packet)))
            .map(|(entrance, packet)| reaches(&tables, entrance, from, to, packet))
            .collect();
        let mut broken = Vec::new();
        for not_proven in compiler.prove() {
            let NotProven::Broken { reach, counterexample, .. } = not_proven else {
                panic!("{not_proven}");
            };
            let Counterexample { source, destination: to_address, source_port, destination_port, .. } = *counterexample;
            let packet = (source, to_address, destination_port.unwrap(), source_port.unwrap());
            let is_of_intent = packets(destination).iter().any(|p| (p.0, p.1, p.2) == (packet.0, packet.1, packet.2));
            prop_assert!(is_of_intent, "{:?}", packet);
            let entrance = counterexample.interface.as_str();
            prop_assert!(entrances.contains(&entrance));
            let (all, any) = reaches(&tables, entrance, from, to, packet);
            match reach {
                Reachability::Never => prop_assert!(any, "{} does not get there", counterexample),
                Reachability::Always => prop_assert!(!all, "{} gets there", counterexample),
            }
            broken.push(reach);
        }
        prop_assert_eq!(broken.contains(&Reachability::Never), found.iter().any(|(_, any)| *any));
        prop_assert_eq!(broken.contains(&Reachability::Always), !found.iter().all(|(all, _)| *all));
    }
}

#[test]
fn what_breaks_an_intent_is_told_as_a_packet_and_its_way() {
    let mut document = world();
    document["vpcs"]["a"]["routes"] = json!({ "10.9.0.0/24": { "type": "vpc", "to_vpc": "c" } });
    document["vpcs"]["c"]["routes"] =
        json!({ "10.9.0.128/25": { "next_hops": [{ "interface": "ib" }, { "interface": "ic" }] } });
    document["interfaces"]["ib"]["addresses"] = json!(["172.16.1.1/24", "2001:db8:b::1/64"]);
    document["peerings"] = json!({ "p": { "sides": {
        "a": { "expose": { "hosts": { "ips": ["10.0.0.0/24"] } } },
        "b": { "expose": {
            "net": { "ips": ["172.16.1.0/24", "2001:db8:b::/64"] },
            "web": { "nat": "static", "ips": ["172.16.1.7/32"], "as": ["192.0.2.7/32"] }
        } },
    } } });
    document["intents"] = json!({
        "apart": { "from": "a", "to": "b", "reach": "never" },
        "ssh": { "from": "a", "to": "b", "reach": "never", "protocol": "tcp", "destination_port": 22, "destination": "192.0.2.0/24" },
        "six": { "from": "a", "to": "b", "reach": "never", "source": "2001:db8::/32" },
        "nine": { "from": "a", "to": "b", "reach": "always", "destination": "10.9.0.0/16" },
        "back": { "from": "b", "to": "a", "reach": "always", "destination": "10.0.0.0/24" },
        "others": { "from": "a", "to": "b", "reach": "always", "source": "10.0.0.0/23", "destination": "172.16.1.8/30", "protocol": "udp" },
        "hosts": { "from": "a", "to": "b", "reach": "always", "source": "10.0.0.0/24", "destination": "172.16.1.8/30" },
        "strangers": { "from": "a", "to": "b", "reach": "never", "source": "10.0.1.0/24", "destination": "172.16.0.0/16" },
        "elsewhere": { "from": "c", "to": "a", "reach": "never" }
    });
    let (compiler, _) = Compiler::compile(configuration(document), 1).unwrap();
    let lines: Vec<String> = compiler.prove().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("broken", lines.join("\n"));
}

#[test]
fn acls_on_the_way_are_part_of_the_proof() {
    let mut document = world();
    document["vpcs"]["a"]["routes"] = json!({ "10.9.0.0/24": { "type": "vpc", "to_vpc": "b" } });
    document["vpcs"]["b"]["routes"] =
        json!({ "10.9.0.0/24": { "next_hops": [{ "interface": "ib" }] } });
    document["acls"] = json!({
        "door": { "default": "deny", "rules": {
            "10": { "action": "deny", "sources": ["10.0.0.66"] },
            "20": { "action": "allow", "protocol": "tcp", "destination_port": 443, "sources": ["10.0.0.0/24"] },
            "30": { "action": "allow", "protocol": "icmp", "icmp_type": 8 },
            // Carried by IPv4 as well, which nobody needs, and the data path does.
            "40": { "action": "allow", "protocol": "icmpv6", "icmp_type": 128 },
        } },
        "exit": { "default": "allow", "rules": { "10": { "action": "reject", "to": "b", "destinations": ["10.9.0.128/25"] } } },
    });
    document["interfaces"]["ia"]["acl_in"] = json!("door");
    document["interfaces"]["ia2"]["acl_in"] = json!("door");
    document["interfaces"]["ib"]["acl_out"] = json!("exit");
    let say = |more: Value| {
        let mut intent = json!({ "from": "a", "to": "b", "reach": "never" });
        for (field, value) in more.as_object().unwrap() {
            intent[field] = value.clone();
        }
        intent
    };
    // The same on a way across a peering, whose ACL comes between.
    document["acls"]["across"] = json!({ "default": "deny_unless_exposed", "rules": {
        "10": { "action": "deny", "from": "a", "protocol": "tcp", "destination_port": 443, "destinations": ["10.8.0.0/28"] },
    } });
    document["vpcs"]["b"]["routes"]["10.8.0.0/24"] =
        json!({ "next_hops": [{ "interface": "ib" }] });
    document["peerings"] = json!({ "p": { "acl": "across", "sides": {
        "a": { "expose": { "hosts": { "ips": ["10.0.0.0/25"] } } },
        "b": { "expose": { "net": { "ips": ["10.8.0.0/24"] } } },
    } } });
    document["intents"] = json!({
        "held-across": say(json!({ "destination": "10.8.0.0/28", "protocol": "tcp" })),
        "not-across": say(json!({ "destination": "10.8.0.0/24", "protocol": "tcp" })),
        "not-all-across": say(json!({ "reach": "always", "source": "10.0.0.0/26", "destination": "10.8.0.0/24", "protocol": "tcp", "destination_port": 443 })),
        "held-mail": say(json!({ "protocol": "tcp", "destination_port": 25 })),
        "held-guest": say(json!({ "source": "10.0.0.66", "protocol": "tcp" })),
        "held-far": say(json!({ "destination": "10.9.0.128/25" })),
        "held-web": say(json!({ "reach": "always", "source": "10.0.0.0/26", "destination": "10.9.0.0/25", "protocol": "tcp", "destination_port": 443 })),
        "not-all": say(json!({ "reach": "always", "source": "10.0.0.0/24", "destination": "10.9.0.0/25", "protocol": "tcp", "destination_port": 443 })),
        "not-far": say(json!({ "reach": "always", "source": "10.0.0.0/26", "destination": "10.9.0.0/24", "protocol": "tcp", "destination_port": 443 })),
        "not-mail": say(json!({ "reach": "always", "source": "10.0.0.0/26", "destination": "10.9.0.0/25", "protocol": "tcp", "destination_port": 25 })),
        "not-never": say(json!({ "source": "10.0.0.0/24" })),
        "not-quiet": say(json!({ "protocol": "icmp" })),
        "not-quiet-six": say(json!({ "source": "10.0.0.0/24", "protocol": "icmpv6" })),
    });
    let (mut compiler, _) = Compiler::compile(configuration(document.clone()), 1).unwrap();
    let lines: Vec<String> = compiler.prove().iter().map(ToString::to_string).collect();
    insta::assert_snapshot!("acls", lines.join("\n"));
    // A second way in that nobody guards.
    document["interfaces"]["ia2"]
        .as_object_mut()
        .unwrap()
        .remove("acl_in");
    compiler = Compiler::compile(configuration(document), 1).unwrap().0;
    let held = compiler.prove();
    let broken = held
        .iter()
        .find(|broken| broken.path().to_string() == "intents.held-mail");
    let text = broken.map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("enters ia2"), "{text}");
}

#[test]
fn what_cannot_be_reasoned_about_is_refused_by_name() {
    let mut document = world();
    document["intents"] = json!({ "apart": { "from": "a", "to": "b", "reach": "never" } });
    document["route_sources"] =
        json!({ "frr": { "listen": "127.0.0.1:2620", "vpcs": { "c": { "table": 3 } } } });
    let (compiler, _) = Compiler::compile(configuration(document.clone()), 1).unwrap();
    // No packet of `a` is looked up in `c`.
    assert_eq!(compiler.prove(), []);
    document["vpcs"]["a"]["routes"] = json!({ "10.9.0.0/24": { "type": "vpc", "to_vpc": "c" } });
    let (compiler, _) = Compiler::compile(configuration(document), 1).unwrap();
    let lines: Vec<String> = compiler.prove().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "intents.apart: this cannot be proven yet: route source \"frr\" makes routes on the way that no revision holds"
        ]
    );
}
