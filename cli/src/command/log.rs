use rewire_configdb::{EntryKind, LogEntry, LogQuery};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::clean;
use crate::view::Counts;
use crate::when;

/// List the revisions, the newest first
///
/// Times are local. The digest is that of the state: equal digests are equal configurations.
#[derive(clap::Args)]
pub(crate) struct Log {
    /// How many
    #[arg(short, long, value_name = "COUNT", default_value_t = 20)]
    number: usize,
}

/// An entry, and how many rows it changed.
struct Listed(LogEntry, Counts);

impl Log {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        let entries: Vec<Listed> = store.log(LogQuery::last(self.number))?.into_iter().map(listed).collect();
        if entries.is_empty() && self.number > 0 {
            context.note("nothing is committed yet");
        }
        Ok(context.shown(
            |_| if entries.is_empty() && self.number > 0 { String::new() } else { table(&entries) },
            || json!({ "revisions": entries.iter().map(Listed::to_json).collect::<Value>() }),
        ))
    }
}

fn listed(entry: LogEntry) -> Listed {
    let counts = Counts::from(entry.counts);
    Listed(entry, counts)
}

impl Listed {
    fn cells(&self) -> Vec<Cell> {
        let Listed(entry, counts) = self;
        let words = [
            entry.revision.to_string(),
            when::local(entry.committed_at),
            entry.author.clone(),
            counts.cell(),
            entry.state_digest.short(),
            message(entry),
        ];
        words.iter().map(|word| Cell::word(word)).collect()
    }

    fn to_json(&self) -> Value {
        let Listed(entry, counts) = self;
        let (kind, to) = match entry.kind {
            EntryKind::Commit => ("commit", None),
            EntryKind::Rewind { to } => ("rewind", Some(to)),
            EntryKind::Revert { of } => ("revert", Some(of)),
        };
        json!({
            "revision": entry.revision,
            "time": when::utc(entry.committed_at),
            "author": entry.author,
            "message": entry.message,
            "kind": kind,
            "to": to,
            "rows": counts.to_json(),
            "digest": entry.state_digest.to_string(),
            "hash": entry.hash.to_string(),
        })
    }
}

/// The message's first line, and what the entry is where that does not say it.
fn message(entry: &LogEntry) -> String {
    let message = first_line(&entry.message);
    match entry.kind {
        EntryKind::Commit => message,
        EntryKind::Rewind { to } => {
            let rewound = format!("rewind to revision {to}");
            match message == rewound {
                true => message,
                false => format!("{message} ({rewound})"),
            }
        }
        EntryKind::Revert { of } => format!("{message} (undoes revision {of})"),
    }
}

fn first_line(message: &str) -> String {
    match message.trim_end().split_once('\n') {
        Some((first, _)) => format!("{} …", clean(first)),
        None => clean(message.trim_end()),
    }
}

fn table(entries: &[Listed]) -> String {
    let header = ["revision", "time", "author", "rows", "digest", "message"];
    let mut rows = vec![header.map(Cell::word).into_iter().collect()];
    rows.extend(entries.iter().map(Listed::cells));
    columns(&rows).into_iter().map(|line| format!("{line}\n")).collect()
}
