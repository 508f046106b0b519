//! Law 6 over a replay: the check of connections finds nothing wrong, whatever is committed.

#[path = "connections/policy.rs"]
mod policy;

use policy::{BLUE, Masquerade, Policy, RED, plain, policy};
use proptest::prelude::*;
use rewire_feed::{Destination, Discard, Gateway, LearnedRoute, Update};
use rewire_replay::{
    Check, Generator, GeneratorOptions, HeardRoute, History, Options, Replay, Report, Traffic,
};
use rewire_schema::{Configuration, from_document};
use serde_json::Value;

/// These configurations, one after the other.
fn history(documents: &[Value]) -> History {
    let states = documents.iter().map(|document| {
        from_document(document).unwrap_or_else(|errors| panic!("{errors:?} in {document:#}"))
    });
    let states: Vec<Configuration> = states.collect();
    History::of_configurations(&states)
}

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
