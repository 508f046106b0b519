//! First packets: what tables make of the packets that connections begin with, as if no connection were there.

use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables};

use crate::buffer::{MemoryBuffer, MemoryPool, PacketBuffer};
use crate::clock::Instant;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::gateway::{GatewayConfig, graph_config};
use crate::graph::{Graph, GraphConfig, LearnedNeighbor, LogEntry, Origin, Received, Sinks};
use crate::trial::ASSUMED_NEIGHBOR;

/// Packets that walk together.
const AT_ONCE: usize = 32;
/// Datagrams of which fragments are remembered: first packets are whole.
const DATAGRAMS: usize = 8;

/// A gateway's graphs, one for each worker, that packets begin connections in, over tables that they do not change. Unlike a
/// [trial](crate::Trial), this says nothing of their walks, and takes many at once: what became of them are the connections.
pub struct FirstPackets {
    workers: Vec<Worker>,
}

/// A worker, and what is about to be walked there.
struct Worker {
    graph: Graph<MemoryPool>,
    counters: Box<WorkerCounters>,
    received: Vec<Received<MemoryBuffer>>,
}

impl FirstPackets {
    /// With room for so many connections of each address family, with the seed that a gateway's hash tables, and its choice among
    /// addresses of NAT, are keyed with, and with as many workers as that gateway.
    pub fn new(room: usize, hash_seed: u64, workers: u16) -> FirstPackets {
        let number = workers.max(1);
        let workers = (0..number).map(|worker| Worker {
            graph: graph(room, hash_seed, (worker, number)),
            counters: Box::default(),
            received: Vec::with_capacity(AT_ONCE),
        });
        FirstPackets {
            workers: workers.collect(),
        }
    }

    /// Begins anew: the connections that were begun are no more. Cost: those connections.
    pub fn begin_anew(&mut self) {
        for worker in &mut self.workers {
            worker.graph.end_all();
        }
    }

    /// Lets frames walk that interfaces receive, each where the gateway would have it walk: at its owner, and where that hands it to.
    /// Neighbors that the tables do not know are taken for [`ASSUMED_NEIGHBOR`].
    pub fn walk(
        &mut self,
        tables: &Tables,
        frames: impl IntoIterator<Item = (InterfaceIndex, MemoryBuffer)>,
    ) {
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() || self.workers.iter().any(|one| one.graph.has_released()) {
            for (interface, buffer) in frames.by_ref().take(AT_ONCE) {
                let owner = self.owner(tables, interface, buffer.bytes());
                let frame = Received::new(buffer, Origin::Received(interface));
                self.workers[owner].received.push(frame);
            }
            self.run(tables);
        }
    }

    fn owner(&self, tables: &Tables, interface: InterfaceIndex, frame: &[u8]) -> usize {
        if self.workers.len() == 1 {
            return 0;
        }
        let steering = self.workers[0].graph.steering();
        let owner = steering.of_frame(tables, interface, frame);
        owner.map_or(0, usize::from)
    }

    /// A turn of each worker, and further ones for what they hand to each other.
    fn run(&mut self, tables: &Tables) {
        let mut handed = Vec::new();
        loop {
            for worker in &mut self.workers {
                let Worker {
                    graph,
                    counters,
                    received,
                } = worker;
                let mut nowhere = Nowhere {
                    handed: &mut handed,
                };
                graph.run(received, tables, Instant(0), counters, &mut nowhere);
            }
            if handed.is_empty() {
                return;
            }
            for (worker, frame) in handed.drain(..) {
                if let Some(worker) = self.workers.get_mut(usize::from(worker)) {
                    worker.received.push(frame);
                }
            }
        }
    }

    /// The workers' graphs, in the order of their numbers, with the connections that were begun.
    pub fn graphs(&self) -> impl Iterator<Item = &Graph<MemoryPool>> {
        self.workers.iter().map(|worker| &worker.graph)
    }

    /// The packets that were dropped for a reason, ever.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        let workers = self.workers.iter();
        workers
            .map(|worker| worker.counters.dropped(reason).get())
            .sum()
    }
}

fn graph(room: usize, hash_seed: u64, worker: (u16, u16)) -> Graph<MemoryPool> {
    let config = GatewayConfig {
        connections: room,
        fast_path: false,
        ..GatewayConfig::default()
    };
    let config = GraphConfig {
        fragmented_datagrams: DATAGRAMS,
        ..graph_config(&config, worker, hash_seed)
    };
    let mut graph = Graph::new(config, MemoryPool);
    let mac: MacAddress = ASSUMED_NEIGHBOR;
    graph.assume_neighbors(mac);
    graph
}

/// Where what leaves goes: nobody looks at it, but for what is for another worker.
struct Nowhere<'a> {
    handed: &'a mut Vec<(u16, Received<MemoryBuffer>)>,
}

impl Sinks<MemoryBuffer> for Nowhere<'_> {
    fn transmit(&mut self, _: InterfaceIndex, _: MemoryBuffer) {}
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
    fn log(&mut self, _: LogEntry) -> bool {
        true
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
