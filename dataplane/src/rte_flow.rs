//! The card behind DPDK ports: rules of flows by DPDK's flow API (`rte_flow`).
//!
//! A rule is made on the port that its packets come in by, as a transfer rule from wire to wire. A port that can takes rules
//! by templates and a queue, one table for each family and protocol; one that cannot is asked synchronously, a call a rule; one
//! that takes neither stays in software. What a rule cannot say by masks is said otherwise: packets with a TTL of 0 or 1 go
//! to a core by two rules of each port that come before all others, and a rule for packets shorter than the port may receive is
//! refused, since DPDK 22.11 has no item for lengths.
//!
//! What a rule counts is read before its removal is enqueued: packets that it takes between the two are forwarded, and counted
//! nowhere.

mod encode;
mod port;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrayvec::ArrayVec;
use rewire_conntrack::Instant;
use rewire_conntrack::offload::{Card, Event, QueueFull, Refusal, Rule, RuleId, Usage};
use rewire_dpdk::flow::{Completion, FlowConfig, FlowEngine, FlowRule};
use rewire_dpdk::{Configured, Port};
use rewire_tables::InterfaceIndex;

use self::port::{AT_ONCE, CardPort};

/// The bytes of an Ethernet header, which a card counts and we do not.
const ETHERNET: u64 = 14;

/// Where ports that were opened wait for the card.
#[derive(Clone, Debug)]
pub struct FlowPorts {
    opened: Arc<Mutex<Vec<(InterfaceIndex, CardPort)>>>,
    rules: u32,
}

impl FlowPorts {
    /// Sets the flow engine of a port up before it is started, if it has one with queues. The port is as good without.
    /// Returns whether its rules can age.
    pub fn configure(&self, port: &mut Port<Configured>) -> bool {
        // A driver without templates does not say; it is asked with the first rule.
        let Ok(limits) = port.flow_limits() else {
            return true;
        };
        let config = FlowConfig {
            queue_size: limits.queue_size.min(QUEUE),
            counters: limits.counters.min(self.rules),
            aging: limits.aging.min(self.rules),
        };
        // Two are for the packets that expire.
        if config.queue_size >= 2
            && config.counters > 0
            && let Err(error) = port.configure_flows(&config)
        {
            tracing::info!(%error, "no queue of flow rules: they are made one by one");
        }
        config.aging > 0
    }

    /// Takes the engine of a started port that receives packets of at most `mtu` bytes. Without an error, the card has the port
    /// at its next call.
    ///
    /// # Errors
    /// Why its flows stay in software.
    pub fn opened(
        &self,
        interface: InterfaceIndex,
        engine: FlowEngine,
        mtu: u16,
        ages: bool,
    ) -> Result<(), rewire_dpdk::Error> {
        let port = CardPort::new(engine, mtu, self.rules, ages)?;
        self.lock().push((interface, port));
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(InterfaceIndex, CardPort)>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Operations under way in a port's queue, at most.
const QUEUE: u32 = 1024;

/// The rule of a place.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Free,
    Installing(Ends),
    Installed(Ends, FlowRule),
    Removing(Ends, Usage),
    /// Removed because a port was closed, before anybody asked.
    Gone(Usage),
}

/// Where a rule's packets come in and leave.
#[derive(Clone, Copy, Debug)]
struct Ends {
    ingress: InterfaceIndex,
    egress: InterfaceIndex,
}

/// The card: all DPDK ports that take rules.
#[derive(Debug)]
pub struct RteFlowCard {
    opened: FlowPorts,
    ports: Vec<Option<CardPort>>,
    places: Vec<Place>,
    /// What is to be reported.
    events: Vec<Event>,
    /// The port that is polled next.
    turn: usize,
}

impl RteFlowCard {
    /// A card without ports, and the place for those that are opened. Each takes at most `rules` rules of a family and protocol.
    pub fn new(rules: u32) -> (RteFlowCard, FlowPorts) {
        let opened = FlowPorts {
            opened: Arc::default(),
            rules,
        };
        let card = RteFlowCard {
            opened: opened.clone(),
            ports: Vec::new(),
            places: Vec::new(),
            events: Vec::new(),
            turn: 0,
        };
        (card, opened)
    }

    /// Whether the port of this interface takes rules by templates and queues; none if it takes none.
    pub fn is_asynchronous(&mut self, interface: InterfaceIndex) -> Option<bool> {
        self.take_opened();
        self.port(interface).map(|port| port.is_asynchronous())
    }

    fn take_opened(&mut self) {
        let opened = std::mem::take(&mut *self.opened.lock());
        for (interface, port) in opened {
            let position = interface.position();
            if self.ports.len() <= position {
                self.ports.resize_with(position + 1, || None);
            }
            self.ports[position] = Some(port);
        }
    }

    fn port(&mut self, interface: InterfaceIndex) -> Option<&mut CardPort> {
        self.ports.get_mut(interface.position())?.as_mut()
    }

    fn place(&mut self, id: RuleId) -> &mut Place {
        let place = id.place as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, Place::default);
        }
        &mut self.places[place]
    }

    /// What a rule has done.
    fn usage(port: &CardPort, rule: &FlowRule, now: Instant) -> Option<Usage> {
        let count = port.engine.counted(rule).ok()?;
        let idle = match port.ages() {
            true => port.engine.idle_seconds(rule).ok().flatten(),
            false => None,
        };
        let last = idle.filter(|_| count.packets > 0).map(|seconds| {
            let ago = Duration::from_secs(seconds.into()).as_nanos() as u64;
            Instant(now.0.saturating_sub(ago))
        });
        Some(Usage {
            packets: count.packets,
            bytes: count.bytes.saturating_sub(ETHERNET * count.packets),
            last,
        })
    }

    fn completed(&mut self, completion: Completion) {
        match completion {
            Completion::Destroyed { user: WITHDRAWN } => {}
            Completion::NotDestroyed {
                user: WITHDRAWN, ..
            } => {
                tracing::error!("a rule to a closed port stays");
            }
            Completion::Created { user, rule } => {
                let id = id_of(user);
                if let Place::Installing(ends) = std::mem::take(self.place(id)) {
                    *self.place(id) = Place::Installed(ends, rule);
                    self.events.push(Event::Installed(id));
                }
            }
            Completion::NotCreated { user } => {
                let id = id_of(user);
                *self.place(id) = Place::Free;
                // A driver does not say why; mostly it has no room.
                let refusal = Refusal::TableFull;
                self.events.push(Event::NotInstalled(id, refusal));
            }
            Completion::Destroyed { user } => {
                let id = id_of(user);
                if let Place::Removing(_, usage) = std::mem::take(self.place(id)) {
                    self.events.push(Event::Removed(id, usage));
                }
            }
            Completion::NotDestroyed { user, rule } => {
                let id = id_of(user);
                if let Place::Removing(ends, _) = std::mem::take(self.place(id)) {
                    *self.place(id) = Place::Installed(ends, rule);
                    self.events.push(Event::NotRemoved(id));
                }
            }
        }
    }

    /// Waits for what is under way on a port.
    fn settle(&mut self, position: usize) {
        let Some(Some(port)) = self.ports.get_mut(position) else {
            return;
        };
        match port.complete() {
            Ok(completions) => {
                for completion in completions {
                    self.completed(completion);
                }
            }
            Err(error) => tracing::error!(%error, "a card does not answer"),
        }
    }

    /// Removes an installed rule now, whose port is about to be closed.
    fn withdraw(&mut self, place: usize) {
        let Place::Installed(ends, rule) = std::mem::take(&mut self.places[place]) else {
            return;
        };
        let Some(port) = self.port(ends.ingress) else {
            self.places[place] = Place::Gone(Usage::default());
            return;
        };
        // The moment of the last packet is not asked for: the flow is at its end.
        let usage = Self::usage(port, &rule, Instant(0)).unwrap_or_default();
        let usage = Usage {
            last: None,
            ..usage
        };
        let removed = match port.is_asynchronous() {
            false => port.engine.destroy(rule),
            true => port.engine.enqueue_destroy(rule, WITHDRAWN),
        };
        if let Err((_, error)) = removed {
            // Dropping the engine would still take it along.
            tracing::error!(%error, "a rule to a closed port stays");
        }
        self.places[place] = Place::Gone(usage);
    }
}

/// In place of a rule's name, for removals that nobody asked for.
const WITHDRAWN: u64 = u64::MAX;

fn user_of(id: RuleId) -> u64 {
    u64::from(id.serial) << 32 | u64::from(id.place)
}

fn id_of(user: u64) -> RuleId {
    RuleId {
        place: user as u32,
        serial: (user >> 32) as u32,
    }
}

impl Card for RteFlowCard {
    fn reserve(&mut self, places: usize) {
        self.places.reserve(places);
    }

    fn install(&mut self, id: RuleId, rule: &Rule, _now: Instant) -> Result<(), Refusal> {
        self.take_opened();
        let ends = Ends {
            ingress: rule.pattern.ingress,
            egress: rule.actions.egress,
        };
        let closed = Refusal::PortClosed;
        let egress = self.port(ends.egress).ok_or(closed(ends.egress))?;
        let egress = egress.engine.port_id();
        let port = self.port(ends.ingress).ok_or(closed(ends.ingress))?;
        *self.place(id) = match port.install(rule, user_of(id), egress)? {
            None => Place::Installing(ends),
            Some(rule) => {
                self.events.push(Event::Installed(id));
                Place::Installed(ends, rule)
            }
        };
        Ok(())
    }

    fn remove(&mut self, id: RuleId, now: Instant) -> Result<(), QueueFull> {
        let (ends, rule) = match std::mem::take(self.place(id)) {
            Place::Installed(ends, rule) => (ends, rule),
            Place::Gone(usage) => {
                self.events.push(Event::Removed(id, usage));
                return Ok(());
            }
            other => {
                *self.place(id) = other;
                return Ok(());
            }
        };
        let Some(port) = self.port(ends.ingress) else {
            self.events.push(Event::Removed(id, Usage::default()));
            return Ok(());
        };
        let usage = Self::usage(port, &rule, now).unwrap_or_default();
        let removed = match port.is_asynchronous() {
            true => port.engine.enqueue_destroy(rule, user_of(id)),
            false => port.engine.destroy(rule),
        };
        let is_asynchronous = port.is_asynchronous();
        match removed {
            Ok(()) if is_asynchronous => *self.place(id) = Place::Removing(ends, usage),
            Ok(()) => self.events.push(Event::Removed(id, usage)),
            Err((rule, error)) => {
                *self.place(id) = Place::Installed(ends, rule);
                if matches!(error, rewire_dpdk::Error::FlowQueueFull) {
                    return Err(QueueFull);
                }
                self.events.push(Event::NotRemoved(id));
            }
        }
        Ok(())
    }

    fn push(&mut self, _now: Instant) {
        for port in self.ports.iter_mut().flatten() {
            if port.engine.is_busy()
                && let Err(error) = port.engine.push()
            {
                tracing::error!(%error, "a card takes no rules");
            }
        }
    }

    fn poll(&mut self, _now: Instant, limit: usize, events: &mut Vec<Event>) {
        self.take_opened();
        let ports = self.ports.len();
        for turn in 0..ports {
            if self.events.len() >= limit {
                break;
            }
            // Another port begins each time.
            let position = (self.turn + turn) % ports;
            let Some(port) = &mut self.ports[position] else {
                continue;
            };
            let mut completions = ArrayVec::<_, AT_ONCE>::new();
            if let Err(error) = port.engine.pull(&mut completions) {
                tracing::error!(%error, "a card does not say what became of its rules");
            }
            let mut aged = [0; AT_ONCE];
            let number = match port.ages() {
                true => port.engine.aged(&mut aged).unwrap_or_default(),
                false => 0,
            };
            for completion in completions {
                self.completed(completion);
            }
            for user in &aged[..number] {
                self.events.push(Event::Idle(id_of(*user)));
            }
        }
        self.turn = self.turn.wrapping_add(1);
        events.extend(self.events.drain(..limit.min(self.events.len())));
    }

    fn query(&mut self, id: RuleId, now: Instant) -> Option<Usage> {
        match self.places.get(id.place as usize)? {
            Place::Installed(ends, rule) => {
                let port = self.ports.get(ends.ingress.position())?.as_ref()?;
                Self::usage(port, rule, now)
            }
            Place::Removing(_, usage) | Place::Gone(usage) => Some(*usage),
            Place::Free | Place::Installing(_) => None,
        }
    }

    fn close_port(&mut self, port: InterfaceIndex) {
        self.take_opened();
        // What is being installed could come up later.
        for position in 0..self.ports.len() {
            self.settle(position);
        }
        let touches = |ends: &Ends| ends.ingress == port || ends.egress == port;
        for place in 0..self.places.len() {
            if let Place::Installed(ends, _) = &self.places[place]
                && touches(ends)
            {
                let ingress = ends.ingress.position();
                if let Some(Some(port)) = self.ports.get(ingress)
                    && port.is_asynchronous()
                    && port.engine.room() == 0
                {
                    self.settle(ingress);
                }
                self.withdraw(place);
            }
        }
        for position in 0..self.ports.len() {
            self.settle(position);
        }
        if let Some(closed) = self.ports.get_mut(port.position()) {
            // Its engine takes the rest along.
            *closed = None;
        }
    }
}
