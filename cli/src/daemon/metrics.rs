//! The gateway's metrics: one definition of each, [`all`], from which come the scrape, OTLP, JSON and the page
//! `docs/metrics.md`.
//!
//! Nothing is kept here but the times of commits: who asks reads the workers' counters as they are, which costs workers
//! nothing. Labels are bounded: by the configuration, or by a list in the program.

mod commit_steps;
mod definition;
mod definitions;
mod json;
mod moment;
mod open_metrics;
#[cfg(test)]
mod page;
mod process;
mod server;
#[cfg(test)]
mod shipped;

use std::time::SystemTime;

pub(crate) use commit_steps::CommitSteps;
pub(crate) use definition::{Exemplar, Family, Histogram, Kind, Metric, Sample, Value};
pub(crate) use json::{VERSION, to_json};
pub(crate) use moment::Moment;
pub(crate) use server::Server;

use super::Daemon;

/// Every metric, in the order in which they are shown.
pub(crate) fn all() -> impl Iterator<Item = &'static Metric> {
    definitions::ALL.iter().copied().flatten()
}

/// All metrics of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// When they were read, by the wall clock.
    pub(crate) time: SystemTime,
    /// Those that have samples, in the order of [`all`].
    pub(crate) families: Vec<Family>,
}

/// Reads all metrics. Costs the reader a few hundred microseconds, and workers nothing where there is no masquerade; with
/// some, a worker copies the use of 64 external addresses between two bursts.
pub(crate) fn snapshot(daemon: &Daemon) -> Snapshot {
    let moment = Moment::of(daemon);
    let families = all().map(|metric| metric.family(&moment));
    Snapshot {
        time: moment.time,
        families: families
            .filter(|family| !family.samples.is_empty())
            .collect(),
    }
}

/// The seconds since the Unix epoch.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
