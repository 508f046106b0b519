use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rewire_journal::StateDigest;
use rewire_schema::Configuration;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::{During, Error};
use crate::session::Session;
use crate::whole::{self, CountedState};
use crate::{file, journal, migrate, rows};

/// The version of the tables: the number of the last migration in `schema/migrations`.
pub const SCHEMA_VERSION: u32 = 10;

/// An open store. It can move between threads; threads that use it at the same time open one each.
pub struct Store {
    pub(crate) connection: Connection,
    pub(crate) clock: Box<dyn Fn() -> i64 + Send>,
    pub(crate) sessions: Vec<Session>,
    path: PathBuf,
    identity: [u8; 16],
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Makes an empty store, at revision 0, and opens it. When this returns, the store is durable; if it fails or the
    /// power does, there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where there is a file already, or the write-ahead log of one that was removed.
    pub fn create(path: impl AsRef<Path>) -> Result<Store, Error> {
        file::create(path.as_ref(), |_| Ok(()))?;
        Store::open(path)
    }

    /// Opens a store for reading and writing. One that an earlier version of this program wrote is migrated first, in one
    /// transaction: whatever happens, it is at its old version or at today's. A migration costs all rows and the whole
    /// journal.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NotAStore`] and [`Error::Newer`], none of which touches anything; where a migration
    /// is not possible, [`Error::Journal`], [`Error::DigestMismatch`] and [`Error::Damaged`], which leave the store as it
    /// was; [`Error::Busy`], [`Error::Sqlite`].
    pub fn open(path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::open_with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens a store for reading; everything that writes fails. The folder must be writable all the same, or another
    /// process must have the store open: readers of a write-ahead log share an index file beside it.
    ///
    /// # Errors
    ///
    /// As [`Store::open`]; [`Error::Older`] where the store would have to be migrated.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::open_with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open_with(path: &Path, mode: OpenFlags) -> Result<Store, Error> {
        let during = "opening the store";
        let canonical = file::recognise(path)?;
        let connection =
            Connection::open_with_flags(&canonical, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .during(during)?;
        connection.set_prepared_statement_cache_capacity(rows::statement_count() + 48);
        connection.busy_timeout(file::BUSY_TIMEOUT).during(during)?;
        // A migration may still stand in the log, where the look at the file's header did not see it.
        let version = migrate::version(&connection)?;
        file::check_version(path, version)?;
        let writable = mode == OpenFlags::SQLITE_OPEN_READ_WRITE;
        if writable {
            file::use_write_ahead_log(&connection)?;
        }
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            )
            .during(during)?;
        match u32::try_from(version) {
            Ok(SCHEMA_VERSION) => {}
            _ if writable => migrate::migrate(&connection)?,
            store => {
                return Err(Error::Older {
                    path: path.to_owned(),
                    store: store.unwrap_or(0),
                    ours: SCHEMA_VERSION,
                });
            }
        }
        let identity = connection
            .query_row("SELECT identity FROM meta", [], |row| row.get(0))
            .during("reading the store's identity")?;
        Ok(Store {
            connection,
            clock: Box::new(system_clock),
            sessions: Vec::new(),
            path: canonical,
            identity,
        })
    }

    /// Takes the time of commits and candidates from `clock` (microseconds since the Unix epoch) instead of the system.
    pub fn with_clock(mut self, clock: impl Fn() -> i64 + Send + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Sets how long to wait for another process that writes, before [`Error::Busy`]. 5 seconds unless set.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn set_busy_timeout(&self, timeout: Duration) -> Result<(), Error> {
        self.connection
            .busy_timeout(timeout)
            .during("setting the busy time-out")
    }

    /// Where the store is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What tells this store from any other: 16 random bytes from its creation.
    pub fn identity(&self) -> [u8; 16] {
        self.identity
    }

    /// The last revision; 0 where nothing was committed yet. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn head(&self) -> Result<u64, Error> {
        journal::revision(&self.connection)
    }

    /// The oldest revision whose state can be told: the journal begins after it. 0 where nothing was pruned. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn floor(&self) -> Result<u64, Error> {
        Ok(journal::floor(&self.connection)?.revision)
    }

    /// The running state: that of the last revision. Cost: all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    pub fn configuration(&self) -> Result<Configuration, Error> {
        Ok(self.head_and_configuration()?.1)
    }

    /// The last revision and its state, of one moment.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    pub fn head_and_configuration(&self) -> Result<(u64, Configuration), Error> {
        whole::read(self, whole::MANY_PAGES)
    }

    /// The last revision and its state, of one moment, with the digest that its rows have as they are stored: what is read to be
    /// trusted. Cost: all rows.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    pub fn counted_state(&self) -> Result<CountedState, Error> {
        whole::read_counted(self, whole::MANY_PAGES)
    }

    /// The digest of the running state, as the journal has it. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn state_digest(&self) -> Result<StateDigest, Error> {
        Ok(journal::head(&self.connection)?.digest)
    }

    /// A number that changes when another connection, of this process or another, has committed anything: a revision, or a
    /// candidate. Made for polling: no disk is read, and what this store itself commits does not show.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn data_version(&self) -> Result<i64, Error> {
        let during = "looking for other commits";
        let mut statement = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .during(during)?;
        statement.query_row([], |row| row.get(0)).during(during)
    }

    /// One moment, for several reads.
    pub(crate) fn snapshot(&self) -> Result<Transaction<'_>, Error> {
        Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)
            .during("beginning to read")
    }

    /// The write lock.
    pub(crate) fn begin(&self) -> Result<Transaction<'_>, Error> {
        Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .during("beginning to write")
    }
}

fn system_clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What durability stands on; `tests/power.rs` cuts the power to see that it holds.
    #[test]
    fn connections_are_set_up_as_promised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.db");
        let created = Store::create(&path).unwrap();
        let read_only = Store::open_read_only(&path).unwrap();
        for store in [&created, &read_only] {
            let pragma = |name: &str| -> rusqlite::types::Value {
                store
                    .connection
                    .query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
                    .unwrap()
            };
            assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
            assert_eq!(pragma("synchronous"), 2.into());
            assert_eq!(pragma("foreign_keys"), 1.into());
            assert_eq!(pragma("trusted_schema"), 0.into());
            assert_eq!(pragma("busy_timeout"), 5000.into());
        }
    }
}
