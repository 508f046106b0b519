//! Law 8: the same history, packets and options give the same report, whatever hash tables are keyed with.

use rewire_replay::{Generator, GeneratorOptions, History, Options, Replay, Report};
use rewire_schema::from_document;
use serde_json::{Value, json};

/// Two VPCs with a link each, of both families, each of which leads to the other's router; behind a masquerade or not.
fn network(masquerade: bool) -> Value {
    let vpc = |link: &str, number: u8| {
        json!({ "routes": {
            "0.0.0.0/0": { "next_hops": [{ "interface": link, "via": format!("192.0.{number}.254") }] },
            "::/0": { "next_hops": [{ "interface": link, "via": format!("2001:db8:{number}::fe") }] }
        } })
    };
    let interface = |vpc: &str, number: u8| {
        json!({
            "vpc": vpc, "port": format!("null:{vpc}"), "mac": format!("02:00:00:00:00:0{number}"),
            "addresses": [format!("192.0.{number}.1/24"), format!("2001:db8:{number}::1/64")]
        })
    };
    let mut document = json!({
        "vpcs": { "left": vpc("right", 2), "right": vpc("left", 1) },
        "interfaces": { "left": interface("left", 1), "right": interface("right", 2) }
    });
    if masquerade {
        let out = json!({ "vpc": "left", "interface": "right", "sources": ["192.0.1.0/24"] });
        document["nat"] = json!({ "masquerade": { "out": out } });
    }
    document
}

fn report(document: &Value, hash_seed: u64) -> Report {
    let configuration = from_document(document).expect("a configuration");
    let history = History::of_configuration(&configuration);
    let options = Options {
        hash_seed,
        ..Options::default()
    };
    let mut traffic = Generator::new(GeneratorOptions {
        packets: 5_000,
        flows: 300,
        ..GeneratorOptions::default()
    });
    let report = Replay::new(&history, &options).run(1, &mut traffic, &mut ());
    report.expect("a report")
}

#[test]
fn a_report_does_not_depend_on_what_hash_tables_are_keyed_with() {
    let document = network(false);
    let first = report(&document, 0);
    assert!(first.passed());
    assert!(
        first.totals.connections > 100,
        "{:?}",
        first.totals.connections
    );
    for seed in [1, 0x5eed, u64::MAX] {
        let other = report(&document, seed);
        assert_eq!(first.output_digest, other.output_digest, "{seed}");
        assert_eq!(first.digest, other.digest, "{seed}");
    }
}

/// Which port a masquerade begins with is drawn by the seed, so that nobody outside can tell: a replay has a seed of its own.
#[test]
fn the_ports_of_a_masquerade_are_those_of_the_seed() {
    let document = network(true);
    let first = report(&document, 1);
    assert!(first.passed());
    assert_eq!(first.digest, report(&document, 1).digest);
    assert_ne!(first.output_digest, report(&document, 2).output_digest);
}
