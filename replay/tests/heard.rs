//! What routing daemons said to a gateway, between commits that change the configuration's routes of the same prefixes: a replay that
//! hears it has the gateway's tables, revision by revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rewire_compiler::Compiler;
use rewire_dataplane::{Change, Told, VirtualGateway, route_sources};
use rewire_feed::{Destination, Discard, Gateway, LearnedRoute, NextHopObject, Update};
use rewire_replay::{HeardRoute, History, Options, Replay, Silence, When};
use rewire_schema::{Changeset, Configuration, from_document};
use serde_json::json;

const PREFIXES: [&str; 3] = ["10.8.0.0/16", "10.8.1.0/24", "2001:db8:8::/48"];
/// When the gateway's clock is 0.
const BEGINNING: u64 = 1_000_000_000_000;

/// A revision: the distance of each static route that it has, whether the link to the routers has its address, and how the source's
/// routes stand behind others.
#[derive(Clone, Debug)]
struct Revision {
    statics: [Option<u8>; 3],
    has_link: bool,
    distance: Option<u8>,
}

impl Revision {
    fn configuration(&self) -> Configuration {
        let statics = PREFIXES.iter().zip(self.statics);
        let statics: BTreeMap<_, _> = statics
            .filter_map(|(prefix, distance)| {
                let route = json!({ "type": "blackhole", "distance": distance? });
                Some((*prefix, route))
            })
            .collect();
        let addresses = match self.has_link {
            true => json!(["192.0.2.1/24", "2001:db8:2::1/64"]),
            false => json!(["198.51.100.1/24"]),
        };
        let mut source = json!({
            "listen": "127.0.0.1:2620", "most_routes": 4, "vpcs": { "blue": { "table": 254 } }
        });
        if let Some(distance) = self.distance {
            source["distance"] = json!(distance);
        }
        let document = json!({
            "vpcs": { "blue": { "routes": statics } },
            "interfaces": { "wan0": {
                "vpc": "blue", "port": "null:wan0", "mac": "02:00:00:00:00:01", "addresses": addresses
            } },
            "route_sources": { "frr": source }
        });
        from_document(&document).expect("it is right")
    }
}

fn revision() -> impl Strategy<Value = Revision> {
    let distance = || prop::option::of(prop_oneof![Just(1u8), Just(20), Just(200)]);
    let statics = [distance(), distance(), distance()];
    (statics, any::<bool>(), distance()).prop_map(|(statics, has_link, distance)| Revision {
        statics,
        has_link,
        distance,
    })
}

fn update() -> impl Strategy<Value = Update> {
    let prefix = (0..PREFIXES.len()).prop_map(|number| PREFIXES[number].parse().expect("a prefix"));
    let via = prop::sample::select(vec![
        "192.0.2.2",
        "192.0.2.3",
        "2001:db8:2::2",
        "203.0.113.9",
    ]);
    let gateway = via.prop_map(|via| Gateway {
        via: via.parse().ok(),
        link: 3,
    });
    let to = prop_oneof![
        gateway.clone().prop_map(Destination::Gateway),
        (1u32..3).prop_map(Destination::Object),
        Just(Destination::Discard(Discard::Unreachable)),
    ];
    let table = prop_oneof![9 => Just(254u32), 1 => Just(7)];
    prop_oneof![
        8 => (table, prefix.clone(), to).prop_map(|(table, prefix, to)| {
            Update::SetRoute(LearnedRoute { table, prefix, protocol: 186, to })
        }),
        3 => prefix.prop_map(|prefix| Update::RemoveRoute { table: 254, prefix }),
        2 => (1u32..3, gateway).prop_map(|(id, gateway)| Update::SetNextHop {
            id,
            object: NextHopObject::Gateway(gateway),
        }),
        1 => Just(Update::Up),
        1 => Just(Update::Down),
        1 => Just(Update::Expired),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Commit(Revision),
    Hear(Update),
}

/// What happens, each so many nanoseconds after the one before.
fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        1 => revision().prop_map(Event::Commit),
        4 => update().prop_map(Event::Hear),
    ];
    let pause = prop_oneof![Just(0u64), 1..2_000_000u64];
    prop::collection::vec((pause, event), 1..40)
}

/// What a gateway would have been recorded as, and its tables after each commit and in the end.
struct Recorded {
    history: History,
    options: Options,
    digests: Vec<Option<String>>,
}

fn recorded(first: &Revision, before: &[Update], events: &[(u64, Event)]) -> Recorded {
    let mut states = vec![first.configuration()];
    let (mut compiler, compiled) =
        Compiler::compile(Arc::new(states[0].clone()), 1).expect("it compiles");
    let mut gateway = VirtualGateway::new(&Options::default().gateway).learning_routes();
    let mut change = Change::from(compiled.into_parts());
    let mut sources = route_sources(&states[0]);
    change.sources = Some(sources.clone());
    gateway.apply(change);
    // As the gateway numbers them: each that begins has a number of its own.
    let mut session = 0;
    let mut told = |update: &Update| {
        session += u32::from(*update == Update::Up);
        Told {
            source: "frr".into(),
            session,
            update: update.clone(),
        }
    };
    let mut heard = Vec::new();
    let note = |at_ns, revision, told: Told| HeardRoute {
        at_ns,
        revision,
        source: told.source.to_string(),
        session: told.session,
        update: told.update,
    };
    // What was said before goes into the recording as it counts now.
    let said = [Update::Up].iter().chain(before).map(&mut told);
    gateway.hear_routes(&Vec::from_iter(said));
    heard.extend(
        gateway
            .retold_routes()
            .into_iter()
            .map(|told| note(BEGINNING, 1, told)),
    );
    let (mut digests, mut schedule) = (vec![], BTreeMap::new());
    let (mut now, mut revision) = (BEGINNING + 1, 1);
    for (pause, event) in events {
        now += pause;
        match event {
            Event::Hear(update) => {
                let told = told(update);
                gateway.hear_routes(std::slice::from_ref(&told));
                heard.push(note(now, revision, told));
            }
            Event::Commit(next) => {
                let next = next.configuration();
                let before = states.last().expect("there is a first one");
                let changeset = Changeset::between(before, &next);
                revision += 1;
                let compiled = compiler.apply(revision, &changeset).expect("it compiles");
                let mut change = Change::from(compiled.into_parts());
                let now_sources = route_sources(&next);
                if now_sources != sources {
                    sources.clone_from(&now_sources);
                    change.sources = Some(now_sources);
                }
                gateway.apply(change);
                digests.push(gateway.digest().map(|digest| digest.to_string()));
                schedule.insert(revision, When::Time(now));
                states.push(next);
            }
        }
    }
    digests.push(gateway.digest().map(|digest| digest.to_string()));
    let options = Options {
        heard: heard.into(),
        schedule,
        beginning: Some(BEGINNING),
        whole_every: Some(1),
        ..Options::default()
    };
    Recorded {
        history: History::of_configurations(&states),
        options,
        digests,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_replay_that_hears_the_same_has_the_same_tables(
        first in revision(),
        before in prop::collection::vec(update(), 0..8),
        events in events(),
    ) {
        let Recorded { history, options, digests } = recorded(&first, &before, &events);
        let report = Replay::new(&history, &options).run(1, &mut Silence, &mut ());
        let report = report.expect("it replays");
        prop_assert!(report.failures.is_empty(), "{:#?}", report.failures);
        let steps = report.steps.iter().skip(1).map(|step| step.tables_digest.clone());
        let found: Vec<_> = steps.chain([report.tables_digest.clone()]).collect();
        prop_assert_eq!(found, digests);
    }
}
