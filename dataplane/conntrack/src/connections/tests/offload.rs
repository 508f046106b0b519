use std::num::NonZeroU64;

use super::*;
use crate::offload::{
    Actions, Card, Engine, EngineConfig, Event, Merged, Offloading, Path, QueueFull, Refusal, Rule,
    RuleId, Usage,
};
use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;
use rewire_tables::acl::UNCOUNTED;

/// A card that does what the test lets it do.
#[derive(Clone, Default)]
struct Hand(std::sync::Arc<std::sync::Mutex<Held>>);

#[derive(Default)]
struct Held {
    asked: Vec<(RuleId, Option<Rule>)>,
    events: Vec<Event>,
    is_full: bool,
    refuses: bool,
    usage: Option<Usage>,
}

impl Hand {
    fn with<T>(&self, work: impl FnOnce(&mut Held) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Does all that was asked for; tells which rules those were.
    fn obey(&self) -> Vec<(RuleId, Option<Rule>)> {
        self.with(|state| {
            let asked = std::mem::take(&mut state.asked);
            let usage = state.usage.unwrap_or_default();
            let done = asked.iter().map(|(id, rule)| match rule {
                Some(_) => Event::Installed(*id),
                None => Event::Removed(*id, usage),
            });
            state.events.extend(done);
            asked
        })
    }
}

impl Card for Hand {
    fn reserve(&mut self, _: usize) {}
    fn install(&mut self, id: RuleId, rule: &Rule, _: Instant) -> Result<(), Refusal> {
        self.with(|state| {
            if state.is_full {
                return Err(Refusal::QueueFull);
            }
            if state.refuses {
                return Err(Refusal::Unsupported);
            }
            state.asked.push((id, Some(*rule)));
            Ok(())
        })
    }
    fn remove(&mut self, id: RuleId, _: Instant) -> Result<(), QueueFull> {
        self.with(|state| match state.is_full {
            true => Err(QueueFull),
            false => {
                state.asked.push((id, None));
                Ok(())
            }
        })
    }
    fn push(&mut self, _: Instant) {}
    fn poll(&mut self, _: Instant, limit: usize, events: &mut Vec<Event>) {
        self.with(|state| {
            let number = state.events.len().min(limit);
            events.extend(state.events.drain(..number));
        });
    }
    fn query(&mut self, _: RuleId, _: Instant) -> Option<Usage> {
        self.with(|state| state.usage)
    }
    fn close_port(&mut self, _: InterfaceIndex) {}
}

const PATH: Path = Path {
    ingress: InterfaceIndex(1),
    ingress_mac: MacAddress([2, 0, 0, 0, 0, 1]),
    egress: InterfaceIndex(2),
    source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
    destination_mac: MacAddress([2, 0, 0, 0, 0, 3]),
    longest: 1400,
    counters: UNCOUNTED,
};

/// A table, its engine and its card, with places for so many flows, and rings for so many requests.
struct Lab {
    connections: Connections<Ipv4Addr>,
    engine: Engine,
    card: Hand,
    merged: Vec<Merged>,
}

impl Lab {
    fn new(flows: u32, requests: usize) -> Self {
        let card = Hand::default();
        let config = EngineConfig {
            queues: 1,
            flows,
            requests,
            query_every: Duration::from_secs(5),
        };
        let (engine, queues) = Engine::new(Box::new(card.clone()), &config);
        let mut connections = connections(8);
        for queue in queues {
            let offloading = Offloading {
                packets: 1,
                again: NonZeroU64::MIN,
                idle_after: Duration::from_secs(30),
            };
            connections.enable_offload(queue, offloading);
        }
        Lab {
            connections,
            engine,
            card,
            merged: Vec::new(),
        }
    }

    /// Requests go to the card, and answers come back.
    fn exchange(&mut self, now: Instant) {
        while self.engine.poll(|| now) > 0 {}
        let merged = &mut self.merged;
        self.connections.run_offload(now, |one| merged.push(one));
    }

    /// An answered flow of UDP, offered in both directions.
    fn offloaded(&mut self, port: u16, now: Instant) -> FlowId {
        let flow = routed(key(17, port));
        let connections = &mut self.connections;
        let id = connections.insert(flow, &Segment::Udp, 100, now).unwrap();
        connections
            .update(id, Reply, &Segment::Udp, 100, now)
            .unwrap();
        for direction in [Original, Reply] {
            assert!(connections.is_offload_due(id, direction));
            connections.offload(id, direction, &PATH, now);
        }
        id
    }
}

#[test]
fn a_rule_says_what_the_connection_says() {
    let mut lab = Lab::new(4, 16);
    let id = lab.offloaded(5, START);
    lab.exchange(START);
    let asked = lab.card.obey();
    lab.exchange(START);
    let flow = lab.connections.flow(id).unwrap();
    for ((_, rule), direction) in asked.into_iter().zip([Original, Reply]) {
        let (rule, key) = (rule.unwrap(), flow.key(direction));
        let answered = flow.key(direction.other());
        assert_eq!(rule.pattern.source, (key.source.into(), key.source_port));
        assert_eq!(
            rule.actions,
            Actions {
                source: (answered.destination.into(), answered.destination_port),
                destination: (answered.source.into(), answered.source_port),
                source_mac: PATH.source_mac,
                destination_mac: PATH.destination_mac,
                egress: PATH.egress,
            }
        );
    }
    assert_eq!(lab.connections.offload_counts().rules, 2);
}

#[test]
fn what_is_in_the_card_keeps_its_place() {
    let mut lab = Lab::new(4, 16);
    let id = lab.offloaded(5, START);
    lab.exchange(START);
    lab.card.obey();
    lab.exchange(START);
    // It is forbidden: nobody finds it, and nobody gets its keys.
    assert!(lab.connections.remove(id).is_some());
    let key = key(17, 5);
    assert_eq!(lab.connections.lookup(&key, START), None);
    let again = |connections: &mut Connections<_>| {
        connections.insert(routed(key), &Segment::Udp, 100, START)
    };
    assert_eq!(again(&mut lab.connections), Err(InsertError::Clash));
    lab.exchange(START);
    // The removals are with the card, and not done.
    assert_eq!(again(&mut lab.connections), Err(InsertError::Clash));
    assert_eq!(lab.card.obey().len(), 2);
    lab.exchange(START);
    assert!(lab.connections.is_empty());
    let serials = |asked: Vec<(RuleId, Option<Rule>)>| -> Vec<_> {
        asked
            .into_iter()
            .map(|(id, _)| (id.place, id.serial))
            .collect()
    };
    lab.offloaded(5, START);
    lab.exchange(START);
    assert_eq!(serials(lab.card.obey()), [(0, 2), (1, 2)]);
}

#[test]
fn no_room_leaves_flows_in_software() {
    let mut lab = Lab::new(2, 3);
    lab.card.with(|state| state.is_full = true);
    let first = lab.offloaded(1, START);
    let second = lab.offloaded(2, START);
    let third = lab.offloaded(3, START);
    let counts = lab.connections.offload_counts();
    // Of the second, one direction has no room in the ring; of the third, there is no place.
    assert_eq!(
        (counts.installs, counts.ring_full, counts.places_full),
        (3, 1, 2)
    );
    assert!(lab.connections.is_offloaded(second) && !lab.connections.is_offloaded(third));
    lab.exchange(START);
    assert!(lab.card.obey().is_empty());
    lab.card.with(|state| state.is_full = false);
    lab.exchange(START);
    assert_eq!(lab.card.obey().len(), 3);
    lab.exchange(START);
    assert_eq!(lab.connections.offload_counts().rules, 3);
    // Removals wait for room, too, and are not lost.
    lab.card.with(|state| state.is_full = true);
    for id in [first, second] {
        lab.connections.take_back(id, START);
    }
    lab.exchange(START);
    lab.card.with(|state| state.is_full = false);
    for _ in 0..4 {
        lab.exchange(START);
        lab.card.obey();
    }
    lab.exchange(START);
    let counts = lab.connections.offload_counts();
    assert_eq!((counts.flows, counts.rules, counts.removed), (0, 0, 3));
    assert_eq!(lab.connections.len(), 3);
}

/// A refusal is told as everything is: where nobody listens, requests wait.
#[test]
fn refusals_wait_for_room_to_be_told() {
    let mut lab = Lab::new(8, 2);
    lab.card.with(|state| state.refuses = true);
    for port in 0..8 {
        lab.offloaded(port, START);
        while lab.engine.poll(|| START) > 0 {}
    }
    let counts = lab.connections.offload_counts();
    // Four reports have room, and two requests.
    assert_eq!(
        (counts.installs, counts.ring_full, counts.refused),
        (6, 10, 0)
    );
    for _ in 0..2 {
        lab.exchange(START);
    }
    let counts = lab.connections.offload_counts();
    assert_eq!((counts.refused, counts.flows), (6, 0));
}

/// From the decision until the card's doorbell has been rung, and from there until it has answered.
#[test]
fn latencies_are_those_of_the_clock() {
    let mut lab = Lab::new(4, 16);
    let id = lab.offloaded(5, START);
    let ticks = std::cell::Cell::new(0);
    // Each look at it is a microsecond later.
    let clock = || {
        ticks.set(ticks.get() + 1);
        START.saturating_add(Duration::from_micros(ticks.get()))
    };
    let latencies = lab.engine.latencies();
    let sum = |histogram: &crate::offload::Histogram| {
        let counted = histogram.counted();
        (counted.count(), counted.sum())
    };
    let micros = Duration::from_micros;
    lab.engine.poll(clock);
    assert_eq!(sum(&latencies.install_handed), (2, micros(2 * 2)));
    lab.card.obey();
    lab.engine.poll(clock);
    assert_eq!(sum(&latencies.install_confirmed), (2, micros(2)));
    lab.connections.run_offload(START, |_| {});
    lab.connections.take_back(id, START);
    lab.engine.poll(clock);
    assert_eq!(sum(&latencies.remove_handed), (2, micros(2 * 5)));
    lab.card.obey();
    lab.engine.poll(clock);
    assert_eq!(sum(&latencies.remove_confirmed), (2, micros(2)));
}

/// Whoever asks for much does not keep others waiting, and nobody overtakes himself.
#[test]
fn workers_have_their_turns() {
    let card = Hand::default();
    let config = EngineConfig {
        queues: 2,
        flows: 100,
        requests: 256,
        query_every: Duration::from_secs(5),
    };
    let (mut engine, queues) = Engine::new(Box::new(card.clone()), &config);
    let offloading = Offloading {
        packets: 1,
        again: NonZeroU64::MIN,
        idle_after: Duration::from_secs(30),
    };
    let mut workers: Vec<_> = queues
        .into_iter()
        .map(|queue| {
            let mut connections = connections(256);
            connections.enable_offload(queue, offloading);
            connections
        })
        .collect();
    for (worker, flows) in workers.iter_mut().zip([100, 1]) {
        for port in 0..flows {
            let flow = routed(key(17, port));
            let id = worker.insert(flow, &Segment::Udp, 100, START).unwrap();
            worker.update(id, Reply, &Segment::Udp, 100, START).unwrap();
            worker.offload(id, Original, &PATH, START);
            worker.offload(id, Reply, &PATH, START);
        }
    }
    let handed = |card: &Hand| card.with(|state| state.asked.len());
    engine.poll(|| START);
    let first = handed(&card);
    assert!(first < 202, "there is more to do in another poll");
    let asked = card.with(|state| state.asked.clone());
    let of_second = |asked: &[(RuleId, Option<Rule>)]| {
        let mut places = asked.iter().map(|(id, _)| id.place);
        places.position(|place| place >= 200).unwrap()
    };
    assert!(of_second(&asked) <= first / 2, "its turn came early");
    while engine.poll(|| START) > 0 {}
    assert_eq!(handed(&card), 202);
    // What the one worker asked for has come in the order in which it did.
    let asked = card.obey();
    let of_first = asked
        .iter()
        .map(|(id, _)| id.place)
        .filter(|place| *place < 200);
    assert!(of_first.is_sorted());
    // All is reported, if not at once.
    while engine.poll(|| START) > 0 {}
    for (worker, rules) in workers.iter_mut().zip([200, 2]) {
        worker.run_offload(START, |_| {});
        assert_eq!(worker.offload_counts().rules, rules);
    }
}

#[test]
fn a_connection_ends_after_its_last_packet_wherever_that_was() {
    let mut lab = Lab::new(4, 16);
    let id = lab.offloaded(5, START);
    lab.exchange(START);
    lab.card.obey();
    lab.exchange(START);
    // The card has forwarded a packet that nobody was told of when the time is nearly up.
    let timeout = Timeouts::default().udp_replied;
    let last = START.saturating_add(timeout - Duration::from_secs(30));
    lab.card.with(|state| {
        state.usage = Some(Usage {
            packets: 3,
            bytes: 300,
            last: Some(last),
        });
    });
    let near = START.saturating_add(timeout - EXPIRY_TICK);
    while lab.connections.expire(near, 100) > 0 {}
    // Asked to let it go, the card says so.
    for _ in 0..2 {
        lab.exchange(START);
        lab.card.obey();
    }
    lab.exchange(near);
    let flow = lab.connections.flow(id).unwrap();
    assert_eq!(flow.expires, end(last, timeout));
    assert_eq!(flow.traffic(Original).packets, 1 + 3);
    assert_eq!(lab.merged.len(), 2);
    assert!(!lab.connections.is_offloaded(id));
    let over = last.saturating_add(timeout + 3 * EXPIRY_TICK);
    lab.connections.expire(over, 100);
    lab.connections.expire(over, 100);
    assert!(lab.connections.is_empty());
}

/// Numbers pass unseen: afterwards nothing is refused for them, and no RST is believed to the letter.
#[test]
fn tcp_goes_on_after_the_card() {
    let segment = |flags, sequence, acknowledgment| {
        Segment::Tcp(TcpSegment {
            flags,
            sequence,
            acknowledgment,
            window: 100,
            window_scale: None,
            payload_length: 0,
        })
    };
    let mut lab = Lab::new(4, 16);
    let flow = routed(key(6, 5));
    let syn = segment(TcpFlags::SYN, 1000, 0);
    let id = lab.connections.insert(flow, &syn, 60, START).unwrap();
    let update = |lab: &mut Lab, direction, segment: Segment| {
        lab.connections.update(id, direction, &segment, 60, START)
    };
    update(
        &mut lab,
        Reply,
        segment(TcpFlags::SYN | TcpFlags::ACK, 5000, 1001),
    )
    .unwrap();
    update(&mut lab, Original, segment(TcpFlags::ACK, 1001, 5001)).unwrap();
    let far = segment(TcpFlags::ACK, 9_000_000, 5001);
    assert_eq!(
        update(&mut lab, Original, far),
        Err(Invalid::TcpBeyondWindow)
    );
    lab.connections.offload(id, Original, &PATH, START);
    lab.exchange(START);
    lab.card.obey();
    lab.exchange(START);
    assert!(update(&mut lab, Original, far).is_ok());
    assert!(lab.connections.is_offloaded(id));
    let reset = segment(TcpFlags::RST, 9_000_000, 0);
    assert_eq!(
        update(&mut lab, Original, reset),
        Ok(State::Tcp(TcpState::Established))
    );
    let expires = lab.connections.flow(id).unwrap().expires;
    assert_eq!(expires, end(START, Timeouts::default().tcp_reset));
    // It is being taken back; a FIN, from wherever, is taken for one, and so is its acknowledgment.
    let fin = TcpFlags::FIN | TcpFlags::ACK;
    for (direction, flags, sequence, acknowledgment, state) in [
        (Original, fin, 77_000_000, 88_000_000, TcpState::FinWait),
        (
            Reply,
            TcpFlags::ACK,
            88_000_000,
            77_000_001,
            TcpState::FinWait,
        ),
        (Reply, fin, 88_000_500, 77_000_001, TcpState::LastAck),
        (
            Original,
            TcpFlags::ACK,
            77_000_001,
            88_000_501,
            TcpState::TimeWait,
        ),
    ] {
        let after = update(
            &mut lab,
            direction,
            segment(flags, sequence, acknowledgment),
        );
        assert_eq!(after, Ok(State::Tcp(state)));
    }
    for _ in 0..2 {
        lab.exchange(START);
        lab.card.obey();
    }
    lab.exchange(START);
    assert!(!lab.connections.is_offloaded(id) && lab.connections.flow(id).is_some());
}
