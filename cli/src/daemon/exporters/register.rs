//! What exporters have done, and what waits for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rewire_schema::types::ExporterType;

use crate::daemon::commit_trace::CommitTrace;

/// Traces that wait for a collector, at most: about ten spans each.
const MOST_TRACES: usize = 128;

#[derive(Debug, Default)]
struct State {
    traces: VecDeque<Arc<CommitTrace>>,
    is_stopping: bool,
}

/// An exporter, as others see it.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) kind: ExporterType,
    /// Whether what it did last went well: it listens, or its collector has taken what it was sent.
    pub(crate) up: AtomicBool,
    /// Scrapes that were answered, or requests that the collector has taken.
    pub(crate) sent: AtomicU64,
    /// Requests that came to nothing.
    pub(crate) failed: AtomicU64,
    /// Traces that were let go, because the collector takes none.
    pub(crate) traces_lost: AtomicU64,
    /// Records of flows, or samples, that were sent.
    pub(crate) records: AtomicU64,
    /// Those that were let go: a worker's ring, or what waits here, was full; or they could not be sent.
    pub(crate) records_lost: AtomicU64,
    /// Bytes of datagrams that were sent.
    pub(crate) bytes: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

impl Exporter {
    pub(crate) fn new(kind: ExporterType) -> Self {
        Exporter {
            kind,
            up: AtomicBool::default(),
            sent: AtomicU64::default(),
            failed: AtomicU64::default(),
            traces_lost: AtomicU64::default(),
            records: AtomicU64::default(),
            records_lost: AtomicU64::default(),
            bytes: AtomicU64::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step: whoever panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells it to end.
    pub(crate) fn stop(&self) {
        self.state().is_stopping = true;
        self.changed.notify_all();
    }

    /// Waits until then, or until there is a trace to be sent, where traces are wanted. False where it is to end.
    pub(crate) fn wait_until(&self, time: Instant, wants_traces: bool) -> bool {
        let left = time.saturating_duration_since(Instant::now());
        let nothing = |state: &mut State| {
            let has_trace = wants_traces && !state.traces.is_empty();
            !state.is_stopping && !has_trace
        };
        let waited = self.changed.wait_timeout_while(self.state(), left, nothing);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_stopping
    }

    /// Waits for so long. False where it is to end.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        self.wait_until(Instant::now() + time, false)
    }

    /// A trace to be sent. The oldest one goes where there are too many.
    pub(crate) fn push(&self, trace: &Arc<CommitTrace>) {
        let mut state = self.state();
        if state.traces.len() == MOST_TRACES {
            state.traces.pop_front();
            self.traces_lost.fetch_add(1, Relaxed);
        }
        state.traces.push_back(Arc::clone(trace));
        drop(state);
        self.changed.notify_all();
    }

    /// Takes all traces that wait.
    pub(crate) fn take(&self) -> Vec<Arc<CommitTrace>> {
        self.state().traces.drain(..).collect()
    }

    /// Puts traces back that were not taken, ahead of those that came since; what there is no room for is let go.
    pub(crate) fn put_back(&self, traces: Vec<Arc<CommitTrace>>) {
        let mut state = self.state();
        for trace in traces.into_iter().rev() {
            if state.traces.len() == MOST_TRACES {
                self.traces_lost.fetch_add(1, Relaxed);
            } else {
                state.traces.push_front(trace);
            }
        }
    }
}

/// The exporters that run, by name.
#[derive(Debug, Default)]
pub(crate) struct Register(Mutex<BTreeMap<String, Arc<Exporter>>>);

impl Register {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Exporter>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, name: &str, exporter: &Arc<Exporter>) {
        self.all().insert(name.to_owned(), Arc::clone(exporter));
    }

    pub(super) fn remove(&self, name: &str) {
        self.all().remove(name);
    }

    /// Gives a trace to whoever sends traces.
    pub(crate) fn pass(&self, trace: &Arc<CommitTrace>) {
        let all = self.all();
        let senders = all.values().filter(|e| e.kind == ExporterType::Otlp);
        senders.for_each(|exporter| exporter.push(trace));
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<(String, Arc<Exporter>)> {
        let all = self.all();
        let all = all.iter();
        all.map(|(name, exporter)| (name.clone(), Arc::clone(exporter)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(revision: u64) -> Arc<CommitTrace> {
        Arc::new(CommitTrace {
            trace: "ab".repeat(16).parse().unwrap(),
            revision,
            generation: 1,
            author: String::new(),
            message: String::new(),
            spans: vec![],
        })
    }

    fn revisions(traces: &[Arc<CommitTrace>]) -> Vec<u64> {
        traces.iter().map(|trace| trace.revision).collect()
    }

    #[test]
    fn the_oldest_traces_go_where_nobody_takes_them_and_are_counted() {
        let exporter = Exporter::new(ExporterType::Otlp);
        let most = MOST_TRACES as u64;
        (0..most + 3).for_each(|revision| exporter.push(&trace(revision)));
        assert_eq!(exporter.traces_lost.load(Relaxed), 3);
        let taken = exporter.take();
        assert_eq!(revisions(&taken), (3..most + 3).collect::<Vec<_>>());
        // They were not taken, and two more came meanwhile.
        exporter.push(&trace(900));
        exporter.push(&trace(901));
        exporter.put_back(taken);
        assert_eq!(exporter.traces_lost.load(Relaxed), 5);
        let taken = revisions(&exporter.take());
        assert_eq!(taken.len(), MOST_TRACES);
        assert_eq!(taken[0], 5, "the oldest have gone");
        assert_eq!(taken[MOST_TRACES - 2..], [900, 901]);
    }

    #[test]
    fn who_waits_is_woken_by_a_trace_and_by_the_end() {
        let exporter = Exporter::new(ExporterType::Otlp);
        let far = Instant::now() + Duration::from_secs(600);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| exporter.wait_until(far, true));
            exporter.push(&trace(1));
            assert!(waiting.join().unwrap());
            let waiting = scope.spawn(|| exporter.wait_until(far, false));
            exporter.stop();
            assert!(!waiting.join().unwrap());
        });
        assert!(!exporter.pause(Duration::from_secs(600)));
    }
}
