//! The sources of learned routes.

use super::{counter, gauge};
use crate::daemon::metrics::definition::{Metric, Sample, Unit, sample};
use crate::daemon::metrics::{Moment, Value};
use crate::daemon::route_sources::RouteSource;

/// A sample for each source.
fn each<V: Into<Value>>(moment: &Moment<'_>, value: fn(&RouteSource) -> V) -> Vec<Sample> {
    let sources = moment.sources().iter();
    sources
        .map(|source| sample([&source.name], value(source)))
        .collect()
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_route_source_connected",
        Unit::One,
        "1 while the source's routing daemon is connected.",
        |m| each(m, |source| source.connected),
    )
    .by(&["source"]),
    gauge(
        "rewire_route_source_routes",
        Unit::One,
        "Routes that the source has here.",
        |m| each(m, |source| source.routes),
    )
    .by(&["source"]),
    gauge(
        "rewire_route_source_held_back",
        Unit::One,
        "Routes that wait for a next hop on a link of the gateway.",
        |m| each(m, |source| source.held_back),
    )
    .by(&["source"]),
    gauge(
        "rewire_route_source_stale",
        Unit::One,
        "Routes that were not said again since the daemon was last gone.",
        |m| each(m, |source| source.stale),
    )
    .by(&["source"]),
    gauge(
        "rewire_route_source_refused",
        Unit::One,
        "Routes of this session that were refused because there were too many.",
        |m| each(m, |source| source.refused),
    )
    .by(&["source"]),
    counter(
        "rewire_route_source_sessions",
        Unit::One,
        "Sessions that a routing daemon began.",
        |m| each(m, |source| source.sessions),
    )
    .by(&["source"]),
    counter(
        "rewire_route_source_messages",
        Unit::One,
        "Messages of the routing daemon.",
        |m| each(m, |source| source.messages),
    )
    .by(&["source"]),
    counter(
        "rewire_route_source_bytes",
        Unit::Bytes,
        "Bytes of the routing daemon.",
        |m| each(m, |source| source.bytes),
    )
    .by(&["source"]),
    counter(
        "rewire_route_source_framing_errors",
        Unit::One,
        "Sessions that ended because what came were no frames.",
        |m| each(m, |source| source.framing_errors),
    )
    .by(&["source"]),
    counter(
        "rewire_route_source_ignored",
        Unit::One,
        "Messages that had no effect, by reason.",
        |m| {
            let sources = m.sources().iter();
            let samples = sources.flat_map(|source| {
                let reasons = source.ignored.iter();
                reasons.map(|(reason, number)| sample([&source.name, reason], *number))
            });
            samples.collect()
        },
    )
    .by(&["source", "reason"]),
];
