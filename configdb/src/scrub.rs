//! Looking for damage in a store that is in use: a few rows at a time, beside whoever reads and commits.

use std::cmp::Ordering;
use std::ops::ControlFlow;

use rewire_journal::{Chain, Entry, JournalError, StateDigest};
use rewire_schema::{RowKey, Table, Value};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::{During, Error};
use crate::journal::{self, Head};
use crate::store::Store;
use crate::{file, rows};

/// One recount of all rows against the digest of the last revision, in steps, while others commit.
///
/// What was counted is kept up to date by the changesets that are committed meanwhile, so that the recount is of the revision
/// that is the last one when it ends. Each step reads at one moment and lets go of it: no writer waits, and the
/// write-ahead log can be taken into the file between steps. The entries that are committed meanwhile have to continue the
/// chain, and to lead to the states that they say.
///
/// The connection is the scrub's own, and so are the pages that it remembers: each recount needs a new one to see the file
/// anew. What the system keeps of the file in memory is not read from the disk again.
pub struct Scrub {
    connection: Connection,
    /// The last revision that was followed.
    head: Head,
    /// The digest of the rows up to `cursor`, as they are in that revision.
    digest: StateDigest,
    cursor: Cursor,
    rows: u64,
}

/// How far the rows were counted: all of the tables before this one, and of it those up to a key.
#[derive(Clone, Debug, Default)]
struct Cursor {
    table: usize,
    key: Option<Vec<Value>>,
}

impl Cursor {
    fn has_passed(&self, key: &RowKey) -> bool {
        match (key.table() as usize).cmp(&self.table) {
            Ordering::Less => true,
            Ordering::Greater => false,
            // Values compare as SQLite compares them: integers by size, text by bytes, and a column has one type.
            Ordering::Equal => self
                .key
                .as_ref()
                .is_some_and(|passed| key.values() <= *passed),
        }
    }
}

/// A recount that came to its end, and found everything in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// The revision whose rows these are.
    pub revision: u64,
    /// How many there are.
    pub rows: u64,
}

impl Store {
    /// Begins a recount, with a connection of its own. Cost: the last entry.
    ///
    /// # Errors
    ///
    /// [`Error::BrokenChain`] where that entry is not what its hash says; [`Error::Damaged`], [`Error::Sqlite`].
    pub fn scrub(&self) -> Result<Scrub, Error> {
        let connection = file::open_beside(self.path())?;
        let head = {
            let snapshot = snapshot(&connection)?;
            last_entry(&snapshot, &self.identity())?
        };
        Ok(Scrub {
            connection,
            head,
            digest: StateDigest::EMPTY,
            cursor: Cursor::default(),
            rows: 0,
        })
    }
}

impl Scrub {
    /// The last revision that was looked at.
    pub fn revision(&self) -> u64 {
        self.head.revision
    }

    /// Counts at most so many rows more, and at least one. Breaks where those were the last: all is in order. Cost: those
    /// rows, and the changesets since the last step.
    ///
    /// # Errors
    ///
    /// What is damaged, for which [`Error::is_damage`] holds: [`Error::DigestMismatch`], [`Error::BrokenChain`],
    /// [`Error::Journal`], [`Error::Damaged`], and what SQLite finds. After that, and after [`Error::Busy`] and other errors of
    /// the system, a recount has to begin anew.
    pub fn step(&mut self, most: usize) -> Result<ControlFlow<Scrubbed>, Error> {
        // Taken apart, because the moment borrows the connection.
        let Scrub {
            connection,
            head,
            digest,
            cursor,
            rows,
        } = self;
        let moment = snapshot(connection)?;
        if journal::floor(&moment)?.revision > head.revision {
            // The entries that would lead from there to now were pruned.
            *head = journal::head(&moment)?;
            (*digest, *cursor, *rows) = (StateDigest::EMPTY, Cursor::default(), 0);
        }
        journal::for_each_entry(&moment, head.revision + 1..=u64::MAX, |entry| {
            *head = follow(*head, &entry, digest, cursor)?;
            Ok(())
        })?;
        let mut left = most.max(1);
        while let Some(table) = Table::ALL.get(cursor.table) {
            let mut last = None;
            let mut count = 0;
            rows::after(&moment, *table, cursor.key.as_deref(), left, |row| {
                digest.add(&row);
                count += 1;
                last = Some(row);
            })?;
            *rows += count as u64;
            if count < left {
                *cursor = Cursor {
                    table: cursor.table + 1,
                    key: None,
                };
                left -= count;
            } else {
                cursor.key = last.map(|row| row.row_key().values());
                return Ok(ControlFlow::Continue(()));
            }
        }
        if *digest != head.digest {
            return Err(Error::DigestMismatch {
                revision: head.revision,
                expected: head.digest,
                found: *digest,
                row: None,
            });
        }
        Ok(ControlFlow::Break(Scrubbed {
            revision: head.revision,
            rows: *rows,
        }))
    }
}

fn snapshot(connection: &Connection) -> Result<Transaction<'_>, Error> {
    Transaction::new_unchecked(connection, TransactionBehavior::Deferred)
        .during("beginning to read")
}

/// The end of the journal, where its entry is what its hash says.
fn last_entry(connection: &Connection, identity: &[u8; 16]) -> Result<Head, Error> {
    let head = journal::head(connection)?;
    let floor = journal::floor(connection)?;
    if head.revision > floor.revision {
        let entry = journal::entry(connection, head.revision)?;
        let before = match head.revision - 1 == floor.revision {
            true => floor.hash_or_genesis(identity),
            false => entry.parent,
        };
        continue_chain(head.revision - 1, before, &entry)?;
    }
    Ok(head)
}

fn continue_chain(revision: u64, hash: rewire_journal::Hash, entry: &Entry) -> Result<(), Error> {
    let mut chain = Chain { revision, hash };
    let broken = |source: JournalError| Error::BrokenChain {
        revision: revision + 1,
        source,
    };
    chain.follow(entry).map_err(broken)
}

/// Follows an entry that was committed meanwhile: checks it, and changes what was counted as it changed the rows.
fn follow(
    head: Head,
    entry: &Entry,
    digest: &mut StateDigest,
    cursor: &Cursor,
) -> Result<Head, Error> {
    // The first entry of all follows the beginning, which the store's identity gives: its parent is taken as it is.
    continue_chain(head.revision, head.hash.unwrap_or(entry.parent), entry)?;
    let changeset = journal::changeset(entry)?;
    let mut state = head.digest;
    state.apply(&changeset);
    if state != entry.state_digest {
        return Err(Error::DigestMismatch {
            revision: entry.revision,
            expected: entry.state_digest,
            found: state,
            row: None,
        });
    }
    let passed = changeset
        .iter()
        .filter(|change| cursor.has_passed(&change.row().row_key()));
    digest.apply(&passed.cloned().collect());
    Ok(Head {
        revision: entry.revision,
        hash: Some(entry.hash),
        digest: entry.state_digest,
    })
}
