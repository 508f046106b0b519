use std::ops::ControlFlow;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, ScopedJoinHandle};

use rewire_journal::{Chain, Entry, Hash, StateDigest};
use rewire_schema::{Change, Changeset, Mismatch, Row, Table};
use rusqlite::Connection;

use crate::error::{During, Error};
use crate::journal::{self, Counts, Floor};
use crate::rows;
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
    /// that the rows are what the journal leads to; and that the file is in order. Others may commit meanwhile; what
    /// they do is not looked at.
    ///
    /// Cost: the whole journal, a few entries at a time, and all rows, on two threads; memory for the rows that the journal
    /// touched.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenChain`], [`Error::Journal`], [`Error::Fold`] and [`Error::DigestMismatch`] name the first revision
    /// where something is wrong; rows that are not what the journal says count against the last one.
    /// [`Error::Damaged`] where the file itself is.
    pub fn verify(&self) -> Result<Verified, Error> {
        let snapshot = self.snapshot()?;
        let floor = journal::floor(&snapshot)?;
        let genesis = rewire_journal::genesis(&self.identity());
        let walk = Walk::through(&snapshot, floor, genesis)?;
        let rows = walk.expect_rows(&snapshot)?;
        // Last, because it can only say that something is wrong, and not where.
        let during = "checking the file";
        let verdict: String = snapshot
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .during(during)?;
        if verdict != "ok" {
            return match failed_read(&verdict) {
                Some(source) => Err(source).during(during),
                None => Err(Error::Damaged { why: verdict }),
            };
        }
        Ok(Verified {
            revisions: walk.chain.revision,
            floor: floor.revision,
            rows,
        })
    }
}

/// How many batches one thread is ahead of the other.
const AHEAD: usize = 4;

/// How many rows or entries are handed over at once, at most.
const BATCH: usize = 512;

/// How many bytes of changesets are handed over at once; a larger one comes alone.
const BATCH_BYTES: usize = 64 * 1024;

/// The journal, gone through up to some revision.
struct Walk {
    floor: u64,
    chain: Chain,
    digest: StateDigest,
    /// What has changed since the floor: each row as it was there, and as it is now.
    changed: Changeset,
}

/// What an entry says about its changeset.
struct Claim {
    revision: u64,
    state_digest: StateDigest,
    touched: Vec<u8>,
    changeset: Vec<u8>,
}

impl Walk {
    /// Goes through the whole journal, on two threads: this one reads the entries and puts their changesets together, the
    /// other one hashes their rows.
    fn through(connection: &Connection, floor: Floor, genesis: Hash) -> Result<Walk, Error> {
        let mut walk = Walk {
            floor: floor.revision,
            chain: Chain {
                revision: floor.revision,
                hash: floor.hash.unwrap_or(genesis),
            },
            digest: floor.digest,
            changed: Changeset::default(),
        };
        let (walked, hashed) = thread::scope(|scope| {
            let (sender, claims) = mpsc::sync_channel(AHEAD);
            let hashing = scope.spawn(move || expect_claims(floor.digest, &claims));
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let walked = journal::for_each_summarized_entry(connection, |entry, summary| {
                let claim = walk.step(entry, summary)?;
                bytes += claim.changeset.len();
                batch.push(claim);
                if batch.len() < BATCH && bytes < BATCH_BYTES {
                    return Ok(ControlFlow::Continue(()));
                }
                bytes = 0;
                // Where nobody takes it, the other thread has found something, and says so below.
                Ok(match sender.send(std::mem::take(&mut batch)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                })
            });
            let _ = sender.send(batch);
            drop(sender);
            (walked, join(hashing))
        });
        // The other thread only knows entries before the one that this thread stopped at.
        walk.digest = hashed?;
        walked?;
        Ok(walk)
    }

    fn step(&mut self, entry: Entry, (counts, touched): (Counts, &[u8])) -> Result<Claim, Error> {
        let revision = entry.revision;
        self.chain
            .follow(&entry)
            .map_err(|source| Error::BrokenChain { revision, source })?;
        let changeset = journal::changeset(&entry)?;
        self.follow(&changeset)
            .map_err(|mismatch| Error::Fold { revision, mismatch })?;
        if counts != Counts::of(&changeset) {
            return Err(not_summed_up(revision));
        }
        Ok(Claim {
            revision,
            state_digest: entry.state_digest,
            touched: touched.to_owned(),
            changeset: entry.changeset,
        })
    }

    fn follow(&mut self, changeset: &Changeset) -> Result<(), Mismatch> {
        if self.floor == 0 {
            // There was no row: what is not there by now is not there.
            for before in changeset.iter().filter_map(Change::before) {
                if self.changed.get(&before.row_key()).is_none() {
                    return Err(Mismatch {
                        expected: Some(Box::new(before.clone())),
                        found: None,
                    });
                }
            }
        }
        self.changed.then(changeset)
    }

    /// Checks that the rows are what the journal leads to; gives their number. This thread reads them, another one compares.
    fn expect_rows(&self, connection: &Connection) -> Result<usize, Error> {
        let (read, compared) = thread::scope(|scope| {
            let (sender, batches) = mpsc::sync_channel(AHEAD);
            let comparing = scope.spawn(move || self.compare(&batches));
            let mut batch = Vec::with_capacity(BATCH);
            let read = Table::ALL.iter().try_for_each(|table| {
                rows::for_each_exact(connection, *table, |row| {
                    batch.push(row);
                    if batch.len() == BATCH {
                        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                        // The other thread takes all that there is; if it panics, so does the joining.
                        let _ = sender.send(full);
                    }
                })
            });
            let _ = sender.send(batch);
            drop(sender);
            (read, join(comparing))
        });
        read?;
        let mut first_difference = compared.first_difference;
        if compared.missing > 0 && first_difference.is_none() {
            first_difference = self.first_missing(connection)?;
        }
        if compared.digest != self.digest || first_difference.is_some() {
            return Err(Error::DigestMismatch {
                revision: self.chain.revision,
                expected: self.digest,
                found: compared.digest,
                row: first_difference.map(|row| row.path()),
            });
        }
        Ok(compared.count)
    }

    fn compare(&self, batches: &Receiver<Vec<Row>>) -> Compared {
        let mut compared = Compared {
            count: 0,
            digest: StateDigest::EMPTY,
            first_difference: None,
            missing: self.changed.iter().filter_map(Change::after).count(),
        };
        for row in batches.iter().flatten() {
            compared.count += 1;
            compared.digest.add(&row);
            let as_expected = match self.changed.get(&row.row_key()) {
                Some(change) => {
                    compared.missing -= usize::from(change.after().is_some());
                    change.after() == Some(&row)
                }
                None => self.floor > 0,
            };
            if !as_expected && compared.first_difference.is_none() {
                compared.first_difference = Some(row);
            }
        }
        compared
    }

    fn first_missing(&self, connection: &Connection) -> Result<Option<Row>, Error> {
        for row in self.changed.iter().filter_map(Change::after) {
            if rows::find(connection, &row.row_key())?.is_none() {
                return Ok(Some(row.clone()));
            }
        }
        Ok(None)
    }
}

/// The rows, compared with what the journal leads to.
struct Compared {
    count: usize,
    digest: StateDigest,
    first_difference: Option<Row>,
    /// How many rows the journal says are there, and were not seen.
    missing: usize,
}

/// Checks what entries say about their changesets, from a state with this digest on; gives the last digest.
fn expect_claims(
    mut digest: StateDigest,
    claims: &Receiver<Vec<Claim>>,
) -> Result<StateDigest, Error> {
    for claim in claims.iter().flatten() {
        let Claim {
            revision,
            state_digest: expected,
            touched,
            changeset,
        } = claim;
        digest
            .apply_encoded(&changeset)
            .map_err(|source| journal::unreadable(revision, source))?;
        if digest != expected {
            return Err(Error::DigestMismatch {
                revision,
                expected,
                found: digest,
                row: None,
            });
        }
        if touched != journal::touched(revision, &changeset)? {
            return Err(not_summed_up(revision));
        }
    }
    Ok(digest)
}

fn not_summed_up(revision: u64) -> Error {
    let why = format!("journal entry {revision} is not summed up as it is");
    Error::Damaged { why }
}

/// What a thread gives; if it panicked, this one goes on panicking.
fn join<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// SQLite's check notes a page that could not be read among its findings. That is the disk's fault, not damage.
fn failed_read(verdict: &str) -> Option<rusqlite::Error> {
    let (_, code) = verdict.rsplit_once("error code=")?;
    let code: i32 = code.trim_end().parse().ok()?;
    let primary = code & 0xff;
    (primary == rusqlite::ffi::SQLITE_IOERR)
        .then(|| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
}
