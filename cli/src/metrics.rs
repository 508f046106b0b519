//! `rewire show metrics`: what a scrape says, for people and for machines.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::daemon::metrics::VERSION;
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};
use crate::terminal::clean;

/// What the gateway answers, as far as it is shown.
#[derive(Deserialize)]
struct Metrics {
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    labels: Map<String, Value>,
    #[serde(default)]
    value: Option<serde_json::Number>,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    sum: f64,
}

/// The gateway is asked for all of them.
#[derive(Serialize)]
struct Query {}

/// Asks the gateway for its metrics: those whose name holds a word, or all.
pub(crate) fn show(context: &Context, words: &[String]) -> Result<Answer, Failure> {
    let word = match words {
        [] => "",
        [word] => word,
        _ => {
            let message = "a part of a name, or none: show metrics [NAME]";
            return Err(Failure::new(Code::WrongArguments, message));
        }
    };
    let answer = gateway::ask::<Value>(&context.socket(), "metrics", &Query {}, VERSION);
    let answer = answer.map_err(|why| Failure::new(Code::Failed, why))?;
    let mut answer = answer.ok_or_else(|| no_gateway(&context.socket()))?;
    if let Some(metrics) = answer.get_mut("metrics").and_then(Value::as_array_mut) {
        metrics.retain(|metric| {
            metric["name"]
                .as_str()
                .is_some_and(|name| name.contains(word))
        });
        if metrics.is_empty() {
            let message = format!(
                "no metric that has a value now has \"{}\" in its name",
                clean(word)
            );
            return Err(Failure::new(Code::NoSuchName, message));
        }
    }
    let unreadable = |error: serde_json::Error| Failure::new(Code::Failed, error.to_string());
    let shown: Metrics = serde_json::from_value(answer.clone()).map_err(unreadable)?;
    Ok(context.shown(|_| text(&shown), || answer))
}

/// A line for each sample; of what was measured, how often and how long on the average.
fn text(metrics: &Metrics) -> String {
    let mut rows = Vec::new();
    for metric in &metrics.metrics {
        for sample in &metric.samples {
            let labels: Vec<_> = sample
                .labels
                .iter()
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            let value = match &sample.value {
                Some(value) => value.to_string(),
                None if sample.count == 0 => "0 times".to_owned(),
                None => {
                    let mean = sample.sum / sample.count as f64;
                    format!("{} times, {mean:.9} s each", sample.count)
                }
            };
            rows.push(vec![
                Cell::word(&metric.name),
                Cell::word(&clean(&labels.join(" "))),
                Cell::number(value),
            ]);
        }
    }
    let mut text = columns(&rows).join("\n");
    text.push('\n');
    text
}
