//! Checking everything that a store holds against everything else.
//!
//! Three threads, each with a connection of its own, and none waits for another: one follows the journal to the rows
//! ([`walk`]), one makes anew what the entries say about their changesets ([`recount`]), one has SQLite check the file. What
//! lies beside the journal comes last ([`beside`]).

mod beside;
mod recount;
mod walk;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use rewire_journal::JournalError;
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::file;
use crate::store::Store;

/// What was found in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The number of revisions.
    pub revisions: u64,
    /// The revision that the journal begins after: 0, unless it was pruned.
    pub floor: u64,
    /// The number of rows of the running state.
    pub rows: usize,
}

impl Store {
    /// Checks everything: that the entries are a chain from the beginning, or the checkpoint, to the last one; that each
    /// can be decoded, fits onto what is before it, and is summed up as it is; that each state has the digest on record;
    /// that the rows are what the journal leads to; that the tables, indices and triggers are those that the migrations make;
    /// that candidates and scheduled commits can be read, and expect the rows that there are in the revisions that they are
    /// made on, where these are not pruned; that these, tags and the pending confirmation name revisions that there are; and
    /// that the file is in order. Others may commit meanwhile; what they do need not be looked at.
    ///
    /// Cost: the journal twice, an entry at a time, all rows once, and SQLite's check of the file, on three threads; memory
    /// for the encoded rows that the journal touched. For each revision that something waits on, the changesets since it once
    /// more, and a look-up for each row that is to be changed.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenChain`], [`Error::Journal`], [`Error::Fold`] and [`Error::DigestMismatch`] name the first revision
    /// where something is wrong; rows that are not what the journal says count against the last one.
    /// [`Error::Journal`] also names a candidate or a scheduled commit. [`Error::Damaged`] for the rest.
    pub fn verify(&self) -> Result<Verified, Error> {
        let snapshot = self.snapshot()?;
        let genesis = rewire_journal::genesis(&self.identity());
        let recounting = file::open_beside(self.path())?;
        let checking = file::open_beside(self.path())?;
        let stop_checking = checking.get_interrupt_handle();
        let limit = Limit::default();
        thread::scope(|scope| {
            let recount = scope.spawn(|| recount::every_entry(recounting, &limit));
            let file = scope.spawn(|| check_file(checking));
            let walked = walk::through(&snapshot, genesis, &limit);
            // The rows, and what else there is, say less of what is wrong than a revision that does.
            let found = walked.and_then(|walk| {
                let rows = walk.expect_rows(&snapshot);
                rows.and_then(|verified| beside::check(&snapshot).map(|()| verified))
                    .map_err(Wrong::of_all)
            });
            let found = match (found, join(recount)) {
                (Err(wrong), Err(other)) if other.revision < wrong.revision => Err(other),
                (Ok(_), Err(other)) => Err(other),
                (found, _) => found,
            };
            if found.is_err() {
                stop_checking.interrupt();
            }
            // Last, because it can only say that something is wrong, and not where.
            let checked = join(file);
            let verified = found.map_err(|wrong| wrong.error)?;
            checked.map(|()| verified)
        })
    }
}

/// What is wrong, and at which revision. What is wrong with none of them in particular is wrong after all of them.
struct Wrong {
    revision: u64,
    error: Error,
}

impl Wrong {
    fn of_all(error: Error) -> Wrong {
        let revision = u64::MAX;
        Wrong { revision, error }
    }
}

/// The first revision at which either thread found something wrong: the other one need not go on behind it.
struct Limit(AtomicU64);

impl Default for Limit {
    fn default() -> Self {
        Limit(AtomicU64::new(u64::MAX))
    }
}

impl Limit {
    /// Whether this revision is of no interest any more.
    fn is_before(&self, revision: u64) -> bool {
        self.0.load(Ordering::Relaxed) < revision
    }

    fn wrong(&self, revision: u64, error: Error) -> Wrong {
        self.0.fetch_min(revision, Ordering::Relaxed);
        Wrong { revision, error }
    }
}

/// What is wrong with the changeset of an entry, or of something else.
fn of_changeset(revision: u64, error: JournalError) -> Error {
    match error {
        JournalError::Mismatch(mismatch) => Error::Fold { revision, mismatch },
        source => crate::journal::unreadable(revision, source),
    }
}

fn check_file(connection: Connection) -> Result<(), Error> {
    let during = "checking the file";
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .during(during)?;
    if verdict == "ok" {
        return Ok(());
    }
    match failed_read(&verdict) {
        Some(source) => Err(source).during(during),
        None => Err(Error::Damaged { why: verdict }),
    }
}

/// What a thread gives; if it panicked, this one goes on panicking.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// SQLite's check notes a page that could not be read among its findings. That is the disk's fault, not damage.
fn failed_read(verdict: &str) -> Option<rusqlite::Error> {
    let code = match verdict.rsplit_once("error code=") {
        Some((_, code)) => code.trim_end().parse().ok()?,
        // Of a free page it does not say why; that there can be such a page was checked before.
        None if verdict.contains("failed to get page") => rusqlite::ffi::SQLITE_IOERR_READ,
        None => return None,
    };
    let primary = code & 0xff;
    (primary == rusqlite::ffi::SQLITE_IOERR)
        .then(|| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
}
