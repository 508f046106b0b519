//! The journal in short, a page at a time.

use std::ops::ControlFlow;

use rewire_journal::{EntryKind, Hash, StateDigest, WantedBelow, WantedRows};
use rewire_schema::{RowKey, Table, Value};
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
    /// Only those that changed one of these rows; none is all.
    pub touching: Option<Touching<'a>>,
}

/// Rows whose revisions are listed.
#[derive(Clone, Copy, Debug)]
pub enum Touching<'a> {
    /// These rows.
    Rows(&'a [RowKey]),
    /// The rows of some tables whose keys begin alike: an object with its parts, or all objects of a kind.
    Below {
        /// The tables.
        tables: &'a [Table],
        /// What the keys begin with; nothing is all rows of the tables.
        key_prefix: &'a [Value],
    },
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
    /// Journal entries, the newest first. Cost: those entries without their changesets; with [`Touching::Rows`], a look at a
    /// short filter of each entry on the way, and the changesets that touch one of the rows; with [`Touching::Below`], a
    /// pass over the bytes of each changeset on the way, up to its first change of such a row.
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
            Some(Touching::Rows(keys)) => {
                of_rows(&snapshot, from, query.limit, keys.iter().cloned().collect())
            }
            Some(Touching::Below { tables, key_prefix }) => {
                let wanted = WantedBelow::new(tables, key_prefix);
                of_objects(&snapshot, from, query.limit, &wanted)
            }
        }
    }

    /// For each of some groups of rows, the newest entry up to `revision` that changed one of them. Cost: a look at a short filter of
    /// each entry, backwards until all are found, and one pass over each changeset on the way that touches a row still looked for.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`]; [`Error::Journal`] where a changeset cannot be read.
    pub fn last_changes(
        &self,
        revision: u64,
        groups: &[Vec<RowKey>],
    ) -> Result<Vec<Option<LogEntry>>, Error> {
        let snapshot = self.snapshot()?;
        let mut last: Vec<Option<u64>> = vec![None; groups.len()];
        let mut open = still_open(groups, &last);
        journal::for_each_filter_backwards(&snapshot, revision, |revision, touched| {
            if open.is_empty() {
                return Ok(ControlFlow::Break(()));
            }
            let changes = changes_of(&snapshot, revision, touched, &open)?;
            if !changes.is_empty() {
                for (keys, last) in groups.iter().zip(&mut last) {
                    let is_touched = || keys.iter().any(|key| changes.get(key).is_some());
                    if last.is_none() && is_touched() {
                        *last = Some(revision);
                    }
                }
                open = still_open(groups, &last);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let entry = |revision: Option<u64>| match revision {
            Some(revision) => Ok(page(&snapshot, revision, 1)?.into_iter().next()),
            None => Ok(None),
        };
        last.into_iter().map(entry).collect()
    }
}

/// The rows of the groups of which no change is found yet.
fn still_open(groups: &[Vec<RowKey>], last: &[Option<u64>]) -> WantedRows {
    let open = groups.iter().zip(last).filter(|(_, last)| last.is_none());
    open.flat_map(|(keys, _)| keys.iter().cloned()).collect()
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

fn of_rows(
    connection: &Connection,
    from: u64,
    limit: usize,
    wanted: WantedRows,
) -> Result<Vec<LogEntry>, Error> {
    let mut found = Found::new(limit);
    if limit > 0 && !wanted.is_empty() {
        journal::for_each_filter_backwards(connection, from, |revision, touched| {
            let is_touched = !changes_of(connection, revision, touched, &wanted)?.is_empty();
            Ok(found.note(revision, is_touched))
        })?;
    }
    found.entries(connection)
}

fn of_objects(
    connection: &Connection,
    from: u64,
    limit: usize,
    wanted: &WantedBelow,
) -> Result<Vec<LogEntry>, Error> {
    let mut found = Found::new(limit);
    if limit > 0 {
        journal::for_each_changeset_backwards(connection, from, |revision, bytes| {
            let is_touched = wanted.is_touched_by(bytes);
            let is_touched = is_touched.map_err(|source| journal::unreadable(revision, source))?;
            Ok(found.note(revision, is_touched))
        })?;
    }
    found.entries(connection)
}

/// Revisions to list, until there are enough.
struct Found {
    revisions: Vec<u64>,
    limit: usize,
}

impl Found {
    fn new(limit: usize) -> Found {
        let revisions = Vec::new();
        Found { revisions, limit }
    }

    fn note(&mut self, revision: u64, is_touched: bool) -> ControlFlow<()> {
        if is_touched {
            self.revisions.push(revision);
        }
        match self.revisions.len() == self.limit {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn entries(self, connection: &Connection) -> Result<Vec<LogEntry>, Error> {
        let mut entries = Vec::with_capacity(self.revisions.len());
        for revision in self.revisions {
            entries.extend(page(connection, revision, 1)?);
        }
        Ok(entries)
    }
}
