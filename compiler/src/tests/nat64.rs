//! NAT64, from rows to what the tables say about a packet.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use rewire_tables::Route;
use serde_json::{Value, json};

use super::Gateway;

/// A NAT64 as a test says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    vpc: &'static str,
    /// None for the well-known one.
    prefix: Option<&'static str>,
    pool: &'static str,
    /// The last digits of the networks of its clients; none for all.
    sources: Vec<u8>,
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const POOLS: [(&str, Ipv4Addr); 2] = [
    ("one", Ipv4Addr::new(203, 0, 113, 1)),
    ("two", Ipv4Addr::new(203, 0, 113, 2)),
];

impl Rule {
    fn length(&self) -> u8 {
        let length = self.prefix.and_then(|prefix| prefix.split_once('/'));
        length.map_or(96, |(_, length)| length.parse().unwrap())
    }

    fn document(&self) -> Value {
        let mut document = json!({ "vpc": self.vpc, "pool": self.pool });
        if let Some(prefix) = self.prefix {
            document["prefix"] = prefix.into();
        }
        if !self.sources.is_empty() {
            let sources = self.sources.iter().map(|n| format!("fd00:{n}::/32"));
            document["sources"] = sources.collect();
        }
        document
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let prefix = prop::sample::select(vec![
        None,
        Some("2001:db8::/32"),
        Some("2001:db8::/96"),
        Some("2001:db8:1::/48"),
    ]);
    let sources = prop::collection::btree_set(1..4u8, 0..3);
    (
        prop::sample::select(vec!["blue", "red"]),
        prefix,
        0..2usize,
        sources,
    )
        .prop_map(|(vpc, prefix, pool, sources)| Rule {
            vpc,
            prefix,
            pool: POOLS[pool].0,
            sources: sources.into_iter().collect(),
        })
}

fn document(rules: &[Rule]) -> Value {
    let named = NAMES.iter().zip(rules);
    let named = named.map(|(name, rule)| ((*name).to_owned(), rule.document()));
    let pools = POOLS.map(|(name, address)| {
        let pool = json!({ "vpc": "internet", "ranges": [address.to_string()] });
        (name.to_owned(), pool)
    });
    json!({
        "vpcs": { "blue": {}, "red": {}, "internet": {} },
        "nat": {
            "pools": serde_json::Map::from_iter(pools),
            "nat64": serde_json::Map::from_iter(named),
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle: all rules, packet by packet. That incremental equals full, [`Gateway::goto`] sees to.
    #[test]
    fn the_longest_prefix_that_is_for_a_client_is_met(
        steps in prop::collection::vec(prop::collection::vec(rule(), 0..4), 1..5)
    ) {
        let mut gateway = Gateway::new(document(&[]));
        for rules in steps {
            gateway.goto(document(&rules)).unwrap();
            let nat = gateway.tables.nat();
            for (vpc, source) in [("blue", 1u16), ("blue", 2), ("blue", 9), ("red", 1), ("red", 3)] {
                let (index, _) = gateway.tables.vpcs().find(|(_, of)| of.name() == vpc).unwrap();
                let source_address = Ipv6Addr::new(0xfd00, source, 0, 0, 0, 0, 0, 1);
                for (destination, prefixes, address) in [
                    ("64:ff9b::808:808", &[None][..], Ipv4Addr::new(8, 8, 8, 8)),
                    ("64:ff9b::a00:1", &[], Ipv4Addr::new(10, 0, 0, 1)),
                    // Of two prefixes that an address begins with, the longer one says which address it stands for.
                    ("2001:db8::808:808", &[Some("2001:db8::/96")], Ipv4Addr::new(8, 8, 8, 8)),
                    ("2001:db8:a00:1::", &[Some("2001:db8::/32")], Ipv4Addr::new(10, 0, 0, 1)),
                ] {
                    let mut met: Vec<(usize, &Rule)> = rules.iter().enumerate().filter(|(_, rule)| {
                        let is_for = rule.sources.is_empty() || rule.sources.iter().any(|n| u16::from(*n) == source);
                        rule.vpc == vpc && is_for && prefixes.contains(&rule.prefix)
                    }).collect();
                    met.sort_by_key(|(place, rule)| (rule.sources.is_empty(), *place));
                    let destination: Ipv6Addr = destination.parse().unwrap();
                    let found = nat.nat64(index, source_address, destination);
                    let shorter = destination.to_bits() >> 96 == 0x2001_0db8 && prefixes == [Some("2001:db8::/96")];
                    match met.first() {
                        Some((place, rule)) => {
                            let (found, to) = found.unwrap();
                            prop_assert_eq!((&*found.name, to), (NAMES[*place], address));
                            let pool = POOLS.iter().find(|(name, _)| *name == rule.pool).unwrap();
                            prop_assert!(found.owns(pool.1));
                        }
                        // It stands for another address behind the shorter prefix.
                        None if shorter => {}
                        None => prop_assert!(found.is_none(), "{destination} {found:?}"),
                    }
                }
            }
            for rule in &rules {
                let (_, vpc) = gateway.tables.vpcs().find(|(_, of)| of.name() == rule.vpc).unwrap();
                let prefix = rule.prefix.unwrap_or("64:ff9b::/96").split_once('/').unwrap().0;
                let first: Ipv6Addr = prefix.parse().unwrap();
                // Nothing else leads there.
                prop_assert_eq!(vpc.route(first), Some(&Route::NatExternal));
                prop_assert!(rule.length() >= 32);
            }
        }
    }
}

#[test]
fn a_nat64_follows_its_pool() {
    let with = |pool: Value| {
        json!({
            "vpcs": { "blue": {}, "internet": {}, "elsewhere": {} },
            "nat": {
                "pools": { "public": pool },
                "nat64": {
                    "all": { "vpc": "blue", "pool": "public", "idle_timeout": "5m" },
                    "some": { "vpc": "blue", "pool": "public", "ports": "1024-2047", "sources": ["fd00::/64", "fd01::1"] },
                },
            }
        })
    };
    let mut gateway = Gateway::new(with(
        json!({ "vpc": "internet", "ranges": ["198.51.100.1", "2001:db8::1"] }),
    ));
    let mut lines = gateway.tables.canonical_lines();
    for other in [
        json!({ "vpc": "internet", "ranges": ["198.51.100.1-198.51.100.3"], "ports": "2000-3000,4000" }),
        json!({ "vpc": "elsewhere", "ranges": ["198.51.100.1"] }),
    ] {
        gateway.goto(with(other)).unwrap();
        lines.extend(gateway.tables.canonical_lines());
    }
    lines.retain(|line| line.starts_with("nat64") || line.starts_with("route blue"));
    insta::assert_snapshot!("nat64", lines.join("\n"));
}

#[test]
fn a_nat64_is_explained() {
    let gateway = Gateway::new(document(&[
        Rule {
            vpc: "blue",
            prefix: None,
            pool: "one",
            sources: vec![1],
        },
        Rule {
            vpc: "blue",
            prefix: Some("2001:db8::/32"),
            pool: "two",
            sources: vec![],
        },
    ]));
    let question = crate::Question::Nat("a".parse().unwrap());
    let explained = gateway.compiler.explain(&question);
    let text: Vec<String> = explained
        .iter()
        .flat_map(|found| {
            let rows = found.rows.iter().map(|row| format!("  {}", row.path()));
            found.entries.iter().cloned().chain(rows)
        })
        .collect();
    insta::assert_snapshot!("nat64_explained", text.join("\n"));
}
