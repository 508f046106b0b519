//! What workers do with their time, and the nodes of the graph.

use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::{Node, NodeTotals};

use super::{counter, gauge};
use crate::daemon::metrics::Moment;
use crate::daemon::metrics::definition::{Metric, Sample, Unit, one, sample};

const NANOSECOND: f64 = 1e-9;

/// A sample for each worker.
fn each_worker<V: Into<crate::daemon::metrics::Value>>(
    moment: &Moment<'_>,
    value: fn(&WorkerCounters) -> V,
) -> Vec<Sample> {
    let workers = moment.daemon.shared.worker_counters().enumerate();
    workers
        .map(|(number, counters)| sample([&number.to_string()], value(counters)))
        .collect()
}

/// A sample for each node.
fn each_node(moment: &Moment<'_>, value: fn(&NodeTotals) -> u64) -> Vec<Sample> {
    let nodes = Node::ALL.iter().zip(&moment.totals.nodes);
    nodes
        .map(|(node, totals)| sample([node.name()], value(totals)))
        .collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_workers",
        Unit::One,
        "Threads that forward packets.",
        |m| one(m.daemon.shared.workers()),
    ),
    counter(
        "rewire_worker_busy_seconds",
        Unit::Seconds,
        "Time that a worker has spent on bursts with packets.",
        |m| each_worker(m, |w| w.busy_time.get() as f64 * NANOSECOND),
    )
    .by(&["worker"]),
    counter(
        "rewire_worker_idle_seconds",
        Unit::Seconds,
        "Time in which nothing came for a worker, whether it was awake or asleep.",
        |m| each_worker(m, |w| w.idle_time.get() as f64 * NANOSECOND),
    )
    .by(&["worker"]),
    counter(
        "rewire_worker_received_packets",
        Unit::Packets,
        "Packets that a worker has walked: received by it, or handed over to it.",
        |m| each_worker(m, |w| w.received.get()),
    )
    .by(&["worker"]),
    counter(
        "rewire_bursts",
        Unit::One,
        "Bursts with at least one packet.",
        |m| one(m.totals.bursts),
    ),
    counter(
        "rewire_node_packets",
        Unit::Packets,
        "Packets that a node of the graph has seen. The fast path counts those that it has forwarded.",
        |m| each_node(m, |node| node.packets),
    )
    .by(&["node"]),
    counter(
        "rewire_node_bursts",
        Unit::One,
        "Visits of bursts to a node of the graph.",
        |m| each_node(m, |node| node.bursts),
    )
    .by(&["node"]),
    counter(
        "rewire_node_sampled_packets",
        Unit::Packets,
        "Packets of those bursts that were timed at a node: one burst in 256 is.",
        |m| each_node(m, |node| node.sampled_packets),
    )
    .by(&["node"]),
    counter(
        "rewire_node_sampled_cycles",
        Unit::Cycles,
        "Cycles that those bursts took at a node. Divided by their packets: the node's cost of a packet.",
        |m| each_node(m, |node| node.sampled_cycles),
    )
    .by(&["node"]),
];
