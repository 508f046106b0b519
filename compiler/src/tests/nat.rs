//! Rules of NAT, from rows to what the tables say about a packet.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use proptest::prelude::*;
use rewire_tables::acl::NO_PORT;
use rewire_tables::{AclKey, PortForwardKey};
use serde_json::{Value, json};

use super::Gateway;

/// A masquerade rule, or an exclusion, as a test says it.
#[derive(Clone, Debug)]
struct Rule {
    name: &'static str,
    sources: Vec<Ipv4Net>,
    destinations: Vec<Ipv4Net>,
    protocol: Option<&'static str>,
    source_port: Option<u16>,
}

impl Rule {
    fn document(&self) -> Value {
        let mut document = json!({ "vpc": "blue" });
        for (field, addresses) in [
            ("sources", &self.sources),
            ("destinations", &self.destinations),
        ] {
            if !addresses.is_empty() {
                document[field] = addresses.iter().map(Ipv4Net::to_string).collect();
            }
        }
        if let Some(protocol) = self.protocol {
            document["protocol"] = protocol.into();
        }
        if let Some(port) = self.source_port {
            document["source_port"] = port.into();
        }
        document
    }

    /// Whether a packet is as the rule asks, but for its sender.
    fn asks_for(&self, key: &AclKey<Ipv4Addr>) -> bool {
        let numbers: &[u8] = match self.protocol {
            Some("tcp") => &[6],
            Some("udp") => &[17],
            Some("tcp_udp") => &[6, 17],
            _ => &[1, 6, 17],
        };
        let is_there = |net: &Ipv4Net| net.contains(&key.destination);
        numbers.contains(&key.protocol)
            && self
                .source_port
                .is_none_or(|port| u32::from(port) == key.source_port)
            && (self.destinations.is_empty() || self.destinations.iter().any(is_there))
    }

    /// The longest prefix of its senders that a packet comes from.
    fn length(&self, source: Ipv4Addr) -> Option<u8> {
        let sources = self.sources.iter().filter(|net| net.contains(&source));
        sources.map(Ipv4Net::prefix_len).max()
    }

    fn asks(&self) -> (bool, bool, bool) {
        let ports = self.source_port.is_some();
        (
            !self.destinations.is_empty(),
            ports,
            self.protocol.is_some(),
        )
    }
}

fn net() -> impl Strategy<Value = Ipv4Net> {
    (0u32..8, 28u8..=32).prop_map(|(host, length)| {
        Ipv4Net::new(Ipv4Addr::from_bits(0x0a00_0000 | host), length)
            .unwrap()
            .trunc()
    })
}

fn rule(name: &'static str, sources: std::ops::Range<usize>) -> impl Strategy<Value = Rule> {
    let nets = |number| prop::collection::btree_set(net(), number);
    let packets = prop_oneof![
        3 => Just((None, None)),
        1 => Just((Some("udp"), None)),
        1 => Just((Some("tcp_udp"), None)),
        1 => (1u16..3).prop_map(|port| (Some("tcp"), Some(port))),
    ];
    let destinations = prop_oneof![2 => nets(0..1), 1 => nets(1..3)];
    (nets(sources), destinations, packets).prop_map(
        move |(sources, destinations, (protocol, source_port))| Rule {
            name,
            sources: sources.into_iter().collect(),
            destinations: destinations.into_iter().collect(),
            protocol,
            source_port,
        },
    )
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn rules(sources: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Rule>> {
    let each: Vec<_> = NAMES
        .iter()
        .map(|name| rule(name, sources.clone()))
        .collect();
    (each, any::<u8>()).prop_map(|(rules, which)| {
        let rules = rules.into_iter().enumerate();
        let some = rules.filter(|(index, _)| which & 1 << index != 0);
        some.map(|(_, rule)| rule).collect()
    })
}

/// A document with these masquerades and exclusions. Of masquerades that are for the same packets, the first by name stays.
fn document(masquerades: &mut Vec<Rule>, exclusions: &[Rule]) -> Value {
    let mut seen = std::collections::BTreeSet::new();
    masquerades.retain(|rule| {
        let asked = |source: &Ipv4Net| {
            let destinations = format!("{:?}", rule.destinations);
            (*source, rule.protocol, rule.source_port, destinations)
        };
        let all: Vec<_> = rule.sources.iter().map(asked).collect();
        all.iter().all(|asked| !seen.contains(asked)) && all.into_iter().all(|a| seen.insert(a))
    });
    let masquerades = masquerades.iter().map(|rule| {
        let mut document = rule.document();
        document["interface"] = "wan".into();
        (rule.name.to_owned(), document)
    });
    let exclusions = exclusions
        .iter()
        .map(|rule| (rule.name.to_owned(), rule.document()));
    json!({
        "vpcs": { "blue": {}, "internet": {} },
        "interfaces": { "wan": {
            "vpc": "internet", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["203.0.113.1/24"]
        } },
        "nat": {
            "masquerade": masquerades.collect::<serde_json::Map<_, _>>(),
            "exclusions": exclusions.collect::<serde_json::Map<_, _>>(),
        }
    })
}

fn hold_against(gateway: &Gateway, masquerades: &[Rule], exclusions: &[Rule]) {
    let index = |name: &str| gateway.compiler.interface_index(&name.parse().unwrap());
    let blue = gateway.compiler.vpc_index(&"blue".parse().unwrap());
    let (wan, blue) = (index("wan").unwrap(), blue.unwrap());
    for number in 0..8u32 * 8 * 3 * 4 {
        let key = AclKey {
            from: blue,
            to: None,
            source: Ipv4Addr::from_bits(0x0a00_0000 + number % 8),
            destination: Ipv4Addr::from_bits(0x0a00_0000 + number / 8 % 8),
            protocol: [1, 6, 17][(number / 64 % 3) as usize],
            source_port: [0, 1, 2, NO_PORT][(number / 192) as usize],
            destination_port: 0,
        };
        let mut candidates: Vec<&Rule> = masquerades
            .iter()
            .filter(|rule| rule.length(key.source).is_some() && rule.asks_for(&key))
            .collect();
        candidates.sort_by_key(|rule| {
            let first = std::cmp::Reverse((rule.length(key.source), rule.asks()));
            (first, rule.name)
        });
        let expected = candidates.first().map(|rule| rule.name);
        let found = gateway.tables.nat().masquerade(wan, &key);
        assert_eq!(found.map(|rule| &*rule.name), expected, "{key:?}");
        let excluded = exclusions.iter().any(|rule| {
            (rule.sources.is_empty() || rule.length(key.source).is_some()) && rule.asks_for(&key)
        });
        assert_eq!(gateway.tables.nat().is_excluded(wan, &key), excluded);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The oracle: all rules, packet by packet.
    #[test]
    fn of_the_rules_that_match_the_closest_is_found(
        steps in prop::collection::vec((rules(1..4), rules(0..2)), 1..4)
    ) {
        let mut gateway = Gateway::new(json!({}));
        for (mut masquerades, exclusions) in steps {
            let document = document(&mut masquerades, &exclusions);
            gateway.goto(document).unwrap();
            hold_against(&gateway, &masquerades, &exclusions);
        }
    }
}

#[test]
fn a_port_forward_of_an_interface_follows_its_addresses() {
    let with = |addresses: &[&str], explicit: Option<&str>| {
        let forward = |mut at: Value, port: u16| {
            at["protocol"] = "tcp".into();
            at["external_vpc"] = "internet".into();
            at["external_port"] = port.into();
            at["internal_vpc"] = "blue".into();
            at["internal_address"] = "10.0.1.9".into();
            at
        };
        let mut forwards = json!({
            "web": forward(json!({ "external_interface": "wan", "sources": ["192.0.2.0/24"] }), 80)
        });
        if let Some(address) = explicit {
            forwards["own"] = forward(json!({ "external_address": address }), 80);
        }
        json!({
            "vpcs": { "blue": {}, "internet": {} },
            "interfaces": { "wan": {
                "vpc": "internet", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": addresses
            } },
            "nat": { "port_forward": forwards }
        })
    };
    let mut gateway = Gateway::new(with(&["203.0.113.1/24"], None));
    let forwarded = |gateway: &Gateway, address: &str| {
        let vpc = gateway.compiler.vpc_index(&"internet".parse().unwrap());
        let key = PortForwardKey {
            vpc: vpc.unwrap(),
            protocol: 6,
            address: address.parse().unwrap(),
            port: 80,
        };
        let from = |source: [u8; 4]| {
            let rule = gateway
                .tables
                .nat()
                .port_forward_from(&key, Ipv4Addr::from(source));
            rule.map(|rule| rule.address)
        };
        (from([192, 0, 2, 1]), from([198, 51, 100, 1]))
    };
    let inside = Some(IpAddr::from([10, 0, 1, 9]));
    assert_eq!(forwarded(&gateway, "203.0.113.1"), (inside, None));
    gateway
        .goto(with(
            &["203.0.113.7/24", "203.0.113.8/24", "2001:db8::1/64"],
            None,
        ))
        .unwrap();
    assert_eq!(forwarded(&gateway, "203.0.113.1"), (None, None));
    assert_eq!(forwarded(&gateway, "203.0.113.7"), (inside, None));
    assert_eq!(forwarded(&gateway, "203.0.113.8"), (inside, None));
    // An address that has a port forward of its own already cannot come to the interface, nor the other way round.
    gateway
        .goto(with(&["203.0.113.7/24"], Some("203.0.113.8")))
        .unwrap();
    let clash = with(&["203.0.113.7/24", "203.0.113.8/24"], Some("203.0.113.8"));
    let one = gateway.goto(clash.clone()).unwrap_err();
    gateway
        .goto(with(&["203.0.113.7/24", "203.0.113.8/24"], None))
        .unwrap();
    let other = gateway.goto(clash).unwrap_err();
    assert_eq!(one, other);
    insta::assert_snapshot!("clash", one.to_string());
}

#[test]
fn what_a_pool_says_of_ports_reaches_its_masquerades() {
    let with = |pool: Value| {
        json!({
            "vpcs": { "blue": {}, "internet": {} },
            "interfaces": { "wan": {
                "vpc": "internet", "port": "null:a", "mac": "02:00:00:00:00:01", "addresses": ["203.0.113.1/24"]
            } },
            "nat": {
                "pools": { "public": pool },
                "masquerade": { "out": {
                    "vpc": "blue", "interface": "wan", "pool": "public", "sources": ["10.0.0.0/8"]
                } },
                "exclusions": { "site": {
                    "vpc": "blue", "interface": "wan", "destinations": ["10.0.0.0/8", "192.0.2.1-192.0.2.9"]
                } }
            }
        })
    };
    let mut gateway = Gateway::new(with(
        json!({ "vpc": "internet", "ranges": ["198.51.100.1"] }),
    ));
    let mut lines = gateway.tables.canonical_lines();
    for more in [
        json!({ "vpc": "internet", "ranges": ["198.51.100.1"], "ports": "2000-3000,4000" }),
        json!({ "vpc": "internet", "ranges": ["198.51.100.1"], "address_only": true }),
    ] {
        gateway.goto(with(more)).unwrap();
        lines.extend(gateway.tables.canonical_lines());
    }
    lines.retain(|line| line.starts_with("masquerade") || line.starts_with("exclusion"));
    insta::assert_snapshot!("ports", lines.join("\n"));
}
