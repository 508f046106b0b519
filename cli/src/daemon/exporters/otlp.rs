//! An exporter of type otlp: pushes metrics at an interval, and traces of commits as they come.
//!
//! Metrics count from the start: those that a collector did not take are in the next ones. Traces wait, in a bounded number.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{Exporter, ExporterConfig};
use crate::daemon::Daemon;
use crate::daemon::metrics::snapshot;
use crate::daemon::otlp::{Failed, Resource, Target, encode_metrics, encode_traces};

/// How long traces wait, at least, after the collector did not take any.
const TRACES_RETRY: Duration = Duration::from_secs(1);

/// Pushes until it is told to end; then once more, so that the last numbers are there.
pub(super) fn run(daemon: &Daemon, exporter: &Exporter, config: &ExporterConfig) {
    let resource = Resource::of_this_process();
    let target = Target(config.address);
    let mut pushes = Pushes {
        daemon,
        exporter,
        name: &config.name,
    };
    let mut next = Instant::now();
    let mut traces_from = next;
    loop {
        let wants_traces = traces_from <= Instant::now();
        let until = if wants_traces {
            next
        } else {
            next.min(traces_from)
        };
        let goes_on = exporter.wait_until(until, wants_traces);
        if wants_traces && !pushes.traces(target, &resource) {
            traces_from = Instant::now() + TRACES_RETRY;
        }
        if !goes_on || next <= Instant::now() {
            pushes.metrics(target, &resource);
            // Where the collector was slow, what was missed is not made up for.
            next = (next + config.interval).max(Instant::now());
        }
        if !goes_on {
            return;
        }
    }
}

struct Pushes<'a> {
    daemon: &'a Daemon,
    exporter: &'a Exporter,
    name: &'a str,
}

impl Pushes<'_> {
    fn metrics(&mut self, target: Target, resource: &Resource) {
        let start = UNIX_EPOCH + Duration::from_secs(self.daemon.start_time);
        let body = encode_metrics(resource, &snapshot(self.daemon), start);
        let outcome = target.post("/v1/metrics", &body);
        self.note(&outcome);
    }

    /// Whether all traces have gone, or can never go.
    fn traces(&mut self, target: Target, resource: &Resource) -> bool {
        let traces = self.exporter.take();
        if traces.is_empty() {
            return true;
        }
        let body = encode_traces(resource, traces.iter().map(Arc::as_ref));
        let outcome = target.post("/v1/traces", &body);
        self.note(&outcome);
        match outcome {
            Ok(()) => true,
            Err(failed) if failed.is_for_now() => {
                self.exporter.put_back(traces);
                false
            }
            Err(_) => {
                let lost = traces.len() as u64;
                self.exporter.traces_lost.fetch_add(lost, Relaxed);
                true
            }
        }
    }

    /// Counts what came of a request; says it where it is news.
    fn note(&mut self, outcome: &Result<(), Failed>) {
        let was_up = self.exporter.up.swap(outcome.is_ok(), Relaxed);
        match outcome {
            Ok(()) => {
                self.exporter.sent.fetch_add(1, Relaxed);
                if !was_up {
                    tracing::info!(exporter = self.name, "the collector takes what it is sent");
                }
            }
            Err(error) => {
                let failed = self.exporter.failed.fetch_add(1, Relaxed);
                if was_up || failed == 0 {
                    tracing::warn!(exporter = self.name, "nothing can be sent: {error}");
                }
            }
        }
    }
}
