//! The journal in short, a page at a time.

use std::ops::ControlFlow;

use rewire_journal::{EntryKind, Hash, StateDigest, WantedRows};
use rewire_schema::RowKey;
use rusqlite::{Connection, Row};

use crate::blame::changes_of;
use crate::error::{During, Error};
use crate::journal::{self, Counts};
use crate::store::Store;

/// Which entries to list.
#[derive(Clone, Copy, Debug)]
pub struct LogQuery<'a> {
    /// Only those before this revision; none begins with the last one.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// Only those that changed one of these rows.
    pub touching: Option<&'a [RowKey]>,
}

impl LogQuery<'_> {
    /// The last entries.
    pub fn last(limit: usize) -> Self {
        LogQuery {
            before: None,
            limit,
            touching: None,
        }
    }
}

/// A journal entry without its changeset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// The revision.
    pub revision: u64,
    /// How it came to be.
    pub kind: EntryKind,
    /// Who committed it.
    pub author: String,
    /// What they said about it.
    pub message: String,
    /// When, in microseconds since the Unix epoch.
    pub committed_at: i64,
    /// The digest of the state after it.
    pub state_digest: StateDigest,
    /// The entry's hash.
    pub hash: Hash,
    /// How many rows it changed.
    pub counts: Counts,
}

const READING: &str = "reading the log";
const COLUMNS: &str = "revision, rewind_to, revert_of, author, message, committed_at, state_digest, hash, inserted, updated, \
    deleted";

impl Store {
    /// Journal entries, the newest first. Cost: those entries without their changesets; with
    /// [`touching`](LogQuery::touching), a look at a short filter of each entry on the way, and the changesets that touch
    /// one of the rows.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`]; [`Error::Journal`] where a changeset cannot be read.
    pub fn log(&self, query: LogQuery<'_>) -> Result<Vec<LogEntry>, Error> {
        let snapshot = self.snapshot()?;
        let from = match query.before {
            Some(before) => before.saturating_sub(1),
            None => u64::MAX,
        };
        match query.touching {
            None => page(&snapshot, from, query.limit),
            Some(keys) => touching(&snapshot, from, query.limit, keys),
        }
    }
}

fn page(connection: &Connection, from: u64, limit: usize) -> Result<Vec<LogEntry>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM journal WHERE revision <= ?1 ORDER BY revision DESC LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql).during(READING)?;
    let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let entries = statement.query_map([bound(from), bound(limit as u64)], read);
    entries
        .and_then(|entries| entries.collect())
        .during(READING)
}

fn read(row: &Row<'_>) -> rusqlite::Result<LogEntry> {
    Ok(LogEntry {
        revision: row.get(0)?,
        kind: journal::kind(row, 1, 2)?,
        author: row.get(3)?,
        message: row.get(4)?,
        committed_at: row.get(5)?,
        state_digest: StateDigest::from_bytes(row.get(6)?),
        hash: Hash::from_bytes(row.get(7)?),
        counts: journal::counts(row, 8)?,
    })
}

fn touching(
    connection: &Connection,
    from: u64,
    limit: usize,
    keys: &[RowKey],
) -> Result<Vec<LogEntry>, Error> {
    let wanted: WantedRows = keys.iter().cloned().collect();
    let mut revisions = Vec::new();
    if limit > 0 && !wanted.is_empty() {
        journal::for_each_filter_backwards(connection, from, |revision, touched| {
            if !changes_of(connection, revision, touched, &wanted)?.is_empty() {
                revisions.push(revision);
            }
            Ok(match revisions.len() == limit {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        })?;
    }
    let mut entries = Vec::with_capacity(revisions.len());
    for revision in revisions {
        entries.extend(page(connection, revision, 1)?);
    }
    Ok(entries)
}
