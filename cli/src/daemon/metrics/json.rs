//! Metrics for machines: `rewire show metrics --json`, and whoever asks on the socket.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value as Json, json};

use super::Snapshot;
use super::definition::{Bucket, Exemplar, Histogram, Value};

/// The version of what [`to_json`] writes. Fields may be added to a version; they are never renamed or removed.
pub(crate) const VERSION: u32 = 1;

/// All metrics of a moment: `{"version", "time", "metrics": [{"name", "kind", "unit", "samples": [{"labels", "value"}]}]}`.
/// Names are those of samples in a scrape; a histogram has `count`, `sum` and `buckets` in place of `value`, and each
/// bucket counts what is not above its bound, as in a scrape.
pub(crate) fn to_json(snapshot: &Snapshot) -> Json {
    let metrics = snapshot.families.iter().map(|family| {
        let samples = family.samples.iter().map(|sample| {
            let labels: Map<_, _> = family
                .labels(sample)
                .map(|(name, value)| (name.to_owned(), json!(value)))
                .collect();
            match &sample.value {
                Value::Integer(value) => json!({ "labels": labels, "value": value }),
                Value::Number(value) => json!({ "labels": labels, "value": value }),
                Value::Histogram(histogram) => json!({
                    "labels": labels,
                    "count": histogram.count,
                    "sum": histogram.sum,
                    "buckets": buckets(histogram),
                }),
            }
        });
        json!({
            "name": family.metric.sample_name(),
            "kind": family.metric.kind.name(),
            "unit": family.metric.unit.suffix(),
            "samples": samples.collect::<Vec<_>>(),
        })
    });
    let time = snapshot.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "version": VERSION,
        "time": time.as_secs_f64(),
        "metrics": metrics.collect::<Vec<_>>(),
    })
}

fn buckets(histogram: &Histogram) -> Vec<Json> {
    let mut below = 0;
    let buckets = histogram.buckets.iter().map(|bucket| {
        let Bucket {
            bound,
            count,
            exemplar,
        } = bucket;
        below += count;
        let mut bucket = json!({ "le": bound, "count": below });
        if let (Some(Exemplar { trace, value, .. }), Some(bucket)) =
            (exemplar, bucket.as_object_mut())
        {
            let exemplar = json!({ "trace_id": trace.to_string(), "value": value });
            bucket.insert("exemplar".to_owned(), exemplar);
        }
        bucket
    });
    buckets.collect()
}
