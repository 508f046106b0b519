//! A trial: one packet through a graph of its own, over tables that it does not change.
//!
//! The graph is the one of every worker. It begins without connections; those that a packet begins are there for the next one, so
//! that a reply can be tried behind the packet that it answers.

use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables};

use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::clock::Instant;
use crate::counters::WorkerCounters;
use crate::gateway::{GatewayConfig, graph_config};
use crate::graph::{Graph, LearnedNeighbor, LogEntry, Origin, Received, Sinks};
use crate::walk::{Label, Mark, Outcome, Step};

/// Connections that a trial can have.
const CONNECTIONS: usize = 4096;

/// The MAC address of neighbors that are not known, where they are assumed: one of those for documentation (RFC 9542, section
/// 2.1.4), made local.
pub const ASSUMED_NEIGHBOR: MacAddress = MacAddress([0x02, 0x00, 0x5e, 0x00, 0x53, 0x01]);

/// A packet's walk, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    /// What the nodes decided, in order.
    pub steps: Vec<Step>,
    /// The frames that left because of it, in order, each with the interface that it left by: the packet itself and its
    /// fragments, or an answer, or a question for a neighbor.
    pub sent: Vec<(Label, Vec<u8>)>,
    /// What became of the packet.
    pub outcome: Option<Outcome>,
}

/// A graph to try packets on.
pub struct Trial {
    graph: Graph<MemoryPool>,
    counters: Box<WorkerCounters>,
    now: Instant,
}

impl Trial {
    /// A trial without connections at a moment. If `assumes_neighbors`, a neighbor that the tables do not know is taken for
    /// [`ASSUMED_NEIGHBOR`]; else it is asked for, and the packet waits.
    pub fn new(now: Instant, assumes_neighbors: bool) -> Trial {
        let config = GatewayConfig {
            connections: CONNECTIONS,
            fast_path: false,
            ..GatewayConfig::default()
        };
        let mut graph = Graph::new(graph_config(&config, (0, 1), 0), MemoryPool);
        graph.set_observing(true);
        if assumes_neighbors {
            graph.assume_neighbors(ASSUMED_NEIGHBOR);
        }
        Trial {
            graph,
            counters: Box::default(),
            now,
        }
    }

    /// Lets a frame walk that an interface received. Cost: the graph's, and for each look-up on the way one for every length of a
    /// prefix.
    pub fn walk(&mut self, tables: &Tables, ingress: InterfaceIndex, frame: Vec<u8>) -> Walk {
        let mut collect = Collect {
            tables,
            steps: Vec::new(),
            sent: Vec::new(),
        };
        let mut received = vec![Received {
            mark: Some(Mark::FIRST),
            ..Received::new(MemoryBuffer::new(frame), Origin::Received(ingress))
        }];
        loop {
            self.graph.run(
                &mut received,
                tables,
                self.now,
                &self.counters,
                &mut collect,
            );
            // What turns round comes back.
            if !self.graph.has_released() {
                break;
            }
        }
        let Collect { steps, sent, .. } = collect;
        Walk {
            outcome: Outcome::of(&steps),
            steps,
            sent,
        }
    }
}

struct Collect<'a> {
    tables: &'a Tables,
    steps: Vec<Step>,
    sent: Vec<(Label, Vec<u8>)>,
}

impl Sinks<MemoryBuffer> for Collect<'_> {
    fn transmit(&mut self, interface: InterfaceIndex, buffer: MemoryBuffer) {
        let name = self.tables.interface(interface).map(|i| &i.name);
        self.sent.push((name.into(), buffer.into_bytes()));
    }
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        // A trial teaches nothing.
        true
    }
    fn log(&mut self, _: LogEntry) -> bool {
        true
    }
    fn observe(&mut self, step: Step, _frame: &[u8]) {
        self.steps.push(step);
    }
}
