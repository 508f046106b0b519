//! The modelled card: it stands in front of ports in memory, and does with rules what a card does.

mod state;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rewire_conntrack::offload::{Card, Event, QueueFull, Refusal, Rule, RuleId, Usage};
use rewire_packet::EtherType;
use rewire_packet::ethernet::EthernetView;
use rewire_tables::InterfaceIndex;

use crate::clock::Instant;
use state::{Request, State};

/// What a card can do.
#[derive(Clone, Copy, Debug)]
pub struct CardConfig {
    /// Rules that fit.
    pub capacity: usize,
    /// Requests that it holds before it refuses more.
    pub queue: usize,
    /// What each request takes it, one after the other: 1 µs is a million rules a second.
    pub per_request: Duration,
    /// How much later it reports what it has done.
    pub latency: Duration,
}

impl Default for CardConfig {
    /// A card that does all at once.
    fn default() -> Self {
        CardConfig {
            capacity: 1 << 20,
            queue: 4096,
            per_request: Duration::ZERO,
            latency: Duration::ZERO,
        }
    }
}

/// A card in front of ports in memory: it matches, rewrites, forwards, counts and ages. It reads packets as
/// [`rewire_packet::forward`] does. Clones are one card: one of them takes rules, others packets.
pub struct ModelledCard {
    state: Arc<Mutex<State>>,
    /// Enqueued here, and not pushed: the card is locked once for all of it.
    enqueued: Vec<Request>,
    /// How much fits there, by what the card held when this clone looked last.
    room: usize,
}

impl Clone for ModelledCard {
    fn clone(&self) -> Self {
        ModelledCard {
            state: Arc::clone(&self.state),
            enqueued: Vec::new(),
            room: self.room,
        }
    }
}

impl Default for ModelledCard {
    fn default() -> Self {
        ModelledCard::new(CardConfig::default())
    }
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The card has forwarded it by this interface.
    Forwarded(InterfaceIndex, Vec<u8>),
    /// It is for a core.
    Punted(Vec<u8>),
}

impl ModelledCard {
    /// A card without rules.
    pub fn new(config: CardConfig) -> Self {
        ModelledCard {
            state: Arc::new(Mutex::new(State::new(config))),
            enqueued: Vec::new(),
            room: config.queue,
        }
    }

    /// A frame comes in by a port.
    pub fn receive(&self, ingress: InterfaceIndex, mut frame: Vec<u8>, now: Instant) -> Taken {
        let mut state = lock(&self.state);
        state.work(now);
        let egress = match ether_type(&frame) {
            Some(EtherType::IPV4) => state.forward::<Ipv4Addr>(ingress, &mut frame, now),
            Some(EtherType::IPV6) => state.forward::<Ipv6Addr>(ingress, &mut frame, now),
            _ => None,
        };
        match egress {
            Some(egress) => Taken::Forwarded(egress, frame),
            None => Taken::Punted(frame),
        }
    }

    /// The last moment that the side that takes rules was told.
    pub fn now(&self) -> Instant {
        lock(&self.state).now()
    }

    /// How many rules are installed.
    pub fn rules(&self) -> usize {
        lock(&self.state).rules()
    }

    /// The rules that are installed.
    pub fn installed(&self) -> Vec<Rule> {
        lock(&self.state).installed().copied().collect()
    }

    fn enqueue(&mut self, request: Request) -> Result<(), QueueFull> {
        if self.enqueued.len() >= self.room {
            return Err(QueueFull);
        }
        self.enqueued.push(request);
        Ok(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in there is half done where a panic could be.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ether_type(frame: &[u8]) -> Option<EtherType> {
    Some(EthernetView::new_checked(frame).ok()?.ether_type())
}

impl Card for ModelledCard {
    fn reserve(&mut self, places: usize) {
        lock(&self.state).reserve(places);
    }

    fn install(&mut self, id: RuleId, rule: &Rule, _: Instant) -> Result<(), Refusal> {
        let enqueued = self.enqueue(Request::Install(id, *rule));
        enqueued.map_err(|QueueFull| Refusal::QueueFull)
    }

    fn remove(&mut self, id: RuleId, _: Instant) -> Result<(), QueueFull> {
        self.enqueue(Request::Remove(id))
    }

    fn push(&mut self, now: Instant) {
        let mut state = lock(&self.state);
        for request in &self.enqueued {
            state.take(request, now);
        }
        self.enqueued.clear();
        self.room = state.room();
    }

    fn poll(&mut self, now: Instant, limit: usize, events: &mut Vec<Event>) {
        let mut state = lock(&self.state);
        state.report(now, limit, events);
        // What is enqueued has its room in there already.
        self.room = state.room();
    }

    fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage> {
        lock(&self.state).query(id, now)
    }

    fn close_port(&mut self, port: InterfaceIndex) {
        lock(&self.state).close_port(port);
    }
}
