//! The rows at the floor, on their way into a file or out of it.

use rewire_schema::{Change, Changeset};

use super::{FileError, Header, NO_ENTRY, Part};
use crate::digest::StateDigest;
use crate::error::JournalError;

/// Sums the rows up, and tells when there must be no more of them.
#[derive(Debug)]
pub(super) struct State {
    digest: StateDigest,
    /// Whether rows may follow.
    is_open: bool,
}

impl State {
    pub(super) fn new(header: &Header) -> Self {
        State {
            digest: StateDigest::EMPTY,
            is_open: header.has_state,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Adds rows. Gives the rule that is broken, if one is.
    pub(super) fn add(&mut self, rows: &Changeset) -> Result<(), &'static str> {
        if !self.is_open {
            return Err("a state has no place here");
        }
        if rows.is_empty() {
            return Err("a state is written without empty pieces");
        }
        if !rows.iter().all(|row| matches!(row, Change::Insert(_))) {
            return Err("a state consists of rows, not of changes to them");
        }
        self.digest.apply(rows);
        Ok(())
    }

    /// Ends the state, if it has not ended: no rows follow. Checks that they were those of the floor.
    pub(super) fn end(&mut self, header: &Header) -> Result<(), FileError> {
        let (expected, found) = (header.floor.state_digest, self.digest);
        if std::mem::take(&mut self.is_open) && found != expected {
            return Err(FileError::State {
                revision: header.floor.revision,
                expected,
                found,
            });
        }
        Ok(())
    }
}

/// Checks that a file with a state has entries: the state alone is no journal that goes on.
pub(super) fn expect_entries(header: &Header, count: u64, offset: u64) -> Result<(), FileError> {
    match header.has_state && count == 0 {
        true => Err(FileError::Damaged {
            part: Part::Trailer,
            offset,
            what: NO_ENTRY,
        }),
        false => Ok(()),
    }
}

/// What is wrong with the bytes of rows that begin at `offset`.
pub(super) fn unreadable(offset: u64, source: JournalError) -> FileError {
    FileError::Rows { offset, source }
}
