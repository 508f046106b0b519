//! Undoing one old revision, and nothing that came after it.

use rewire_schema::{Changeset, merge};

use crate::error::Error;
use crate::journal;
use crate::merge::with_revisions;
use crate::store::Store;

impl Store {
    /// The changeset that undoes revision `of` and leaves what came after it: to be committed on the last revision as
    /// [`EntryKind::Revert`](rewire_journal::EntryKind::Revert). Empty where everything is undone already. A commit of it
    /// is still refused where rows of later revisions refer to what goes; [`Error::Dangling`] then says which revision
    /// made them. Cost: the changesets from that revision on.
    ///
    /// # Errors
    ///
    /// [`Error::RevertConflict`] where later revisions changed the same again; [`Error::NoSuchRevision`],
    /// [`Error::Pruned`]; [`Error::Journal`], [`Error::Fold`], [`Error::Sqlite`].
    pub fn revert_changeset(&self, of: u64) -> Result<Changeset, Error> {
        let snapshot = self.snapshot()?;
        let head = journal::revision(&snapshot)?;
        let ours = journal::changeset(&journal::entry(&snapshot, of)?)?.inverse();
        let theirs = journal::fold(&snapshot, of + 1..=head)?;
        merge::rebase(&ours, &theirs).or_else(|conflicts| {
            Err(Error::RevertConflict {
                revision: of,
                depends: with_revisions(&snapshot, conflicts, of, head)?,
            })
        })
    }
}
