//! Law 6 over a replay: the check of connections finds nothing wrong, whatever is committed.

use proptest::prelude::*;
use rewire_feed::{Destination, Discard, Gateway, LearnedRoute, Update};
use rewire_replay::{
    Check, Generator, GeneratorOptions, HeardRoute, History, Options, Replay, Report, Traffic,
};
use rewire_schema::{Configuration, from_document};
use serde_json::{Value, json};

/// What a revision may have otherwise than another.
#[derive(Clone, Debug)]
struct Policy {
    route: &'static str,
    route6: &'static str,
    /// Where the port forward leads.
    forward: Option<u16>,
    /// The external port of a second one, of UDP: perhaps one that a connection is translated to.
    second: Option<u16>,
    masquerade: Option<Masquerade>,
    mail: bool,
    nat64: bool,
    /// What an ACL denies: the protocol, from which source port on, in which direction, each packet or the first ones, and how.
    deny: Option<(&'static str, u16, &'static str, &'static str, &'static str)>,
    most_per_source: Option<u32>,
    red: bool,
}

#[derive(Clone, Debug)]
struct Masquerade {
    /// How many addresses there are; the interface's own, if none.
    addresses: u8,
    ports: Option<&'static str>,
    filtering: Option<&'static str>,
    idle_timeout: Option<&'static str>,
    parity: bool,
    excludes: bool,
}

fn masquerade() -> impl Strategy<Value = Masquerade> {
    let ports = prop_oneof![Just("1024-1400"), Just("30000-31000")];
    let filtering = prop_oneof![Just("endpoint_independent"), Just("address_dependent")];
    (
        prop_oneof![3 => Just(0_u8), 1 => Just(1), 1 => Just(3)],
        prop::option::weighted(0.3, ports),
        prop::option::weighted(0.3, filtering),
        prop::option::weighted(0.3, prop_oneof![Just("1s"), Just("1h")]),
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(addresses, ports, filtering, idle_timeout, parity, excludes)| Masquerade {
                addresses,
                ports,
                filtering,
                idle_timeout,
                parity,
                excludes,
            },
        )
}

fn policy() -> impl Strategy<Value = Policy> {
    let deny = (
        prop_oneof![Just("udp"), Just("tcp")],
        1024..1100_u16,
        prop_oneof![Just("acl_in"), Just("acl_out")],
        prop_oneof![Just("packet"), Just("flow")],
        prop_oneof![Just("deny"), Just("reject")],
    );
    let way = || prop_oneof![5 => Just("wan"), 1 => Just("blackhole"), 1 => Just("red"), 1 => Just("unreachable")];
    (
        (way(), way()),
        prop::option::weighted(0.7, prop_oneof![3 => Just(80_u16), 1 => Just(81)]),
        prop::option::weighted(0.4, 1024..1100_u16),
        prop::option::weighted(0.85, masquerade()),
        prop::bool::weighted(0.7),
        prop::bool::weighted(0.6),
        prop::option::weighted(0.4, deny),
        prop::option::weighted(0.2, 1..40_u32),
        prop::bool::weighted(0.8),
    )
        .prop_map(
            |(
                (route, route6),
                forward,
                second,
                masquerade,
                mail,
                nat64,
                deny,
                most_per_source,
                red,
            )| Policy {
                route,
                route6,
                forward,
                second,
                masquerade,
                mail,
                nat64,
                deny,
                most_per_source,
                red,
            },
        )
}

/// A way to the outside, or not.
fn way(to: &str, via: &str) -> Value {
    match to {
        "wan" => json!({ "next_hops": [{ "interface": "wan", "via": via }] }),
        "red" => json!({ "next_hops": [{ "interface": "blue1" }] }),
        other => json!({ "type": other }),
    }
}

impl Policy {
    fn document(&self) -> Value {
        let outside = |to: &str| json!({ "0.0.0.0/0": way(to, "203.0.113.2"), "::/0": way(to, "2001:db8:f::2") });
        let mut blue = outside(self.route);
        blue["::/0"] = way(self.route6, "2001:db8:f::2");
        let mut document = json!({
            "vpcs": {
                "blue": { "routes": blue },
                "internet": { "routes": {
                    "198.51.100.0/24": way("wan", "203.0.113.2"), "2001:db8:51::/48": way("wan", "2001:db8:f::2")
                } }
            },
            "interfaces": {
                "blue0": {
                    "vpc": "blue", "port": "null:blue", "mac": "02:00:00:00:00:01",
                    "addresses": ["10.1.0.1/24", "fd00:1::1/64"]
                },
                "blue1": {
                    "vpc": "blue", "port": "null:blue1", "mac": "02:00:00:00:00:04", "addresses": ["10.3.0.1/24", "fd00:3::1/64"]
                },
                "wan": {
                    "vpc": "internet", "port": "null:wan", "mac": "02:00:00:00:00:03",
                    "addresses": ["203.0.113.1/24", "2001:db8:f::1/64"]
                }
            },
            "nat": { "masquerade": {}, "port_forward": {}, "static": {} }
        });
        if let Some(most) = self.most_per_source {
            document["vpcs"]["blue"]["conntrack"] = json!({ "most_per_source": most });
        }
        if self.red {
            document["vpcs"]["red"] = json!({ "routes": outside("wan") });
            document["interfaces"]["red0"] = json!({
                "vpc": "red", "port": "null:red", "mac": "02:00:00:00:00:02", "addresses": ["10.2.0.1/24", "fd00:2::1/64"]
            });
            document["nat"]["masquerade"]["red-out"] = json!({ "vpc": "red", "interface": "wan", "sources": ["10.2.0.0/24", "fd00:2::/64"] });
        }
        if let Some(rule) = &self.masquerade {
            document["nat"]["masquerade"]["blue-out"] = rule.document(&mut document["nat"]);
        }
        let forwards = &mut document["nat"]["port_forward"];
        if let Some(port) = self.forward {
            forwards["web"] = forward("tcp", 8080, port);
        }
        if let Some(port) = self.second {
            forwards["second"] = forward("udp", port, 9);
        }
        if self.mail {
            document["nat"]["static"]["mail"] = json!({
                "external_vpc": "internet", "external_address": "203.0.113.9",
                "internal_vpc": "blue", "internal_address": "10.1.0.20"
            });
        }
        if self.nat64 {
            document["nat"]["pools"]["far"] =
                json!({ "vpc": "internet", "ranges": ["203.0.113.72-203.0.113.73"] });
            document["nat"]["nat64"] =
                json!({ "own": { "vpc": "blue", "prefix": "2001:db8:64::/96", "pool": "far" } });
        }
        document["route_sources"] = json!({ "frr": {
            "listen": "127.0.0.1:2620", "vpcs": { "blue": { "table": BLUE } }
        } });
        if self.red {
            document["route_sources"]["frr"]["vpcs"]["red"] = json!({ "table": RED });
        }
        if let Some((protocol, port, place, scope, action)) = self.deny {
            document["acls"] = json!({ "guard": { "default": "allow", "rules": { "10": {
                "action": action, "scope": scope, "protocol": protocol, "source_port": format!("{port}-1110")
            } } } });
            let interface = if place == "acl_in" { "blue0" } else { "wan" };
            document["interfaces"][interface][place] = json!("guard");
        }
        document
    }
}

impl Masquerade {
    fn document(&self, nat: &mut Value) -> Value {
        let mut rule = json!({ "vpc": "blue", "interface": "wan", "sources": ["10.1.0.0/24", "10.3.0.0/24", "fd00:1::/64"] });
        if self.addresses > 0 {
            let last = 63 + self.addresses;
            let ranges = json!([
                format!("203.0.113.64-203.0.113.{last}"),
                format!("2001:db8:f::64")
            ]);
            nat["pools"]["public"] = json!({ "vpc": "internet", "ranges": ranges });
            rule["pool"] = json!("public");
        }
        for (field, value) in [
            ("ports", self.ports),
            ("filtering", self.filtering),
            ("idle_timeout", self.idle_timeout),
        ] {
            if let Some(value) = value {
                rule[field] = json!(value);
            }
        }
        if self.parity {
            rule["preserve_parity"] = json!(true);
        }
        if self.excludes {
            nat["exclusions"] =
                json!({ "some": { "vpc": "blue", "destinations": ["198.51.100.0/25"] } });
        }
        rule
    }
}

fn forward(protocol: &str, external: u16, internal: u16) -> Value {
    json!({
        "protocol": protocol, "external_vpc": "internet", "external_address": "203.0.113.1", "external_port": external,
        "internal_vpc": "blue", "internal_address": "10.1.0.10", "internal_port": internal
    })
}

/// These configurations, one after the other.
fn history(documents: &[Value]) -> History {
    let states = documents.iter().map(|document| {
        from_document(document).unwrap_or_else(|errors| panic!("{errors:?} in {document:#}"))
    });
    let states: Vec<Configuration> = states.collect();
    History::of_configurations(&states)
}

/// The tables of a routing daemon.
const BLUE: u32 = 254;
const RED: u32 = 7;

/// What the daemon says: of parts of the internet, and to where.
fn update() -> impl Strategy<Value = Update> {
    let prefixes = [
        "32.0.0.0/4",
        "0.0.0.0/1",
        "198.51.100.0/24",
        "2000::/4",
        "10.3.0.128/25",
    ];
    let prefix = prop::sample::select(prefixes.to_vec());
    let prefix = prefix.prop_map(|prefix| prefix.parse().expect("a prefix"));
    let via = prop::sample::select(vec![
        "10.3.0.9",
        "10.2.0.9",
        "10.1.0.9",
        "fd00:3::9",
        "fd00:2::9",
    ]);
    let gateway = via.prop_map(|via| Gateway {
        via: via.parse().ok(),
        link: 3,
    });
    let to = prop_oneof![
        2 => gateway.prop_map(Destination::Gateway),
        1 => Just(Destination::Discard(Discard::Unreachable)),
        1 => Just(Destination::Discard(Discard::Blackhole)),
    ];
    let table = || prop_oneof![2 => Just(BLUE), 1 => Just(RED)];
    prop_oneof![
        3 => (table(), prefix.clone(), to).prop_map(|(table, prefix, to)| {
            Update::SetRoute(LearnedRoute { table, prefix, protocol: 186, to })
        }),
        3 => (table(), prefix).prop_map(|(table, prefix)| Update::RemoveRoute { table, prefix }),
    ]
}

/// What of it all is replayed.
#[derive(Clone, Debug)]
struct Played {
    seed: u64,
    /// Packets a second.
    rate: u64,
    workers: u16,
    /// What is heard, evenly among the packets.
    heard: Vec<Update>,
}

impl Default for Played {
    fn default() -> Self {
        Played {
            seed: 1,
            rate: 1_000_000,
            workers: 1,
            heard: Vec::new(),
        }
    }
}

const PACKETS: u64 = 1_200;

impl Played {
    /// As a recording has it that begins then, of a gateway with so many revisions.
    fn heard(&self, beginning: u64, revisions: usize) -> Vec<HeardRoute> {
        let updates = [&Update::Up].into_iter().chain(&self.heard);
        let number = self.heard.len() + 1;
        let heard = updates.enumerate().map(|(position, update)| HeardRoute {
            at_ns: beginning
                + PACKETS * 1_000_000_000 / self.rate * position as u64 / number as u64,
            revision: (revisions * position / number) as u64 + 1,
            source: "frr".to_owned(),
            session: 1,
            update: update.clone(),
        });
        match self.heard.is_empty() {
            true => Vec::new(),
            false => heard.collect(),
        }
    }
}

fn replayed(policies: &[Policy], played: &Played) -> Report {
    let documents: Vec<Value> = policies.iter().map(Policy::document).collect();
    let history = history(&documents);
    let mut traffic = Generator::new(GeneratorOptions {
        seed: played.seed,
        packets: PACKETS,
        flows: 60,
        rate: played.rate,
    });
    let heard = played.heard(traffic.beginning(), documents.len());
    let options = Options {
        workers: played.workers,
        heard: heard.into(),
        ..Options::default()
    };
    let report = Replay::new(&history, &options).run(1, &mut traffic, &mut ());
    report.expect("a report")
}

fn played() -> impl Strategy<Value = Played> {
    let rate = prop_oneof![3 => Just(1_000_000_u64), 1 => Just(200)];
    let heard = prop_oneof![1 => Just(vec![]), 2 => prop::collection::vec(update(), 1..60)];
    (any::<u64>(), rate, 1..4_u16, heard).prop_map(|(seed, rate, workers, heard)| Played {
        seed,
        rate,
        workers,
        heard,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_found_wrong_whatever_is_committed_and_learned(
        policies in prop::collection::vec(policy(), 2..6),
        played in played(),
    ) {
        let report = replayed(&policies, &played);
        prop_assert!(report.passed(), "{:#?}", report.failures);
    }
}

/// A policy that lets everything out.
fn plain() -> Policy {
    Policy {
        route: "wan",
        route6: "wan",
        forward: Some(80),
        second: None,
        masquerade: Some(Masquerade {
            addresses: 0,
            ports: None,
            filtering: None,
            idle_timeout: None,
            parity: false,
            excludes: false,
        }),
        mail: true,
        nat64: true,
        deny: None,
        most_per_source: None,
        red: true,
    }
}

#[test]
fn connections_are_decided_and_some_of_them_end() {
    let denies = Policy {
        deny: Some(("udp", 1024, "acl_in", "flow", "deny")),
        ..plain()
    };
    let other = Policy {
        masquerade: Some(Masquerade {
            addresses: 1,
            ..plain().masquerade.expect("a masquerade")
        }),
        ..plain()
    };
    for workers in [1, 3] {
        let played = Played {
            workers,
            ..Played::default()
        };
        let policies = [plain(), denies.clone(), plain(), other.clone()];
        let report = replayed(&policies, &played);
        assert!(report.passed(), "{:#?}", report.failures);
        let judged = report.judged.expect("it is checked");
        assert!(judged.decided > 100, "{judged:?}");
        assert!(judged.decided > 10 * judged.undecided, "{judged:?}");
        assert_eq!(made(&report), (3, 0));
        let ended: u64 = report.steps.iter().map(|step| step.connections_ended).sum();
        assert!(ended > 4, "{ended}");
    }
}

/// How often the check of connections was made, and has failed.
fn made(report: &Report) -> (u64, u64) {
    let made = report.checks.iter();
    let mut made = made.filter(|made| made.check == Check::Connections);
    made.next()
        .map(|made| (made.made, made.failed))
        .expect("it is wanted")
}

#[test]
fn connections_are_decided_when_routes_are_learned() {
    let prefix = "0.0.0.0/1".parse().expect("a prefix");
    let unreachable = Update::SetRoute(LearnedRoute {
        table: BLUE,
        prefix,
        protocol: 186,
        to: Destination::Discard(Discard::Unreachable),
    });
    let withdrawn = Update::RemoveRoute {
        table: BLUE,
        prefix,
    };
    let all = |heard: Vec<Update>| {
        let played = Played {
            heard,
            ..Played::default()
        };
        let report = replayed(&[plain(), plain()], &played);
        assert!(report.passed(), "{:#?}", report.failures);
        report
    };
    let without = all(vec![]);
    let with = all(vec![
        unreachable.clone(),
        withdrawn.clone(),
        unreachable,
        withdrawn,
    ]);
    let [looks, more] = [&without, &with].map(made);
    assert!(more.0 > looks.0, "{looks:?} {more:?}");
    let ended = |report: &Report| report.totals.account().dropped;
    assert!(ended(&with) > ended(&without));
}
