//! First packets: what tables make of the packets that connections begin with, as if no connection were there.

use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables};

use crate::buffer::{MemoryBuffer, MemoryPool};
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

/// A graph that packets begin connections in, over tables that it does not change. Unlike a [trial](crate::Trial), it says nothing of
/// their walks, and takes many at once: what became of them are its connections.
pub struct FirstPackets {
    graph: Graph<MemoryPool>,
    counters: Box<WorkerCounters>,
}

impl FirstPackets {
    /// With room for so many connections of each address family, and with the seed that a gateway's hash tables, and its choice among
    /// addresses of NAT, are keyed with.
    pub fn new(room: usize, hash_seed: u64) -> FirstPackets {
        FirstPackets {
            graph: graph(room, hash_seed),
            counters: Box::default(),
        }
    }

    /// Begins anew: the connections that were begun are no more. Cost: those connections.
    pub fn begin_anew(&mut self) {
        self.graph.end_all();
    }

    /// Lets frames walk that interfaces receive. Neighbors that the tables do not know are taken for
    /// [`ASSUMED_NEIGHBOR`].
    pub fn walk(
        &mut self,
        tables: &Tables,
        frames: impl IntoIterator<Item = (InterfaceIndex, MemoryBuffer)>,
    ) {
        let mut frames = frames.into_iter().peekable();
        let mut received = Vec::with_capacity(AT_ONCE);
        while frames.peek().is_some() || self.graph.has_released() {
            let some = frames.by_ref().take(AT_ONCE);
            received.extend(
                some.map(|(interface, buffer)| Received::new(buffer, Origin::Received(interface))),
            );
            self.graph.run(
                &mut received,
                tables,
                Instant(0),
                &self.counters,
                &mut Nowhere,
            );
        }
    }

    /// The graph, with the connections that were begun.
    pub fn graph(&self) -> &Graph<MemoryPool> {
        &self.graph
    }

    /// The packets that were dropped for a reason, ever.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.counters.dropped(reason).get()
    }
}

fn graph(room: usize, hash_seed: u64) -> Graph<MemoryPool> {
    let config = GatewayConfig {
        connections: room,
        fast_path: false,
        ..GatewayConfig::default()
    };
    let config = GraphConfig {
        fragmented_datagrams: DATAGRAMS,
        ..graph_config(&config, (0, 1), hash_seed)
    };
    let mut graph = Graph::new(config, MemoryPool);
    let mac: MacAddress = ASSUMED_NEIGHBOR;
    graph.assume_neighbors(mac);
    graph
}

/// Where what leaves goes: nobody looks at it.
struct Nowhere;

impl Sinks<MemoryBuffer> for Nowhere {
    fn transmit(&mut self, _: InterfaceIndex, _: MemoryBuffer) {}
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
    fn log(&mut self, _: LogEntry) -> bool {
        true
    }
}
