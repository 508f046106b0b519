//! Commits that wait for their time.

use std::time::Duration;

use rewire_journal::EntryKind;
use rewire_schema::Changeset;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::commit::CommitRequest;
use crate::error::{During, Error};
use crate::journal::{self, Counts};
use crate::store::Store;
use crate::{candidate, lock};

/// A commit that waits for its time, or was refused when it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its number. It is never given out again.
    pub id: u64,
    /// When it is due, in microseconds since the Unix epoch.
    pub at: i64,
    /// The revision that its changeset was made on.
    pub base: u64,
    /// Whether it is a commit or undoes an old revision.
    pub kind: EntryKind,
    /// Who scheduled it.
    pub author: String,
    /// What they say about it.
    pub message: String,
    /// When they did, in microseconds since the Unix epoch.
    pub scheduled_at: i64,
    /// How long it may go unconfirmed, if it must be confirmed.
    pub confirm: Option<Duration>,
    /// How many rows it touches.
    pub counts: Counts,
    /// When and why it was refused, if it was: microseconds since the Unix epoch, and the error as a person reads it.
    pub failed: Option<(i64, String)>,
}

const COLUMNS: &str = "id, at, base_revision, revert_of, author, message, scheduled_at, confirm, inserted, updated, \
    deleted, failed_at, failure";
const READING: &str = "reading the schedule";
const WRITING: &str = "writing the schedule";

fn read(row: &Row<'_>) -> rusqlite::Result<Scheduled> {
    let failed = match (row.get(11)?, row.get(12)?) {
        (Some(at), Some(why)) => Some((at, why)),
        _ => None,
    };
    Ok(Scheduled {
        id: row.get(0)?,
        at: row.get(1)?,
        base: row.get(2)?,
        kind: match row.get(3)? {
            Some(of) => EntryKind::Revert { of },
            None => EntryKind::Commit,
        },
        author: row.get(4)?,
        message: row.get(5)?,
        scheduled_at: row.get(6)?,
        confirm: row.get::<_, Option<u64>>(7)?.map(Duration::from_micros),
        counts: journal::counts(row, 8)?,
        failed,
    })
}

impl Store {
    /// Puts a commit off until a time (microseconds since the Unix epoch), when [`Store::settle`] merges it with what was
    /// committed since and commits it. A candidate that the request uses up is removed now. Durable when it returns;
    /// gives the number that it can be cancelled by. It is not checked now: [`Store::check`] does that.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToCommit`], [`Error::NoSuchRevision`], [`Error::Pruned`]; [`Error::RewindScheduled`], since an
    /// entry of that kind has the state that it goes back to, whatever was committed since: schedule the way back
    /// ([`Store::rewind_changeset`]) as a commit, which is merged; [`Error::Locked`], [`Error::CandidateChanged`], [`Error::Busy`],
    /// [`Error::Sqlite`].
    pub fn schedule(&mut self, request: CommitRequest<'_>, at: i64) -> Result<u64, Error> {
        let revert_of = match request.kind {
            EntryKind::Commit => None,
            EntryKind::Revert { of } => Some(of),
            EntryKind::Rewind { to } => return Err(Error::RewindScheduled { to }),
        };
        if request.changeset.is_empty() {
            return Err(Error::NothingToCommit);
        }
        let transaction = self.begin()?;
        lock::expect_free(&transaction, &self.sessions)?;
        journal::expect_state(&transaction, request.base)?;
        if let Some(name) = request.clear_candidate {
            if let Some(version) = request.candidate_version {
                candidate::expect_version(&transaction, name, version)?;
            }
            candidate::discard(&transaction, name)?;
        }
        let confirm = request.confirm.map(|time| {
            let microseconds = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
            microseconds.max(1)
        });
        let counts = Counts::of(request.changeset);
        let id = next_id(&transaction)?;
        transaction
            .prepare_cached(
                "INSERT INTO scheduled (id, at, base_revision, revert_of, author, message, scheduled_at, confirm,
                   inserted, updated, deleted, changeset)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )
            .and_then(|mut statement| {
                statement.execute(
                    params![
                        id,
                        at,
                        request.base,
                        revert_of,
                        request.author,
                        request.message,
                        (self.clock)(),
                        confirm,
                        counts.inserted,
                        counts.updated,
                        counts.deleted,
                        rewire_journal::encode(request.changeset)
                    ],
                )
            })
            .during(WRITING)?;
        transaction.commit().during(WRITING)?;
        Ok(id)
    }

    /// All commits that wait for their time, and those that were refused, by time. No changeset is read.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn scheduled(&self) -> Result<Vec<Scheduled>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM scheduled ORDER BY at, id");
        let mut statement = self.connection.prepare_cached(&sql).during(READING)?;
        let all = statement.query_map([], read).during(READING)?;
        all.collect::<Result<_, _>>().during(READING)
    }

    /// What a scheduled commit changes, on its base.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSchedule`]; [`Error::Journal`], [`Error::Sqlite`].
    pub fn scheduled_changeset(&self, id: u64) -> Result<Changeset, Error> {
        changeset(&self.connection, id)
    }

    /// Takes a scheduled commit away, whether it waits or was refused; gives what it was.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchSchedule`]; [`Error::Busy`], [`Error::Sqlite`].
    pub fn cancel(&mut self, id: u64) -> Result<Scheduled, Error> {
        let transaction = self.begin()?;
        let sql = format!("SELECT {COLUMNS} FROM scheduled WHERE id = ?1");
        let found = transaction
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([key(id)], read).optional())
            .during(READING)?;
        let scheduled = found.ok_or(Error::NoSuchSchedule { id })?;
        remove(&transaction, id)?;
        transaction.commit().during(WRITING)?;
        Ok(scheduled)
    }
}

fn next_id(connection: &Connection) -> Result<u64, Error> {
    let sql = "UPDATE meta SET last_scheduled = last_scheduled + 1 RETURNING last_scheduled";
    connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .during(WRITING)
}

/// A number as SQLite counts: none is above its largest integer.
fn key(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// The next commit that waits for its time, if one does. Constant cost.
pub(crate) fn next(connection: &Connection) -> Result<Option<Scheduled>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM scheduled WHERE failed_at IS NULL ORDER BY at, id LIMIT 1");
    connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([], read).optional())
        .during(READING)
}

pub(crate) fn changeset(connection: &Connection, id: u64) -> Result<Changeset, Error> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT changeset FROM scheduled WHERE id = ?1")
        .and_then(|mut statement| statement.query_row([key(id)], |row| row.get(0)).optional())
        .during(READING)?;
    let bytes = bytes.ok_or(Error::NoSuchSchedule { id })?;
    rewire_journal::decode(&bytes).map_err(|source| Error::Journal {
        what: format!("scheduled commit {id}"),
        source,
    })
}

pub(crate) fn remove(connection: &Connection, id: u64) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM scheduled WHERE id = ?1")
        .and_then(|mut statement| statement.execute([key(id)]))
        .during(WRITING)
        .map(drop)
}

/// Marks a scheduled commit as refused; it stays until somebody cancels it.
pub(crate) fn fail(connection: &Connection, id: u64, at: i64, why: &str) -> Result<(), Error> {
    connection
        .prepare_cached("UPDATE scheduled SET failed_at = ?2, failure = ?3 WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![key(id), at, why]))
        .during(WRITING)
        .map(drop)
}
