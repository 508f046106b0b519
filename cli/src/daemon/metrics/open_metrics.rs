//! The OpenMetrics 1.0 text format.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Snapshot;
use super::definition::{Exemplar, Family, Histogram, Sample, Value};

/// What a body in this format is called.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Writes all metrics of a moment.
pub(crate) fn write(snapshot: &Snapshot) -> String {
    let mut text = String::with_capacity(64 << 10);
    for family in &snapshot.families {
        self::family(&mut text, family);
    }
    text.push_str("# EOF\n");
    text
}

fn family(text: &mut String, family: &Family) {
    let metric = family.metric;
    // Writing into a string does not fail.
    let _ = writeln!(text, "# TYPE {} {}", metric.name, metric.kind.name());
    if let Some(unit) = metric.unit.suffix().filter(|_| metric.has_unit_suffix()) {
        let _ = writeln!(text, "# UNIT {} {unit}", metric.name);
    }
    let _ = write!(text, "# HELP {} ", metric.name);
    escape(text, metric.help);
    text.push('\n');
    let name = metric.sample_name();
    for sample in &family.samples {
        match &sample.value {
            Value::Integer(value) => {
                series(text, &name, family, sample, None);
                let _ = writeln!(text, " {value}");
            }
            Value::Number(value) => {
                series(text, &name, family, sample, None);
                let _ = writeln!(text, " {}", number(*value));
            }
            Value::Histogram(histogram) => self::histogram(text, family, sample, histogram),
        }
    }
}

fn histogram(text: &mut String, family: &Family, sample: &Sample, histogram: &Histogram) {
    let name = family.metric.name;
    let bucket = format!("{name}_bucket");
    let mut below = 0;
    let last = (f64::INFINITY, histogram.count, &histogram.beyond);
    let buckets = histogram.buckets.iter().map(|bucket| {
        below += bucket.count;
        (bucket.bound, below, &bucket.exemplar)
    });
    for (bound, count, exemplar) in buckets.chain([last]) {
        series(text, &bucket, family, sample, Some(bound));
        let _ = write!(text, " {count}");
        if let Some(Exemplar { trace, value, time }) = exemplar {
            let (value, time) = (number(*value), seconds(*time));
            let _ = write!(text, " # {{trace_id=\"{trace}\"}} {value} {time:.3}");
        }
        text.push('\n');
    }
    series(text, &format!("{name}_count"), family, sample, None);
    let _ = writeln!(text, " {}", histogram.count);
    series(text, &format!("{name}_sum"), family, sample, None);
    let _ = writeln!(text, " {}", number(histogram.sum));
}

/// The name and the labels of a sample.
fn series(text: &mut String, name: &str, family: &Family, sample: &Sample, bound: Option<f64>) {
    text.push_str(name);
    let mut separator = '{';
    for (label, value) in family.labels(sample) {
        let _ = write!(text, "{separator}{label}=\"");
        escape(text, value);
        text.push('"');
        separator = ',';
    }
    if let Some(bound) = bound {
        let _ = write!(text, "{separator}le=\"{}\"", number(bound));
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            other => text.push(other),
        }
    }
}

/// A number as the format's canonical form has it: one that looks like a number with a fraction.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "+Inf".to_owned(),
        value if value.fract() == 0.0 => format!("{value:.1}"),
        value => value.to_string(),
    }
}

fn seconds(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::metrics::definition::{Bucket, Kind, Metric, Unit, sample};

    static COUNTED: Metric = Metric {
        name: "a_packets",
        kind: Kind::Counter,
        unit: Unit::Packets,
        help: "Some \"packets\".",
        labels: &["why"],
        read: |_| Vec::new(),
    };
    static MEASURED: Metric = Metric {
        name: "a_seconds",
        kind: Kind::Histogram,
        unit: Unit::Seconds,
        help: "Times.",
        labels: &["step"],
        read: |_| Vec::new(),
    };

    #[test]
    fn buckets_are_cumulative_and_exemplars_name_traces() {
        let exemplar = Exemplar {
            trace: "ab".repeat(16).parse().unwrap(),
            value: 0.25,
            time: UNIX_EPOCH + Duration::from_millis(1_500),
        };
        let bucket = |bound, count, exemplar| Bucket {
            bound,
            count,
            exemplar,
        };
        let measured = Value::Histogram(Histogram {
            buckets: vec![bucket(0.5, 2, Some(exemplar)), bucket(1.0, 1, None)],
            count: 4,
            sum: 9.0,
            beyond: None,
        });
        let measured = Sample {
            labels: vec!["live".to_owned()],
            value: measured,
        };
        let snapshot = Snapshot {
            time: UNIX_EPOCH,
            families: vec![
                Family {
                    metric: &COUNTED,
                    samples: vec![sample(["a\\b\n\"c\""], 7u64), sample([""], 0u64)],
                },
                Family {
                    metric: &MEASURED,
                    samples: vec![measured],
                },
            ],
        };
        insta::assert_snapshot!(write(&snapshot), @r##"
        # TYPE a_packets counter
        # UNIT a_packets packets
        # HELP a_packets Some \"packets\".
        a_packets_total{why="a\\b\n\"c\""} 7
        a_packets_total{why=""} 0
        # TYPE a_seconds histogram
        # UNIT a_seconds seconds
        # HELP a_seconds Times.
        a_seconds_bucket{step="live",le="0.5"} 2 # {trace_id="abababababababababababababababab"} 0.25 1.500
        a_seconds_bucket{step="live",le="1.0"} 3
        a_seconds_bucket{step="live",le="+Inf"} 4
        a_seconds_count{step="live"} 4
        a_seconds_sum{step="live"} 9.0
        # EOF
        "##);
    }
}
