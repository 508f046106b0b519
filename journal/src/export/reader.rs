use std::io::{BufReader, Read};

use super::{
    FORMAT, FRAME, FileError, Floor, Header, LONGEST_ENTRY, MAGIC, Part, TRAILER, UNSOUND_FLOOR,
    check_hasher, entry_bytes::read_entry,
};
use crate::digest::StateDigest;
use crate::entry::{Chain, Entry, Hash};
use crate::error::JournalError;

/// Reads a journal file, entry by entry: an iterator over the entries, each checked against the chain.
///
/// The iterator ends without an error only where the whole file is as it was written: **what was read is certain only
/// then**. After an error nothing follows. Any bytes may be given; memory stays within a constant factor of the longest
/// entry that is really there.
pub struct Reader<R> {
    source: Source<R>,
    header: Header,
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
        if format != FORMAT {
            return Err(FileError::Format {
                found: format,
                ours: FORMAT,
            });
        }
        let header = Header {
            identity: source.array(part)?,
            floor: Floor {
                revision: u64::from_le_bytes(source.array(part)?),
                hash: Hash::from_bytes(source.array(part)?),
                state_digest: StateDigest::from_bytes(source.array(part)?),
            },
        };
        source.check(part)?;
        if !header.is_sound() {
            return Err(source.damaged(part, UNSOUND_FLOOR));
        }
        Ok(Reader {
            source,
            header,
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

    fn read(&mut self) -> Result<Option<Entry>, FileError> {
        // At the end of the chain's numbers only a trailer can follow.
        let revision = self.chain.revision.saturating_add(1);
        let part = Part::Entry(revision);
        let start = self.source.offset;
        match self.source.array(part)? {
            [FRAME] => {}
            [TRAILER] => return self.read_trailer().map(|()| None),
            _ => {
                return Err(FileError::Damaged {
                    part,
                    offset: start,
                    what: "neither an entry nor the trailer begins here",
                });
            }
        }
        let length = u32::from_le_bytes(self.source.array(part)?);
        if length as usize > LONGEST_ENTRY {
            return Err(FileError::TooLong {
                revision,
                length: u64::from(length),
            });
        }
        let within = self.source.offset;
        let bytes = self.source.take(u64::from(length), part)?;
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
