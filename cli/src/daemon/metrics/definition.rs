//! What a metric is, and what it has to say at a moment.

use std::time::SystemTime;

use super::moment::Moment;
use crate::trace_id::TraceId;

/// How a metric's values go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Counts up from the gateway's start.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many of what was measured lie below each of some bounds.
    Histogram,
}

impl Kind {
    /// The name in OpenMetrics and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a metric's values are numbers of. Base units alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Things, or states.
    One,
    Packets,
    Bytes,
    Seconds,
    /// Of the processor's time stamp counter.
    Cycles,
}

impl Unit {
    /// The name that a metric's name ends with, where OpenMetrics shall know of it.
    pub(crate) fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::One => None,
            Unit::Packets => Some("packets"),
            Unit::Bytes => Some("bytes"),
            Unit::Seconds => Some("seconds"),
            Unit::Cycles => Some("cycles"),
        }
    }

    /// The code in the Unified Code for Units of Measure, which OTLP speaks.
    pub(crate) fn ucum(self) -> &'static str {
        match self {
            Unit::One => "1",
            Unit::Packets => "{packet}",
            Unit::Bytes => "By",
            Unit::Seconds => "s",
            Unit::Cycles => "{cycle}",
        }
    }
}

/// The definition of a metric.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The name of the family: without the `_total` of a counter's samples.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Unit,
    /// One sentence, with its full stop.
    pub(crate) help: &'static str,
    /// The names of its labels. Every sample has all of them.
    pub(crate) labels: &'static [&'static str],
    /// How it is read. No samples where it has nothing to say.
    pub(crate) read: fn(&Moment<'_>) -> Vec<Sample>,
}

impl Metric {
    /// The name of its samples, where it is no histogram.
    pub(crate) fn sample_name(&self) -> String {
        match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            Kind::Gauge | Kind::Histogram => self.name.to_owned(),
        }
    }

    /// Whether its name ends with its unit, as it must where OpenMetrics is told of the unit.
    pub(crate) fn has_unit_suffix(&self) -> bool {
        let suffix = self.unit.suffix();
        suffix.is_some_and(|suffix| self.name.ends_with(&format!("_{suffix}")))
    }

    /// What it has to say.
    pub(crate) fn family(&'static self, moment: &Moment<'_>) -> Family {
        Family {
            metric: self,
            samples: (self.read)(moment),
        }
    }
}

/// A metric with its values.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    pub(crate) metric: &'static Metric,
    pub(crate) samples: Vec<Sample>,
}

impl Family {
    /// The labels of one of its samples, names and values.
    pub(crate) fn labels<'a>(
        &self,
        sample: &'a Sample,
    ) -> impl Iterator<Item = (&'static str, &'a str)> + use<'a> {
        let names = self.metric.labels.iter().copied();
        names.zip(sample.labels.iter().map(String::as_str))
    }
}

/// One value, with the values of its metric's labels in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<String>,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(u64),
    Number(f64),
    Histogram(Histogram),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Integer(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::Integer(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Integer(value.into())
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Number(value)
    }
}

/// What was measured, by size.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Histogram {
    /// Each with its upper bound, which is its own, in rising order. What is above the last bound is in `count` alone.
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// One that is above the last bound.
    pub(crate) beyond: Option<Exemplar>,
}

/// What lies above the bound before, and not above its own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) bound: f64,
    pub(crate) count: u64,
    pub(crate) exemplar: Option<Exemplar>,
}

/// One of what a bucket counts, and the trace that tells more of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Exemplar {
    pub(crate) trace: TraceId,
    pub(crate) value: f64,
    pub(crate) time: SystemTime,
}

/// A sample without labels.
pub(crate) fn one(value: impl Into<Value>) -> Vec<Sample> {
    vec![Sample {
        labels: Vec::new(),
        value: value.into(),
    }]
}

/// A sample with its labels' values.
pub(crate) fn sample<const N: usize>(labels: [&str; N], value: impl Into<Value>) -> Sample {
    Sample {
        labels: labels.map(str::to_owned).into(),
        value: value.into(),
    }
}
