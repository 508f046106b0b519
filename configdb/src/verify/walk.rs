//! Whether the journal is a chain, and the rows are what it leads to.

use std::ops::ControlFlow;

use rewire_journal::{Chain, Fold, Hash, Met, RawValue, Recount, StateDigest};
use rewire_schema::Table;
use rusqlite::Connection;

use super::{Limit, Verified, Wrong, of_changeset};
use crate::error::Error;
use crate::{journal, rows};

/// The journal, gone through up to its end.
pub(super) struct Walk {
    floor: u64,
    chain: Chain,
    /// The digest of the last state, as its entry has it.
    digest: StateDigest,
    fold: Fold,
}

/// Goes through the whole journal: that its entries are a chain, and that each fits onto those before it.
pub(super) fn through(
    connection: &Connection,
    genesis: Hash,
    limit: &Limit,
) -> Result<Walk, Wrong> {
    let floor = journal::floor(connection).map_err(Wrong::of_all)?;
    let mut walk = Walk {
        floor: floor.revision,
        chain: Chain {
            revision: floor.revision,
            hash: floor.hash.unwrap_or(genesis),
        },
        digest: floor.digest,
        fold: match floor.revision {
            0 => Fold::from_nothing(),
            _ => Fold::from_unknown(),
        },
    };
    let mut reached = floor.revision;
    let read = journal::for_each_summarized_entry(connection, |entry, _| {
        let revision = entry.revision;
        reached = revision;
        if limit.is_before(revision) {
            return Ok(ControlFlow::Break(()));
        }
        walk.chain
            .follow(&entry)
            .map_err(|source| Error::BrokenChain { revision, source })?;
        walk.fold
            .follow(&entry.changeset)
            .map_err(|error| of_changeset(revision, error))?;
        walk.digest = entry.state_digest;
        Ok(ControlFlow::Continue(()))
    });
    // Where reading itself failed, it did so behind the last entry.
    read.map_err(|error| limit.wrong(reached, error))?;
    Ok(walk)
}

impl Walk {
    /// Checks that the rows are what the journal leads to. Rows that are so to the byte have the digest that the journal
    /// leads to, and need not be hashed; where it begins at a checkpoint, those that it never touched have to be, with the
    /// rest.
    pub(super) fn expect_rows(mut self, connection: &Connection) -> Result<Verified, Error> {
        let from_nothing = self.floor == 0;
        let mut recount = Recount::from(StateDigest::EMPTY);
        let mut count = 0;
        for table in Table::ALL {
            let is_as_expected = |row: &[RawValue<'_>]| {
                count += 1;
                let met = self.fold.meet(*table, row.iter().copied());
                met != Met::Different && (from_nothing || recount.add(*table, row).is_ok())
            };
            if !rows::all_raw(connection, *table, is_as_expected)? {
                return Err(self.difference(connection, Some(count))?);
            }
        }
        let is_missing = self.fold.has_unmet();
        if is_missing || !from_nothing && recount.digest() != self.digest {
            return Err(self.difference(connection, None)?);
        }
        Ok(Verified {
            revisions: self.chain.revision,
            floor: self.floor,
            rows: count,
        })
    }

    /// What to say of rows of which one is different (the `number`th, from 1), or missing. Cost: all of them, decoded.
    fn difference(&self, connection: &Connection, number: Option<usize>) -> Result<Error, Error> {
        let (mut count, mut found, mut row) = (0, StateDigest::EMPTY, None);
        for table in Table::ALL {
            rows::for_each_exact(connection, *table, |read| {
                count += 1;
                found.add(&read);
                if number == Some(count) {
                    row = Some(read);
                }
            })?;
        }
        if number.is_none() {
            let unmet = self.fold.first_unmet();
            row = unmet.map_err(|error| of_changeset(self.chain.revision, error))?;
        }
        Ok(Error::DigestMismatch {
            revision: self.chain.revision,
            expected: self.digest,
            found,
            row: row.map(|row| row.path()),
        })
    }
}
