//! What a source has counted, for anybody to read while its session goes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::ignored::Ignored;

/// The counters of one source, from its first configuration on.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Whether its daemon is connected.
    pub connected: AtomicBool,
    /// Sessions that began.
    pub sessions: AtomicU64,
    /// Netlink messages.
    pub messages: AtomicU64,
    /// Bytes received.
    pub bytes: AtomicU64,
    /// Sessions that ended because the stream was no stream of frames.
    pub framing_errors: AtomicU64,
    /// Routes that it has here now.
    pub routes: AtomicU64,
    /// Of these, routes that wait for a next hop that is on a link of the gateway.
    pub held_back: AtomicU64,
    /// Of these, routes that were not said again since the daemon was last gone.
    pub stale: AtomicU64,
    /// Routes that were refused in this session because there were too many: an alarm.
    pub refused: AtomicU64,
    ignored: [AtomicU64; Ignored::ALL.len()],
    /// What is wrong with its listener, or how its last session ended.
    problem: Mutex<Option<String>>,
}

impl SourceCounters {
    /// Counts messages that were ignored.
    pub fn ignore(&self, reason: Ignored) {
        self.ignored[reason.index()].fetch_add(1, Relaxed);
    }

    /// The messages that were ignored for a reason.
    pub fn ignored(&self, reason: Ignored) -> u64 {
        self.ignored[reason.index()].load(Relaxed)
    }

    /// Says what is wrong, or that nothing is.
    pub fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }

    /// What is wrong with the listener, or how the last session ended.
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counters of all sources by name, shared by whoever counts and whoever reads.
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Mutex<BTreeMap<Arc<str>, Arc<SourceCounters>>>>);

impl Counters {
    /// The counters of a source, made where there are none.
    pub fn of(&self, name: &Arc<str>) -> Arc<SourceCounters> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sources.entry(Arc::clone(name)).or_default())
    }

    /// Forgets a source.
    pub fn remove(&self, name: &str) {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sources.remove(name);
    }

    /// All sources, by name.
    pub fn all(&self) -> Vec<(Arc<str>, Arc<SourceCounters>)> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let both = |(name, counters): (&Arc<str>, &Arc<SourceCounters>)| {
            (Arc::clone(name), Arc::clone(counters))
        };
        sources.iter().map(both).collect()
    }
}
