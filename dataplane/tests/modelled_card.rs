//! The modelled card beside an oracle that works out anew, each time, what must have become of all requests so far.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use rewire_conntrack::Instant;
use rewire_conntrack::offload::{Actions, Card, Event, Pattern, Refusal, Rule, RuleId, Usage};
use rewire_dataplane::offload::{CardConfig, ModelledCard, Taken};
use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;
use support::udp;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 53);
const INGRESS: InterfaceIndex = InterfaceIndex(1);
const EGRESS: InterfaceIndex = InterfaceIndex(2);
/// Bytes of data in a packet.
const DATA: usize = 10;
const PLACES: u32 = 12;
/// Flows that there are rules for.
const FLOWS: u8 = 8;

fn client(flow: u8) -> (Ipv4Addr, u16) {
    (Ipv4Addr::new(192, 0, 2, flow), 5000)
}

fn rule(flow: u8) -> Rule {
    let end = |(address, port): (Ipv4Addr, u16)| (IpAddr::from(address), port);
    Rule {
        pattern: Pattern {
            ingress: INGRESS,
            mac: MAC,
            protocol: 17,
            source: end(client(flow)),
            destination: end(SERVER),
            longest: 1500,
        },
        actions: Actions {
            source: end((Ipv4Addr::new(203, 0, 113, 1), 1024 + u16::from(flow))),
            destination: end(SERVER),
            source_mac: MAC,
            destination_mac: MAC,
            egress: EGRESS,
        },
        idle_after: Duration::from_secs(1),
    }
}

/// Whether the card forwards a packet of a flow.
fn is_forwarded(card: &ModelledCard, flow: u8, now: Instant) -> bool {
    let mut packet = udp(client(flow), SERVER, DATA);
    packet.link_destination = MAC;
    match card.receive(INGRESS, packet.frame(), now) {
        Taken::Forwarded(egress, _) => egress == EGRESS,
        Taken::Punted(_) => false,
    }
}

#[derive(Clone, Debug)]
enum Step {
    Install(u32, u8),
    Remove(u32),
    Push,
    /// So many ns.
    Wait(u64),
    /// At most so many events.
    Poll(usize),
    /// A packet of each flow comes in.
    Receive,
    Query(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..PLACES, 0..FLOWS).prop_map(|(place, flow)| Step::Install(place, flow)),
        4 => (0..PLACES).prop_map(Step::Remove),
        3 => Just(Step::Push),
        3 => (0..40_u64).prop_map(Step::Wait),
        3 => (0..4_usize).prop_map(Step::Poll),
        1 => Just(Step::Receive),
        1 => (0..PLACES).prop_map(Step::Query),
    ];
    prop::collection::vec(step, 1..120)
}

fn config() -> impl Strategy<Value = CardConfig> {
    (1..8_usize, 1..10_usize, 0..12_u64, 0..30_u64).prop_map(
        |(capacity, queue, per_request, latency)| CardConfig {
            capacity,
            queue,
            per_request: Duration::from_nanos(per_request),
            latency: Duration::from_nanos(latency),
        },
    )
}

/// How a place stands, as far as whoever asks was told.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Told {
    Free,
    Asked,
    Installed,
}

/// A packet of each flow has come in: when, and after how many requests.
type Received = (Instant, usize);

/// All that has happened; what follows from it is worked out anew each time.
struct Oracle {
    config: CardConfig,
    /// When each request is done, and what it was: a rule for a flow, or its removal.
    pushed: Vec<(Instant, RuleId, Option<u8>)>,
    received: Vec<Received>,
}

impl Oracle {
    fn push(&mut self, now: Instant, id: RuleId, flow: Option<u8>) {
        let before = self.pushed.last().map_or(now, |(at, ..)| *at);
        let at = before.max(now).saturating_add(self.config.per_request);
        self.pushed.push((at, id, flow));
    }

    /// What is done by now: the rules, and what is reported of it when.
    fn done(&self, now: Instant) -> (BTreeMap<u8, RuleId>, Vec<(Instant, Event)>) {
        let (mut rules, mut events) = (BTreeMap::new(), Vec::new());
        for (at, id, flow) in self.pushed.iter().take_while(|(at, ..)| *at <= now) {
            let event = match flow {
                Some(_) if rules.len() >= self.config.capacity => {
                    Event::NotInstalled(*id, Refusal::TableFull)
                }
                Some(flow) if rules.contains_key(flow) => {
                    Event::NotInstalled(*id, Refusal::Driver(libc::EEXIST))
                }
                Some(flow) => {
                    rules.insert(*flow, *id);
                    Event::Installed(*id)
                }
                None => {
                    rules.retain(|_, rule| rule != id);
                    Event::Removed(*id, self.usage(*id))
                }
            };
            events.push((at.saturating_add(self.config.latency), event));
        }
        (rules, events)
    }

    /// What a rule has done that was installed.
    fn usage(&self, id: RuleId) -> Usage {
        let mut usage = Usage::default();
        for (now, requests) in &self.received {
            let known = self.pushed[..*requests].iter();
            let done = known.filter(|(at, rule, _)| at <= now && *rule == id);
            // It came, and has not gone.
            if done.count() == 1 {
                usage.packets += 1;
                usage.bytes += 20 + 8 + DATA as u64;
                usage.last = Some(*now);
            }
        }
        usage
    }

    fn unfinished(&self, now: Instant) -> usize {
        self.pushed.iter().filter(|(at, ..)| *at > now).count()
    }
}

proptest! {
    #[test]
    fn the_card_does_what_it_was_asked_for_one_after_the_other(
        config in config(),
        steps in steps(),
    ) {
        let mut card = ModelledCard::new(config);
        card.reserve(PLACES as usize);
        // Another clone takes the packets.
        let port = card.clone();
        let (pushed, received) = (Vec::new(), Vec::new());
        let mut oracle = Oracle { config, pushed, received };
        let mut now = Instant(1000);
        let mut enqueued = Vec::new();
        let mut places = [Told::Free; PLACES as usize];
        let mut serials = [0; PLACES as usize];
        let mut reported = 0;
        for step in steps {
            match step {
                Step::Install(place, flow) => {
                    let number = place as usize;
                    if places[number] != Told::Free {
                        continue;
                    }
                    let id = RuleId { place, serial: serials[number] + 1 };
                    let held = enqueued.len() + oracle.unfinished(now);
                    match card.install(id, &rule(flow), now) {
                        Ok(()) => {
                            prop_assert!(held < config.queue);
                            (places[number], serials[number]) = (Told::Asked, id.serial);
                            enqueued.push((id, Some(flow)));
                        }
                        refused => {
                            prop_assert_eq!(refused, Err(Refusal::QueueFull));
                            let untold = enqueued.len() + oracle.pushed.len() - reported;
                            prop_assert!(untold >= config.queue);
                        }
                    }
                }
                Step::Remove(place) => {
                    let number = place as usize;
                    let id = RuleId { place, serial: serials[number] };
                    if places[number] == Told::Installed && card.remove(id, now).is_ok() {
                        places[number] = Told::Asked;
                        enqueued.push((id, None));
                    }
                }
                Step::Push => {
                    card.push(now);
                    for (id, flow) in enqueued.drain(..) {
                        oracle.push(now, id, flow);
                    }
                }
                Step::Wait(time) => now = now.saturating_add(Duration::from_nanos(time)),
                Step::Poll(limit) => {
                    let mut events = Vec::new();
                    card.poll(now, limit, &mut events);
                    let done = oracle.done(now).1.into_iter().skip(reported).take(limit);
                    let due = done.take_while(|(at, _)| *at <= now);
                    let due: Vec<Event> = due.map(|(_, event)| event).collect();
                    prop_assert_eq!(&events, &due);
                    reported += events.len();
                    for event in events {
                        let (id, told) = match event {
                            Event::Installed(id) => (id, Told::Installed),
                            Event::NotInstalled(id, _) | Event::Removed(id, _) => (id, Told::Free),
                            other => panic!("{other:?}"),
                        };
                        places[id.place as usize] = told;
                    }
                }
                Step::Receive => {
                    let rules = oracle.done(now).0;
                    for flow in 0..FLOWS {
                        prop_assert_eq!(is_forwarded(&port, flow, now), rules.contains_key(&flow));
                    }
                    oracle.received.push((now, oracle.pushed.len()));
                    prop_assert_eq!(port.rules(), rules.len());
                    let installed = port.installed().into_iter().map(|rule| rule.pattern.source);
                    let expected = rules.keys().map(|flow| rule(*flow).pattern.source);
                    prop_assert_eq!(
                        installed.collect::<BTreeSet<_>>(),
                        expected.collect::<BTreeSet<_>>()
                    );
                }
                Step::Query(place) => {
                    let id = RuleId { place, serial: serials[place as usize] };
                    let is_there = oracle.done(now).0.values().any(|rule| *rule == id);
                    let usage = is_there.then(|| oracle.usage(id));
                    prop_assert_eq!(card.query(id, now), usage);
                    let earlier = RuleId { place, serial: id.serial.wrapping_sub(1) };
                    prop_assert_eq!(card.query(earlier, now), None, "that was another rule");
                }
            }
        }
    }
}

/// A port that closes takes with it what was on its way to the card.
#[test]
fn nothing_matches_a_rule_of_a_closed_port_even_if_it_comes_later() {
    for port in [INGRESS, EGRESS] {
        let mut card = ModelledCard::new(CardConfig {
            per_request: Duration::from_nanos(10),
            ..CardConfig::default()
        });
        card.reserve(2);
        let ids = [0, 1].map(|place| RuleId { place, serial: 1 });
        let mut now = Instant(1000);
        card.install(ids[0], &rule(0), now).unwrap();
        card.push(now);
        now = Instant(1010);
        assert!(is_forwarded(&card, 0, now));
        card.install(ids[1], &rule(1), now).unwrap();
        card.push(now);
        card.close_port(port);
        now = Instant(1020);
        assert!(!is_forwarded(&card, 0, now) && !is_forwarded(&card, 1, now));
        // They count as installed, and can be removed.
        let mut events = Vec::new();
        card.poll(now, 10, &mut events);
        assert_eq!(events, ids.map(Event::Installed));
        ids.iter().for_each(|id| card.remove(*id, now).unwrap());
        card.push(now);
        events.clear();
        card.poll(Instant(1040), 10, &mut events);
        assert_eq!(events.len(), 2);
        assert_eq!(card.rules(), 0);
    }
}

/// What nothing has matched for long is told, once, until something matches again; nobody has to send packets for that.
#[test]
fn idle_rules_are_told_by_polling_alone() {
    let mut card = ModelledCard::default();
    card.reserve(2);
    let port = card.clone();
    let id = RuleId {
        place: 1,
        serial: 1,
    };
    let idle_after = rule(0).idle_after;
    let start = Instant(1000);
    card.install(id, &rule(0), start).unwrap();
    card.push(start);
    let mut told = |now| {
        let mut events = Vec::new();
        card.poll(now, 10, &mut events);
        events
    };
    assert_eq!(told(start), [Event::Installed(id)]);
    let half = start.saturating_add(idle_after / 2);
    assert!(is_forwarded(&port, 0, half));
    let mut due = half.saturating_add(idle_after);
    assert_eq!(told(Instant(due.0 - 1)), []);
    assert_eq!(told(due), [Event::Idle(id)]);
    due = due.saturating_add(5 * idle_after);
    assert_eq!(told(due), [], "it is said already");
    assert!(is_forwarded(&card, 0, due));
    assert_eq!(card.now(), due);
    // It may be looked at late, but no later than that.
    let mut events = Vec::new();
    card.poll(
        Instant(due.0 + idle_after.as_nanos() as u64 - 1),
        10,
        &mut events,
    );
    assert_eq!(events, []);
    card.poll(due.saturating_add(2 * idle_after), 10, &mut events);
    assert_eq!(events, [Event::Idle(id)]);
}
