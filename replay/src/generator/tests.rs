//! What is generated: by whose rules, and what comes of it in a gateway.

use rewire_schema::from_document;
use serde_json::{Value, json};

use super::*;
use crate::{Check, History, Options, Replay, Report};

/// A private VPC behind a masquerade, with a forwarded port, of both families.
fn network(forward: bool) -> Value {
    let vpc = |name: &str, via: &str, via6: &str| {
        json!({ "routes": {
            "0.0.0.0/0": { "next_hops": [{ "interface": name, "via": via }] },
            "::/0": { "next_hops": [{ "interface": name, "via": via6 }] }
        } })
    };
    let interface = |vpc: &str, number: u8, four: &str, six: &str| {
        json!({
            "vpc": vpc, "port": format!("null:{vpc}"), "mac": format!("02:00:00:00:00:0{number}"),
            "addresses": [four, six]
        })
    };
    let mut nat = json!({ "masquerade": { "out": {
        "vpc": "inside", "interface": "wan", "sources": ["10.0.0.0/16"]
    } } });
    if forward {
        nat["port_forward"] = json!({ "web": {
            "protocol": "tcp", "external_vpc": "outside", "external_interface": "wan", "external_port": 443,
            "internal_vpc": "inside", "internal_address": "10.0.0.20", "internal_port": 8443
        } });
    }
    json!({
        "vpcs": {
            "inside": vpc("wan", "192.0.2.254", "2001:db8:2::fe"),
            "outside": vpc("wan", "192.0.2.254", "2001:db8:2::fe")
        },
        "interfaces": {
            "lan": interface("inside", 1, "10.0.0.1/16", "2001:db8:1::1/64"),
            "wan": interface("outside", 2, "192.0.2.1/24", "2001:db8:2::1/64")
        },
        "nat": nat
    })
}

fn replayed(document: &Value, options: GeneratorOptions) -> Report {
    let configuration = from_document(document).unwrap();
    let history = History::of_configuration(&configuration);
    let all = Options::default();
    let report = Replay::new(&history, &all).run(1, &mut Generator::new(options), &mut ());
    report.unwrap()
}

const OPTIONS: GeneratorOptions = GeneratorOptions {
    seed: 7,
    packets: 20_000,
    flows: 200,
    rate: 1_000_000,
};

#[test]
fn most_of_what_is_generated_gets_through_and_is_answered() {
    let report = replayed(&network(true), OPTIONS);
    assert_eq!(report.failures, []);
    let totals = &report.totals;
    assert_eq!(totals.received + report.undelivered, OPTIONS.packets);
    let drops: Vec<_> = totals.drops().collect();
    assert!(totals.dropped() * 5 < totals.received, "{drops:?}");
    // Answers come in by the outside, and most of all is of connections that are established.
    let by = |name: &str| {
        let (position, _) = report.interfaces.iter().find(|(_, n)| n == name).unwrap();
        totals.interfaces[*position]
    };
    for name in ["lan", "wan"] {
        let counters = by(name);
        assert!(
            counters.received_packets * 5 > OPTIONS.packets,
            "{name}: {counters:?}"
        );
    }
    assert!(totals.connections_created > 200);
    assert!(
        totals.connections_created * 4 < totals.received,
        "{}",
        totals.connections_created
    );
}

#[test]
fn the_same_seed_is_the_same_traffic() {
    let digest = |seed: u64| {
        let options = GeneratorOptions {
            seed,
            packets: 3_000,
            ..OPTIONS
        };
        replayed(&network(false), options).digest
    };
    assert_eq!(digest(1), digest(1));
    assert_ne!(digest(1), digest(2));
}

#[test]
fn where_there_is_nothing_nothing_is_generated() {
    let report = replayed(&json!({ "vpcs": { "a": {} } }), OPTIONS);
    assert_eq!(report.totals.received, 0);
    assert!(
        report
            .checks
            .iter()
            .any(|c| c.check == Check::Accounting && c.made > 0)
    );
}
