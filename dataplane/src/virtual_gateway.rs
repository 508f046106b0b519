//! The virtual gateway: the same graph over ports in memory, stepped by its caller, on the caller's clock. The same
//! journal, packets and clock give the same bytes (law 8).

mod stepping;
mod taken_over;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rewire_conntrack::offload::{Card, Engine};
use rewire_feed::Rib;
use rewire_tables::{InterfaceIndex, Publisher, TableOperation};

use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::change::Change;
use crate::clock::{Instant, ManualClock};
use crate::counters::WorkerCounters;
use crate::gateway::{GatewayConfig, graph_config};
use crate::graph::{Graph, LogEntry, Received};
use crate::neighbors::LearnedNeighbors;
use crate::offload::ModelledCard;
use crate::rule_counts::RuleRegister;
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
}
