//! The virtual gateway: the same graph over ports in memory, stepped by its caller, on the caller's clock. The same
//! journal, packets and clock give the same bytes (law 8).

mod taken_over;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use rewire_conntrack::offload::{Card, Engine, Latencies};
use rewire_feed::Rib;
use rewire_tables::{InterfaceIndex, Publisher, TableOperation, Tables, TablesDigest};

use crate::buffer::{MemoryBuffer, MemoryPool, PacketBuffer};
use crate::change::Change;
use crate::clock::{Instant, ManualClock};
use crate::counters::{Account, Totals, WorkerCounters};
use crate::drop_reason::DropReason;
use crate::gateway::{GatewayConfig, graph_config};
use crate::graph::{
    AclLogEntry, EndedByPolicy, Graph, LearnedNeighbor, LogEntry, Origin, PortsExhausted, Received,
    Sinks,
};
use crate::neighbors::LearnedNeighbors;
use crate::offload::{ModelledCard, Taken};
use crate::resolutions::Resolved;
use crate::rule_counts::{CountedRule, RuleRegister};
use crate::walk::{Mark, Step};
use taken_over::absorbed;

/// A frame that left the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The interface that it left by.
    pub interface: InterfaceIndex,
    /// The frame, from its Ethernet header.
    pub frame: Vec<u8>,
}

/// A gateway without a thread. Of several workers each has its graph, as in any gateway; they take their turns in order.
pub struct VirtualGateway {
    workers: Vec<VirtualWorker>,
    publisher: Publisher,
    /// By worker.
    counters: Vec<Arc<WorkerCounters>>,
    clock: ManualClock,
    neighbors: LearnedNeighbors,
    rules: RuleRegister,
    names: BTreeMap<String, InterfaceIndex>,
    logged: Vec<LogEntry>,
    card: Option<VirtualCard>,
    /// There where routes are learned.
    routes: Option<Rib>,
}

/// A worker, and what is about to be walked there.
struct VirtualWorker {
    graph: Graph<MemoryPool>,
    reader: rewire_tables::Reader,
    received: Vec<Received<MemoryBuffer>>,
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
    /// Of the worker whose turn it is.
    counters: Arc<WorkerCounters>,
    /// What is for another worker.
    handed: Vec<(u16, Received<MemoryBuffer>)>,
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
    fn hand_over(
        &mut self,
        worker: u16,
        frame: Received<MemoryBuffer>,
    ) -> Result<(), Received<MemoryBuffer>> {
        self.handed.push((worker, frame));
        Ok(())
    }
}

impl VirtualGateway {
    /// A gateway with empty tables, at time 0.
    pub fn new(config: &GatewayConfig) -> Self {
        VirtualGateway::seeded(config, 0)
    }

    /// The same whose hash tables, and choice among ports and addresses of NAT, are keyed with a seed: that of a running gateway, so
    /// that it chooses the same.
    pub fn seeded(config: &GatewayConfig, hash_seed: u64) -> Self {
        VirtualGateway::among(config, hash_seed, 1)
    }

    /// The same with so many workers, whatever the configuration says: packets are dealt out among them as in any gateway of so many,
    /// and each gives out ports of NAT of its own.
    pub fn among(config: &GatewayConfig, hash_seed: u64, workers: u16) -> Self {
        let number = workers.max(1);
        let (publisher, readers) = Publisher::new(number.into());
        let workers = (0..number).zip(readers).map(|(worker, reader)| {
            let graph = graph_config(config, (worker, number), hash_seed);
            VirtualWorker {
                graph: Graph::new(graph, MemoryPool),
                reader,
                received: Vec::new(),
            }
        });
        VirtualGateway {
            workers: workers.collect(),
            publisher,
            counters: (0..number).map(|_| Arc::default()).collect(),
            clock: ManualClock::default(),
            neighbors: LearnedNeighbors::new(config.neighbor_lifetime),
            rules: RuleRegister::default(),
            names: BTreeMap::new(),
            logged: Vec::new(),
            card: None,
            routes: None,
        }
    }

    /// A gateway with a modelled card in front of its ports. `control` is the side of it that takes rules: a clone of it, or
    /// what stands in between.
    pub fn with_card(config: &GatewayConfig, card: ModelledCard, control: Box<dyn Card>) -> Self {
        let mut gateway = VirtualGateway::new(config);
        let offload = config.offload.clone().unwrap_or_default();
        let (engine, mut queues) = Engine::new(control, &offload.engine(1));
        if let (Some(six), Some(four)) = (queues.pop(), queues.pop()) {
            gateway.workers[0]
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
        self.rules.follow(&mut operations, &self.counters);
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

    fn publish(&mut self) {
        // Nobody is inside between two steps, so that this cannot be late.
        let published = self.publisher.publish(Duration::ZERO);
        debug_assert!(published.is_ok());
        self.neighbors.published(self.publisher.generation());
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
        self.set_observing(true);
        let marks = (1..=u16::MAX).map(|number| NonZeroU16::new(number).map(Mark));
        let frames = frames.into_iter();
        let frames = frames.map(|(interface, frame)| (interface, MemoryBuffer::new(frame)));
        let steps = self.receive(frames.zip(marks), &mut |interface, buffer| {
            let frame = buffer.into_bytes();
            sent.push(Sent { interface, frame });
        });
        self.set_observing(false);
        (sent, steps)
    }

    fn set_observing(&mut self, is_observing: bool) {
        for worker in &mut self.workers {
            worker.graph.set_observing(is_observing);
        }
    }

    /// The worker that walks a frame first: as in any gateway, whose it is by its addresses and ports. What is nobody's, like ARP, is the
    /// first one's, which has all ports.
    fn owner(&self, interface: InterfaceIndex, frame: &[u8]) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let steering = self.workers[0].graph.steering();
        let owner = self.with_tables(|tables| steering.of_frame(tables, interface, frame));
        owner.flatten().map_or(0, usize::from)
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
            let owner = self.owner(interface, buffer.bytes());
            self.workers[owner].received.push(Received {
                mark,
                ..Received::new(buffer, origin)
            });
        }
        let mut logged = std::mem::take(&mut self.logged);
        let mut collect = Collect {
            sent,
            counters: Arc::clone(&self.counters[0]),
            handed: Vec::new(),
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
        while self
            .workers
            .iter()
            .any(|worker| worker.graph.has_released())
        {
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

    /// A turn of each worker, and further ones for what they hand to each other.
    fn run(&mut self, collect: &mut Collect<'_>) {
        let now = self.now();
        let mut is_first = true;
        loop {
            for (worker, counters) in self.workers.iter_mut().zip(&self.counters) {
                if !is_first && worker.received.is_empty() {
                    continue;
                }
                let Some(tables) = worker.reader.enter() else {
                    continue;
                };
                collect.counters = Arc::clone(counters);
                let received = &mut worker.received;
                worker.graph.run(received, &tables, now, counters, collect);
            }
            is_first = false;
            if collect.handed.is_empty() {
                return;
            }
            for (worker, frame) in collect.handed.drain(..) {
                if let Some(worker) = self.workers.get_mut(usize::from(worker)) {
                    worker.received.push(frame);
                }
            }
        }
    }

    /// What became of all packets so far. Cost: the drop reasons.
    pub fn account(&self) -> Account {
        let mut all = Account::default();
        for counters in &self.counters {
            all += counters.account();
        }
        all
    }

    /// All counters.
    pub fn totals(&self) -> Totals {
        Totals::of(self.counters.iter().map(Arc::as_ref))
    }

    /// Connections that have timed out so far, and that have made way for others.
    pub fn connections_gone(&self) -> (u64, u64) {
        let counters = || self.counters.iter();
        (
            counters().map(|one| one.connections_expired.get()).sum(),
            counters().map(|one| one.connections_evicted.get()).sum(),
        )
    }

    /// What became of connections when a revision changed the policy; none where another has taken its place.
    pub fn resolved(&self, revision: u64) -> Option<Resolved> {
        let mut resolved = Resolved::default();
        for counters in &self.counters {
            resolved += counters.resolved(revision)?;
        }
        Some(resolved)
    }

    /// What the rules of an ACL have counted, or those of all.
    pub fn counted_rules(&self, acl: Option<&str>) -> Vec<CountedRule> {
        self.rules.counted(acl, &self.counters)
    }

    /// The packets dropped for one reason so far.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        let counters = self.counters.iter();
        counters
            .map(|counters| counters.dropped(reason).get())
            .sum()
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

    /// Notes from now on which connections a change of policy ends.
    pub fn note_ended_by_policy(&mut self) {
        for worker in &mut self.workers {
            worker.graph.note_ended_by_policy();
        }
    }

    /// The connections that a change of policy has ended since this was asked last, worker by worker.
    pub fn take_ended_by_policy(&mut self) -> Vec<EndedByPolicy> {
        let workers = self.workers.iter_mut();
        workers
            .flat_map(|worker| worker.graph.take_ended_by_policy())
            .collect()
    }

    /// The first worker's graph, with its connections.
    pub fn graph(&self) -> &Graph<MemoryPool> {
        &self.workers[0].graph
    }

    /// The graphs of all workers.
    pub fn graphs(&self) -> impl Iterator<Item = &Graph<MemoryPool>> {
        self.workers.iter().map(|worker| &worker.graph)
    }
}
