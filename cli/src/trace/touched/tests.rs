//! What walks over what they touch come to is what they come to over all tables.

use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use rewire_schema::{Row, from_document, meaning};
use serde_json::{Value, json};

use super::*;
use crate::probes;
use crate::trace::{Report, tables};

/// Routes of all lengths, some of them within others, into other VPCs, and the rules that ask for them.
fn document() -> Value {
    let via = |via: &str| json!({ "next_hops": [{ "interface": "wan", "via": via }] });
    json!({
        "vpcs": {
            "blue": { "routes": {
                "0.0.0.0/0": { "type": "vpc", "to_vpc": "internet" }, "::/0": { "type": "vpc", "to_vpc": "internet" },
                "10.8.0.0/16": { "type": "blackhole" }, "10.8.1.0/24": { "type": "vpc", "to_vpc": "internet" },
                "64:ff9b::808:0/112": { "type": "unreachable" },
            } },
            "internet": { "routes": {
                "0.0.0.0/0": via("203.0.113.2"), "10.8.1.128/25": { "type": "unreachable" }, "1.0.0.0/8": via("203.0.113.3"),
                "1.1.0.0/16": via("203.0.113.4"), "1.1.1.1/32": via("203.0.113.5"), "::/0": { "next_hops": [{ "interface": "wan", "via": "2001:db8::2" }] },
            } },
        },
        "interfaces": {
            "lan": { "vpc": "blue", "port": "null:lan", "mac": "02:00:00:00:00:01", "addresses": ["10.1.0.1/24", "fd00::1/64"] },
            "wan": { "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03", "addresses": ["203.0.113.1/24", "2001:db8::1/64"] },
        },
        "nat": {
            "pools": { "public": { "vpc": "internet", "ranges": ["203.0.113.64"] }, "six": { "vpc": "internet", "ranges": ["203.0.113.80"] } },
            "masquerade": { "out": { "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.1.0.0/24"] } },
            "static": { "mail": { "external_vpc": "internet", "external_address": "203.0.113.9", "internal_vpc": "blue", "internal_address": "10.1.0.20" } },
            "nat64": { "six": { "vpc": "blue", "pool": "six" } },
        },
    })
}

/// What the walks over all tables, and over what they touch, say.
fn told(
    configuration: &Configuration,
    all: &Tables,
    asked: &Asked,
) -> [Result<Vec<Report>, String>; 2] {
    let reports = |walks: &[Walked], tables: &Tables| {
        let reports = walks.iter().map(|walked| Report::of(walked, tables));
        reports.collect::<Vec<_>>()
    };
    let some = walks(configuration, 0, asked, (true, true));
    let some = some.map(|(tables, walks)| reports(&walks, &tables));
    let mut trial = Trial::new(Instant(0), true);
    let walks = walk(all, asked, &mut trial).map(|first| {
        let reply = input::reply(&first);
        let second = reply.map(|reply| walk(all, &reply, &mut trial).unwrap());
        [first].into_iter().chain(second).collect::<Vec<_>>()
    });
    let all = walks.map(|walks| reports(&walks, all));
    [
        all.map_err(|error| error.to_string()),
        some.map_err(|failure| failure.to_json()["message"].to_string()),
    ]
}

#[test]
fn a_walk_over_what_it_touches_is_the_one_over_all() {
    let configuration = from_document(&document()).unwrap();
    let tables = tables(configuration.clone(), 0).unwrap();
    for packet in [
        "10.1.0.5:1 > 1.1.1.1:443",
        "10.1.0.5:1 > 1.1.1.2:443",
        "10.1.0.5:1 > 1.2.1.2:443",
        "10.1.0.5:1 > 9.9.9.9:53 udp",
        "10.1.0.5 > 10.8.0.1",
        "10.1.0.5 > 10.8.1.1",
        "10.1.0.5:1 > 10.8.1.200:80",
        "10.1.0.5:1 > 203.0.113.9:25",
        "in wan 198.51.100.1:5 > 203.0.113.9:25",
        "in lan [fd00::5]:1 > [64:ff9b::101:101]:80",
        "in lan [fd00::5]:1 > [64:ff9b::808:808]:80",
        "in lan [fd00::5]:1 > [2001:db8:5::1]:80",
        "10.1.0.5 > 10.1.0.1 icmp echo ttl 1",
    ] {
        let asked = Asked::Text(Box::new(packet.parse().unwrap()));
        let [all, some] = told(&configuration, &tables, &asked);
        assert!(all.is_ok(), "{packet}");
        assert_eq!(some, all, "{packet}");
    }
}

const VPCS: [&str; 3] = ["blue", "red", "internet"];
const INTERFACES: [&str; 3] = ["lan", "red0", "wan"];

/// Where packets come from and go to, and around which routes lie.
const ADDRESSES: [&str; 16] = [
    "10.1.0.5",
    "10.1.0.1",
    "10.1.0.20",
    "10.2.0.7",
    "10.2.0.200",
    "203.0.113.1",
    "203.0.113.9",
    "203.0.113.64",
    "203.0.113.77",
    "1.1.1.1",
    "1.1.2.1",
    "198.18.0.3",
    "fd00::5",
    "64:ff9b::101:101",
    "2001:db8:5::1",
    "fd02::9",
];

/// What may stand beside routes and interfaces, each by itself.
fn extras() -> Vec<Value> {
    let addresses = |address: &str| json!({ "internal_vpc": "blue", "internal_address": address });
    let with = |mut value: Value, more: Value| {
        let more = more.as_object().cloned().unwrap_or_default();
        value.as_object_mut().unwrap().extend(more);
        value
    };
    vec![
        json!({ "nat": { "masquerade": { "out": { "vpc": "blue", "interface": "wan", "sources": ["10.1.0.0/24"] } } } }),
        json!({ "nat": { "pools": { "public": { "vpc": "internet", "ranges": ["203.0.113.64"] } },
            "masquerade": { "red-out": { "vpc": "red", "interface": "wan", "pool": "public", "sources": ["10.2.0.0/24"] } } } }),
        json!({ "nat": { "static": { "mail": with(addresses("10.1.0.20"), json!({ "external_vpc": "internet", "external_address": "203.0.113.9" })) } } }),
        json!({ "nat": { "port_forward": { "web": with(addresses("10.1.0.5"), json!({
            "external_vpc": "internet", "external_address": "203.0.113.77", "protocol": "tcp", "external_port": 80, "internal_port": 8080 })) } } }),
        json!({ "nat": { "pools": { "six": { "vpc": "internet", "ranges": ["203.0.113.80"] } }, "nat64": { "six": { "vpc": "blue", "pool": "six" } } } }),
        json!({ "nat": { "exclusions": { "inside": { "vpc": "blue", "destinations": ["1.1.0.0/16"] } } } }),
        json!({ "peerings": { "blue-red": { "sides": {
            "blue": { "expose": { "lan": { "ips": ["10.1.0.0/24"] } } },
            "red": { "expose": { "hosts": { "ips": ["10.2.0.0/24"], "not": ["10.2.0.128/25"] } } } } } } }),
        json!({ "peerings": { "hidden": { "sides": {
            "blue": { "expose": { "lan": { "ips": ["10.1.0.0/25"], "as": ["198.18.0.0/25"], "nat": "static" } } },
            "red": { "expose": { "rest": { "default": true } } } } } } }),
        json!({ "acls": { "guard": { "default": "deny", "rules": {
            "10": { "action": "allow", "protocol": "udp" }, "20": { "action": "reject", "destinations": ["1.1.1.0/24"] } } } },
            "interfaces": { "lan": { "acl_in": "guard" } } }),
    ]
}

/// A document with parts of another one put in.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A route: its VPC, its prefix, and where it leads.
fn route() -> impl Strategy<Value = (&'static str, String, Value)> {
    let length = any::<Index>();
    (
        select(&VPCS[..]),
        select(&ADDRESSES[..]),
        length,
        0..12_usize,
    )
        .prop_map(|(vpc, around, length, kind)| {
            let address: IpAddr = around.parse().unwrap();
            let most = IpNet::from(address).max_prefix_len();
            let length = length.index(usize::from(most) + 1) as u8;
            let prefix = IpNet::new(address, length).unwrap().trunc();
            let via = match address.is_ipv4() {
                true => ["10.1.0.9", "10.2.0.9", "203.0.113.2"],
                false => ["fd00::9", "fd02::8", "2001:db8::2"],
            };
            let hop =
                |number: usize| json!({ "interface": INTERFACES[number], "via": via[number] });
            let route = match kind {
                0..3 => json!({ "next_hops": [hop(kind)] }),
                3 => json!({ "next_hops": [{ "interface": INTERFACES[length as usize % 3] }] }),
                4 => json!({ "next_hops": [hop(0), hop(2)] }),
                5 => json!({ "type": "blackhole" }),
                6 => json!({ "type": "unreachable" }),
                7 => json!({ "next_hops": [hop(2)], "deactivated": true }),
                kind => json!({ "type": "vpc", "to_vpc": VPCS[kind % 3] }),
            };
            (vpc, prefix.to_string(), route)
        })
}

/// A probe: who receives it, from where, to where, and what it carries. What it wants does not matter: its walk is looked at.
fn probe() -> impl Strategy<Value = Value> {
    let addresses = || select(&ADDRESSES[..]);
    let protocol = select(&["tcp", "udp", "icmp"][..]);
    (select(&INTERFACES[..]), addresses(), addresses(), protocol).prop_map(
        |(interface, source, destination, protocol)| {
            let mut probe = json!({
                "interface": interface, "source": source, "destination": destination, "expect": "forwarded",
            });
            if protocol != "icmp" {
                probe["protocol"] = json!(protocol);
                probe["destination_port"] = json!(80);
            }
            probe
        },
    )
}

/// What is left of a configuration when all that has no meaning is taken out.
fn meaningful(mut configuration: Configuration) -> Configuration {
    loop {
        let problems = meaning::check(&configuration);
        let rows: Vec<Row> = configuration.rows().collect();
        let mut bad: Vec<&Row> = Vec::new();
        for problem in &problems {
            let path = problem.path.steps();
            let at = rows
                .iter()
                .filter(|row| path.starts_with(row.path().steps()));
            bad.extend(at.max_by_key(|row| row.path().steps().len()));
        }
        if bad.is_empty() {
            assert_eq!(problems, []);
            return configuration;
        }
        for row in bad {
            // With all that stands below it.
            let path = row.path();
            for below in rows
                .iter()
                .filter(|below| below.path().steps().starts_with(path.steps()))
            {
                configuration.remove(below);
            }
        }
    }
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let routes = prop::collection::vec(route(), 0..40);
    let extras = extras();
    let extras = subsequence(extras.clone(), 0..=extras.len());
    let probes = prop::collection::vec(probe(), 1..12);
    (routes, extras, probes).prop_map(|(routes, extras, probes)| {
        let mut document = json!({
            "vpcs": { "blue": {}, "red": {}, "internet": {} },
            "interfaces": {
                "lan": { "vpc": "blue", "port": "null:lan", "mac": "02:00:00:00:00:01", "addresses": ["10.1.0.1/24", "fd00::1/64"] },
                "red0": { "vpc": "red", "port": "null:red0", "mac": "02:00:00:00:00:02", "addresses": ["10.2.0.1/24", "fd02::1/64"] },
                "wan": { "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03", "addresses": ["203.0.113.1/24", "2001:db8::1/64"] },
            },
        });
        for (vpc, prefix, route) in routes {
            document["vpcs"][vpc]["routes"][prefix] = route;
        }
        for extra in extras {
            merge(&mut document, extra);
        }
        for (number, probe) in probes.into_iter().enumerate() {
            document["probes"][format!("p{number}")] = probe;
        }
        meaningful(from_document(&document).expect("the document is one"))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The verdicts of probes, with their walks, and the walks of `rewire trace`, with those of replies.
    #[test]
    fn probes_over_what_they_touch_fare_as_over_all(configuration in configuration()) {
        let tables = tables(configuration.clone(), 0).unwrap();
        let all = probes::run(&configuration.effective(), &tables);
        let some = probes::of_state(&configuration, 0).unwrap();
        let json = |outcomes: &[probes::Outcome]| outcomes.iter().map(probes::Outcome::to_json).collect::<Vec<_>>();
        prop_assert_eq!(json(&some), json(&all));
        let probes = configuration.probe.values();
        for packet in probes.map(probes::packet) {
            let [all, some] = told(&configuration, &tables, &Asked::Text(Box::new(packet)));
            if let Ok(all) = all {
                prop_assert_eq!(some, Ok(all));
            }
        }
    }
}
