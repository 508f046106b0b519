//! Changes that were made on an older revision, moved onto the last one.

use std::fmt;

use rewire_schema::Changeset;
use rewire_schema::merge;
use rusqlite::Connection;

use crate::blame;
use crate::error::Error;
use crate::journal;

/// Two people changed the same, and not in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What both changed, with base, ours and theirs.
    pub conflict: merge::Conflict,
    /// The revision that changed theirs last; none where only others of a list's positions were changed.
    pub revision: Option<u64>,
    /// Who committed that revision.
    pub author: Option<String>,
}

impl fmt::Display for Conflict {
    /// One line: `interfaces.wan.mtu: base 1500, ours 9000, theirs 1400 (revision 7 by ada)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.conflict.fmt(f)?;
        match (self.revision, &self.author) {
            (Some(revision), Some(author)) => write!(f, " (revision {revision} by {author})"),
            _ => Ok(()),
        }
    }
}

/// The changeset that does on the state of `head` what `ours` meant on that of `base`. Must run inside one moment. Cost:
/// the changesets in between.
pub(crate) fn onto_head(
    connection: &Connection,
    base: u64,
    head: u64,
    ours: &Changeset,
) -> Result<Changeset, Error> {
    journal::expect_state(connection, base)?;
    let theirs = journal::fold(connection, base + 1..=head)?;
    merge::rebase(ours, &theirs).or_else(|conflicts| {
        let conflicts = with_revisions(connection, conflicts, base, head)?;
        Err(Error::Conflicts(conflicts))
    })
}

/// Says of each conflict who changed theirs last, after `base` up to `head`.
pub(crate) fn with_revisions(
    connection: &Connection,
    conflicts: Vec<merge::Conflict>,
    base: u64,
    head: u64,
) -> Result<Vec<Conflict>, Error> {
    let conflicts = conflicts.into_iter().map(|conflict| {
        let last = blame::last_change(connection, &conflict.key, conflict.field, base, head)?;
        let author = match last {
            Some(revision) => Some(journal::entry(connection, revision)?.author),
            None => None,
        };
        Ok(Conflict {
            conflict,
            revision: last,
            author,
        })
    });
    conflicts.collect()
}
