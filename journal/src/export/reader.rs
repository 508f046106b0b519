use std::io::{BufReader, Read};

use rewire_schema::Changeset;

use super::{
    ENTRIES_ALONE, FRAME, FRAME_HEAD, FileError, Floor, Header, LONGEST_ENTRY, MAGIC, Part, STATE,
    TRAILER, WITH_STATE, check_hasher,
    entry_bytes::read_entry,
    state::{State, expect_entries, unreadable},
};
use crate::digest::StateDigest;
use crate::encoding::decode;
use crate::entry::{Chain, Entry, Hash};
use crate::error::JournalError;

/// Reads a journal file, entry by entry: an iterator over the entries, each checked against the chain.
///
/// The iterator ends without an error only where the whole file is as it was written: **what was read is certain only
/// then**. After an error nothing follows. Any bytes may be given; memory stays within a constant factor of the longest
/// entry, or piece of the state, that is really there.
pub struct Reader<R> {
    source: Source<R>,
    header: Header,
    state: State,
    /// What the next frame is, where that was read already.
    next_frame: Option<u8>,
    chain: Chain,
    count: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads and checks what comes before the first entry.
    ///
    /// # Errors
    ///
    /// [`FileError::Magic`], [`FileError::Format`], and all that reading can give.
    pub fn new(source: R) -> Result<Self, FileError> {
        let mut source = Source {
            reader: BufReader::new(source),
            hasher: check_hasher(),
            offset: 0,
            buffer: Vec::new(),
        };
        let part = Part::Header;
        // A short file of another kind is no journal either.
        match source.array::<{ MAGIC.len() }>(part) {
            Ok(MAGIC) => {}
            Ok(_) | Err(FileError::Truncated { .. }) => return Err(FileError::Magic),
            Err(error) => return Err(error),
        }
        let [format] = source.array(part)?;
        if ![ENTRIES_ALONE, WITH_STATE].contains(&format) {
            return Err(FileError::Format {
                found: format,
                ours: WITH_STATE,
            });
        }
        let header = Header {
            identity: source.array(part)?,
            floor: Floor {
                revision: u64::from_le_bytes(source.array(part)?),
                hash: Hash::from_bytes(source.array(part)?),
                state_digest: StateDigest::from_bytes(source.array(part)?),
            },
            has_state: format == WITH_STATE,
        };
        source.check(part)?;
        if let Some(what) = header.fault() {
            return Err(source.damaged(part, what));
        }
        Ok(Reader {
            source,
            header,
            state: State::new(&header),
            next_frame: None,
            chain: header.chain(),
            count: 0,
            ended: false,
        })
    }

    /// What stands at the top of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the chain has come to with the entries read so far.
    pub fn chain(&self) -> Chain {
        self.chain
    }

    /// The next rows of the state at the floor, as insertions; none when the state has ended, was that of the floor, and an
    /// entry is next. Whoever does not want them need not ask: the iterator passes over them, and checks them all the same.
    /// That no row is there twice is seen by who puts them together. Cost: the rows, some at a time.
    ///
    /// # Errors
    ///
    /// [`FileError::Rows`], [`FileError::State`], and all that reading can give. Nothing follows then.
    pub fn next_rows(&mut self) -> Result<Option<Changeset>, FileError> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.read_rows();
        self.ended = rows.is_err();
        rows
    }

    fn read_rows(&mut self) -> Result<Option<Changeset>, FileError> {
        if !self.state.is_open() {
            return Ok(None);
        }
        let part = Part::State;
        let start = self.source.offset;
        let [kind] = self.source.array(part)?;
        if kind != STATE {
            self.next_frame = Some(kind);
            self.state.end(&self.header)?;
            return Ok(None);
        }
        let bytes = self.source.frame(part)?;
        let rows = decode(bytes).map_err(|source| unreadable(start, source))?;
        let added = self.state.add(&rows);
        added.map_err(|what| FileError::Damaged {
            part,
            offset: start,
            what,
        })?;
        Ok(Some(rows))
    }

    fn read(&mut self) -> Result<Option<Entry>, FileError> {
        while self.read_rows()?.is_some() {}
        // At the end of the chain's numbers only a trailer can follow.
        let revision = self.chain.revision.saturating_add(1);
        let part = Part::Entry(revision);
        let (kind, start) = match self.next_frame.take() {
            Some(kind) => (kind, self.source.offset - 1),
            None => {
                let start = self.source.offset;
                let [kind] = self.source.array(part)?;
                (kind, start)
            }
        };
        match kind {
            FRAME => {}
            TRAILER => return self.read_trailer().map(|()| None),
            _ => {
                return Err(FileError::Damaged {
                    part,
                    offset: start,
                    what: "neither an entry nor the trailer begins here",
                });
            }
        }
        let bytes = self.source.frame(part)?;
        let within = start + FRAME_HEAD as u64;
        let entry = read_entry(bytes).map_err(|error| {
            let (offset, what) = match error {
                JournalError::Malformed { offset, what } => (offset, what),
                JournalError::Truncated { offset } => (offset, "the entry ends early"),
                // Only the form is read here.
                _ => (0, "the entry cannot be read"),
            };
            FileError::Damaged {
                part,
                offset: within + offset as u64,
                what,
            }
        })?;
        self.chain = self.chain.next(&entry).map_err(|fault| FileError::Chain {
            revision: entry.revision,
            offset: start,
            fault,
        })?;
        self.count += 1;
        Ok(Some(entry))
    }

    fn read_trailer(&mut self) -> Result<(), FileError> {
        let part = Part::Trailer;
        let count = u64::from_le_bytes(self.source.array(part)?);
        self.source.check(part)?;
        if count != self.count {
            return Err(self
                .source
                .damaged(part, "it counts other entries than there are"));
        }
        expect_entries(&self.header, count, self.source.offset)?;
        if !self.source.is_at_end()? {
            return Err(self.source.damaged(part, "bytes follow after it"));
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Entry, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = self.read().transpose();
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

/// A stream that counts and hashes what is read from it.
struct Source<R> {
    reader: BufReader<R>,
    hasher: blake3::Hasher,
    offset: u64,
    /// What was taken last; kept for its memory.
    buffer: Vec<u8>,
}

impl<R: Read> Source<R> {
    fn damaged(&self, part: Part, what: &'static str) -> FileError {
        FileError::Damaged {
            part,
            offset: self.offset,
            what,
        }
    }

    /// The next `length` bytes. Memory grows with what is there, not with what `length` says.
    fn take(&mut self, length: u64, part: Part) -> Result<&[u8], FileError> {
        self.buffer.clear();
        let read = (&mut self.reader)
            .take(length)
            .read_to_end(&mut self.buffer);
        let read = read.map_err(reading)? as u64;
        self.offset += read;
        if read < length {
            return Err(FileError::Truncated {
                part,
                offset: self.offset,
            });
        }
        self.hasher.update(&self.buffer);
        Ok(&self.buffer)
    }

    /// The length of a frame, and the bytes behind it.
    fn frame(&mut self, part: Part) -> Result<&[u8], FileError> {
        let length = u32::from_le_bytes(self.array(part)?);
        if length as usize > LONGEST_ENTRY {
            let length = u64::from(length);
            return Err(FileError::TooLong { part, length });
        }
        self.take(u64::from(length), part)
    }

    fn array<const LENGTH: usize>(&mut self, part: Part) -> Result<[u8; LENGTH], FileError> {
        let mut array = [0; LENGTH];
        array.copy_from_slice(self.take(LENGTH as u64, part)?);
        Ok(array)
    }

    /// Reads the hash of all bytes before it.
    fn check(&mut self, part: Part) -> Result<(), FileError> {
        let expected = *self.hasher.finalize().as_bytes();
        let start = self.offset;
        if self.array(part)? != expected {
            return Err(FileError::Damaged {
                part,
                offset: start,
                what: "its hash is not that of the bytes before it",
            });
        }
        Ok(())
    }

    fn is_at_end(&mut self) -> Result<bool, FileError> {
        let mut more = [0];
        loop {
            match self.reader.read(&mut more) {
                Ok(read) => return Ok(read == 0),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(reading(error)),
            }
        }
    }
}

fn reading(source: std::io::Error) -> FileError {
    FileError::Io {
        writing: false,
        source,
    }
}
