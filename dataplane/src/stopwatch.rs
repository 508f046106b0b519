//! How long the nodes of the graph take: of one burst in [`SAMPLED`], so that it costs the others one branch a node.
//!
//! Time is read where a node begins; what passes until the next one begins is the first one's. A node that waits for nothing
//! is not visited, and takes none.

use crate::counters::Counter;
use crate::graph::Node;

/// One burst in so many is timed. A timed one takes about twenty readings of the processor's counter, half a microsecond.
pub const SAMPLED: u64 = 256;

/// What a node has done.
#[derive(Debug, Default)]
pub(crate) struct NodeCounters {
    pub packets: Counter,
    pub bursts: Counter,
    /// Of the bursts that were timed: their packets here, and the cycles that they took.
    pub sampled_packets: Counter,
    sampled_cycles: Counter,
}

/// What a node has done, over all workers. A burst is one visit with at least one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTotals {
    /// Packets that it has seen.
    pub packets: u64,
    /// Visits, each with at least one packet.
    pub bursts: u64,
    /// Packets of the bursts that were timed.
    pub sampled_packets: u64,
    /// What they took, in cycles of the processor's time stamp counter: [`cycles`].
    pub sampled_cycles: u64,
}

impl std::ops::AddAssign<&NodeCounters> for NodeTotals {
    fn add_assign(&mut self, counters: &NodeCounters) {
        self.packets += counters.packets.get();
        self.bursts += counters.bursts.get();
        self.sampled_packets += counters.sampled_packets.get();
        self.sampled_cycles += counters.sampled_cycles.get();
    }
}

/// No node's number: none is being timed.
const NOBODY: u64 = u64::MAX;

/// Which node is being timed, and since when. One thread writes.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    runs: Counter,
    node: Counter,
    since: Counter,
}

impl Default for Stopwatch {
    fn default() -> Self {
        let node = Counter::default();
        node.set(NOBODY);
        Stopwatch {
            runs: Counter::default(),
            node,
            since: Counter::default(),
        }
    }
}

impl Stopwatch {
    /// Whether the burst is timed.
    #[inline]
    pub(crate) fn runs(&self) -> bool {
        self.runs.get() != 0
    }

    /// The burst of this number begins.
    #[inline]
    pub(crate) fn start(&self, burst: u64) {
        if burst.is_multiple_of(SAMPLED) {
            self.runs.set(1);
        }
    }

    /// A node begins.
    #[cold]
    pub(crate) fn turn_to(&self, nodes: &[NodeCounters], node: Node) {
        self.lap(nodes);
        self.node.set(node as u64);
    }

    /// The burst ends.
    #[cold]
    pub(crate) fn stop(&self, nodes: &[NodeCounters]) {
        self.lap(nodes);
        self.node.set(NOBODY);
        self.runs.set(0);
    }

    fn lap(&self, nodes: &[NodeCounters]) {
        let now = cycles();
        let node = usize::try_from(self.node.get()).unwrap_or(usize::MAX);
        if let Some(node) = nodes.get(node) {
            let took = now.wrapping_sub(self.since.get());
            node.sampled_cycles.add(took);
        }
        self.since.set(now);
    }
}

/// The processor's time stamp counter, which counts at a constant rate; nanoseconds where there is none.
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction, and it touches nothing but registers.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_burst_in_so_many_is_timed_and_every_cycle_belongs_to_a_node() {
        let nodes: Vec<_> = Node::ALL.iter().map(|_| NodeCounters::default()).collect();
        let watch = Stopwatch::default();
        let (mut timed, mut took) = (0, 0);
        for burst in 0..10 * SAMPLED {
            watch.start(burst);
            if watch.runs() {
                timed += 1;
                let start = cycles();
                watch.turn_to(&nodes, Node::Route);
                watch.turn_to(&nodes, Node::Acl);
                watch.stop(&nodes);
                took += cycles() - start;
            }
            assert!(!watch.runs());
        }
        assert_eq!(timed, 10);
        let mut totals = [NodeTotals::default(); 2];
        totals[0] += &nodes[Node::Route as usize];
        totals[1] += &nodes[Node::Acl as usize];
        let sum: u64 = totals.iter().map(|node| node.sampled_cycles).sum();
        assert!(sum <= took, "{sum} of {took}");
        assert!(nodes[Node::Local as usize].sampled_cycles.get() == 0);
    }
}
