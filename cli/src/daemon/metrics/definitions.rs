//! The list of all metrics, by what they are of.

mod commits;
mod connections;
mod exporters;
mod interfaces;
mod nat;
mod offload;
mod packets;
mod process;
mod routes;
mod tables;
mod workers;

use super::definition::{Kind, Metric, Sample, Unit};
use super::moment::Moment;

/// Every metric.
pub(super) const ALL: &[&[Metric]] = &[
    packets::METRICS,
    workers::METRICS,
    interfaces::METRICS,
    connections::METRICS,
    nat::METRICS,
    offload::METRICS,
    tables::METRICS,
    commits::METRICS,
    routes::METRICS,
    exporters::METRICS,
    process::METRICS,
];

/// A metric without labels that counts up.
const fn counter(
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: fn(&Moment<'_>) -> Vec<Sample>,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit,
        help,
        labels: &[],
        read,
    }
}

/// A metric without labels that goes up and down.
const fn gauge(
    name: &'static str,
    unit: Unit,
    help: &'static str,
    read: fn(&Moment<'_>) -> Vec<Sample>,
) -> Metric {
    Metric {
        kind: Kind::Gauge,
        ..counter(name, unit, help, read)
    }
}

impl Metric {
    /// The same with labels.
    const fn by(mut self, labels: &'static [&'static str]) -> Metric {
        self.labels = labels;
        self
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names = BTreeSet::new();
        for metric in ALL.iter().copied().flatten() {
            let name = metric.name;
            assert!(names.insert(name), "{name} twice");
            assert!(
                name.starts_with("rewire_") || name.starts_with("process_"),
                "{name}"
            );
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(is_plain), "{name}");
            // The suffixes that the format itself gives.
            for suffix in ["_total", "_count", "_sum", "_bucket", "_info"] {
                assert!(
                    !name.ends_with(suffix) || name == "rewire_build_info",
                    "{name}"
                );
            }
            let must = matches!(metric.unit, Unit::Seconds | Unit::Bytes | Unit::Cycles);
            assert!(
                metric.has_unit_suffix() || !must,
                "{name} in {:?}",
                metric.unit
            );
            assert!(
                metric.help.ends_with('.') && metric.help.len() > 10,
                "{name}"
            );
            let labels: BTreeSet<_> = metric.labels.iter().collect();
            assert_eq!(labels.len(), metric.labels.len(), "{name}");
            assert!(!labels.contains(&"le"), "{name}");
        }
    }
}
