//! The exclusive lock: while somebody holds it, nobody else commits. It dies with the session that took it.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::{During, Error};
use crate::session::Session;
use crate::store::Store;

/// Who holds the exclusive lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockHolder {
    /// Their name.
    pub holder: String,
    /// Why, in their words.
    pub message: String,
    /// Since when, in microseconds since the Unix epoch.
    pub since: i64,
    /// The process that the lock dies with.
    pub session: Session,
}

impl Store {
    /// Commits, schedules and rewinds in the name of these sessions, usually [`Session::ancestry`]: a lock that one of them
    /// holds does not keep this store from it. None unless set.
    pub fn with_sessions(mut self, sessions: Vec<Session>) -> Self {
        self.sessions = sessions;
        self
    }

    /// Takes the exclusive lock for a session: until it is given back or the session ends, nobody else commits. Who holds it
    /// already may take it again, with another message. Candidates can still be edited.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where somebody else holds it; [`Error::Busy`], [`Error::Sqlite`].
    pub fn lock(&mut self, holder: &str, session: Session, message: &str) -> Result<(), Error> {
        let during = "taking the lock";
        let transaction = self.begin()?;
        if let Some(other) = find(&transaction)?
            && other.session != session
            && other.session.is_alive()
        {
            return Err(Error::Locked(Box::new(other)));
        }
        transaction
            .prepare_cached(
                "INSERT OR REPLACE INTO exclusive_lock (only, holder, message, since, pid, started, boot)
                 VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    holder,
                    message,
                    (self.clock)(),
                    session.pid,
                    session.started,
                    session.boot
                ])
            })
            .during(during)?;
        transaction.commit().during(during)
    }

    /// Gives the exclusive lock back; gives who held it, if anybody did. With `force`, whoever holds it loses it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where a session that is not one of this store's holds it, without `force`; [`Error::Busy`],
    /// [`Error::Sqlite`].
    pub fn unlock(&mut self, force: bool) -> Result<Option<LockHolder>, Error> {
        let transaction = self.begin()?;
        let held = find(&transaction)?.filter(|lock| lock.session.is_alive());
        if let Some(lock) = &held
            && !force
            && !self.sessions.contains(&lock.session)
        {
            return Err(Error::Locked(Box::new(lock.clone())));
        }
        clear(&transaction)?;
        transaction.commit().during("giving the lock back")?;
        Ok(held)
    }

    /// Who holds the exclusive lock, if anybody does. A lock whose session has ended is none.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn lock_holder(&self) -> Result<Option<LockHolder>, Error> {
        holder_other_than(&self.connection, &[])
    }
}

/// Who holds the lock, unless it is one of these sessions.
pub(crate) fn holder_other_than(
    connection: &Connection,
    sessions: &[Session],
) -> Result<Option<LockHolder>, Error> {
    let held = find(connection)?;
    Ok(held.filter(|lock| !sessions.contains(&lock.session) && lock.session.is_alive()))
}

fn find(connection: &Connection) -> Result<Option<LockHolder>, Error> {
    connection
        .prepare_cached("SELECT holder, message, since, pid, started, boot FROM exclusive_lock")
        .and_then(|mut statement| {
            let read = |row: &rusqlite::Row<'_>| {
                Ok(LockHolder {
                    holder: row.get(0)?,
                    message: row.get(1)?,
                    since: row.get(2)?,
                    session: Session {
                        pid: row.get(3)?,
                        started: row.get(4)?,
                        boot: row.get(5)?,
                    },
                })
            };
            statement.query_row([], read).optional()
        })
        .during("reading the lock")
}

fn clear(connection: &Connection) -> Result<(), Error> {
    connection
        .execute("DELETE FROM exclusive_lock", [])
        .during("clearing the lock")
        .map(drop)
}

/// Checks that nobody but these sessions holds the lock. One whose session has ended is cleared, with the transaction that is
/// open.
pub(crate) fn expect_free(connection: &Connection, sessions: &[Session]) -> Result<(), Error> {
    match find(connection)? {
        None => Ok(()),
        Some(lock) if sessions.contains(&lock.session) => Ok(()),
        Some(lock) if lock.session.is_alive() => Err(Error::Locked(Box::new(lock))),
        Some(_) => clear(connection),
    }
}
