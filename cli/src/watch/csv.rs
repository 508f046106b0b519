//! Lines as comma-separated values (RFC 4180): a header, and then the same columns in every line. Columns may be added at the end; they
//! are never renamed, moved or removed.

use super::What;
use super::lines::{Line, Said};
use crate::terminal::clean;

const RATES: &[&str] = &[
    "time",
    "interface",
    "seconds",
    "received_packets",
    "received_bytes",
    "transmitted_packets",
    "transmitted_bytes",
    "dropped_packets",
    "connections",
    "connections_created",
];
const DROPS: &[&str] = &["time", "reason", "packets", "rate"];
const EVENTS: &[&str] = &[
    "time",
    "event",
    "revision",
    "generation",
    "author",
    "message",
    "interface",
    "port",
    "problem",
    "changes",
];

/// The names of the columns, with the line's end.
pub(super) fn header(what: What) -> String {
    record(columns(what).iter().map(|name| (*name).to_owned()))
}

fn columns(what: What) -> &'static [&'static str] {
    match what {
        What::Rates => RATES,
        What::Drops => DROPS,
        What::Events => EVENTS,
    }
}

/// A line with its end: what it has nothing to say about is empty.
pub(super) fn line(line: &Line) -> String {
    let time = format!("{:.6}", line.time);
    match &line.what {
        Said::Rates {
            interface,
            seconds,
            traffic,
            connections,
            connections_created,
        } => {
            let rates = [
                traffic.received_packets,
                traffic.received_bytes,
                traffic.transmitted_packets,
                traffic.transmitted_bytes,
                traffic.dropped_packets,
            ];
            let name = interface.clone().unwrap_or_default();
            let first = [time, name, seconds.to_string()];
            let rates = rates.map(|rate| rate.to_string());
            let last = [connections.to_string(), connections_created.to_string()];
            record(first.into_iter().chain(rates).chain(last))
        }
        Said::Drop {
            reason,
            packets,
            rate,
        } => record([time, reason.clone(), packets.to_string(), rate.to_string()]),
        Said::Event(event) => {
            // The names of an event are those of its JSON object.
            let said = event.to_json();
            let text = |name: &&str| match (*name, &said[*name]) {
                ("time", _) => time.clone(),
                // Both say what is wrong.
                ("problem", serde_json::Value::Null) => text(&said["why"]),
                (_, value) => text(value),
            };
            record(EVENTS.iter().map(text))
        }
    }
}

/// A value without JSON's quotes.
fn text(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fields, quoted where they must be. What would move a terminal is taken out.
fn record(fields: impl IntoIterator<Item = String>) -> String {
    let quoted = fields.into_iter().map(|field| {
        let field = clean(&field);
        match field.contains(['"', ',', '\r', '\n']) {
            true => format!("\"{}\"", field.replace('"', "\"\"")),
            false => field,
        }
    });
    format!("{}\r\n", quoted.collect::<Vec<_>>().join(","))
}
