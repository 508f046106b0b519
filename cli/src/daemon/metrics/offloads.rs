//! What became of offloads, and how long their rules took.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rewire_dataplane::offload::{Histogram, Latencies, OffloadCounts};

use super::metric;

/// The bounds of buckets are powers of two, in ns: from 2^8, a quarter of a microsecond, to 2^30, a second.
const BOUNDS: std::ops::RangeInclusive<u32> = 8..=30;

/// A histogram of the data path, as it is when it is encoded.
struct Durations<'a>(&'a Histogram);

impl EncodeMetric for Durations<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counted = self.0.counted();
        let mut below = 0;
        let mut buckets = Vec::with_capacity(BOUNDS.count() + 1);
        for power in BOUNDS {
            let bound = Duration::from_nanos(1 << power);
            let within = counted.within(bound);
            buckets.push((bound.as_secs_f64(), within - below));
            below = within;
        }
        let count = counted.count();
        buckets.push((f64::INFINITY, count - below));
        let sum = counted.sum().as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// What happens to rules, with its two steps: until the card has it in its hands, and from there until it is done.
fn latencies(e: &mut DescriptorEncoder<'_>, latencies: &Latencies) -> fmt::Result {
    let histograms = [
        (
            "rewire_offload_install",
            "How long a rule takes until it is handed to the card, and from there until it is in place",
            &latencies.install_handed,
            &latencies.install_confirmed,
        ),
        (
            "rewire_offload_remove",
            "How long a removal takes until it is handed to the card, and from there until the rule is gone",
            &latencies.remove_handed,
            &latencies.remove_confirmed,
        ),
    ];
    for (name, help, handed, confirmed) in histograms {
        let unit = Some(&Unit::Seconds);
        let mut family = e.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (step, histogram) in [("handed", handed), ("confirmed", confirmed)] {
            Durations(histogram).encode(family.encode_family(&[("step", step)])?)?;
        }
    }
    Ok(())
}

/// Adds all metrics of offloads.
pub(super) fn encode(
    e: &mut DescriptorEncoder<'_>,
    counts: &OffloadCounts,
    latencies: &Latencies,
) -> fmt::Result {
    let gauges = [
        (
            "rewire_offload_flows",
            "Flows in the card, or about to be",
            counts.flows,
        ),
        ("rewire_offload_rules", "Rules in the card", counts.rules),
    ];
    for (name, help, value) in gauges {
        metric(e, name, help, ConstGauge::new, [(&[][..], value)])?;
    }
    let counters = [
        (
            "rewire_offload_installs",
            "Rules that the card was asked for",
            counts.installs,
        ),
        (
            "rewire_offload_installed",
            "Rules that the card has installed",
            counts.installed,
        ),
        (
            "rewire_offload_card_full",
            "Rules that the card had no room for",
            counts.card_full,
        ),
        (
            "rewire_offload_refused",
            "Rules that the card refused otherwise",
            counts.refused,
        ),
        (
            "rewire_offload_removals",
            "Rules that the card was asked to remove",
            counts.removals,
        ),
        (
            "rewire_offload_removed",
            "Rules that the card has removed",
            counts.removed,
        ),
        (
            "rewire_offload_ring_full",
            "Offers that the engine had no room for",
            counts.ring_full,
        ),
        (
            "rewire_offload_places_full",
            "Offers for which all places were taken",
            counts.places_full,
        ),
        (
            "rewire_offload_strays",
            "Flows whose packets passed their rules by",
            counts.strays,
        ),
        (
            "rewire_offload_outdated",
            "Flows that were taken back because the tables say otherwise",
            counts.outdated,
        ),
        (
            "rewire_offload_packets",
            "Packets that the card has forwarded",
            counts.packets,
        ),
        (
            "rewire_offload_bytes",
            "Their bytes, from the IP header on",
            counts.bytes,
        ),
    ];
    for (name, help, value) in counters {
        metric(e, name, help, ConstCounter::new, [(&[][..], value)])?;
    }
    self::latencies(e, latencies)
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::text;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Recorded(Latencies);

    impl Collector for Recorded {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            latencies(&mut encoder, &self.0)
        }
    }

    #[test]
    fn buckets_are_cumulative_and_in_seconds() {
        let recorded = Recorded(Latencies::default());
        for microseconds in [1, 3, 3, 500, 5_000_000] {
            let duration = Duration::from_micros(microseconds);
            recorded.0.install_handed.record(duration);
        }
        let mut registry = Registry::default();
        registry.register_collector(Box::new(recorded));
        let mut out = String::new();
        text::encode(&mut out, &registry).unwrap();
        let value = |series: &str| {
            let line = out.lines().find(|line| line.starts_with(series));
            let value = line.and_then(|line| line.strip_prefix(series));
            value
                .unwrap_or_else(|| panic!("no {series} in {out}"))
                .trim()
                .to_owned()
        };
        let bucket = |bound: &str| {
            let name = "rewire_offload_install_seconds_bucket";
            value(&format!("{name}{{le=\"{bound}\",step=\"handed\"}}"))
        };
        assert_eq!(bucket("0.000001024"), "1");
        assert_eq!(bucket("0.000004096"), "3");
        assert_eq!(bucket("0.000524288"), "4");
        assert_eq!(bucket("1.073741824"), "4");
        assert_eq!(bucket("+Inf"), "5");
        assert_eq!(
            value("rewire_offload_install_seconds_count{step=\"handed\"}"),
            "5"
        );
        assert_eq!(
            value("rewire_offload_install_seconds_sum{step=\"handed\"}"),
            "5.000507"
        );
        assert_eq!(
            value("rewire_offload_remove_seconds_count{step=\"confirmed\"}"),
            "0"
        );
    }
}
