//! Commits that must be confirmed, or go back by themselves (RFC 6241 §8.4). The deadline is written in the commit's own
//! transaction, so that it outlives a crash, a reboot and a closed terminal.

use std::time::Duration;

use rewire_journal::Entry;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{During, Error};
use crate::store::Store;

/// A commit that goes back by itself unless it is confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingConfirmation {
    /// The revision that waits for its confirmation: the last one. Of several that were committed one after the other and
    /// never confirmed, the last.
    pub revision: u64,
    /// The revision whose state comes back: the one before the first that was not confirmed.
    pub back_to: u64,
    /// When, in microseconds since the Unix epoch.
    pub deadline: i64,
    /// Who committed the last one.
    pub author: String,
}

impl Store {
    /// The commit that waits for its confirmation, if one does. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn pending_confirmation(&self) -> Result<Option<PendingConfirmation>, Error> {
        pending(&self.connection)
    }

    /// Confirms: what was committed stays. It counts as long as [`Store::settle`] has not gone back. Durable when it
    /// returns.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToConfirm`]; [`Error::Busy`], [`Error::Sqlite`].
    pub fn confirm(&mut self) -> Result<PendingConfirmation, Error> {
        let transaction = self.begin()?;
        let pending = pending(&transaction)?.ok_or(Error::NothingToConfirm)?;
        clear(&transaction)?;
        transaction.commit().during("confirming")?;
        Ok(pending)
    }

    /// Sets the deadline anew, `time` from now, without another commit. Durable when it returns.
    ///
    /// # Errors
    ///
    /// [`Error::NothingToConfirm`]; [`Error::Busy`], [`Error::Sqlite`].
    pub fn rearm_confirmation(&mut self, time: Duration) -> Result<PendingConfirmation, Error> {
        let during = "setting the deadline";
        let transaction = self.begin()?;
        let mut pending = pending(&transaction)?.ok_or(Error::NothingToConfirm)?;
        pending.deadline = after((self.clock)(), time);
        transaction
            .execute("UPDATE confirmation SET deadline = ?1", [pending.deadline])
            .during(during)?;
        transaction.commit().during(during)?;
        Ok(pending)
    }
}

/// So long after a moment, in microseconds.
pub(crate) fn after(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

pub(crate) fn pending(connection: &Connection) -> Result<Option<PendingConfirmation>, Error> {
    connection
        .prepare_cached("SELECT revision, back_to, deadline, author FROM confirmation")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(PendingConfirmation {
                    revision: row.get(0)?,
                    back_to: row.get(1)?,
                    deadline: row.get(2)?,
                    author: row.get(3)?,
                })
            };
            statement.query_row([], read).optional()
        })
        .during("reading the confirmation")
}

/// Makes the entry, which was just written, wait for its confirmation. Where an earlier one waits already, it is that one's
/// beginning that is gone back to.
pub(crate) fn arm(connection: &Connection, entry: &Entry, deadline: i64) -> Result<(), Error> {
    let back_to = match pending(connection)? {
        Some(pending) => pending.back_to,
        None => entry.revision - 1,
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO confirmation (only, revision, back_to, deadline, author) VALUES (1, ?1, ?2, ?3, ?4)",
        )
        .and_then(|mut statement| {
            statement.execute(params![entry.revision, back_to, deadline, entry.author])
        })
        .during("setting the deadline")
        .map(drop)
}

pub(crate) fn clear(connection: &Connection) -> Result<(), Error> {
    connection
        .prepare_cached("DELETE FROM confirmation")
        .and_then(|mut statement| statement.execute([]))
        .during("clearing the confirmation")
        .map(drop)
}
