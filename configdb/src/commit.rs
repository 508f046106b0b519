use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
use rewire_schema::{Changeset, Configuration, Rows};
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::journal::{self, Counts, Head};
use crate::reader::Running;
use crate::store::{SCHEMA_VERSION, Store};
use crate::{apply, candidate, confirmation, constraint, lock, merge, rows};

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

/// Looks into the state inside the transaction that is being checked. Look-ups go through indices: their cost is that of the
/// rows that they give.
pub trait StateReader: Rows {
    /// All rows. Cost: all rows, so that a commit that asks for this costs the configuration, not the change.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`], [`Error::Damaged`].
    fn configuration(&self) -> Result<Configuration, Error>;
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

impl StateReader for Running<'_> {
    fn configuration(&self) -> Result<Configuration, Error> {
        rows::configuration(self.0)
    }
}

/// What to commit.
#[derive(Clone, Copy, Debug)]
pub struct CommitRequest<'a> {
    /// The revision that the changeset was made on.
    pub base: u64,
    /// What changes.
    pub changeset: &'a Changeset,
    /// Who commits.
    pub author: &'a str,
    /// What they say about it.
    pub message: &'a str,
    /// Whether this goes back to an earlier revision, or undoes one. If it goes back, the state must come out as that
    /// revision's.
    pub kind: EntryKind,
    /// The candidate that this commit uses up: it is removed with the commit, and only with it.
    pub clear_candidate: Option<&'a str>,
    /// The version of that candidate which the changeset is of: where somebody saved it since, the commit is refused. None
    /// takes any.
    pub candidate_version: Option<u64>,
    /// What to do where others committed since `base`: merge the changeset with theirs, field by field, or refuse it. A
    /// rewind is never merged.
    pub merge: bool,
    /// Go back by itself after so long, unless this is confirmed: by [`Store::confirm`], or by any later commit without
    /// this.
    pub confirm: Option<Duration>,
}

impl<'a> CommitRequest<'a> {
    /// A plain commit on `base`, which must still be the last revision.
    pub fn new(base: u64, changeset: &'a Changeset, author: &'a str, message: &'a str) -> Self {
        CommitRequest {
            base,
            changeset,
            author,
            message,
            kind: EntryKind::Commit,
            clear_candidate: None,
            candidate_version: None,
            merge: false,
            confirm: None,
        }
    }
}

/// A durable revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub revision: u64,
    /// The digest of its state.
    pub state_digest: StateDigest,
    /// The hash of its journal entry.
    pub hash: Hash,
    /// The revisions of others that the changeset was merged with.
    pub merged: Option<RangeInclusive<u64>>,
    /// What was really committed, where merging made it another changeset than the request's.
    pub rebased: Option<Changeset>,
    /// When it goes back by itself, where it must be confirmed: microseconds since the Unix epoch.
    pub deadline: Option<i64>,
    /// Where the time went.
    pub times: CommitTimes,
}

/// A change that would be let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The revisions of others that the changeset would be merged with.
    pub merged: Option<RangeInclusive<u64>>,
    /// What would really be committed, where merging makes it another changeset than the request's.
    pub rebased: Option<Changeset>,
    /// Where the time went.
    pub times: CommitTimes,
}

/// Where a commit's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitTimes {
    /// Waiting for the write lock.
    pub lock: Duration,
    /// Merging, and writing the rows, with the database's own constraints.
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
    /// [`Error::StaleCandidate`], or with merging [`Error::Conflicts`] and [`Error::Pruned`]; [`Error::NothingToCommit`];
    /// [`Error::Locked`], [`Error::CandidateChanged`], [`Error::Busy`]; where the change does not fit,
    /// [`Error::Mismatch`] and [`Error::Malformed`]; where the database refuses the outcome, [`Error::Dangling`],
    /// [`Error::Duplicate`] and [`Error::Check`]; where the checker does, [`Error::Refused`]; for a rewind and a revert,
    /// [`Error::NoSuchRevision`], [`Error::Pruned`] and [`Error::DigestMismatch`].
    pub fn commit(
        &mut self,
        request: CommitRequest<'_>,
        checker: &mut dyn Checker,
    ) -> Result<Committed, Error> {
        let started = Instant::now();
        let transaction = self.begin()?;
        let lock = started.elapsed();
        lock::expect_free(&transaction, &self.sessions)?;
        if let (Some(name), Some(version)) = (request.clear_candidate, request.candidate_version) {
            candidate::expect_version(&transaction, name, version)?;
        }
        let attempt = attempt(&transaction, &request, checker)?;
        let started = Instant::now();
        let mut committed = self.record(&transaction, &request, attempt)?;
        transaction.commit().during("committing")?;
        committed.times.lock = lock;
        committed.times.durable = started.elapsed();
        Ok(committed)
    }

    /// Does everything that a commit does but the commit: whoever passes here would have been let through. Nothing is
    /// written to the disk; the write lock is held meanwhile. An exclusive lock of somebody else is no hindrance.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    pub fn check(
        &mut self,
        request: CommitRequest<'_>,
        checker: &mut dyn Checker,
    ) -> Result<Checked, Error> {
        let started = Instant::now();
        let transaction = self.begin()?;
        let lock = started.elapsed();
        let attempt = attempt(&transaction, &request, checker)?;
        let mut times = attempt.times;
        times.lock = lock;
        let (merged, rebased) = (attempt.merged(), attempt.rebased());
        transaction.rollback().during("taking the check back")?;
        Ok(Checked {
            merged,
            rebased,
            times,
        })
    }

    /// Writes the journal entry of an attempt that was let through, and all that goes with it, into the transaction that is
    /// open.
    pub(crate) fn record(
        &self,
        connection: &Connection,
        request: &CommitRequest<'_>,
        attempt: Attempt<'_>,
    ) -> Result<Committed, Error> {
        let (head, state_digest) = (attempt.head, attempt.state_digest);
        let (merged, rebased) = (attempt.merged(), attempt.rebased());
        let now = (self.clock)();
        let entry = Entry {
            revision: head.revision + 1,
            kind: request.kind,
            author: request.author.to_owned(),
            message: request.message.to_owned(),
            committed_at: now,
            schema_version: SCHEMA_VERSION,
            parent: head.hash_or_genesis(&self.identity()),
            state_digest,
            changeset: attempt.encoded,
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        journal::insert(connection, &entry, Counts::of(&attempt.changeset))?;
        if let Some(name) = request.clear_candidate {
            candidate::discard(connection, name)?;
        }
        let deadline = match request.confirm {
            Some(time) => {
                let deadline = confirmation::after(now, time);
                confirmation::arm(connection, &entry, deadline)?;
                Some(deadline)
            }
            None => {
                confirmation::clear(connection)?;
                None
            }
        };
        Ok(Committed {
            revision: entry.revision,
            state_digest,
            hash: entry.hash,
            merged,
            rebased,
            deadline,
            times: attempt.times,
        })
    }
}

/// A changeset that is applied and checked in a transaction that is still open. Ending that without a commit takes
/// everything back.
pub(crate) struct Attempt<'a> {
    base: u64,
    head: Head,
    changeset: Cow<'a, Changeset>,
    encoded: Vec<u8>,
    state_digest: StateDigest,
    times: CommitTimes,
}

impl Attempt<'_> {
    fn merged(&self) -> Option<RangeInclusive<u64>> {
        (self.base < self.head.revision).then_some(self.base + 1..=self.head.revision)
    }

    fn rebased(&self) -> Option<Changeset> {
        match &self.changeset {
            Cow::Borrowed(_) => None,
            Cow::Owned(changeset) => Some(changeset.clone()),
        }
    }
}

/// Merges, applies and checks what a request asks for.
pub(crate) fn attempt<'a>(
    connection: &Connection,
    request: &CommitRequest<'a>,
    checker: &mut dyn Checker,
) -> Result<Attempt<'a>, Error> {
    let mut times = CommitTimes::default();
    let started = Instant::now();
    if request.changeset.is_empty() {
        return Err(Error::NothingToCommit);
    }
    let head = journal::head(connection)?;
    let changeset = match request.base {
        base if base == head.revision => Cow::Borrowed(request.changeset),
        base if base > head.revision => {
            return Err(Error::NoSuchRevision {
                revision: base,
                head: head.revision,
            });
        }
        base if request.merge && !matches!(request.kind, EntryKind::Rewind { .. }) => {
            let changeset = merge::onto_head(connection, base, head.revision, request.changeset)?;
            if changeset.is_empty() {
                return Err(Error::NothingToCommit);
            }
            match changeset == *request.changeset {
                true => Cow::Borrowed(request.changeset),
                false => Cow::Owned(changeset),
            }
        }
        base => {
            return Err(Error::StaleCandidate {
                base,
                head: head.revision,
            });
        }
    };
    apply::apply(connection, &changeset)?;
    if constraint::has_dangling(connection)? {
        let mut dangling = constraint::find_dangling(connection, &changeset)?;
        if matches!(request.kind, EntryKind::Revert { .. }) {
            constraint::blame_dangling(connection, &mut dangling)?;
        }
        return Err(Error::Dangling(dangling));
    }
    let encoded = rewire_journal::encode(&changeset);
    let mut state_digest = head.digest;
    state_digest
        .apply_encoded(&encoded)
        .map_err(|source| journal::unreadable(head.revision + 1, source))?;
    expect_kind(connection, request.kind, head.revision, state_digest)?;
    times.apply = started.elapsed();
    let started = Instant::now();
    checker
        .check(head.revision + 1, &Running(connection), &changeset)
        .map_err(Error::Refused)?;
    times.check = started.elapsed();
    Ok(Attempt {
        base: request.base,
        head,
        changeset,
        encoded,
        state_digest,
        times,
    })
}

/// Checks that what a commit says about earlier revisions is true.
fn expect_kind(
    connection: &Connection,
    kind: EntryKind,
    head: u64,
    found: StateDigest,
) -> Result<(), Error> {
    match kind {
        EntryKind::Commit => Ok(()),
        EntryKind::Rewind { to } => {
            let expected = journal::state_digest(connection, to)?;
            if expected == found {
                return Ok(());
            }
            Err(Error::DigestMismatch {
                revision: to,
                expected,
                found,
                row: None,
            })
        }
        EntryKind::Revert { of } if of == 0 || of > head => {
            Err(Error::NoSuchRevision { revision: of, head })
        }
        EntryKind::Revert { .. } => Ok(()),
    }
}
