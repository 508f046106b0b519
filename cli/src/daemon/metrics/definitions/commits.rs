//! Revisions, and the store that they are in.

use super::{counter, gauge};
use crate::daemon::metrics::definition::{Kind, Metric, Unit, Value, one, sample};

/// The length of a file; none where there is none.
fn file_length(path: &std::path::Path, suffix: &str) -> Option<u64> {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    Some(std::fs::metadata(path).ok()?.len())
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_revision",
        Unit::One,
        "The revision that every worker uses.",
        |m| one(m.daemon.shared.revision()),
    ),
    gauge(
        "rewire_store_head",
        Unit::One,
        "The store's last revision, as far as it was noticed.",
        |m| one(m.daemon.progress.head()),
    ),
    gauge(
        "rewire_journal_entries",
        Unit::One,
        "Revisions that the journal has, as far as they were noticed: those that were not pruned.",
        |m| {
            let progress = &m.daemon.progress;
            one(progress.head().saturating_sub(progress.floor()))
        },
    ),
    gauge(
        "rewire_store_bytes",
        Unit::Bytes,
        "The sizes of the store's file, and of its write-ahead log.",
        |m| {
            let path = &m.daemon.store;
            let files = [("database", ""), ("write_ahead_log", "-wal")].into_iter();
            files
                .filter_map(|(file, suffix)| Some(sample([file], file_length(path, suffix)?)))
                .collect()
        },
    )
    .by(&["file"]),
    Metric {
        name: "rewire_commit_step_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "How long the steps of a commit took. Exemplars name the commit's trace.",
        labels: &["step"],
        read: |m| {
            let steps = m.daemon.commit_steps.histograms().into_iter();
            steps
                .map(|(step, histogram)| sample([step], Value::Histogram(histogram)))
                .collect()
        },
    },
    gauge(
        "rewire_alarm",
        Unit::One,
        "1 while the store cannot be followed.",
        |m| one(m.daemon.progress.alarm().is_some()),
    ),
    counter(
        "rewire_alarms",
        Unit::One,
        "Alarms about following the store.",
        |m| one(m.daemon.progress.alarms()),
    ),
];
