//! Who watches a gateway's drops sees all that are counted, wherever they happen, and whoever else watches.

mod support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rewire_dataplane::port::memory::QUEUE_FRAMES;
use rewire_dataplane::walk::{Fact, Onward};
use rewire_dataplane::watch::bpf::Program;
use rewire_dataplane::watch::{At, MOST_WATCHES, Seen, Wanted, Watching};
use rewire_dataplane::{DropReason, GatewayError, Node};
use support::town::*;
use support::*;

/// `ip src host ADDRESS`, as tcpdump compiles it.
fn from(address: Ipv4Addr) -> Program {
    let address = u32::from(address);
    let program =
        format!("6\n40 0 0 12\n21 0 3 2048\n32 0 0 26\n21 0 1 {address}\n6 0 0 262144\n6 0 0 0\n");
    Program::from_text(&program).expect("a program")
}

fn drops(name: &str, filter: Option<Program>) -> Wanted {
    Wanted {
        name: name.into(),
        filter,
        at: At::Drops(None),
        packets: u64::MAX,
        snap: 64,
        steps: 1 << 16,
        bytes: 1 << 22,
    }
}

/// Watches; all workers do when this returns.
fn watch(town: &Town, wanted: &Wanted) -> Watching {
    let trials = town.gateway.live_trials().expect("it runs");
    let watching = trials.watch(wanted).expect("there is a place");
    // A look at the connections stands behind it in every worker's ring.
    let connections = town.gateway.connection_table().expect("it runs");
    connections.visit(|_| ()).expect("workers answer");
    watching
}

fn all(watching: &mut Watching) -> Vec<Seen> {
    std::iter::from_fn(|| watching.next_seen()).collect()
}

/// What was seen, once there is so much: a drop is counted before it is told of.
fn so_many(watching: &mut Watching, number: u64) -> Vec<Seen> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = Vec::new();
    while (seen.len() as u64) < number {
        match watching.next_seen() {
            Some(next) => seen.push(next),
            None => assert!(Instant::now() < deadline, "{} seen", seen.len()),
        }
    }
    seen
}

fn reason(seen: &Seen) -> DropReason {
    match seen.step.fact {
        Fact::Next(Onward::Drop { reason, .. }) => reason,
        ref other => panic!("{other:?}"),
    }
}

fn by_reason(seen: &[Seen]) -> BTreeMap<DropReason, u64> {
    let mut reasons = BTreeMap::new();
    for seen in seen {
        *reasons.entry(reason(seen)).or_default() += 1;
    }
    reasons
}

/// What was dropped, once so many packets have come in and all have gone somewhere.
fn counted(town: &Town, received: u64) -> BTreeMap<DropReason, u64> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let totals = town.gateway.shared().totals();
        if totals.received >= received && totals.balanced() {
            return totals.drops().filter(|(_, number)| *number > 0).collect();
        }
        assert!(Instant::now() < deadline, "{totals:?}");
        std::thread::yield_now();
    }
}

const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 30);

#[test]
fn drops_at_a_full_queue_are_seen_by_their_filters() {
    let town = Town::new(1);
    let packet = || at("blue0", udp((INSIDE, 4000), (site(1), 53), 8));
    town.through("blue0", packet(), "wan");
    let before = town.gateway.shared().totals().received;
    let mut unfiltered = watch(&town, &drops("all", None));
    // By what came in, what would have left, and neither.
    let mut by_inside = watch(&town, &drops("inside", Some(from(INSIDE))));
    let mut by_outside = watch(&town, &drops("outside", Some(from(WAN))));
    let mut others = watch(&town, &drops("others", Some(from(site(9)))));
    let sent = QUEUE_FRAMES + 100;
    for _ in 0..sent {
        town.send("blue0", packet());
    }
    let counted = counted(&town, before + sent as u64);
    assert_eq!(counted, [(DropReason::TransmitQueueFull, 100)].into());
    for watching in [&mut unfiltered, &mut by_inside, &mut by_outside] {
        let seen = so_many(watching, 100);
        assert_eq!(by_reason(&seen), counted);
        assert!(all(watching).is_empty());
        assert_eq!(watching.missed(), 0);
        for seen in &seen {
            assert_eq!(seen.step.node, Node::EthernetOutput);
            assert!(seen.port.is_some_and(|port| port.leaves), "{seen:?}");
            // As it would have left.
            assert_eq!(Ip::of(&seen.bytes).source, WAN);
        }
    }
    assert!(all(&mut others).is_empty());
    town.stop();
}

#[test]
fn so_many_watch_at_once_and_each_ends_for_itself() {
    let town = Town::new(2);
    let names = ["one", "two", "three", "four"];
    assert_eq!(names.len(), MOST_WATCHES);
    let mut watching: Vec<Watching> = names
        .iter()
        .map(|name| watch(&town, &drops(name, None)))
        .collect();
    let trials = town.gateway.live_trials().expect("it runs");
    let full = trials.watch(&drops("five", None)).expect_err("no place");
    match &full {
        GatewayError::TooManyWatches { names: who } => {
            assert_eq!(who.iter().map(AsRef::as_ref).collect::<Vec<_>>(), names);
        }
        other => panic!("{other}"),
    }
    let said =
        "4 watch the gateway's packets already, and no more can at once: one, two, three, four";
    assert_eq!(full.to_string(), said);
    let mut received = 0;
    let mut lose = |town: &Town| {
        // No route leads there.
        town.send(
            "green0",
            at(
                "green0",
                udp((Ipv4Addr::new(10, 3, 0, 9), 1), (site(1), 2), 8),
            ),
        );
        received += 1;
        counted(town, received)
    };
    lose(&town);
    for watching in &mut watching {
        assert_eq!(
            by_reason(&so_many(watching, 1)),
            [(DropReason::NoRoute, 1)].into()
        );
        assert!(all(watching).is_empty());
    }
    drop(watching.remove(1));
    let mut another = watch(&town, &drops("five", None));
    lose(&town);
    for watching in watching.iter_mut().chain([&mut another]) {
        assert_eq!(
            by_reason(&so_many(watching, 1)),
            [(DropReason::NoRoute, 1)].into()
        );
        assert!(all(watching).is_empty());
    }
    town.stop();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes, and however much of it: rings and queues may be full or not, what is counted is seen.
    #[test]
    fn what_is_counted_is_seen(workers in 1..4_u16, kinds in prop::collection::vec(0..6_u8, 1..6000)) {
        let town = Town::new(workers);
        // The neighbor answers, once.
        town.through("blue0", at("blue0", udp((INSIDE, 4000), (site(1), 53), 8)), "wan");
        let before = town.gateway.shared().totals();
        let counted_before = counted(&town, before.received);
        let mut watching = watch(&town, &drops("all", None));
        for (number, kind) in (0_u16..).zip(&kinds) {
            let source = 2000 + number % 997;
            let packet = match kind {
                0 => at("green0", udp((Ipv4Addr::new(10, 3, 0, 9), source), (site(1), 2), 8)),
                1 => at("blue0", udp((INSIDE, source), (site(1), 53), 8).ttl(1)),
                2 => at("wan", udp((site(2), source), (WAN, source), 8)),
                _ => at("blue0", udp((INSIDE, source), (site(1), 53), 8)),
            };
            let port = match kind {
                0 => "green0",
                2 => "wan",
                _ => "blue0",
            };
            town.send(port, packet);
        }
        // What waits for a neighbor may be dropped at any moment.
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut seen = Vec::new();
        loop {
            let mut counted = counted(&town, before.received + kinds.len() as u64);
            for (reason, number) in &counted_before {
                *counted.entry(*reason).or_default() -= number;
            }
            counted.retain(|_, number| *number > 0);
            seen.extend(all(&mut watching));
            if by_reason(&seen) == counted {
                break;
            }
            let late = Instant::now() >= deadline;
            prop_assert!(!late, "seen {:?}, counted {:?}", by_reason(&seen), counted);
            std::thread::yield_now();
        }
        prop_assert_eq!(watching.missed(), 0);
        town.stop();
    }
}
