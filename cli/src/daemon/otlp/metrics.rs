//! `opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::protobuf::Message;
use super::{Resource, scope, text_attribute};
use crate::daemon::metrics::{Exemplar, Family, Histogram, Kind, Sample, Snapshot, Value};

/// What is counted counts from the start: `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

/// All metrics of a moment, counted since `start`.
pub(crate) fn encode(resource: &Resource, snapshot: &Snapshot, start: SystemTime) -> Vec<u8> {
    let times = (nanoseconds(start), nanoseconds(snapshot.time));
    Message::encode(|request| {
        request.message(1, |of_resource| {
            of_resource.message(1, |message| resource.write(message));
            of_resource.message(2, |of_scope| {
                of_scope.message(1, scope);
                for family in &snapshot.families {
                    of_scope.message(2, |metric| self::metric(metric, family, times));
                }
            });
        });
    })
}

/// Nanoseconds since the Unix epoch.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn metric(message: &mut Message, family: &Family, times: (u64, u64)) {
    let metric = family.metric;
    message.text(1, metric.name);
    message.text(2, metric.help);
    message.text(3, metric.unit.ucum());
    let points = |data: &mut Message| {
        for sample in &family.samples {
            data.message(1, |point| self::point(point, family, sample, times));
        }
    };
    match metric.kind {
        Kind::Gauge => message.message(5, points),
        Kind::Counter => message.message(7, |sum| {
            points(sum);
            sum.number(2, CUMULATIVE);
            // It never goes down.
            sum.number(3, 1);
        }),
        Kind::Histogram => message.message(9, |histogram| {
            points(histogram);
            histogram.number(2, CUMULATIVE);
        }),
    }
}

/// A `NumberDataPoint` or a `HistogramDataPoint`: what both have has the same numbers but for the labels.
fn point(message: &mut Message, family: &Family, sample: &Sample, (start, now): (u64, u64)) {
    if family.metric.kind != Kind::Gauge {
        message.fixed(2, start);
    }
    message.fixed(3, now);
    let labels = match sample.value {
        Value::Histogram(_) => 9,
        _ => 7,
    };
    for (name, value) in family.labels(sample) {
        message.message(labels, |label| text_attribute(label, name, value));
    }
    match &sample.value {
        // As two's complement it is the same, and nothing counts further than 2^63.
        Value::Integer(value) => message.fixed(6, *value),
        Value::Number(value) => message.double(4, *value),
        Value::Histogram(histogram) => self::histogram(message, histogram),
    }
}

fn histogram(message: &mut Message, histogram: &Histogram) {
    let Histogram {
        buckets,
        count,
        sum,
        beyond,
    } = histogram;
    let within: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let mut counts: Vec<u64> = buckets.iter().map(|bucket| bucket.count).collect();
    counts.push(count.saturating_sub(within));
    message.fixed(4, *count);
    message.double(5, *sum);
    message.packed(6, counts.into_iter());
    message.packed(7, buckets.iter().map(|bucket| bucket.bound.to_bits()));
    let exemplars = buckets.iter().map(|bucket| &bucket.exemplar);
    for exemplar in exemplars.chain([beyond]).flatten() {
        let Exemplar { trace, value, time } = exemplar;
        message.message(8, |message| {
            message.fixed(2, nanoseconds(*time));
            message.double(3, *value);
            message.bytes(5, &trace.to_bytes());
        });
    }
}
