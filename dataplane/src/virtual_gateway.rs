//! The virtual gateway: the same graph over ports in memory, stepped by its caller, on the caller's clock. The same
//! journal, packets and clock give the same bytes (law 8).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rewire_conntrack::offload::{Card, Engine, Latencies};
use rewire_feed::{Rib, SourceConfig, Told};
use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Publisher, TableOperation, Tables, TablesDigest};

use crate::buffer::{MemoryBuffer, MemoryPool, PacketBuffer};
use crate::change::Change;
use crate::clock::{Instant, ManualClock};
use crate::counters::{Account, Totals, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::gateway::{GatewayConfig, graph_config};
use crate::graph::{
    AclLogEntry, Graph, LearnedNeighbor, LogEntry, Origin, PortsExhausted, Received, Sinks,
};
use crate::neighbors::LearnedNeighbors;
use crate::offload::{ModelledCard, Taken};
use crate::resolutions::Resolved;
use crate::rule_counts::{CountedRule, RuleRegister};
use crate::saved_connections::{self, Moment, Restored, SavedFlaw};
use crate::walk::{Mark, Step};

/// A frame that left the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The interface that it left by.
    pub interface: InterfaceIndex,
    /// The frame, from its Ethernet header.
    pub frame: Vec<u8>,
}

/// A gateway with one worker and no thread.
pub struct VirtualGateway {
    graph: Graph<MemoryPool>,
    publisher: Publisher,
    reader: rewire_tables::Reader,
    counters: Arc<WorkerCounters>,
    clock: ManualClock,
    neighbors: LearnedNeighbors,
    rules: RuleRegister,
    names: BTreeMap<String, InterfaceIndex>,
    received: Vec<Received<MemoryBuffer>>,
    logged: Vec<LogEntry>,
    card: Option<VirtualCard>,
    /// There where routes are learned.
    routes: Option<Rib>,
}

/// A card in front of the ports, and the engine that gives it rules.
struct VirtualCard {
    card: ModelledCard,
    engine: Engine,
}

/// What leaves the graph in one step.
struct Collect<'a> {
    /// Who takes the frames.
    sent: &'a mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    counters: &'a WorkerCounters,
    learned: Vec<LearnedNeighbor>,
    logged: &'a mut Vec<LogEntry>,
    steps: Vec<Step>,
}

impl Sinks<MemoryBuffer> for Collect<'_> {
    fn transmit(&mut self, interface: InterfaceIndex, buffer: MemoryBuffer) {
        self.counters.transmitted.add(1);
        let counters = self.counters.interface(interface);
        counters.transmitted_packets.add(1);
        counters.transmitted_bytes.add(buffer.bytes().len() as u64);
        (self.sent)(interface, buffer);
    }
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool {
        self.learned.push(neighbor);
        true
    }
    fn log(&mut self, entry: LogEntry) -> bool {
        self.logged.push(entry);
        true
    }
    fn observe(&mut self, step: Step, _frame: &[u8]) {
        self.steps.push(step);
    }
}

/// What a table of candidates makes of a change.
fn absorbed(
    rib: &mut Rib,
    (operations, sources): (Vec<TableOperation>, Option<&[SourceConfig]>),
) -> Vec<TableOperation> {
    let mut out = Vec::new();
    if let Some(sources) = sources {
        rib.configure(sources, &mut out);
    }
    rib.absorb(operations, &mut out);
    out
}

impl VirtualGateway {
    /// A gateway with empty tables, at time 0.
    pub fn new(config: &GatewayConfig) -> Self {
        VirtualGateway::seeded(config, 0)
    }

    /// The same whose hash tables, and choice among ports and addresses of NAT, are keyed with a seed: that of a running gateway, so
    /// that it chooses the same.
    pub fn seeded(config: &GatewayConfig, hash_seed: u64) -> Self {
        let (publisher, mut readers) = Publisher::new(1);
        VirtualGateway {
            graph: Graph::new(graph_config(config, (0, 1), hash_seed), MemoryPool),
            publisher,
            reader: readers.remove(0),
            counters: Arc::default(),
            clock: ManualClock::default(),
            neighbors: LearnedNeighbors::new(config.neighbor_lifetime),
            rules: RuleRegister::default(),
            names: BTreeMap::new(),
            received: Vec::new(),
            logged: Vec::new(),
            card: None,
            routes: None,
        }
    }

    /// With a table of candidates, for routes that are learned. For before the first change.
    pub fn learning_routes(mut self) -> Self {
        self.routes = Some(Rib::default());
        self
    }

    /// A gateway with a modelled card in front of its ports. `control` is the side of it that takes rules: a clone of it, or
    /// what stands in between.
    pub fn with_card(config: &GatewayConfig, card: ModelledCard, control: Box<dyn Card>) -> Self {
        let mut gateway = VirtualGateway::new(config);
        let offload = config.offload.clone().unwrap_or_default();
        let (engine, mut queues) = Engine::new(control, &offload.engine(1));
        if let (Some(six), Some(four)) = (queues.pop(), queues.pop()) {
            gateway
                .graph
                .enable_offload([four, six], offload.offloading());
        }
        gateway.card = Some(VirtualCard { card, engine });
        gateway
    }

    /// Makes a change live.
    pub fn apply(&mut self, change: impl Into<Change>) {
        let Change {
            mut operations,
            ports,
            sources,
        } = change.into();
        if let Some(card) = &mut self.card {
            let is_cleared = operations.contains(&TableOperation::Clear);
            let cleared = self.names.values().copied().filter(|_| is_cleared);
            let gone = ports.iter().filter(|(_, request)| request.is_none());
            for port in gone.map(|(port, _)| *port).chain(cleared) {
                card.engine.close_port(port);
            }
        }
        for (interface, request) in ports {
            match request {
                None => self.names.retain(|_, index| *index != interface),
                Some(request) => {
                    self.names.insert(request.interface, interface);
                }
            }
        }
        let neighbors = self.neighbors.follow(&operations);
        let worker = std::slice::from_ref(&self.counters);
        self.rules.follow(&mut operations, worker);
        match &mut self.routes {
            None => self.publisher.extend(operations),
            Some(rib) => {
                let change = (operations, sources.as_deref());
                self.publisher.extend(absorbed(rib, change));
            }
        }
        self.publisher.extend(neighbors);
        self.publish();
    }

    /// The tables that a change of a whole state would lead to from nothing, with the routes that were learned here. Cost: the
    /// state and the learned routes.
    pub fn tables_from(&self, change: Change) -> Tables {
        let mut operations = change.operations;
        if let Some(rib) = &self.routes {
            let mut other = Rib::default();
            operations = absorbed(&mut other, (operations, change.sources.as_deref()));
            other.retell(rib.retold(), &mut operations);
        }
        let mut tables = Tables::default();
        for operation in &operations {
            tables.apply(operation);
        }
        tables
    }

    /// Takes over what another gateway has learned of routes, whatever limits say now.
    pub fn take_over_routes(&mut self, told: impl IntoIterator<Item = Told>) {
        let Some(rib) = &mut self.routes else { return };
        let mut operations = Vec::new();
        rib.retell(told, &mut operations);
        self.publisher.extend(operations);
        self.publish();
    }

    /// What another gateway has to take over of routes that were learned here.
    pub fn retold_routes(&self) -> Vec<Told> {
        self.routes.as_ref().map(Rib::retold).unwrap_or_default()
    }

    /// Hears what routing daemons say, in order; all of it is published together. What is stale goes only where that is said.
    pub fn hear_routes(&mut self, told: &[Told]) {
        let Some(rib) = &mut self.routes else { return };
        let mut operations = Vec::new();
        let is_together = |a: &Told, b: &Told| (&a.source, a.session) == (&b.source, b.session);
        for part in told.chunk_by(is_together) {
            if let Some(Told {
                source, session, ..
            }) = part.first()
            {
                let updates = part.iter().map(|told| told.update.clone());
                rib.update(source, *session, updates, Duration::ZERO, &mut operations);
            }
        }
        self.publisher.extend(operations);
        self.publish();
    }

    fn publish(&mut self) {
        // Nobody is inside between two steps, so that this cannot be late.
        let published = self.publisher.publish(Duration::ZERO);
        debug_assert!(published.is_ok());
        self.neighbors.published(self.publisher.generation());
    }

    /// Takes a neighbor over that another gateway has learned, as an operation of its own. Whether it has the interface.
    pub fn learn_neighbor(&mut self, interface: &str, address: IpAddr, mac: MacAddress) -> bool {
        let Some(interface) = self.interface(interface) else {
            return false;
        };
        let neighbor = LearnedNeighbor {
            interface,
            address,
            mac,
            generation: self.publisher.generation(),
        };
        if let Some(operation) = self.neighbors.learn(neighbor, self.now()) {
            self.publisher.append(operation);
            self.publish();
        }
        true
    }

    /// Takes connections over that another gateway had, with their mappings; what became of them. Each is resolved again as the policy
    /// is now. For after the first change, before packets come.
    ///
    /// # Errors
    /// [`SavedFlaw`].
    pub fn restore_connections(&mut self, saved: &[u8]) -> Result<Restored, SavedFlaw> {
        let saved = saved_connections::decode(saved.to_vec())?;
        let now = self.now();
        let (reply, answers) = mpsc::sync_channel(1);
        let Some(tables) = self.publisher.current() else {
            return Ok(Restored::default());
        };
        let (shares, homeless) = saved.shares(&tables, &Moment::replayed(now), 1, &reply);
        drop(tables);
        let mut restored = Restored {
            not_owned: homeless,
            ..Restored::default()
        };
        for share in shares {
            self.graph.restore(&share, now, &self.counters);
            restored += answers.try_recv().unwrap_or_default();
        }
        Ok(restored)
    }

    /// The interface of this name.
    pub fn interface(&self, name: &str) -> Option<InterfaceIndex> {
        self.names.get(name).copied()
    }

    /// The interfaces by name.
    pub fn interfaces(&self) -> impl Iterator<Item = (&str, InterfaceIndex)> {
        self.names
            .iter()
            .map(|(name, index)| (name.as_str(), *index))
    }

    /// The time on the gateway's clock.
    pub fn now(&self) -> Instant {
        crate::clock::Clock::now(&self.clock)
    }

    /// Moves the clock forward to `to`; never back.
    pub fn advance_to(&mut self, to: Instant) {
        self.clock.advance_to(to);
    }

    /// Moves the clock forward.
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
    }

    /// Receives a burst of frames, and returns what left because of them, in order. An empty burst lets timers run:
    /// neighbors that do not answer, connections that end.
    pub fn step(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, Vec<u8>)>,
    ) -> Vec<Sent> {
        let mut sent = Vec::new();
        let frames = frames.into_iter();
        let frames = frames.map(|(interface, frame)| (interface, MemoryBuffer::new(frame)));
        self.step_into(frames, &mut |interface, buffer| {
            let frame = buffer.into_bytes();
            sent.push(Sent { interface, frame });
        });
        sent
    }

    /// As [`step`](Self::step), for whoever keeps buffers: gives each frame that leaves to `sent`, in order, in the buffer that
    /// it is in. A buffer whose frame does not leave is freed.
    pub fn step_into(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, MemoryBuffer)>,
        sent: &mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    ) {
        self.receive(frames.into_iter().map(|frame| (frame, None)), sent);
    }

    /// As [`step`](Self::step), with the walk of each frame: the first one's steps have the [first mark](Mark::FIRST), and so on.
    /// Steps of packets that were observed before, and have waited since, come along.
    pub fn observe(
        &mut self,
        frames: impl IntoIterator<Item = (InterfaceIndex, Vec<u8>)>,
    ) -> (Vec<Sent>, Vec<Step>) {
        let mut sent = Vec::new();
        self.graph.set_observing(true);
        let marks = (1..=u16::MAX).map(|number| NonZeroU16::new(number).map(Mark));
        let frames = frames.into_iter();
        let frames = frames.map(|(interface, frame)| (interface, MemoryBuffer::new(frame)));
        let steps = self.receive(frames.zip(marks), &mut |interface, buffer| {
            let frame = buffer.into_bytes();
            sent.push(Sent { interface, frame });
        });
        self.graph.set_observing(false);
        (sent, steps)
    }

    fn receive(
        &mut self,
        frames: impl IntoIterator<Item = ((InterfaceIndex, MemoryBuffer), Option<Mark>)>,
        sent: &mut dyn FnMut(InterfaceIndex, MemoryBuffer),
    ) -> Vec<Step> {
        let now = self.now();
        for ((interface, buffer), mark) in frames {
            let buffer = match &self.card {
                None => buffer,
                Some(card) => match card.card.receive(interface, buffer.into_bytes(), now) {
                    Taken::Forwarded(interface, frame) => {
                        sent(interface, MemoryBuffer::new(frame));
                        continue;
                    }
                    Taken::Punted(frame) => MemoryBuffer::new(frame),
                },
            };
            let origin = Origin::Received(interface);
            self.received.push(Received {
                mark,
                ..Received::new(buffer, origin)
            });
        }
        let counters = Arc::clone(&self.counters);
        let mut logged = std::mem::take(&mut self.logged);
        let mut collect = Collect {
            sent,
            counters: &counters,
            learned: Vec::new(),
            logged: &mut logged,
            steps: Vec::new(),
        };
        self.run(&mut collect);
        // What was learned reaches the tables, and packets that waited for it walk in a burst of their own.
        while !collect.learned.is_empty() {
            for neighbor in collect.learned.drain(..) {
                if let Some(operation) = self.neighbors.learn(neighbor, now) {
                    self.publisher.append(operation);
                }
            }
            for operation in self.neighbors.expire(now) {
                self.publisher.append(operation);
            }
            if !self.publisher.has_pending() {
                break;
            }
            self.publish();
            self.run(&mut collect);
        }
        while self.graph.has_released() {
            self.run(&mut collect);
        }
        let steps = collect.steps;
        self.logged = logged;
        if let Some(card) = &mut self.card {
            while card.engine.poll(|| now) > 0 {}
        }
        steps
    }

    /// What rules of ACLs have logged since this was asked last.
    pub fn take_logged(&mut self) -> Vec<AclLogEntry> {
        let is_acl = |entry: &mut LogEntry| matches!(entry, LogEntry::Acl(_));
        let entries = self.logged.extract_if(.., is_acl);
        let acl = |entry| match entry {
            LogEntry::Acl(entry) => Some(entry),
            LogEntry::PortsExhausted(_) => None,
        };
        entries.filter_map(acl).collect()
    }

    /// What was logged of ports that are used up since this was asked last.
    pub fn take_exhausted(&mut self) -> Vec<PortsExhausted> {
        let is_it = |entry: &mut LogEntry| matches!(entry, LogEntry::PortsExhausted(_));
        let entries = self.logged.extract_if(.., is_it);
        let exhausted = |entry| match entry {
            LogEntry::PortsExhausted(entry) => Some(entry),
            LogEntry::Acl(_) => None,
        };
        entries.filter_map(exhausted).collect()
    }

    fn run(&mut self, collect: &mut Collect<'_>) {
        let Some(tables) = self.reader.enter() else {
            return;
        };
        let now = crate::clock::Clock::now(&self.clock);
        self.graph
            .run(&mut self.received, &tables, now, &self.counters, collect);
    }

    /// What became of all packets so far. Cost: the drop reasons.
    pub fn account(&self) -> Account {
        self.counters.account()
    }

    /// All counters.
    pub fn totals(&self) -> Totals {
        Totals::of([self.counters.as_ref()])
    }

    /// What became of connections when a revision changed the policy; none where another has taken its place.
    pub fn resolved(&self, revision: u64) -> Option<Resolved> {
        self.counters.resolved(revision)
    }

    /// What the rules of an ACL have counted, or those of all.
    pub fn counted_rules(&self, acl: Option<&str>) -> Vec<CountedRule> {
        let worker = std::slice::from_ref(&self.counters);
        self.rules.counted(acl, worker)
    }

    /// The packets dropped for one reason so far.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.counters.dropped(reason).get()
    }

    /// Looks into the tables as they are now.
    pub fn with_tables<T>(&self, look: impl FnOnce(&Tables) -> T) -> Option<T> {
        self.publisher.current().map(|tables| look(&tables))
    }

    /// The digest of the tables as they are now.
    pub fn digest(&self) -> Option<TablesDigest> {
        self.with_tables(Tables::digest)
    }

    /// How long rules took to come and go, where there is a card.
    pub fn offload_latencies(&self) -> Option<Arc<Latencies>> {
        self.card.as_ref().map(|card| card.engine.latencies())
    }

    /// The worker's graph, with its connections.
    pub fn graph(&self) -> &Graph<MemoryPool> {
        &self.graph
    }
}
