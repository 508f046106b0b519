//! What became of offloads, and how long their rules took. Nothing where there is no card.

use std::time::Duration;

use rewire_dataplane::offload::{Histogram, Latencies, OffloadCounts};

use super::{counter, gauge};
use crate::daemon::metrics::Moment;
use crate::daemon::metrics::definition::{self, Bucket, Kind, Metric, Sample, Unit, Value, one};

/// The bounds of buckets are powers of two, in ns: from 2^8, a quarter of a microsecond, to 2^30, a second.
const BOUNDS: std::ops::RangeInclusive<u32> = 8..=30;

/// A histogram of the data path, as it is now.
fn durations(histogram: &Histogram) -> Value {
    let counted = histogram.counted();
    let mut below = 0;
    let bucket = |power| {
        let bound = Duration::from_nanos(1_u64 << power);
        let within = counted.within(bound);
        let count = within - below;
        below = within;
        Bucket {
            bound: bound.as_secs_f64(),
            count,
            exemplar: None,
        }
    };
    Value::Histogram(definition::Histogram {
        buckets: BOUNDS.map(bucket).collect(),
        count: counted.count(),
        sum: counted.sum().as_secs_f64(),
        beyond: None,
    })
}

/// The two steps of what happens to a rule.
fn steps(moment: &Moment<'_>, of: fn(&Latencies) -> [&Histogram; 2]) -> Vec<Sample> {
    let latencies = moment.daemon.shared.offload_latencies();
    let histograms = latencies.into_iter().flat_map(of);
    let steps = ["handed", "confirmed"].into_iter().zip(histograms);
    steps
        .map(|(step, histogram)| definition::sample([step], durations(histogram)))
        .collect()
}

/// A count, where there is a card.
fn count(moment: &Moment<'_>, of: fn(&OffloadCounts) -> u64) -> Vec<Sample> {
    match moment.daemon.shared.offload_latencies() {
        Some(_) => one(of(&moment.totals.offload)),
        None => Vec::new(),
    }
}

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "rewire_offload_flows",
        Unit::One,
        "Flows in the card, or about to be.",
        |m| count(m, |c| c.flows),
    ),
    gauge(
        "rewire_offload_rules",
        Unit::One,
        "Rules in the card.",
        |m| count(m, |c| c.rules),
    ),
    counter(
        "rewire_offload_taken",
        Unit::One,
        "Flows that came to be in the card, each as often as it did.",
        |m| count(m, |c| c.taken),
    ),
    counter(
        "rewire_offload_installs",
        Unit::One,
        "Rules that the card was asked for.",
        |m| count(m, |c| c.installs),
    ),
    counter(
        "rewire_offload_installed",
        Unit::One,
        "Rules that the card has installed.",
        |m| count(m, |c| c.installed),
    ),
    counter(
        "rewire_offload_card_full",
        Unit::One,
        "Rules that the card had no room for.",
        |m| count(m, |c| c.card_full),
    ),
    counter(
        "rewire_offload_refused",
        Unit::One,
        "Rules that the card refused otherwise.",
        |m| count(m, |c| c.refused),
    ),
    counter(
        "rewire_offload_removals",
        Unit::One,
        "Rules that the card was asked to remove.",
        |m| count(m, |c| c.removals),
    ),
    counter(
        "rewire_offload_removed",
        Unit::One,
        "Rules that the card has removed.",
        |m| count(m, |c| c.removed),
    ),
    counter(
        "rewire_offload_ring_full",
        Unit::One,
        "Offers that the engine had no room for.",
        |m| count(m, |c| c.ring_full),
    ),
    counter(
        "rewire_offload_places_full",
        Unit::One,
        "Offers for which all places were taken.",
        |m| count(m, |c| c.places_full),
    ),
    counter(
        "rewire_offload_strays",
        Unit::One,
        "Flows whose packets passed their rules by.",
        |m| count(m, |c| c.strays),
    ),
    counter(
        "rewire_offload_outdated",
        Unit::One,
        "Flows that were taken back because the tables say otherwise.",
        |m| count(m, |c| c.outdated),
    ),
    counter(
        "rewire_offload_packets",
        Unit::Packets,
        "Packets that the card has forwarded.",
        |m| count(m, |c| c.packets),
    ),
    counter(
        "rewire_offload_bytes",
        Unit::Bytes,
        "Bytes that the card has forwarded, from the IP header on.",
        |m| count(m, |c| c.bytes),
    ),
    Metric {
        name: "rewire_offload_install_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "How long a rule takes until it is handed to the card, and from there until it is in place.",
        labels: &["step"],
        read: |m| steps(m, |l| [&l.install_handed, &l.install_confirmed]),
    },
    Metric {
        name: "rewire_offload_remove_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "How long a removal takes until it is handed to the card, and from there until the rule is gone.",
        labels: &["step"],
        read: |m| steps(m, |l| [&l.remove_handed, &l.remove_confirmed]),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_counted_apart_and_bounds_are_in_seconds() {
        let histogram = Histogram::default();
        for microseconds in [1, 3, 3, 500, 5_000_000] {
            histogram.record(Duration::from_micros(microseconds));
        }
        let Value::Histogram(histogram) = durations(&histogram) else {
            panic!("a histogram");
        };
        let within = |bound: f64| {
            let buckets = histogram.buckets.iter();
            let below = buckets.filter(|bucket| bucket.bound <= bound);
            below.map(|bucket| bucket.count).sum::<u64>()
        };
        assert_eq!(within(0.000_001_024), 1);
        assert_eq!(within(0.000_004_096), 3);
        assert_eq!(within(0.000_524_288), 4);
        assert_eq!(within(1.073_741_824), 4);
        assert_eq!((histogram.count, histogram.sum), (5, 5.000_507));
    }
}
