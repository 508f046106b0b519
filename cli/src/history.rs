//! Revisions as people and machines read them.

use rewire_configdb::{Entry, EntryKind, LogEntry};
use serde_json::{Value, json};

use crate::columns::{Cell, columns};
use crate::terminal::{clean, paint};
use crate::view;
use crate::when;

/// A table of revisions, a line each. `back` is how many commits ago: what `rewire rollback` counts by.
pub(crate) fn table(entries: &[LogEntry], head: u64) -> String {
    let header = [
        "revision", "back", "time", "author", "rows", "digest", "message",
    ];
    let mut rows = vec![header.map(Cell::word).into_iter().collect()];
    rows.extend(entries.iter().map(|entry| cells(entry, head)));
    columns(&rows)
        .into_iter()
        .map(|line| format!("{line}\n"))
        .collect()
}

fn cells(entry: &LogEntry, head: u64) -> Vec<Cell> {
    let words = [
        entry.revision.to_string(),
        head.saturating_sub(entry.revision).to_string(),
        when::local(entry.committed_at),
        entry.author.clone(),
        view::short(entry.counts),
        entry.state_digest.short(),
        message(entry),
    ];
    words.iter().map(|word| Cell::word(word)).collect()
}

/// The message's first line, and what the entry is where that does not say it.
pub(crate) fn message(entry: &LogEntry) -> String {
    let message = first_line(&entry.message);
    match way(entry.kind) {
        Some(way) if message.is_empty() => format!("({way})"),
        Some(way) if message != way => format!("{message} ({way})"),
        _ => message,
    }
}

/// What is said of a revision that is no plain commit.
fn way(kind: EntryKind) -> Option<String> {
    match kind {
        EntryKind::Commit => None,
        EntryKind::Rewind { to } => Some(format!("rewind to revision {to}")),
        EntryKind::Revert { of } => Some(format!("revert revision {of}")),
    }
}

/// The first line of a message.
pub(crate) fn first_line(message: &str) -> String {
    match message.trim_end().split_once('\n') {
        Some((first, _)) => format!("{} …", clean(first)),
        None => clean(message.trim_end()),
    }
}

/// A revision for machines.
pub(crate) fn to_json(entry: &LogEntry) -> Value {
    json!({
        "revision": entry.revision,
        "time": when::utc(entry.committed_at),
        "author": entry.author,
        "message": entry.message,
        "kind": kind(entry.kind),
        "to": to(entry.kind),
        "of": of(entry.kind),
        "rows": view::counts_json(entry.counts),
        "digest": entry.state_digest.to_string(),
        "hash": entry.hash.to_string(),
    })
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Commit => "commit",
        EntryKind::Rewind { .. } => "rewind",
        EntryKind::Revert { .. } => "revert",
    }
}

fn to(kind: EntryKind) -> Option<u64> {
    match kind {
        EntryKind::Rewind { to } => Some(to),
        _ => None,
    }
}

fn of(kind: EntryKind) -> Option<u64> {
    match kind {
        EntryKind::Revert { of } => Some(of),
        _ => None,
    }
}

/// The head of one revision: who, when, what for.
pub(crate) fn heading(entry: &Entry, tags: &[String], colour: bool) -> String {
    let title = match tags {
        [] => format!("revision {}", entry.revision),
        tags => format!("revision {}  (tags: {})", entry.revision, tags.join(", ")),
    };
    let mut out = format!("{}\n", paint(&clean(&title), "1", colour));
    let mut line = |what: &str, text: &str| out.push_str(&format!("{what:<7} {}\n", clean(text)));
    line("author", &entry.author);
    line("time", &when::local(entry.committed_at));
    if let Some(way) = way(entry.kind) {
        line("kind", &way);
    }
    line("digest", &entry.state_digest.to_string());
    line("hash", &entry.hash.to_string());
    out.push('\n');
    for text in entry.message.trim_end().lines() {
        out.push_str(&format!("    {}\n", clean(text)));
    }
    if !entry.message.trim_end().is_empty() {
        out.push('\n');
    }
    out
}

/// One revision for machines, without its changes.
pub(crate) fn entry_to_json(entry: &Entry, tags: &[String]) -> Value {
    json!({
        "revision": entry.revision,
        "time": when::utc(entry.committed_at),
        "author": entry.author,
        "message": entry.message,
        "kind": kind(entry.kind),
        "to": to(entry.kind),
        "of": of(entry.kind),
        "tags": tags,
        "digest": entry.state_digest.to_string(),
        "hash": entry.hash.to_string(),
    })
}
