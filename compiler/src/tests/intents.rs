//! Intents: proofs held against every packet of a small world, one by one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use rewire_schema::types::Reachability;
use rewire_schema::{Configuration, Row};
use rewire_tables::{Crossing, PortForwardKey, Route, Tables, Traveller, VpcIndex};
use serde_json::{Value, json};

use super::peerings::rows;
use super::{configuration, tables};
use crate::{Compiler, NotProven};

const VPCS: [&str; 3] = ["a", "b", "c"];
const PORTS: [u16; 2] = [80, 8080];

/// A VPC each with an interface, and one more way out of `a` by the other two.
fn world() -> Value {
    let interface = |n: usize| json!({ "vpc": VPCS[n], "port": format!("null:{n}"), "mac": "02:00:00:00:00:01", "addresses": [format!("172.16.{n}.1/24")] });
    json!({
        "vpcs": { "a": {}, "b": {}, "c": {} },
        "interfaces": { "ia": interface(0), "ib": interface(1), "ic": interface(2) }
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

fn intent(reach: &str, from: &str, to: &str, destination: &str) -> Value {
    json!({
        "from": from, "to": to, "reach": reach, "source": "10.0.0.0/27", "destination": destination,
        "protocol": "tcp", "destination_port": "80,8080"
    })
}

/// Whether a packet gets to a VPC by all of its next hops, and by any: each looked up by itself.
fn reaches(
    tables: &Tables,
    from: VpcIndex,
    to: VpcIndex,
    packet: (IpAddr, IpAddr, u16),
) -> (bool, bool) {
    let nowhere = (false, false);
    let (source, destination, port) = packet;
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
            rule.map(|rule| (rule.internal, rule.internal_vpc, rule.peering))
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
    match tables.way(vpc, &traveller).map(|way| way.route) {
        Ok(Some(Route::Forward(hops))) => {
            let vpc_of =
                |hop: &rewire_tables::NextHop| tables.interface(hop.interface()).unwrap().vpc;
            (
                hops.iter().all(|hop| vpc_of(hop) == to),
                hops.iter().any(|hop| vpc_of(hop) == to),
            )
        }
        _ => nowhere,
    }
}

/// Every packet of an intent.
fn packets(destination: &str) -> Vec<(IpAddr, IpAddr, u16)> {
    let net: ipnet::Ipv4Net = destination.parse().unwrap();
    let last = net.broadcast().to_bits();
    let mut packets = Vec::new();
    for to in net.network().to_bits()..=last {
        for from in 0..32 {
            let (from, to) = (Ipv4Addr::new(10, 0, 0, from), Ipv4Addr::from_bits(to));
            packets.extend(PORTS.map(|port| (from.into(), to.into(), port)));
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
        some in prop::collection::vec(prop_oneof![rows(), way_out()], 1..14),
        (from, to) in select(&[("a", "b"), ("b", "c"), ("c", "a"), ("b", "a")][..]),
        destination in select(&["10.0.0.0/27", "10.0.0.8/29", "10.9.0.0/28"][..]),
    ) {
        let mut state = configuration(world());
        some.concat().into_iter().for_each(|row| drop(state.insert(row)));
        let mut state: Configuration = super::histories::sensible(state);
        for reach in ["never", "always"] {
            let document = json!({ "vpcs": { from: {}, to: {} }, "intents": { reach: intent(reach, from, to, destination) } });
            let rows: Vec<Row> = configuration(document).rows().collect();
            rows.into_iter().filter(|row| matches!(row, Row::Intent(_))).for_each(|row| drop(state.insert(row)));
        }
        let (compiler, compiled) = Compiler::compile(state, 1).unwrap();
        let tables = tables(&compiled.operations);
        let index = |name: &str| compiler.vpc_index(&name.parse().unwrap()).unwrap();
        let (from, to) = (index(from), index(to));
        let found: Vec<(bool, bool)> =
            packets(destination).into_iter().map(|packet| reaches(&tables, from, to, packet)).collect();
        let mut broken = Vec::new();
        for not_proven in compiler.prove() {
            let NotProven::Broken { reach, counterexample, .. } = not_proven else {
                panic!("{not_proven}");
            };
            let packet = (counterexample.source, counterexample.destination, counterexample.destination_port.unwrap());
            prop_assert!(packets(destination).contains(&packet), "{:?}", packet);
            let (all, any) = reaches(&tables, from, to, packet);
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
fn what_cannot_be_reasoned_about_is_refused_by_name() {
    let mut document = world();
    document["intents"] = json!({ "apart": { "from": "a", "to": "b", "reach": "never" } });
    let (compiler, _) = Compiler::compile(configuration(document.clone()), 1).unwrap();
    assert_eq!(compiler.prove(), []);
    // As the whole model has it: this dataplane refuses it ahead of that.
    let mut compiler = compiler;
    for row in Arc::make_mut(&mut compiler.state.configuration)
        .interface
        .values_mut()
    {
        row.acl_in = Some("guard".parse().unwrap());
    }
    let lines: Vec<String> = compiler.prove().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        ["intents.apart: this cannot be proven yet: interface \"ia\" has an ACL"]
    );
}
