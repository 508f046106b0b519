//! Between a worker and the engine: two bounded rings, neither of which anybody waits at.

use rtrb::{Consumer, Producer, RingBuffer};

use super::card::Refusal;
use super::rule::{Rule, RuleId, Usage};
use crate::time::Instant;

/// What a worker wants.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request {
    /// Install a rule.
    Install {
        id: RuleId,
        rule: Rule,
        decided: Instant,
    },
    /// Remove it.
    Remove { id: RuleId, decided: Instant },
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Report {
    Installed(RuleId),
    NotInstalled(RuleId, Refusal),
    Removed(RuleId, Usage),
    /// Nothing has matched for long.
    Idle(RuleId),
    /// What the rule has done since it was installed.
    Used(RuleId, Usage),
}

/// A worker's end, for the connections of one address family: see [`Connections::enable_offload`](crate::Connections::enable_offload).
#[derive(Debug)]
pub struct WorkerQueue {
    pub(crate) requests: Producer<Request>,
    pub(crate) reports: Consumer<Report>,
    /// The first of its places, and how many flows have theirs there: each has two.
    pub(crate) first_place: u32,
    pub(crate) flows: u32,
}

/// The engine's end.
#[derive(Debug)]
pub(super) struct EngineQueue {
    pub(super) requests: Consumer<Request>,
    pub(super) reports: Producer<Report>,
}

/// Both ends of a queue for as many flows, with so many requests in it at most.
pub(super) fn queue(first_place: u32, flows: u32, requests: usize) -> (WorkerQueue, EngineQueue) {
    let (request_tx, request_rx) = RingBuffer::new(requests.max(1));
    // More is under way than is in the ring: what the card has in its hands comes back, too.
    let (report_tx, report_rx) = RingBuffer::new(2 * requests.max(1));
    let worker = WorkerQueue {
        requests: request_tx,
        reports: report_rx,
        first_place,
        flows,
    };
    let engine = EngineQueue {
        requests: request_rx,
        reports: report_tx,
    };
    (worker, engine)
}
