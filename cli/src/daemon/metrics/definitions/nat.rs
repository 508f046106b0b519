//! NAT: mappings, and ports of external addresses. Their labels are those of the configuration.

use super::{counter, gauge};
use crate::daemon::metrics::Moment;
use crate::daemon::metrics::definition::{Metric, Sample, Unit, one, sample};
use crate::daemon::nat::ProtocolUse;

/// A sample for each protocol of what senders share.
fn each(moment: &Moment<'_>, value: fn(&ProtocolUse) -> Option<u64>) -> Vec<Sample> {
    let shared = moment.nat().into_iter().flat_map(|nat| &nat.shared);
    let uses = shared.flat_map(|shared| shared.protocols.iter().map(move |used| (shared, used)));
    uses.filter_map(|(shared, used)| {
        let labels = [&shared.kind, &shared.name, &shared.vpc, &used.protocol];
        Some(sample(labels.map(String::as_str), value(used)?))
    })
    .collect()
}

/// Of what they are.
const LABELS: &[&str] = &["kind", "name", "vpc", "protocol"];

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_nat_mappings",
        Unit::One,
        "NAT mappings in use now.",
        |m| one(m.totals.mappings),
    ),
    gauge(
        "rewire_nat_ports_in_use",
        Unit::One,
        "External ports of masquerades that are in use now.",
        |m| each(m, |used| Some(used.ports_in_use)),
    )
    .by(LABELS),
    gauge(
        "rewire_nat_ports",
        Unit::One,
        "External ports that masquerades can give out.",
        |m| each(m, |used| used.ports),
    )
    .by(LABELS),
    counter(
        "rewire_nat_ports_exhausted",
        Unit::One,
        "Connections that found no external port.",
        |m| each(m, |used| Some(used.exhausted)),
    )
    .by(LABELS),
];
