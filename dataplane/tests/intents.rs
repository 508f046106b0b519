//! What a proof says breaks an intent, put through the data path as a packet.

mod support;

use proptest::prelude::*;
use proptest::sample::select;
use rewire_compiler::{Compiler, Counterexample, NotProven};
use rewire_packet::tcp::TcpFlags;
use rewire_schema::from_document;
use rewire_schema::types::Reachability;
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use support::*;

const NAMES: [&str; 3] = ["blue", "red", "internet"];

/// A part of a configuration that leads packets from one VPC to another, or does not.
fn part() -> impl Strategy<Value = Value> {
    let vpc = || select(&NAMES[..]);
    let prefix = || {
        select(
            &[
                "10.1.0.0/24",
                "10.2.0.0/24",
                "10.2.0.0/28",
                "10.9.0.0/28",
                "0.0.0.0/0",
            ][..],
        )
    };
    let leak = (vpc(), prefix(), vpc()).prop_map(|(from, prefix, to)| {
        let route = match from == to {
            true => json!({ "type": "blackhole" }),
            false => json!({ "type": "vpc", "to_vpc": to }),
        };
        json!({ "vpcs": { from: { "routes": { prefix: route } } } })
    });
    let nat = select(&["", "static", "masquerade", "port_forward"][..]);
    let peering = (prefix(), prefix(), nat).prop_map(|(blue, red, nat)| {
        let mut expose = json!({ "ips": [red] });
        if !nat.is_empty() {
            expose = json!({ "nat": nat, "ips": ["10.2.0.10/32"], "as": ["10.9.0.3/32"] });
        }
        if nat == "port_forward" {
            expose["ports"] = json!([{ "protocol": "tcp", "port": 80, "as": 8080 }]);
        }
        json!({ "peerings": { "p": { "sides": {
            "blue": { "expose": { "hosts": { "ips": [blue], "not": ["10.1.0.128/25"] } } },
            "red": { "expose": { "hosts": expose } },
        } } } })
    });
    let guarded = (peering.clone(), acl_of(Just(("p", "acl"))));
    let guarded = guarded.prop_map(|(mut peering, acl)| {
        merge(&mut peering, acl);
        peering
    });
    let on_interface = (
        select(&["blue0", "red0", "wan"][..]),
        select(&["acl_in", "acl_out"][..]),
    );
    prop_oneof![2 => leak, 2 => peering, 1 => acl_of(on_interface), 2 => guarded]
}

/// An ACL on an interface, or on the peering.
fn acl_of(
    place: impl Strategy<Value = (&'static str, &'static str)>,
) -> impl Strategy<Value = Value> {
    let action = || select(&["allow", "deny", "reject"][..]);
    let addresses = select(vec![
        json!({}),
        json!({ "sources": ["10.1.0.0/25"] }),
        json!({ "destinations": ["10.9.0.3", "10.2.0.0/24"] }),
    ]);
    let upper = select(vec![
        json!({}),
        json!({ "protocol": "tcp", "destination_port": "8000-9000" }),
        json!({ "protocol": "tcp", "source_port": "1024-49151" }),
        json!({ "protocol": "icmp" }),
    ]);
    let rule = (action(), addresses, upper).prop_map(|(action, mut rule, upper)| {
        merge(&mut rule, upper);
        rule["action"] = json!(action);
        rule
    });
    let rules = prop::collection::vec(rule, 0..4);
    let default = select(&["allow", "deny", "deny_unless_exposed"][..]);
    (place, rules, default).prop_map(|((place, field), rules, default)| {
        let numbered = rules.into_iter().enumerate();
        let rules: serde_json::Map<String, Value> = numbered
            .map(|(at, rule)| ((10 * at + 10).to_string(), rule))
            .collect();
        let name = format!("{place}-{field}");
        // One that knows of peerings is for them alone.
        let (kind, default) = match (field, default) {
            ("acl", _) => ("peerings", default),
            (_, "deny_unless_exposed") => ("interfaces", "deny"),
            (_, default) => ("interfaces", default),
        };
        json!({
            "acls": { &name: { "default": default, "rules": rules } },
            kind: { place: { field: name } },
        })
    })
}

fn merge(into: &mut Value, part: Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (key, value) in part {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part,
    }
}

fn frame(packet: &Counterexample, from: &str) -> Vec<u8> {
    let (IpAddr::V4(source), IpAddr::V4(destination)) = (packet.source, packet.destination) else {
        panic!("{packet}");
    };
    assert_eq!(packet.protocol, 6, "{packet}");
    let ports = packet.source_port.zip(packet.destination_port);
    let (source_port, port) = ports.expect("TCP has ports");
    let mut frame = tcp((source, source_port), (destination, port), TcpFlags::SYN).frame();
    // Whoever of the VPC sends it, it is for the gateway.
    let mac = match from {
        "blue" => BLUE_MAC,
        "red" => RED_MAC,
        _ => WAN_MAC,
    };
    frame[..6].copy_from_slice(&mac.0);
    frame
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(
        std::env::var("REWIRE_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(48)
    ))]

    #[test]
    fn a_counterexample_really_does_what_is_said_of_it(
        parts in prop::collection::vec(part(), 0..8),
        (from, to) in select(&[("blue", "red"), ("red", "blue"), ("blue", "internet"), ("internet", "blue")][..]),
    ) {
        let mut document = two_vpcs();
        parts.into_iter().for_each(|part| merge(&mut document, part));
        for reach in ["never", "always"] {
            for (name, destination) in [("all", "10.0.0.0/8"), ("seen", "10.9.0.0/28"), ("red", "10.2.0.0/24")] {
                let intent = json!({
                    "from": from, "to": to, "reach": reach, "source": "10.1.0.0/24",
                    "destination": destination, "protocol": "tcp", "destination_port": 8080
                });
                merge(&mut document, json!({ "intents": { format!("{reach}-{name}"): intent } }));
            }
        }
        // What translates too many addresses does not compile.
        let Ok((compiler, _)) = Compiler::compile(from_document(&document).unwrap(), 1) else {
            return Ok(());
        };
        for not_proven in compiler.prove() {
            let NotProven::Broken { reach, counterexample, .. } = not_proven else {
                panic!("{not_proven}");
            };
            let mut lab = Lab::new(document.clone());
            let sent = lab.send(counterexample.interface.as_str(), frame(&counterexample, from));
            let there = match to {
                "blue" => "blue0",
                "red" => "red0",
                _ => "wan",
            };
            // It leaves, or waits for its neighbor, which is asked for on the link that it will leave by.
            let gets_there = sent.iter().any(|sent| lab.name(sent) == there);
            prop_assert_eq!(gets_there, reach == Reachability::Never, "{}: {:?}", counterexample, lab.drops());
        }
    }
}

#[test]
fn a_port_forward_is_found_as_the_one_port_that_leads_in() {
    let mut document = two_vpcs();
    document["intents"] = json!({ "closed": { "from": "internet", "to": "blue", "reach": "never", "protocol": "tcp", "destination": "203.0.113.0/29" } });
    let (compiler, _) = Compiler::compile(from_document(&document).unwrap(), 1).unwrap();
    let broken = compiler.prove();
    let [NotProven::Broken { counterexample, .. }] = broken.as_slice() else {
        panic!("{broken:?}");
    };
    assert_eq!(counterexample.destination, IpAddr::V4(WAN));
    assert_eq!(counterexample.destination_port, Some(8080));
    let mut lab = Lab::new(document);
    let out = lab.through("wan", frame(counterexample, "internet"), "blue0");
    assert_eq!((out.destination, out.ports().1), (HOST, 80));
    let _: Ipv4Addr = out.source;
}
