//! Counters: a block for each worker, written by that worker alone with a plain load and store, and summed by whoever
//! reads. Looking costs workers nothing.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use rewire_conntrack::State;
use rewire_conntrack::offload::OffloadCounts;
use rewire_tables::InterfaceIndex;

use crate::drop_reason::DropReason;
use crate::graph::{MOST_NEXT, Node};
use crate::resolutions::{Resolutions, Resolved};
use crate::rule_counts::RuleCounts;
use crate::stopwatch::{NodeCounters, NodeTotals, Stopwatch};

/// The number of interfaces that have counters of their own. Those with a higher index share the last block.
pub const COUNTED_INTERFACES: usize = 1024;

/// One counter, with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to the counter. Only its worker calls this: it is a load and a store, not an atomic addition.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(amount),
            Ordering::Relaxed,
        );
    }
    /// Sets the value, where it is a level and not a count.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    /// The value now.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one interface.
#[derive(Debug)]
pub struct InterfaceCounters {
    /// Packets received.
    pub received_packets: Counter,
    /// Bytes received, Ethernet headers included.
    pub received_bytes: Counter,
    /// Packets handed to the port.
    pub transmitted_packets: Counter,
    /// Bytes handed to the port, Ethernet headers included.
    pub transmitted_bytes: Counter,
    /// Packets that were received here and dropped.
    pub dropped_packets: Counter,
    /// The same by reason.
    drops: [Counter; DropReason::ALL.len()],
}

impl Default for InterfaceCounters {
    fn default() -> Self {
        InterfaceCounters {
            received_packets: Counter::default(),
            received_bytes: Counter::default(),
            transmitted_packets: Counter::default(),
            transmitted_bytes: Counter::default(),
            dropped_packets: Counter::default(),
            drops: std::array::from_fn(|_| Counter::default()),
        }
    }
}

impl InterfaceCounters {
    /// A packet that was received here is dropped.
    #[inline]
    pub fn drop_for(&self, reason: DropReason) {
        self.dropped_packets.add(1);
        self.drops[reason as usize].add(1);
    }
    /// Packets that were received here and dropped for one reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }
}

/// [`OffloadCounts`] that anybody may read.
#[derive(Debug, Default)]
pub(crate) struct OffloadCounters([Counter; OffloadCounts::FIELDS]);

impl OffloadCounters {
    /// Only the worker calls this.
    pub(crate) fn set(&self, families: &[OffloadCounts]) {
        let mut sum = OffloadCounts::default();
        families.iter().for_each(|counts| sum += *counts);
        for (counter, value) in self.0.iter().zip(sum.to_array()) {
            counter.set(value);
        }
    }

    fn get(&self) -> OffloadCounts {
        OffloadCounts::from_array(self.0.each_ref().map(Counter::get))
    }
}

/// All counters of one worker.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerCounters {
    /// Bursts that had at least one packet.
    pub bursts: Counter,
    /// Packets received from ports.
    pub received: Counter,
    /// Packets handed to ports.
    pub transmitted: Counter,
    /// Packets that the gateway made: ARP requests, neighbor solicitations, ICMP errors, and the fragments after the first
    /// of a packet that it cut.
    pub generated: Counter,
    /// Packets for the gateway itself that it took in: what ARP and neighbor discovery say.
    pub consumed: Counter,
    /// Packets that are held now, until their next hop is resolved.
    pub held: Counter,
    /// ICMP errors that were not sent, because too many were.
    pub icmp_suppressed: Counter,
    /// Neighbors that were learned and could not be told to the manager, because it lags.
    pub learned_lost: Counter,
    /// Decisions of ACLs that were to be logged and were not: too many in a second, or the manager lags.
    pub log_lost: Counter,
    /// Connections now, of both address families.
    pub connections: Counter,
    /// Connections made.
    pub connections_created: Counter,
    /// Connections that timed out.
    pub connections_expired: Counter,
    /// Connections that made way for new ones where the table was full: not established, or over.
    pub connections_evicted: Counter,
    /// Connections that begin in a VPC with a limit for each source, and are not counted with theirs: too many sources.
    pub sources_uncounted: Counter,
    /// Connections that somebody has ended by hand.
    pub connections_cleared: Counter,
    /// Connections that a change of policy was checked against, and that stay.
    pub connections_kept: Counter,
    /// Connections that a change of policy ended.
    pub connections_ended_by_policy: Counter,
    /// NAT port mappings in use now.
    pub mappings: Counter,
    /// The memory of its connections and mappings, in bytes.
    pub connection_memory: Counter,
    /// Time that went into bursts with packets, in ns.
    pub busy_time: Counter,
    /// Time in which nothing came, in ns.
    pub idle_time: Counter,
    /// What has become of offloads, where there is a card.
    pub(crate) offload: OffloadCounters,
    pub(crate) resolutions: Resolutions,
    pub(crate) rules: RuleCounts,
    drops: Box<[Counter]>,
    nodes: Box<[NodeCounters]>,
    /// Packets that each node has sent on, by its place in [`Node::next`].
    edges: Box<[[Counter; MOST_NEXT]]>,
    stopwatch: Stopwatch,
    states: Box<[Counter]>,
    interfaces: Box<[InterfaceCounters]>,
}

fn counters<T: Default>(number: usize) -> Box<[T]> {
    (0..number).map(|_| T::default()).collect()
}

impl Default for WorkerCounters {
    fn default() -> Self {
        WorkerCounters {
            bursts: Counter::default(),
            received: Counter::default(),
            transmitted: Counter::default(),
            generated: Counter::default(),
            consumed: Counter::default(),
            held: Counter::default(),
            icmp_suppressed: Counter::default(),
            learned_lost: Counter::default(),
            log_lost: Counter::default(),
            connections: Counter::default(),
            connections_created: Counter::default(),
            connections_expired: Counter::default(),
            connections_evicted: Counter::default(),
            sources_uncounted: Counter::default(),
            connections_cleared: Counter::default(),
            connections_kept: Counter::default(),
            connections_ended_by_policy: Counter::default(),
            mappings: Counter::default(),
            connection_memory: Counter::default(),
            busy_time: Counter::default(),
            idle_time: Counter::default(),
            offload: OffloadCounters::default(),
            resolutions: Resolutions::default(),
            rules: RuleCounts::default(),
            drops: counters(DropReason::ALL.len()),
            nodes: counters(Node::ALL.len()),
            edges: counters(Node::ALL.len()),
            stopwatch: Stopwatch::default(),
            states: counters(State::ALL.len()),
            interfaces: counters(COUNTED_INTERFACES),
        }
    }
}

impl WorkerCounters {
    /// The counter of a drop reason.
    #[inline]
    pub fn dropped(&self, reason: DropReason) -> &Counter {
        &self.drops[reason as usize]
    }
    /// The number of connections in a state, of both families. Those of TCP in `SynReceived` count together.
    #[inline]
    pub fn state(&self, state: State) -> &Counter {
        &self.states[state.position()]
    }
    /// The number of connections in each state, in the order of [`State::ALL`].
    #[inline]
    pub(crate) fn set_states(&self, numbers: [u64; State::ALL.len()]) {
        for (state, number) in self.states.iter().zip(numbers) {
            state.set(number);
        }
    }
    /// A node begins, with so many packets.
    #[inline]
    pub(crate) fn visit(&self, node: Node, packets: usize) {
        self.nodes[node as usize].bursts.add(1);
        if self.stopwatch.runs() {
            self.stopwatch.turn_to(&self.nodes, node);
        }
        self.saw(node, packets as u64);
    }
    /// A node has seen so many packets more, of the burst that it began with.
    #[inline]
    pub(crate) fn saw(&self, node: Node, packets: u64) {
        let counters = &self.nodes[node as usize];
        counters.packets.add(packets);
        if self.stopwatch.runs() {
            counters.sampled_packets.add(packets);
        }
    }
    /// A node has sent so many packets on by the edge at this place of [`Node::next`]. Once in a visit.
    #[inline]
    pub(crate) fn sent(&self, from: Node, edge: usize, packets: usize) {
        if packets > 0 {
            self.edges[from as usize][edge].add(packets as u64);
        }
    }
    /// The same, where the edge is known by its other end. Nothing where there is no such edge.
    pub(crate) fn sent_to(&self, from: Node, to: Node, packets: usize) {
        let edge = from.next().iter().position(|next| *next == to);
        debug_assert!(edge.is_some(), "{from:?} has no edge to {to:?}");
        if let Some(edge) = edge {
            self.sent(from, edge, packets);
        }
    }
    /// A burst with packets begins. Whether its nodes are timed is said by `is_timed`.
    #[inline]
    pub(crate) fn begin_burst(&self, is_timed: bool) {
        if is_timed {
            self.stopwatch.start(self.bursts.get());
        }
        self.bursts.add(1);
    }
    /// A burst ends. Whether it was timed.
    #[inline]
    pub(crate) fn end_burst(&self) -> bool {
        let is_timed = self.stopwatch.runs();
        if is_timed {
            self.stopwatch.stop(&self.nodes);
        }
        is_timed
    }
    /// What became of this worker's connections when a revision changed the policy; none where another revision has taken its
    /// place.
    pub fn resolved(&self, revision: u64) -> Option<Resolved> {
        self.resolutions.of(revision, self.connections.get())
    }
    /// What became of this worker's packets. Cost: the drop reasons.
    pub fn account(&self) -> Account {
        Account {
            received: self.received.get(),
            generated: self.generated.get(),
            transmitted: self.transmitted.get(),
            dropped: self.drops.iter().map(Counter::get).sum(),
            consumed: self.consumed.get(),
            held: self.held.get(),
        }
    }
    /// The counters of an interface.
    #[inline]
    pub fn interface(&self, index: InterfaceIndex) -> &InterfaceCounters {
        &self.interfaces[index.position().min(COUNTED_INTERFACES - 1)]
    }
}

/// What became of all packets: the terms of the equation that every packet is accounted for by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Account {
    pub received: u64,
    pub generated: u64,
    pub transmitted: u64,
    pub dropped: u64,
    pub consumed: u64,
    pub held: u64,
}

impl AddAssign for Account {
    fn add_assign(&mut self, other: Account) {
        self.received += other.received;
        self.generated += other.generated;
        self.transmitted += other.transmitted;
        self.dropped += other.dropped;
        self.consumed += other.consumed;
        self.held += other.held;
    }
}

impl Account {
    /// Whether every packet is accounted for.
    pub fn is_balanced(&self) -> bool {
        self.received + self.generated
            == self.transmitted + self.dropped + self.consumed + self.held
    }
}

/// The sums over all workers at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Totals {
    pub bursts: u64,
    pub received: u64,
    pub transmitted: u64,
    pub generated: u64,
    pub consumed: u64,
    pub held: u64,
    pub icmp_suppressed: u64,
    pub learned_lost: u64,
    pub log_lost: u64,
    pub connections: u64,
    pub connections_created: u64,
    pub connections_expired: u64,
    pub connections_evicted: u64,
    pub sources_uncounted: u64,
    pub connections_cleared: u64,
    pub connections_kept: u64,
    pub connections_ended_by_policy: u64,
    pub mappings: u64,
    /// What has become of offloads; all zero where there is no card.
    pub offload: OffloadCounts,
    /// By [`DropReason`], in the order of [`DropReason::ALL`].
    pub drops: Vec<u64>,
    /// By [`Node`], in the order of [`Node::ALL`].
    pub nodes: Vec<NodeTotals>,
    /// Packets that nodes have sent on, by [`Node`] and then in the order of [`Node::next`].
    pub edges: Vec<[u64; MOST_NEXT]>,
    /// Connections by [`State`], in the order of [`State::ALL`].
    pub states: Vec<u64>,
    /// By interface index.
    pub interfaces: Vec<InterfaceTotals>,
}

/// The sums of one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct InterfaceTotals {
    pub received_packets: u64,
    pub received_bytes: u64,
    pub transmitted_packets: u64,
    pub transmitted_bytes: u64,
    pub dropped_packets: u64,
}

impl AddAssign<&InterfaceCounters> for InterfaceTotals {
    fn add_assign(&mut self, counters: &InterfaceCounters) {
        self.received_packets += counters.received_packets.get();
        self.received_bytes += counters.received_bytes.get();
        self.transmitted_packets += counters.transmitted_packets.get();
        self.transmitted_bytes += counters.transmitted_bytes.get();
        self.dropped_packets += counters.dropped_packets.get();
    }
}

impl Totals {
    /// Sums the blocks of all workers.
    pub fn of<'a>(workers: impl IntoIterator<Item = &'a WorkerCounters> + Clone) -> Totals {
        let sum = |field: fn(&WorkerCounters) -> &Counter| {
            workers
                .clone()
                .into_iter()
                .map(|worker| field(worker).get())
                .sum()
        };
        let mut totals = Totals {
            bursts: sum(|w| &w.bursts),
            received: sum(|w| &w.received),
            transmitted: sum(|w| &w.transmitted),
            generated: sum(|w| &w.generated),
            consumed: sum(|w| &w.consumed),
            held: sum(|w| &w.held),
            icmp_suppressed: sum(|w| &w.icmp_suppressed),
            learned_lost: sum(|w| &w.learned_lost),
            log_lost: sum(|w| &w.log_lost),
            connections: sum(|w| &w.connections),
            connections_created: sum(|w| &w.connections_created),
            connections_expired: sum(|w| &w.connections_expired),
            connections_evicted: sum(|w| &w.connections_evicted),
            sources_uncounted: sum(|w| &w.sources_uncounted),
            connections_cleared: sum(|w| &w.connections_cleared),
            connections_kept: sum(|w| &w.connections_kept),
            connections_ended_by_policy: sum(|w| &w.connections_ended_by_policy),
            mappings: sum(|w| &w.mappings),
            offload: OffloadCounts::default(),
            drops: vec![0; DropReason::ALL.len()],
            nodes: vec![NodeTotals::default(); Node::ALL.len()],
            edges: vec![[0; MOST_NEXT]; Node::ALL.len()],
            states: vec![0; State::ALL.len()],
            interfaces: vec![InterfaceTotals::default(); COUNTED_INTERFACES],
        };
        for worker in workers {
            totals.offload += worker.offload.get();
            for (total, counter) in totals.drops.iter_mut().zip(&worker.drops) {
                *total += counter.get();
            }
            let edges = worker.edges.iter().flatten();
            for (total, counter) in totals.edges.iter_mut().flatten().zip(edges) {
                *total += counter.get();
            }
            for (total, counters) in totals.nodes.iter_mut().zip(&worker.nodes) {
                *total += counters;
            }
            for (total, counter) in totals.states.iter_mut().zip(&worker.states) {
                *total += counter.get();
            }
            for (total, counters) in totals.interfaces.iter_mut().zip(&worker.interfaces) {
                *total += counters;
            }
        }
        totals
    }

    /// The edges of the graph, each with the packets that went over it.
    pub fn edges(&self) -> impl Iterator<Item = (Node, Node, u64)> + '_ {
        let nodes = Node::ALL.iter().zip(&self.edges);
        nodes.flat_map(|(from, packets)| {
            let edges = from.next().iter().zip(packets);
            edges.map(|(to, packets)| (*from, *to, *packets))
        })
    }

    /// The packets dropped, over all reasons.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// The packets dropped for one reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// The reasons that dropped anything, with their counts.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL
            .iter()
            .copied()
            .zip(self.drops.iter().copied())
            .filter(|(_, n)| *n > 0)
    }

    /// What became of all packets.
    pub fn account(&self) -> Account {
        Account {
            received: self.received,
            generated: self.generated,
            transmitted: self.transmitted,
            dropped: self.dropped(),
            consumed: self.consumed,
            held: self.held,
        }
    }

    /// Whether every packet is accounted for: received + generated = transmitted + dropped + consumed + held. Holds
    /// between bursts; a reader beside running workers can see a burst half counted.
    pub fn balanced(&self) -> bool {
        self.account().is_balanced()
    }

    /// The node whose packets did not all come by an edge, if there is one: where there are edges to a node, it sees what went over
    /// them, and nothing else. Holds between bursts, as [`balanced`](Self::balanced) does.
    pub fn unexplained_node(&self) -> Option<Node> {
        let came = |node: Node| {
            let edges = self.edges().filter(move |(_, to, _)| *to == node);
            edges
                .map(|(.., packets)| packets)
                .reduce(|sum, packets| sum + packets)
        };
        let nodes = Node::ALL.iter().zip(&self.nodes);
        let mut wrong =
            nodes.filter(|(node, seen)| came(**node).is_some_and(|came| came != seen.packets));
        wrong.next().map(|(node, _)| *node)
    }
}
