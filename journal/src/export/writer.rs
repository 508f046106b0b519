use std::io::Write;

use super::{
    FORMAT, FRAME, FRAME_HEAD, FileError, Header, LONGEST_ENTRY, MAGIC, Part, TRAILER,
    UNSOUND_FLOOR, check_hasher, entry_bytes::put_entry,
};
use crate::entry::{Chain, Entry};

/// Writes a journal file, entry by entry. Without [`Writer::finish`] the file has no end, and is refused when it is read.
///
/// What is written goes to the sink in a few large pieces; nothing is flushed or synced but by `finish`, which flushes.
/// Memory: one entry.
pub struct Writer<W> {
    sink: W,
    hasher: blake3::Hasher,
    chain: Chain,
    count: u64,
    offset: u64,
    /// An entry on its way; kept for its memory.
    buffer: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`] where the floor is revision 0 but not [`Floor::beginning`](super::Floor::beginning);
    /// [`FileError::Io`].
    pub fn new(sink: W, header: &Header) -> Result<Self, FileError> {
        if !header.is_sound() {
            return Err(FileError::Damaged {
                part: Part::Header,
                offset: 0,
                what: UNSOUND_FLOOR,
            });
        }
        let mut writer = Writer {
            sink,
            hasher: check_hasher(),
            chain: header.chain(),
            count: 0,
            offset: 0,
            buffer: Vec::new(),
        };
        let Header { identity, floor } = header;
        let out = &mut writer.buffer;
        out.extend(MAGIC);
        out.push(FORMAT);
        out.extend(identity);
        out.extend(floor.revision.to_le_bytes());
        out.extend(floor.hash.to_bytes());
        out.extend(floor.state_digest.to_bytes());
        writer.put_check();
        writer.send()?;
        Ok(writer)
    }

    /// Adds the next entry. Cost: the entry, hashed twice.
    ///
    /// # Errors
    ///
    /// [`FileError::Chain`] where it does not follow the last one or is not what its hash says,
    /// [`FileError::TooLong`]; nothing is written then. [`FileError::Io`] leaves a file that is of no use.
    pub fn write(&mut self, entry: &Entry) -> Result<(), FileError> {
        let chain = self.chain.next(entry);
        let chain = chain.map_err(|fault| FileError::Chain {
            revision: entry.revision,
            offset: self.offset,
            fault,
        })?;
        self.buffer.clear();
        // Its length is filled in when it is known.
        self.buffer.extend([FRAME, 0, 0, 0, 0]);
        put_entry(&mut self.buffer, entry);
        let length = self.buffer.len() - FRAME_HEAD;
        match u32::try_from(length) {
            Ok(field) if length <= LONGEST_ENTRY => {
                self.buffer[1..FRAME_HEAD].copy_from_slice(&field.to_le_bytes());
            }
            _ => {
                return Err(FileError::TooLong {
                    revision: entry.revision,
                    length: length as u64,
                });
            }
        }
        self.hasher.update(&self.buffer);
        self.send()?;
        self.chain = chain;
        self.count += 1;
        Ok(())
    }

    /// Ends the file and flushes it; gives the sink back, and where the chain has come to.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`].
    pub fn finish(mut self) -> Result<(W, Chain), FileError> {
        self.buffer.clear();
        self.buffer.push(TRAILER);
        self.buffer.extend(self.count.to_le_bytes());
        self.put_check();
        self.send()?;
        let flushed = self.sink.flush();
        flushed.map_err(|source| FileError::Io {
            writing: true,
            source,
        })?;
        Ok((self.sink, self.chain))
    }

    /// Hashes the buffer, and appends the hash of all bytes of the file so far; it becomes part of the next one.
    fn put_check(&mut self) {
        self.hasher.update(&self.buffer);
        let check = self.hasher.finalize();
        self.hasher.update(check.as_bytes());
        self.buffer.extend(check.as_bytes());
    }

    fn send(&mut self) -> Result<(), FileError> {
        let sent = self.sink.write_all(&self.buffer);
        sent.map_err(|source| FileError::Io {
            writing: true,
            source,
        })?;
        self.offset += self.buffer.len() as u64;
        Ok(())
    }
}
