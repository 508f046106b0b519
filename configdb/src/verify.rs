use rewire_journal::{Chain, Entry, StateDigest};
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
    /// Cost: the whole journal, an entry at a time, and all rows; memory for the rows that the journal touched.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenChain`], [`Error::Journal`], [`Error::Fold`] and [`Error::DigestMismatch`] name the first revision
    /// where something is wrong; rows that are not what the journal says count against the last one.
    /// [`Error::Damaged`] where the file itself is.
    pub fn verify(&self) -> Result<Verified, Error> {
        let snapshot = self.snapshot()?;
        let floor = journal::floor(&snapshot)?;
        let mut walk = Walk::new(floor, rewire_journal::genesis(&self.identity()));
        journal::for_each_summarized_entry(&snapshot, |entry, summary| walk.step(&entry, summary))?;
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

/// The journal, gone through up to some revision.
struct Walk {
    floor: u64,
    chain: Chain,
    digest: StateDigest,
    /// What has changed since the floor: each row as it was there, and as it is now.
    changed: Changeset,
}

impl Walk {
    fn new(floor: Floor, genesis: rewire_journal::Hash) -> Self {
        Walk {
            floor: floor.revision,
            chain: Chain {
                revision: floor.revision,
                hash: floor.hash.unwrap_or(genesis),
            },
            digest: floor.digest,
            changed: Changeset::default(),
        }
    }

    fn step(&mut self, entry: &Entry, summary: (Counts, &[u8])) -> Result<(), Error> {
        let revision = entry.revision;
        self.chain
            .follow(entry)
            .map_err(|source| Error::BrokenChain { revision, source })?;
        let changeset = journal::changeset(entry)?;
        self.follow(&changeset)
            .map_err(|mismatch| Error::Fold { revision, mismatch })?;
        self.digest.apply(&changeset);
        if self.digest != entry.state_digest {
            return Err(Error::DigestMismatch {
                revision,
                expected: entry.state_digest,
                found: self.digest,
                row: None,
            });
        }
        if summary != (Counts::of(&changeset), &journal::touched(&changeset)) {
            let why = format!("journal entry {revision} is not summed up as it is");
            return Err(Error::Damaged { why });
        }
        Ok(())
    }

    fn follow(&mut self, changeset: &Changeset) -> Result<(), Mismatch> {
        if self.floor == 0 {
            // There was no row: what is not there by now is not there.
            for change in changeset.iter() {
                if let Some(before) = change.before()
                    && self.changed.get(&before.row_key()).is_none()
                {
                    return Err(Mismatch {
                        expected: Some(Box::new(before.clone())),
                        found: None,
                    });
                }
            }
        }
        self.changed.then(changeset)
    }

    /// Checks that the rows are what the journal leads to; gives their number.
    fn expect_rows(&mut self, connection: &Connection) -> Result<usize, Error> {
        let (mut count, mut found) = (0, StateDigest::EMPTY);
        let mut first_difference: Option<Row> = None;
        // Rows that the journal says are there, and that were not seen.
        let mut missing = self.changed.iter().filter_map(Change::after).count();
        for table in Table::ALL {
            rows::for_each_exact(connection, *table, |row| {
                count += 1;
                found.add(&row);
                let as_expected = match self.changed.get(&row.row_key()) {
                    Some(change) => {
                        missing -= usize::from(change.after().is_some());
                        change.after() == Some(&row)
                    }
                    None => self.floor > 0,
                };
                if !as_expected && first_difference.is_none() {
                    first_difference = Some(row);
                }
            })?;
        }
        if missing > 0 && first_difference.is_none() {
            first_difference = self.first_missing(connection)?;
        }
        if found != self.digest || first_difference.is_some() {
            return Err(Error::DigestMismatch {
                revision: self.chain.revision,
                expected: self.digest,
                found,
                row: first_difference.map(|row| row.path()),
            });
        }
        Ok(count)
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

/// SQLite's check notes a page that could not be read among its findings. That is the disk's fault, not damage.
fn failed_read(verdict: &str) -> Option<rusqlite::Error> {
    let (_, code) = verdict.rsplit_once("error code=")?;
    let code: i32 = code.trim_end().parse().ok()?;
    let primary = code & 0xff;
    (primary == rusqlite::ffi::SQLITE_IOERR)
        .then(|| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None))
}
