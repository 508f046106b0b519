//! A trial: one packet through a graph of its own, over tables that it does not change.
//!
//! The graph is the one of every worker. It begins without connections; those that a packet begins are there for the next one, so
//! that a reply can be tried behind the packet that it answers.

use std::fmt;
use std::sync::{Arc, mpsc};

use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables};

use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::clock::Instant;
use crate::connection_copy::CopiedConnections;
use crate::connection_table::{ConnectionTable, FoundConnections};
use crate::counters::WorkerCounters;
use crate::gateway::{GatewayConfig, GatewayError, Request, graph_config};
use crate::graph::{self, Graph, GraphConfig, LearnedNeighbor, LogEntry, Origin, Received, Sinks};
use crate::saved_connections::names_of;
use crate::tap::{Beginning, Recorder, WantedFrames};
use crate::walk::{Label, Mark, Outcome, Step};
use crate::watch::{Places, Wanted, Watching};

/// Connections that a trial can have: those of a packet, its reply, and what they quote. A graph for more takes longer to make than a
/// packet to walk.
const CONNECTIONS: usize = 8;
/// Datagrams of which a trial remembers fragments.
const DATAGRAMS: usize = 8;

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
    assumes_neighbors: bool,
}

impl Trial {
    /// A trial without connections at a moment. If `assumes_neighbors`, a neighbor that the tables do not know is taken for
    /// [`ASSUMED_NEIGHBOR`]; else it is asked for, and the packet waits.
    pub fn new(now: Instant, assumes_neighbors: bool) -> Trial {
        Trial {
            graph: graph(assumes_neighbors),
            counters: Box::default(),
            now,
            assumes_neighbors,
        }
    }

    /// Begins anew, as if nothing had walked or been taken over. It costs less than another trial, whose counters would have
    /// to be made, too.
    pub fn begin_anew(&mut self) {
        self.graph = graph(self.assumes_neighbors);
    }

    /// Takes connections of a running gateway over: a packet of one goes on with it.
    pub fn take_over(&mut self, connections: &FoundConnections) {
        self.graph.take_over(connections, self.now);
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

/// A graph without connections.
fn graph(assumes_neighbors: bool) -> Graph<MemoryPool> {
    let config = GatewayConfig {
        connections: CONNECTIONS,
        fast_path: false,
        ..GatewayConfig::default()
    };
    let config = GraphConfig {
        fragmented_datagrams: DATAGRAMS,
        ..graph_config(&config, (0, 1), 0)
    };
    let mut graph = Graph::new(config, MemoryPool);
    graph.set_observing(true);
    if assumes_neighbors {
        graph.assume_neighbors(ASSUMED_NEIGHBOR);
    }
    graph
}

/// What looks at the live tables, at a moment of the gateway's clock.
type AtTables = dyn FnOnce(&Tables, Instant) + Send;

/// Something that looks at the live tables.
pub(crate) struct Look(Box<AtTables>);

impl Look {
    pub(crate) fn at(self, tables: &Tables, now: Instant) {
        (self.0)(tables, now);
    }
}

impl fmt::Debug for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Look")
    }
}

/// Who can be asked where a packet would go in a running gateway: over its live tables, with what it has learned, and with its
/// connections. Nothing of the gateway is changed by it, and no worker does more than a few look-ups.
#[derive(Clone, Debug)]
pub struct LiveTrials {
    connections: ConnectionTable,
    places: Arc<Places>,
}

impl LiveTrials {
    pub(crate) fn new(connections: ConnectionTable, places: Arc<Places>) -> Self {
        LiveTrials {
            connections,
            places,
        }
    }

    /// Lets `look` look at the live tables, at a moment of the gateway's clock. It keeps the manager from other work meanwhile.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Tables, Instant) -> T + Send + 'static,
    ) -> Result<T, GatewayError> {
        let (reply, answer) = mpsc::sync_channel(1);
        let look = Look(Box::new(move |tables, now| {
            // Who has asked may have gone away.
            let _ = reply.try_send(look(tables, now));
        }));
        let stopping = |_| GatewayError::Stopping;
        self.connections
            .requests
            .send(Request::Look(look))
            .map_err(|_| GatewayError::Stopping)?;
        answer.recv().map_err(stopping)
    }

    /// Watches packets from now on, beside [others](crate::watch::MOST_WATCHES).
    ///
    /// # Errors
    /// The gateway is stopping; or as many watch as can at once.
    pub fn watch(&self, wanted: &Wanted) -> Result<Watching, GatewayError> {
        let ConnectionTable { requests, workers } = &self.connections;
        Watching::begin(requests.clone(), *workers, &self.places, wanted)
    }

    /// Records frames and changes from now on, in place of who recorded before; tells how it is now. It keeps the manager from other
    /// work for as long as it takes to copy the learned routes.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn record(&self, wanted: &WantedFrames) -> Result<(Recorder, Beginning), GatewayError> {
        let ConnectionTable { requests, workers } = &self.connections;
        Recorder::begin(requests.clone(), *workers, wanted)
    }

    /// Copies of all connections that began before a recording did. No worker does more than a few between two bursts. Cost: some
    /// tenths of a microsecond a connection, and the copies in memory.
    ///
    /// # Errors
    /// The gateway is stopping, or a worker does not answer.
    pub fn connections_before(
        &self,
        beginning: Instant,
    ) -> Result<CopiedConnections, GatewayError> {
        let names = self.look(|tables, _| names_of(tables))?;
        self.connections.copied(&names, beginning)
    }

    /// The connections that a frame belongs to which an interface receives, or that the packet belongs to which it quotes.
    ///
    /// # Errors
    /// The gateway is stopping, or a worker does not answer.
    pub fn connections_of(
        &self,
        ingress: InterfaceIndex,
        frame: &[u8],
    ) -> Result<FoundConnections, GatewayError> {
        let frame = frame.to_vec();
        let sought = self.look(move |tables, _| graph::sought(tables, ingress, &frame))?;
        self.connections.find(&sought)
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
