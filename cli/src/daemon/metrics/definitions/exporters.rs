//! How measurements leave: the exporters of the configuration.

use std::sync::atomic::Ordering::Relaxed;

use super::{counter, gauge};
use crate::daemon::exporters::Exporter;
use crate::daemon::metrics::definition::{Metric, Sample, Unit, sample};
use crate::daemon::metrics::{Moment, Value};

/// A sample for each exporter.
fn each<V: Into<Value>>(moment: &Moment<'_>, value: fn(&Exporter) -> V) -> Vec<Sample> {
    let exporters = moment.daemon.exporters.list().into_iter();
    exporters
        .map(|(name, exporter)| sample([&name, &exporter.kind.to_string()], value(&exporter)))
        .collect()
}

const LABELS: &[&str] = &["exporter", "type"];

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_exporter_up",
        Unit::One,
        "1 while the exporter listens, its collector has taken what it was sent last, or nobody says that datagrams go nowhere.",
        |m| each(m, |exporter| exporter.up.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_sent",
        Unit::One,
        "Scrapes that the exporter has answered, requests that its collector has taken, or datagrams that have gone.",
        |m| each(m, |exporter| exporter.sent.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_failed",
        Unit::One,
        "Requests that the collector did not take, tries to listen that failed, or datagrams that could not go or that nobody took.",
        |m| each(m, |exporter| exporter.failed.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_records",
        Unit::One,
        "Records of flows that were sent, and records that say what interfaces and VPCs are called (ipfix), or samples (sflow).",
        |m| each(m, |exporter| exporter.records.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_records_lost",
        Unit::One,
        "Records or samples that were let go, because a worker's ring or what waits was full, or because they could not be sent.",
        |m| each(m, |exporter| exporter.records_lost.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_sent_bytes",
        Unit::Bytes,
        "Bytes of the datagrams that were sent (ipfix, sflow).",
        |m| each(m, |exporter| exporter.bytes.load(Relaxed)),
    )
    .by(LABELS),
    counter(
        "rewire_exporter_traces_lost",
        Unit::One,
        "Traces of commits that were let go, because the collector took none.",
        |m| each(m, |exporter| exporter.traces_lost.load(Relaxed)),
    )
    .by(LABELS),
];
