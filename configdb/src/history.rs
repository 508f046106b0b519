//! Looking back, and ways back.

use rewire_journal::{Entry, StateDigest};
use rewire_schema::{Changeset, Configuration};
use rusqlite::Connection;

use crate::error::Error;
use crate::store::Store;
use crate::{journal, rows};

impl Store {
    /// The journal entry of a revision.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`], [`Error::Sqlite`], [`Error::Damaged`].
    pub fn entry(&self, revision: u64) -> Result<Entry, Error> {
        let snapshot = self.snapshot()?;
        journal::entry(&snapshot, revision)
    }

    /// What changed after `revision`, oldest first: all that a follower who has that revision needs. Empty where it is
    /// the last one. Cost: those changesets.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`]; [`Error::Journal`] where a changeset cannot be decoded;
    /// [`Error::Sqlite`], [`Error::Damaged`].
    pub fn changesets_since(&self, revision: u64) -> Result<Vec<(u64, Changeset)>, Error> {
        let snapshot = self.snapshot()?;
        journal::expect_state(&snapshot, revision)?;
        let mut changesets = Vec::new();
        journal::for_each_entry(&snapshot, revision + 1..=u64::MAX, |entry| {
            changesets.push((entry.revision, journal::changeset(&entry)?));
            Ok(())
        })?;
        Ok(changesets)
    }

    /// The state of any revision: the running one, taken back step by step. Cost: all rows, and the changesets since.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`]; [`Error::DigestMismatch`] where the outcome is not what the journal
    /// says; [`Error::Sqlite`], [`Error::Journal`], [`Error::Fold`], [`Error::Mismatch`], [`Error::Damaged`].
    pub fn configuration_at(&self, revision: u64) -> Result<Configuration, Error> {
        let snapshot = self.snapshot()?;
        state_at(&snapshot, revision)
    }

    /// The changeset that leads from the last revision back to the state of `to`, to be committed as
    /// [`EntryKind::Rewind`](rewire_journal::EntryKind::Rewind). Empty where the states are equal. Revision 0 is the empty
    /// configuration. Cost: the changesets since, not the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`], [`Error::Journal`], [`Error::Fold`], [`Error::Sqlite`].
    pub fn rewind_changeset(&self, to: u64) -> Result<Changeset, Error> {
        let snapshot = self.snapshot()?;
        way_back(&snapshot, to)
    }

    /// The first revision whose state is known: 0, the empty configuration, or the one up to which the journal was pruned. Constant
    /// cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn first_state(&self) -> Result<u64, Error> {
        Ok(journal::floor(&self.connection)?.revision)
    }

    /// The changeset that leads from the state of one revision to that of another, which may be before it. Revision 0 is the
    /// empty configuration. Cost: the changesets in between, not the configuration.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRevision`], [`Error::Pruned`], [`Error::Journal`], [`Error::Fold`], [`Error::Sqlite`].
    pub fn changeset_between(&self, from: u64, to: u64) -> Result<Changeset, Error> {
        let snapshot = self.snapshot()?;
        for revision in [from, to] {
            journal::expect_state(&snapshot, revision)?;
        }
        Ok(match from <= to {
            true => journal::fold(&snapshot, from + 1..=to)?,
            false => journal::fold(&snapshot, to + 1..=from)?.inverse(),
        })
    }
}

/// See [`Store::configuration_at`].
pub(crate) fn state_at(connection: &Connection, revision: u64) -> Result<Configuration, Error> {
    let expected = journal::state_digest(connection, revision)?;
    let mut configuration = rows::configuration(connection)?;
    configuration.apply(&way_back(connection, revision)?)?;
    let found = StateDigest::of(&configuration);
    if found != expected {
        return Err(Error::DigestMismatch {
            revision,
            expected,
            found,
            row: None,
        });
    }
    Ok(configuration)
}

/// The inverses of the changesets after `to`, newest first, in one.
pub(crate) fn way_back(connection: &Connection, to: u64) -> Result<Changeset, Error> {
    journal::expect_state(connection, to)?;
    // Gathered forwards, as entries are read, and turned round at the end: (ab)⁻¹ = b⁻¹a⁻¹.
    Ok(journal::fold(connection, to + 1..=u64::MAX)?.inverse())
}
