//! The program and its process.

use super::{counter, gauge};
use crate::daemon::metrics::definition::{Metric, Sample, Unit, Value, one, sample};

/// A sample, where the kernel has something to say.
fn known(value: Option<impl Into<Value>>) -> Vec<Sample> {
    value.map_or_else(Vec::new, one)
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_build_info",
        Unit::One,
        "The program, in its labels: always 1.",
        |m| vec![sample([env!("CARGO_PKG_VERSION"), m.daemon.driver], 1u64)],
    )
    .by(&["version", "driver"]),
    gauge(
        "rewire_start_time_seconds",
        Unit::Seconds,
        "When the gateway was started, since the Unix epoch.",
        |m| one(m.daemon.start_time),
    ),
    counter(
        "process_cpu_seconds",
        Unit::Seconds,
        "Time on processors, in user mode and in the kernel.",
        |m| known(m.process().cpu_seconds),
    ),
    gauge(
        "process_resident_memory_bytes",
        Unit::Bytes,
        "Memory that is in use. Hugepages are not counted.",
        |m| known(m.process().resident_memory_bytes),
    ),
    gauge(
        "process_virtual_memory_bytes",
        Unit::Bytes,
        "Addresses that are taken.",
        |m| known(m.process().virtual_memory_bytes),
    ),
    gauge("process_threads", Unit::One, "Threads of all kinds.", |m| {
        known(m.process().threads)
    }),
    gauge(
        "process_open_fds",
        Unit::One,
        "File descriptors that are open.",
        |m| known(m.process().open_files),
    ),
    gauge(
        "process_max_fds",
        Unit::One,
        "File descriptors that may be open.",
        |m| known(m.process().most_open_files),
    ),
];
