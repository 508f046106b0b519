use std::time::{Duration, Instant};

use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
use rewire_schema::{Changeset, Configuration, Row, RowKey};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::error::{During, Error};
use crate::store::{self, Head, SCHEMA_VERSION, Store};
use crate::{candidate, constraint, rows};

/// Looks at the state that a commit would lead to, before it is durable.
pub trait Checker {
    /// Checks the state of `revision`, which `changeset` has led to. References and constraints of the database hold
    /// already.
    ///
    /// # Errors
    ///
    /// Any error refuses the commit, and comes back as it is in [`Error::Refused`].
    fn check(
        &mut self,
        revision: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// Reads the state inside the transaction that is being checked.
pub trait StateReader {
    /// All rows. Cost: all rows, so that a commit that asks for this costs the configuration, not the change.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    fn configuration(&self) -> Result<Configuration, Error>;

    /// One row by its key. Cost: a look-up.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    fn row(&self, key: &RowKey) -> Result<Option<Row>, Error>;

    /// The rows that refer to a row: the parts below it, and those that name it. Cost: those rows, through indices.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    fn referring(&self, key: &RowKey) -> Result<Vec<Row>, Error>;
}

/// A checker that lets everything through that the database does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchecked;

impl Checker for Unchecked {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

struct InTransaction<'a>(&'a Connection);

impl StateReader for InTransaction<'_> {
    fn configuration(&self) -> Result<Configuration, Error> {
        rows::configuration(self.0)
    }
    fn row(&self, key: &RowKey) -> Result<Option<Row>, Error> {
        rows::find(self.0, key)
    }
    fn referring(&self, key: &RowKey) -> Result<Vec<Row>, Error> {
        let found = rows::referring(self.0, key, usize::MAX)?;
        Ok(found.into_iter().map(|(row, _)| row).collect())
    }
}

/// What to commit.
#[derive(Clone, Copy, Debug)]
pub struct CommitRequest<'a> {
    /// The revision that the changeset was made on. It must still be the last one.
    pub base: u64,
    /// What changes.
    pub changeset: &'a Changeset,
    /// Who commits.
    pub author: &'a str,
    /// What they say about it.
    pub message: &'a str,
    /// Whether this goes back to an earlier revision. If it does, the state must come out as that revision's.
    pub kind: EntryKind,
    /// The candidate that this commit uses up: it is removed with the commit, and only with it.
    pub clear_candidate: Option<&'a str>,
}

/// A durable revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub revision: u64,
    /// The digest of its state.
    pub state_digest: StateDigest,
    /// The hash of its journal entry.
    pub hash: Hash,
    /// Where the time went.
    pub times: CommitTimes,
}

/// Where a commit's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitTimes {
    /// Waiting for the write lock.
    pub lock: Duration,
    /// Writing the rows, with the database's own constraints.
    pub apply: Duration,
    /// The checker.
    pub check: Duration,
    /// Writing the journal entry and syncing it all to the disk.
    pub durable: Duration,
}

impl Store {
    /// Commits a changeset as the next revision, in one transaction. When it returns, the revision is durable. When it
    /// fails, nothing has changed.
    ///
    /// # Errors
    ///
    /// [`Error::StaleCandidate`], [`Error::NothingToCommit`], [`Error::Busy`]; where the change does not fit,
    /// [`Error::Mismatch`] and [`Error::Malformed`]; where the database refuses the outcome, [`Error::Dangling`],
    /// [`Error::Duplicate`] and [`Error::Check`]; where the checker does, [`Error::Refused`]; for a rewind,
    /// [`Error::NoSuchRevision`] and [`Error::DigestMismatch`].
    pub fn commit(
        &mut self,
        request: CommitRequest<'_>,
        checker: &mut dyn Checker,
    ) -> Result<Committed, Error> {
        let (transaction, head, mut times) =
            self.attempt(request.base, request.changeset, checker)?;
        let started = Instant::now();
        let mut state_digest = head.digest;
        state_digest.apply(request.changeset);
        if let EntryKind::Rewind { to } = request.kind {
            expect_state_of(&transaction, to, head.revision, state_digest)?;
        }
        let entry = Entry {
            revision: head.revision + 1,
            kind: request.kind,
            author: request.author.to_owned(),
            message: request.message.to_owned(),
            committed_at: (self.clock)(),
            schema_version: SCHEMA_VERSION,
            parent: head
                .hash
                .unwrap_or_else(|| rewire_journal::genesis(&self.identity())),
            state_digest,
            changeset: rewire_journal::encode(request.changeset),
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        insert_entry(&transaction, &entry)?;
        if let Some(name) = request.clear_candidate {
            candidate::discard(&transaction, name)?;
        }
        transaction.commit().during("committing")?;
        times.durable = started.elapsed();
        Ok(Committed {
            revision: entry.revision,
            state_digest,
            hash: entry.hash,
            times,
        })
    }

    /// Does everything that a commit does but the commit: whoever passes here would have been let through. Nothing is
    /// written to the disk; the write lock is held meanwhile.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn check(
        &mut self,
        base: u64,
        changeset: &Changeset,
        checker: &mut dyn Checker,
    ) -> Result<CommitTimes, Error> {
        let (transaction, _, times) = self.attempt(base, changeset, checker)?;
        transaction.rollback().during("taking the check back")?;
        Ok(times)
    }

    /// Applies and checks a changeset in a transaction that is still open. Dropping that takes everything back.
    fn attempt(
        &self,
        base: u64,
        changeset: &Changeset,
        checker: &mut dyn Checker,
    ) -> Result<(Transaction<'_>, Head, CommitTimes), Error> {
        if changeset.is_empty() {
            return Err(Error::NothingToCommit);
        }
        let mut times = CommitTimes::default();
        let mut started = Instant::now();
        let mut lap = || {
            let now = Instant::now();
            now.duration_since(std::mem::replace(&mut started, now))
        };
        let transaction = self.begin()?;
        let head = store::head(&transaction)?;
        if head.revision != base {
            return Err(Error::StaleCandidate {
                base,
                head: head.revision,
            });
        }
        times.lock = lap();
        rows::apply(&transaction, changeset)?;
        if constraint::has_dangling(&transaction)? {
            return Err(Error::Dangling(constraint::find_dangling(
                &transaction,
                changeset,
            )?));
        }
        times.apply = lap();
        let next = head.revision + 1;
        checker
            .check(next, &InTransaction(&transaction), changeset)
            .map_err(Error::Refused)?;
        times.check = lap();
        Ok((transaction, head, times))
    }
}

/// Checks that a rewind has come out where it says.
fn expect_state_of(
    connection: &Connection,
    to: u64,
    head: u64,
    found: StateDigest,
) -> Result<(), Error> {
    let during = "reading the digest of a revision";
    let expected = match to {
        0 => Some(StateDigest::EMPTY),
        to => connection
            .prepare_cached("SELECT state_digest FROM journal WHERE revision = ?1")
            .and_then(|mut statement| statement.query_row([to], |row| row.get(0)).optional())
            .during(during)?
            .map(StateDigest::from_bytes),
    };
    match expected {
        None => Err(Error::NoSuchRevision { revision: to, head }),
        Some(expected) if expected != found => Err(Error::DigestMismatch {
            revision: to,
            expected,
            found,
            row: None,
        }),
        Some(_) => Ok(()),
    }
}

fn insert_entry(connection: &Connection, entry: &Entry) -> Result<(), Error> {
    let rewind_to = match entry.kind {
        EntryKind::Commit => None,
        EntryKind::Rewind { to } => Some(to),
    };
    connection
        .prepare_cached(
            "INSERT INTO journal (revision, rewind_to, author, message, committed_at, schema_version, parent,
             state_digest, hash, changeset) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                entry.revision,
                rewind_to,
                entry.author,
                entry.message,
                entry.committed_at,
                entry.schema_version,
                entry.parent.to_bytes(),
                entry.state_digest.to_bytes(),
                entry.hash.to_bytes(),
                entry.changeset,
            ])
        })
        .during("writing the journal entry")
        .map(drop)
}
