//! Whether the entries say the truth about their changesets.

use std::ops::ControlFlow;

use rewire_journal::{Recount, Summary};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{Limit, Wrong, of_changeset};
use crate::error::{During, Error};
use crate::journal::{self, Counts};

/// Checks each entry's digest, numbers and filter, and that each value of its changeset is one that its column takes. Entries
/// never change: that this connection may see a later moment than the others' does not matter.
pub(super) fn every_entry(connection: Connection, limit: &Limit) -> Result<(), Wrong> {
    let snapshot = Transaction::new_unchecked(&connection, TransactionBehavior::Deferred)
        .during("beginning to read")
        .map_err(Wrong::of_all)?;
    let floor = journal::floor(&snapshot).map_err(Wrong::of_all)?;
    let mut recount = Recount::from(floor.digest);
    let mut reached = floor.revision;
    let read = journal::for_each_summarized_entry(&snapshot, |entry, (counts, touched)| {
        reached = entry.revision;
        if limit.is_before(entry.revision) {
            return Ok(ControlFlow::Break(()));
        }
        let revision = entry.revision;
        let summary = recount
            .follow(&entry.changeset)
            .map_err(|error| of_changeset(revision, error))?;
        let (expected, found) = (entry.state_digest, recount.digest());
        if expected != found {
            return Err(Error::DigestMismatch {
                revision,
                expected,
                found,
                row: None,
            });
        }
        let Summary {
            inserted,
            updated,
            deleted,
            filter,
        } = summary;
        let recounted = Counts {
            inserted,
            updated,
            deleted,
        };
        if counts != recounted || touched != filter.to_bytes() {
            let why = format!("journal entry {revision} is not summed up as it is");
            return Err(Error::Damaged { why });
        }
        Ok(ControlFlow::Continue(()))
    });
    // Where reading itself failed, it did so behind the last entry.
    read.map_err(|error| limit.wrong(reached, error))
}
