use jiff::Timestamp;
use jiff::tz::TimeZone;
use rewire_configdb::{Entry, EntryKind, Store};

use crate::Context;
use crate::failure::{Exit, Failure};
use crate::terminal::{clean, note, print};
use crate::view::counts;

/// List the revisions, the newest first
///
/// Times are local. The digest is that of the state: equal digests are equal configurations.
#[derive(clap::Args)]
pub(crate) struct Log {
    /// How many
    #[arg(short, long, value_name = "COUNT", default_value_t = 20)]
    number: usize,
}

impl Log {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let store = Store::open(&context.store)?;
        let entries = store.log(self.number)?;
        if entries.is_empty() && self.number > 0 {
            note("nothing is committed yet");
            return Ok(());
        }
        let header = ["revision", "time", "author", "rows", "digest", "message"];
        let mut lines = vec![header.map(str::to_owned)];
        for entry in &entries {
            lines.push(line(entry)?);
        }
        print(&table(&lines))
    }
}

fn line(entry: &Entry) -> Result<[String; 6], Failure> {
    let changeset = entry.decode_changeset().map_err(|error| {
        let message = format!("revision {} cannot be read: {error}", entry.revision);
        Failure::new(Exit::Store, message)
    })?;
    let mut message = first_line(&entry.message);
    if let EntryKind::Rewind { to } = entry.kind {
        let rewound = format!("rewind to revision {to}");
        if message != rewound {
            message = format!("{message} ({rewound})");
        }
    }
    Ok([
        entry.revision.to_string(),
        local_time(entry.committed_at),
        clean(&entry.author),
        counts(&changeset),
        entry.state_digest.short(),
        message,
    ])
}

fn first_line(message: &str) -> String {
    match message.trim_end().split_once('\n') {
        Some((first, _)) => format!("{} …", clean(first)),
        None => clean(message.trim_end()),
    }
}

/// RFC 3339 to the second, in the local time zone.
fn local_time(microseconds: i64) -> String {
    match Timestamp::from_microsecond(microseconds) {
        Ok(time) => {
            let local = time.to_zoned(TimeZone::system());
            local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
        Err(_) => format!("{microseconds} µs"),
    }
}

/// Columns as wide as they need to be, two spaces apart.
fn table(lines: &[[String; 6]]) -> String {
    let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}
