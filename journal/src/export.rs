//! A journal as a file: to keep it elsewhere, to build a store from it, to carry entries to another store.
//!
//! ```text
//! file     magic format:u8 identity:16 revision:8 hash:32 digest:32 check  state*  frame*  trailer
//! magic    89 "REWIRE" 0a                     the line feed shows a transfer that rewrote line ends
//! format   1 | 2                              without and with the state at the floor
//! state    2 length:4 changeset               rows of that state, as insertions: some at a time, in the order of their keys
//! frame    1 length:4 entry                   revisions follow each other, the first one follows the floor
//! trailer  0 count:8 check                    the number of frames; nothing follows
//! check    32 bytes: the BLAKE3 hash of all bytes before it, keyed for this format
//! entry    revision:varint kind author:text message:text committed_at:integer schema_version:varint
//!          parent:32 digest:32 changeset:bytes hash:32
//! kind     0                                  commit
//!          1 to:varint                        rewind
//!          2 of:varint                        revert
//! ```
//!
//! Numbers of fixed length are little-endian; varint, integer (zigzag) and text are those of the encoding of changesets.
//! Revision, hash and digest in the header are the *floor*: what the first entry follows. Equal journals have equal
//! files.
//!
//! The journal of a store that was pruned says nothing about what was there before it. So that a store can be made of it, its
//! file holds the *state* at the floor, too (format 2): all rows, whose digest must be the one in the header, and then at
//! least one entry. Whole journals begin with nothing, and are of format 1.
//!
//! A file is read as a stream, entry by entry, each of which is checked against the chain before it is given out. What the
//! chain does not cover, the checks do: no byte can change, go or come without an error, at the latest at the end.

mod entry_bytes;
mod reader;
mod state;
#[cfg(test)]
mod state_tests;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io;

use crate::digest::StateDigest;
use crate::entry::{Chain, Hash, genesis};
use crate::error::{ChainFault, JournalError};

pub use reader::Reader;
pub use writer::Writer;

const MAGIC: [u8; 8] = *b"\x89REWIRE\n";
/// The format of a file without a state.
const ENTRIES_ALONE: u8 = 1;
/// The format of a file with one.
const WITH_STATE: u8 = 2;

const STATE: u8 = 2;
const FRAME: u8 = 1;
const TRAILER: u8 = 0;

/// The bytes before an entry, or rows: which of them it is, and the length.
const FRAME_HEAD: usize = 5;

const UNSOUND_FLOOR: &str = "it begins at revision 0, but not with that revision's hash and digest";
const STATE_OF_NOTHING: &str = "it begins at revision 0, but has a state";
const NO_ENTRY: &str = "no entry follows the state";

/// The longest entry that is written or read, in bytes: 1 GiB, about what SQLite stores in one value.
pub const LONGEST_ENTRY: usize = 1 << 30;

/// The hash that checks are made of.
fn check_hasher() -> blake3::Hasher {
    blake3::Hasher::new_derive_key("rewire 2026 journal file")
}

/// What stands at the top of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The identity of the store that the journal is of.
    pub identity: [u8; 16],
    /// What the first entry follows.
    pub floor: Floor,
    /// Whether the file holds the state there. That of revision 0 has no rows, and is in no file.
    pub has_state: bool,
}

/// A place in the chain where a file begins, with the state there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The revision before the first entry; 0 for a whole journal.
    pub revision: u64,
    /// The hash of its entry; [`genesis`] for revision 0.
    pub hash: Hash,
    /// The digest of its state; [`StateDigest::EMPTY`] for revision 0.
    pub state_digest: StateDigest,
}

impl Floor {
    /// The floor of a whole journal: before revision 1.
    pub fn beginning(identity: &[u8; 16]) -> Floor {
        Floor {
            revision: 0,
            hash: genesis(identity),
            state_digest: StateDigest::EMPTY,
        }
    }
}

impl Header {
    fn chain(&self) -> Chain {
        Chain {
            revision: self.floor.revision,
            hash: self.floor.hash,
        }
    }
    /// What makes this the header of no journal, if anything does.
    fn fault(&self) -> Option<&'static str> {
        if self.floor.revision != 0 {
            None
        } else if self.floor != Floor::beginning(&self.identity) {
            Some(UNSOUND_FLOOR)
        } else {
            self.has_state.then_some(STATE_OF_NOTHING)
        }
    }

    fn format(&self) -> u8 {
        match self.has_state {
            false => ENTRIES_ALONE,
            true => WITH_STATE,
        }
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What comes before everything else.
    Header,
    /// The rows at the floor.
    State,
    /// The entry of this revision.
    Entry(u64),
    /// What comes after the last entry.
    Trailer,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Header => f.write_str("the header"),
            Part::State => f.write_str("the state"),
            Part::Entry(revision) => write!(f, "the entry of revision {revision}"),
            Part::Trailer => f.write_str("the trailer"),
        }
    }
}

/// Why a file cannot be written, or is not a journal.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be read or written.
    #[error("the journal file cannot be {}: {source}", if *.writing { "written" } else { "read" })]
    Io {
        /// Whether it was being written.
        writing: bool,
        /// What the system says.
        source: io::Error,
    },
    /// The file does not begin like a journal.
    #[error("this is not a journal file")]
    Magic,
    /// The file is of a version that this program does not know.
    #[error("the journal file is of format {found}; this program reads formats up to {ours}")]
    Format {
        /// The version found.
        found: u8,
        /// The last version that is read and written here.
        ours: u8,
    },
    /// The file ends in the middle.
    #[error("the journal file ends early, at byte {offset}, in {part}")]
    Truncated {
        /// What is not whole.
        part: Part,
        /// The length of the file, in bytes.
        offset: u64,
    },
    /// The file breaks a rule of the format.
    #[error("the journal file is damaged at byte {offset}, in {part}: {what}")]
    Damaged {
        /// Where.
        part: Part,
        /// Where, in bytes from the start of the file.
        offset: u64,
        /// The rule that is broken.
        what: &'static str,
    },
    /// The rows of the state cannot be read.
    #[error("the journal file is damaged at byte {offset}, in the state: {source}")]
    Rows {
        /// Where they begin, in bytes from the start of the file.
        offset: u64,
        /// What is wrong with them.
        source: JournalError,
    },
    /// The rows are not the state at the floor.
    #[error(
        "the state in the journal file is not that of revision {revision}: expected {}, found {}",
        .expected.short(), .found.short()
    )]
    State {
        /// The floor's revision.
        revision: u64,
        /// The digest that the header says.
        expected: StateDigest,
        /// The digest of the rows.
        found: StateDigest,
    },
    /// An entry, or rows that are written at a time, are too long.
    #[error("{part} has {length} bytes, at most {LONGEST_ENTRY} are possible")]
    TooLong {
        /// What is too long.
        part: Part,
        /// Its length in bytes.
        length: u64,
    },
    /// An entry does not continue the chain.
    #[error("the chain is broken at byte {offset}, in the entry of revision {revision}: {fault}")]
    Chain {
        /// The entry's revision.
        revision: u64,
        /// Where the entry begins, in bytes from the start of the file.
        offset: u64,
        /// What does not fit.
        fault: ChainFault,
    },
}
