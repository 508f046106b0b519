use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use diesel::SqliteConnection;
use rewire_journal::{Hash, StateDigest};
use rewire_schema::Configuration;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use crate::error::{During, Error};
use crate::{file, rows};

/// The version of the tables: the number of the last migration in `schema/migrations`.
pub const SCHEMA_VERSION: u32 = 2;

/// An open store. It can move between threads; threads that use it at the same time open one each.
pub struct Store {
    // Dropped before the writer, which then is the last one to leave and folds the log into the file.
    pub(crate) reader: RefCell<Option<SqliteConnection>>,
    pub(crate) connection: Connection,
    pub(crate) clock: Box<dyn Fn() -> i64 + Send>,
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

/// The end of the journal.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    pub(crate) revision: u64,
    /// The hash of the last entry; none before the first.
    pub(crate) hash: Option<Hash>,
    pub(crate) digest: StateDigest,
}

impl Store {
    /// Makes an empty store, at revision 0, and opens it. When this returns, the store is durable; if it fails or the
    /// power does, there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Exists`] where there is a file already, or the write-ahead log of one that was removed.
    pub fn create(path: impl AsRef<Path>) -> Result<Store, Error> {
        file::create(path.as_ref())?;
        Store::open(path)
    }

    /// Opens a store for reading and writing.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::NotAStore`] and [`Error::Newer`], none of which touches anything.
    pub fn open(path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::open_with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens a store for reading; everything that writes fails. The folder must be writable all the same, or another
    /// process must have the store open: readers of a write-ahead log share an index file beside it.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Store, Error> {
        Store::open_with(path.as_ref(), OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open_with(path: &Path, mode: OpenFlags) -> Result<Store, Error> {
        let during = "opening the store";
        let canonical = file::recognise(path)?;
        let connection =
            Connection::open_with_flags(&canonical, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .during(during)?;
        connection.set_prepared_statement_cache_capacity(rows::statement_count() + 16);
        connection.busy_timeout(file::BUSY_TIMEOUT).during(during)?;
        // A migration may still stand in the log, where the look at the file's header did not see it.
        let version = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .during(during)?;
        file::check_version(path, version)?;
        if mode == OpenFlags::SQLITE_OPEN_READ_WRITE {
            file::use_write_ahead_log(&connection)?;
        }
        connection
            .execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            )
            .during(during)?;
        let identity = connection
            .query_row("SELECT identity FROM meta", [], |row| row.get(0))
            .during("reading the store's identity")?;
        Ok(Store {
            reader: RefCell::new(None),
            connection,
            clock: Box::new(system_clock),
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
        revision(&self.connection)
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
        let snapshot = self.snapshot()?;
        Ok((revision(&snapshot)?, rows::configuration(&snapshot)?))
    }

    /// The digest of the running state, as the journal has it. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn state_digest(&self) -> Result<StateDigest, Error> {
        Ok(head(&self.connection)?.digest)
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

/// The last revision.
pub(crate) fn revision(connection: &Connection) -> Result<u64, Error> {
    let during = "reading the last revision";
    let mut statement = connection
        .prepare_cached("SELECT coalesce(max(revision), 0) FROM journal")
        .during(during)?;
    statement.query_row([], |row| row.get(0)).during(during)
}

/// The end of the journal.
pub(crate) fn head(connection: &Connection) -> Result<Head, Error> {
    let during = "reading the end of the journal";
    let sql = "SELECT revision, hash, state_digest FROM journal ORDER BY revision DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql).during(during)?;
    let last = statement.query_row([], |row| {
        Ok(Head {
            revision: row.get(0)?,
            hash: Some(Hash::from_bytes(row.get(1)?)),
            digest: StateDigest::from_bytes(row.get(2)?),
        })
    });
    let empty = Head {
        revision: 0,
        hash: None,
        digest: StateDigest::EMPTY,
    };
    Ok(last.optional().during(during)?.unwrap_or(empty))
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

    #[test]
    fn the_version_is_the_number_of_the_last_migration() {
        use diesel::migration::{Migration, MigrationSource};
        let migrations: Vec<Box<dyn Migration<diesel::sqlite::Sqlite>>> =
            file::MIGRATIONS.migrations().unwrap();
        let last = migrations
            .iter()
            .map(|migration| migration.name().version().to_string())
            .max();
        assert_eq!(last, Some(format!("{SCHEMA_VERSION:04}")));
    }
}
