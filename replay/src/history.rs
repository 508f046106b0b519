//! What is replayed: a state, and the journal entries that follow it.

use std::io::{Read, Write};

use rewire_journal::export::{FileError, Floor, Header, Reader, Writer};
use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
use rewire_schema::{Change, Changeset, Configuration, Mismatch};

/// How many rows of a state are in one piece of a journal file, as stores write them.
const PIECE: usize = 4096;

/// Why a history cannot be read, or followed.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The journal file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file begins in the middle, and does not say with what.
    #[error("the journal begins after revision {floor}, and its state there is not in the file")]
    NoState {
        /// The revision before the first entry.
        floor: u64,
    },
    /// A revision that is asked for is not in the history.
    #[error("revision {revision} is not in the journal, which has revisions {first} to {last}")]
    NoSuchRevision {
        /// The revision.
        revision: u64,
        /// The first state that is there.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// An entry's changeset cannot be read.
    #[error("the changeset of revision {revision} cannot be read: {source}")]
    Changeset {
        /// The revision.
        revision: u64,
        /// What is wrong with it.
        source: rewire_journal::JournalError,
    },
    /// A changeset does not follow the state before it.
    #[error("revision {revision} does not follow the one before it: {source}")]
    DoesNotFollow {
        /// The revision.
        revision: u64,
        /// The row that does not fit.
        source: Box<Mismatch>,
    },
}

/// A part of a journal, in memory: the state that it begins with, and what was committed after it.
#[derive(Clone, Debug)]
pub struct History {
    identity: [u8; 16],
    floor: Floor,
    state: Configuration,
    entries: Vec<Entry>,
}

impl History {
    /// The history of a store of this identity: the state at the floor, and the entries that follow it. They are the caller's to
    /// have checked: a store's own are.
    pub fn new(
        identity: [u8; 16],
        floor: Floor,
        state: Configuration,
        entries: Vec<Entry>,
    ) -> History {
        History {
            identity,
            floor,
            state,
            entries,
        }
    }

    /// A configuration that is in no journal, as revision 1 of one that begins with it.
    pub fn of_configuration(configuration: &Configuration) -> History {
        History::of_configurations([configuration])
    }

    /// Configurations that are in no journal, one after the other, from revision 1 on; by nobody, and at no time.
    pub fn of_configurations<'a>(
        configurations: impl IntoIterator<Item = &'a Configuration>,
    ) -> History {
        let identity = [0; 16];
        let floor = Floor::beginning(&identity);
        let nothing = Configuration::default();
        let (mut parent, mut before) = (floor.hash, &nothing);
        let entries = configurations
            .into_iter()
            .zip(1..)
            .map(|(after, revision)| {
                let changeset = Changeset::between(before, after);
                let entry = unsigned(revision, parent, after, &changeset);
                (parent, before) = (entry.hash, after);
                entry
            });
        let entries = entries.collect();
        History::new(identity, floor, Configuration::default(), entries)
    }

    /// Reads a journal file, whole or with the state that it begins with; every entry is checked against the chain. Cost: the
    /// file, in memory.
    ///
    /// # Errors
    ///
    /// [`HistoryError::File`], [`HistoryError::NoState`], [`HistoryError::DoesNotFollow`] where a row of the state is there
    /// twice.
    pub fn read(source: impl Read) -> Result<History, HistoryError> {
        let mut reader = Reader::new(source)?;
        let Header {
            identity,
            floor,
            has_state,
        } = *reader.header();
        if floor.revision > 0 && !has_state {
            let floor = floor.revision;
            return Err(HistoryError::NoState { floor });
        }
        let mut state = Configuration::default();
        while let Some(rows) = reader.next_rows()? {
            apply(&mut state, floor.revision, &rows)?;
        }
        let entries = reader.collect::<Result<_, _>>()?;
        Ok(History::new(identity, floor, state, entries))
    }

    /// The part that begins with the state at one revision and ends with another, both inclusive. The entry of the first is
    /// kept where it is there. Cost: the changesets before.
    ///
    /// # Errors
    ///
    /// [`HistoryError::NoSuchRevision`], and as [`changeset`].
    pub fn between(mut self, from: u64, to: u64) -> Result<History, HistoryError> {
        let (first, last) = (self.first(), self.last());
        for revision in [from, to.max(from)] {
            if !(first..=last).contains(&revision) {
                return Err(HistoryError::NoSuchRevision {
                    revision,
                    first,
                    last,
                });
            }
        }
        self.entries.truncate((to.max(from) - first) as usize);
        let skipped = from.saturating_sub(first + 1) as usize;
        for entry in self.entries.drain(..skipped) {
            apply(&mut self.state, entry.revision, &changeset(&entry)?)?;
            self.floor = Floor {
                revision: entry.revision,
                hash: entry.hash,
                state_digest: entry.state_digest,
            };
        }
        Ok(self)
    }

    /// Writes it as a journal file. Where nothing follows the state that it begins with, as in a store that is pruned up to its last
    /// revision, that state is written as what one entry makes of nothing: who committed it, and its hash, are not known. Cost: the
    /// state and the entries.
    ///
    /// # Errors
    ///
    /// [`HistoryError::File`] where it cannot be written.
    pub fn write(&self, sink: impl Write) -> Result<(), HistoryError> {
        if self.entries.is_empty() && self.floor.revision > 0 {
            return self.of_one_entry().write(sink);
        }
        let has_state = self.floor.revision > 0;
        let header = Header {
            identity: self.identity,
            floor: self.floor,
            has_state,
        };
        let mut writer = Writer::new(sink, &header)?;
        if has_state {
            let mut rows = self.state.rows().map(Change::Insert).peekable();
            while rows.peek().is_some() {
                writer.write_rows(&rows.by_ref().take(PIECE).collect())?;
            }
        }
        for entry in &self.entries {
            writer.write(entry)?;
        }
        writer.finish()?;
        Ok(())
    }

    /// The state alone, as made by its revision out of nothing.
    fn of_one_entry(&self) -> History {
        let beginning = Floor::beginning(&self.identity);
        let floor = match self.floor.revision - 1 {
            0 => beginning,
            revision => Floor {
                revision,
                ..beginning
            },
        };
        let changeset = Changeset::between(&Configuration::default(), &self.state);
        let entry = unsigned(self.floor.revision, floor.hash, &self.state, &changeset);
        History::new(self.identity, floor, Configuration::default(), vec![entry])
    }

    /// The first revision whose state is known: that of the floor.
    pub fn first(&self) -> u64 {
        self.floor.revision
    }

    /// The last revision.
    pub fn last(&self) -> u64 {
        self.floor.revision + self.entries.len() as u64
    }

    /// The state at the floor, and its digest by the journal.
    pub fn beginning(&self) -> (&Configuration, StateDigest) {
        (&self.state, self.floor.state_digest)
    }

    /// The entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// An entry of no store, and by nobody.
fn unsigned(revision: u64, parent: Hash, state: &Configuration, changeset: &Changeset) -> Entry {
    let entry = Entry {
        revision,
        kind: EntryKind::Commit,
        author: String::new(),
        message: String::new(),
        committed_at: 0,
        schema_version: 0,
        parent,
        state_digest: StateDigest::of(state),
        changeset: rewire_journal::encode(changeset),
        hash: parent,
    };
    entry.sealed()
}

/// The changeset of an entry. Cost: its bytes.
///
/// # Errors
///
/// [`HistoryError::Changeset`].
pub fn changeset(entry: &Entry) -> Result<Changeset, HistoryError> {
    let revision = entry.revision;
    let changeset = entry.decode_changeset();
    changeset.map_err(|source| HistoryError::Changeset { revision, source })
}

/// Applies a changeset of a revision to the state before it.
pub(crate) fn apply(
    state: &mut Configuration,
    revision: u64,
    changeset: &Changeset,
) -> Result<(), HistoryError> {
    let applied = state.apply(changeset);
    applied.map_err(|source| HistoryError::DoesNotFollow {
        revision,
        source: Box::new(source),
    })
}
