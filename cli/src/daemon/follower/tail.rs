//! What the gateway knows of the journal's end, and why it does not take over what does not follow from it.
//!
//! A gateway that runs on must not trust what a failing disk or somebody with other tools has made of the store: an entry
//! has to continue the hash chain and to lead to the state that it says, and a state that is read as a whole has to be
//! the one that the last entry says.

use rewire_configdb::{Entry, Error, StateDigest, Store};
use rewire_journal::{Chain, JournalError};
use rewire_schema::Changeset;

/// The last revision that was taken over: its place in the chain, and the digest of its state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tail {
    chain: Chain,
    digest: StateDigest,
}

/// Why a revision is not taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    /// The entry does not continue the chain, or cannot be read.
    #[error(transparent)]
    Entry(#[from] JournalError),
    /// The changes do not lead to the state that the entry says.
    #[error("its changes do not lead to the state on record: expected {expected}, found {found}")]
    Changes {
        expected: StateDigest,
        found: StateDigest,
    },
    /// The rows are not the state that the entry says.
    #[error("the store's rows are not the state on record: expected {expected}, found {found}")]
    Rows {
        expected: StateDigest,
        found: StateDigest,
    },
}

impl Tail {
    /// The tail that an entry makes of this one, and what it changes. Cost: the entry.
    pub(super) fn next(self, entry: &Entry) -> Result<(Tail, Changeset), Damage> {
        let Tail {
            mut chain,
            mut digest,
        } = self;
        chain.follow(entry)?;
        let changeset = entry.decode_changeset()?;
        digest.apply(&changeset);
        if digest != entry.state_digest {
            return Err(Damage::Changes {
                expected: entry.state_digest,
                found: digest,
            });
        }
        Ok((Tail { chain, digest }, changeset))
    }

    /// The tail at a revision that was read as a whole, and whose rows have this digest. Cost: the entry.
    pub(super) fn of(
        store: &Store,
        revision: u64,
        found: StateDigest,
    ) -> Result<Result<Tail, Damage>, Error> {
        let before_the_first = Chain::new(rewire_journal::genesis(&store.identity()));
        let (chain, expected) = if revision == 0 {
            (before_the_first, StateDigest::EMPTY)
        } else {
            let entry = store.entry(revision)?;
            // What came before is not looked at here: `journal verify` is for that.
            let mut chain = Chain {
                revision: revision - 1,
                hash: entry.parent,
            };
            if let Err(error) = chain.follow(&entry) {
                return Ok(Err(error.into()));
            }
            (chain, entry.state_digest)
        };
        Ok(if found == expected {
            Ok(Tail {
                chain,
                digest: found,
            })
        } else {
            Err(Damage::Rows { expected, found })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewire_configdb::{EntryKind, Hash};
    use rewire_schema::Change;
    use rewire_schema::model::VpcRow;

    /// Its hash is right, so that only following the changes finds it.
    #[test]
    fn a_sealed_entry_that_leads_elsewhere_than_it_says_is_damage() {
        let row = VpcRow::new("blue".parse().unwrap());
        let changeset: Changeset = [Change::Insert(row.into())].into_iter().collect();
        let start = Tail {
            chain: Chain::new(rewire_journal::genesis(&[7; 16])),
            digest: StateDigest::EMPTY,
        };
        let mut led_to = StateDigest::EMPTY;
        led_to.apply(&changeset);
        let entry = |state_digest| {
            Entry {
                revision: 1,
                kind: EntryKind::Commit,
                author: "ada".to_owned(),
                message: String::new(),
                committed_at: 0,
                schema_version: rewire_configdb::SCHEMA_VERSION,
                parent: start.chain.hash,
                state_digest,
                changeset: rewire_journal::encode(&changeset),
                hash: Hash::from_bytes([0; 32]),
            }
            .sealed()
        };
        let (tail, found) = start.next(&entry(led_to)).unwrap();
        assert_eq!((tail.digest, found), (led_to, changeset.clone()));
        let damage = start.next(&entry(StateDigest::EMPTY)).unwrap_err();
        assert!(matches!(damage, Damage::Changes { .. }), "{damage}");
    }
}
