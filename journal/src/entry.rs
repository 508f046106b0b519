use std::fmt;

use rewire_schema::Changeset;

use crate::digest::StateDigest;
use crate::error::{ChainFault, JournalError};

/// A BLAKE3 hash: of an entry, or of a store's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Hash(bytes)
    }
    /// The hash's bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for Hash {
    /// All 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a revision came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Somebody changed something.
    Commit,
    /// The state of an earlier revision was taken again.
    Rewind {
        /// The revision whose state this is; 0 is the empty beginning.
        to: u64,
    },
    /// What one earlier revision did was undone, and everything after it kept.
    Revert {
        /// The revision that was undone, from 1.
        of: u64,
    },
}

/// The journal's record of one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The revision, from 1.
    pub revision: u64,
    /// How it came to be.
    pub kind: EntryKind,
    /// Who committed it.
    pub author: String,
    /// What they said about it.
    pub message: String,
    /// When, in microseconds since the Unix epoch, by the clock of the machine that committed.
    pub committed_at: i64,
    /// The number of the last schema migration at that time.
    pub schema_version: u32,
    /// The hash of the entry before; for revision 1, of the store's beginning ([`genesis`]).
    pub parent: Hash,
    /// The digest of the state after this revision.
    pub state_digest: StateDigest,
    /// What changed, as [`encode`](crate::encode) writes it.
    pub changeset: Vec<u8>,
    /// The hash of everything above.
    pub hash: Hash,
}

impl Entry {
    /// The hash of all fields but `hash`. Each is preceded by its length, so that none can flow into the next.
    pub fn compute_hash(&self) -> Hash {
        // Taken apart by name, so that a field that is added cannot be forgotten here.
        let Entry {
            revision,
            kind,
            author,
            message,
            committed_at,
            schema_version,
            parent,
            state_digest,
            changeset,
            hash: _,
        } = self;
        let mut hasher = blake3::Hasher::new_derive_key("rewire 2026 journal entry");
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(&revision.to_le_bytes());
        match kind {
            EntryKind::Commit => field(b"commit"),
            EntryKind::Rewind { to } => {
                field(b"rewind");
                field(&to.to_le_bytes());
            }
            EntryKind::Revert { of } => {
                field(b"revert");
                field(&of.to_le_bytes());
            }
        }
        field(author.as_bytes());
        field(message.as_bytes());
        field(&committed_at.to_le_bytes());
        field(&schema_version.to_le_bytes());
        field(&parent.to_bytes());
        field(&state_digest.to_bytes());
        field(changeset);
        Hash(*hasher.finalize().as_bytes())
    }

    /// The entry with its `hash` set to what its fields give.
    pub fn sealed(mut self) -> Self {
        self.hash = self.compute_hash();
        self
    }

    /// What changed. Cost: the changeset.
    ///
    /// # Errors
    ///
    /// As [`decode`](crate::decode).
    pub fn decode_changeset(&self) -> Result<Changeset, JournalError> {
        crate::decode(&self.changeset)
    }
}

/// The parent of revision 1: made from the store's identity, so that entries of two stores never make one chain.
pub fn genesis(identity: &[u8; 16]) -> Hash {
    let mut hasher = blake3::Hasher::new_derive_key("rewire 2026 journal genesis");
    hasher.update(identity);
    Hash(*hasher.finalize().as_bytes())
}

/// A chain that has been followed up to some revision. Checking a journal entry by entry needs no more memory than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The last revision that was followed; 0 at the beginning.
    pub revision: u64,
    /// Its hash, or [`genesis`].
    pub hash: Hash,
}

impl Chain {
    /// The chain before revision 1.
    pub fn new(genesis: Hash) -> Self {
        Chain {
            revision: 0,
            hash: genesis,
        }
    }

    /// Follows the next entry.
    ///
    /// # Errors
    ///
    /// [`JournalError::Chain`] where the entry does not continue the chain or is not what its hash says.
    pub fn follow(&mut self, entry: &Entry) -> Result<(), JournalError> {
        *self = self.next(entry).map_err(|fault| JournalError::Chain {
            revision: entry.revision,
            fault,
        })?;
        Ok(())
    }

    /// The chain up to `entry`, or what about it does not continue this one.
    pub(crate) fn next(self, entry: &Entry) -> Result<Chain, ChainFault> {
        let expected = self.revision.saturating_add(1);
        if entry.revision != expected || expected == self.revision {
            return Err(ChainFault::Revision { expected });
        }
        if entry.parent != self.hash {
            return Err(ChainFault::Parent);
        }
        if entry.compute_hash() != entry.hash {
            return Err(ChainFault::Hash);
        }
        Ok(Chain {
            revision: entry.revision,
            hash: entry.hash,
        })
    }
}

/// Checks that entries follow each other from revision 1 on; gives the end of the chain.
///
/// # Errors
///
/// [`JournalError::Chain`] with the first revision that does not fit.
pub fn verify_chain<'a>(
    genesis: Hash,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> Result<Chain, JournalError> {
    let mut chain = Chain::new(genesis);
    for entry in entries {
        chain.follow(entry)?;
    }
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> (Hash, Vec<Entry>) {
        let beginning = genesis(&[7; 16]);
        let mut parent = beginning;
        let entries = (1..=length).map(|revision| {
            let entry = Entry {
                revision,
                kind: if revision == 3 {
                    EntryKind::Rewind { to: 1 }
                } else {
                    EntryKind::Commit
                },
                author: "ada".into(),
                message: format!("change {revision}"),
                committed_at: 1_700_000_000_000_000 + revision as i64,
                schema_version: 2,
                parent,
                state_digest: StateDigest::EMPTY,
                changeset: crate::encode(&Changeset::default()),
                hash: Hash([0; 32]),
            }
            .sealed();
            parent = entry.hash;
            entry
        });
        (beginning, entries.collect())
    }

    #[test]
    fn a_whole_chain_is_followed_to_its_end() {
        let (beginning, entries) = chain(5);
        let end = verify_chain(beginning, &entries).unwrap();
        assert_eq!(
            end,
            Chain {
                revision: 5,
                hash: entries[4].hash
            }
        );
    }

    #[test]
    fn every_field_is_covered() {
        type Edit = fn(&mut Entry);
        let edits: [(&str, Edit); 10] = [
            ("kind", |e| e.kind = EntryKind::Commit),
            // The same number, but another word before it.
            ("revert", |e| e.kind = EntryKind::Revert { of: 1 }),
            ("rewind target", |e| e.kind = EntryKind::Rewind { to: 2 }),
            ("author", |e| e.author.push('x')),
            // A character moves from one field to the next: only the lengths tell.
            ("border", |e| {
                e.author.push('c');
                e.message.remove(0);
            }),
            ("time", |e| e.committed_at += 1),
            ("schema", |e| e.schema_version += 1),
            ("digest", |e| {
                e.state_digest = StateDigest::from_bytes([1; 32])
            }),
            ("changeset", |e| e.changeset.push(0)),
            ("hash", |e| e.hash = Hash([1; 32])),
        ];
        for (what, edit) in edits {
            let (beginning, mut entries) = chain(5);
            edit(&mut entries[2]);
            let fault = ChainFault::Hash;
            assert_eq!(
                verify_chain(beginning, &entries),
                Err(JournalError::Chain { revision: 3, fault }),
                "{what}"
            );
        }
    }

    #[test]
    fn entries_cannot_be_dropped_moved_or_taken_from_elsewhere() {
        let (beginning, mut entries) = chain(5);
        entries.remove(1);
        let fault = ChainFault::Revision { expected: 2 };
        assert_eq!(
            verify_chain(beginning, &entries),
            Err(JournalError::Chain { revision: 3, fault })
        );

        let (_, entries) = chain(5);
        let fault = ChainFault::Parent;
        assert_eq!(
            verify_chain(genesis(&[8; 16]), &entries),
            Err(JournalError::Chain { revision: 1, fault })
        );

        // An entry that was changed and sealed again no longer leads to the next one.
        let (beginning, mut entries) = chain(5);
        entries[2].message.clear();
        entries[2] = entries[2].clone().sealed();
        assert_eq!(
            verify_chain(beginning, &entries),
            Err(JournalError::Chain { revision: 4, fault })
        );
    }

    /// Hashes are stored: these values may never change.
    #[test]
    fn known_entries_have_their_known_hashes() {
        let (beginning, entries) = chain(3);
        let hashes: Vec<String> = entries.iter().map(|e| e.hash.to_string()).collect();
        assert_eq!(
            beginning.to_string(),
            "7703752efaea981d7208a0ae922c1291362f3f50ee2fa8ce7591a5136e3ae4d1"
        );
        assert_eq!(
            hashes,
            [
                "9fa7c9d5f1d0cf3efdc1fc378c99230e97b30f338e63944aecae3454d4c6c33e",
                "3ab8de6932cd15d9a0116c2792babc4b0f8d9e31fbdc73ee0039f0c18f913a1a",
                "29d02f7f91557e1e5ac75af9b9ae19af78e383fb71db72a041a4cf7cffa49638",
            ]
        );
        let revert = Entry {
            kind: EntryKind::Revert { of: 1 },
            ..entries[2].clone()
        };
        assert_eq!(
            revert.compute_hash().to_string(),
            "b948aa32ad3b984ccbad68e8534b1a22e8f2e1ce7f0ac62572d5404148ce9e38"
        );
    }
}
