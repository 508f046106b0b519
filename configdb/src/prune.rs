//! Shortening the journal from its beginning.

use std::fmt;

use rusqlite::params;

use crate::error::{During, Error};
use crate::store::Store;
use crate::{confirmation, journal, tag};

/// Why entries of the journal must stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// The last entry always stays.
    Last {
        /// The last revision.
        head: u64,
    },
    /// A revision among them has a name. Pruning with force takes the name away.
    Tag {
        /// The revision.
        revision: u64,
        /// Its name.
        name: String,
    },
    /// A commit that is not confirmed may have to go back further.
    Confirmation {
        /// The revision whose state would come back.
        back_to: u64,
    },
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Needed::Last { head } => write!(f, "the last revision is {head}, and its entry stays"),
            Needed::Tag { revision, name } => {
                write!(f, "revision {revision} has the tag \"{name}\"")
            }
            Needed::Confirmation { back_to } => {
                write!(
                    f,
                    "a commit that is not confirmed may go back to revision {back_to}"
                )
            }
        }
    }
}

/// What pruning did.
#[derive(Debug)]
pub struct Pruned {
    /// How many entries went.
    pub entries: u64,
    /// The oldest revision whose state can be told now.
    pub floor: u64,
    /// The tags that went with their revisions.
    pub tags: Vec<String>,
    /// Whether the file became smaller. Where it did not, the entries are gone all the same, and their space is used
    /// again; [`Store::compact`] may be tried later.
    pub compacted: Result<(), Error>,
}

impl Store {
    /// Removes the journal entries up to `up_to`, and leaves a checkpoint: that revision's hash, which the next entry is
    /// chained to, and the digest of its state. States from `up_to` on can still be told and gone back to; older ones
    /// cannot. Does nothing where they are gone already. `force` takes the tags of older revisions away.
    ///
    /// The space is given back by [`Store::compact`]. An incremental vacuum would cost every commit a look after the map of
    /// pages that it needs; pruning is rare.
    ///
    /// # Errors
    ///
    /// [`Error::StillNeeded`], [`Error::NoSuchRevision`], [`Error::Busy`], [`Error::Sqlite`].
    pub fn prune(&mut self, up_to: u64, force: bool) -> Result<Pruned, Error> {
        let during = "pruning the journal";
        let transaction = self.begin()?;
        let (head, floor) = (
            journal::revision(&transaction)?,
            journal::floor(&transaction)?.revision,
        );
        let needed = |why| Err(Error::StillNeeded { up_to, why });
        if up_to > head {
            return Err(Error::NoSuchRevision {
                revision: up_to,
                head,
            });
        }
        if up_to <= floor {
            return Ok(Pruned {
                entries: 0,
                floor,
                tags: Vec::new(),
                compacted: Ok(()),
            });
        }
        if up_to == head {
            return needed(Needed::Last { head });
        }
        if let Some(pending) = confirmation::pending(&transaction)?
            && pending.back_to < up_to
        {
            return needed(Needed::Confirmation {
                back_to: pending.back_to,
            });
        }
        let tags = tag::up_to(&transaction, up_to)?;
        if let Some(tag) = tags.first().filter(|_| !force) {
            return needed(Needed::Tag {
                revision: tag.revision,
                name: tag.name.clone(),
            });
        }
        let entry = journal::entry(&transaction, up_to)?;
        transaction
            .execute(
                // Not INSERT OR REPLACE: that would delete, which the checkpoint's trigger forbids.
                "INSERT INTO checkpoint (only, revision, hash, state_digest) VALUES (1, ?1, ?2, ?3)
                 ON CONFLICT (only) DO UPDATE SET revision = excluded.revision, hash = excluded.hash,
                   state_digest = excluded.state_digest",
                params![up_to, entry.hash.to_bytes(), entry.state_digest.to_bytes()],
            )
            .during(during)?;
        transaction
            .execute("DELETE FROM journal WHERE revision <= ?1", [up_to])
            .during(during)?;
        // The state of `up_to` itself is still there, and so may its name be.
        transaction
            .execute("DELETE FROM tag WHERE revision < ?1", [up_to])
            .during(during)?;
        transaction.commit().during(during)?;
        let gone = tags.into_iter().filter(|tag| tag.revision < up_to);
        Ok(Pruned {
            entries: up_to - floor,
            floor: up_to,
            tags: gone.map(|tag| tag.name).collect(),
            compacted: self.compact(),
        })
    }

    /// Gives space that nothing uses any more back to the file system. Cost: the whole file, which is written anew, and as
    /// much space again meanwhile. Others can read meanwhile, and wait with writing.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Sqlite`]; the store stays as it is.
    pub fn compact(&self) -> Result<(), Error> {
        let during = "giving space back";
        self.connection.execute_batch("VACUUM").during(during)?;
        // The new file is in the log; readers of the old one may keep it there a while longer.
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .during(during)
    }
}
