use std::io::Write;

use rewire_schema::Changeset;

use super::{
    FRAME, FRAME_HEAD, FileError, Header, LONGEST_ENTRY, MAGIC, Part, STATE, TRAILER, check_hasher,
    entry_bytes::put_entry,
    state::{State, expect_entries},
};
use crate::encoding::encode;
use crate::entry::{Chain, Entry};

/// Writes a journal file, entry by entry. Without [`Writer::finish`] the file has no end, and is refused when it is read.
///
/// What is written goes to the sink in a few large pieces; nothing is flushed or synced but by `finish`, which flushes.
/// Memory: one entry.
pub struct Writer<W> {
    sink: W,
    header: Header,
    hasher: blake3::Hasher,
    state: State,
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
    /// [`FileError::Damaged`] where the floor is revision 0 but not [`Floor::beginning`](super::Floor::beginning), or
    /// is, and has a state;
    /// [`FileError::Io`].
    pub fn new(sink: W, header: &Header) -> Result<Self, FileError> {
        if let Some(what) = header.fault() {
            return Err(FileError::Damaged {
                part: Part::Header,
                offset: 0,
                what,
            });
        }
        let mut writer = Writer {
            sink,
            header: *header,
            hasher: check_hasher(),
            state: State::new(header),
            chain: header.chain(),
            count: 0,
            offset: 0,
            buffer: Vec::new(),
        };
        let Header {
            identity,
            floor,
            has_state: _,
        } = header;
        let out = &mut writer.buffer;
        out.extend(MAGIC);
        out.push(header.format());
        out.extend(identity);
        out.extend(floor.revision.to_le_bytes());
        out.extend(floor.hash.to_bytes());
        out.extend(floor.state_digest.to_bytes());
        writer.put_check();
        writer.send()?;
        Ok(writer)
    }

    /// Adds rows of the state at the floor, as insertions: all of them before the first entry, some at a time, in the order of
    /// their keys, so that equal journals have equal files. Cost: the rows.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`] where there are none, they are no insertions, or the file has no state or has entries already;
    /// [`FileError::TooLong`]; nothing is written then. [`FileError::Io`] leaves a file that is of no use.
    pub fn write_rows(&mut self, rows: &Changeset) -> Result<(), FileError> {
        let (part, offset) = (Part::State, self.offset);
        let added = self.state.add(rows);
        added.map_err(|what| FileError::Damaged { part, offset, what })?;
        self.begin_frame(STATE);
        self.buffer.extend(encode(rows));
        self.send_frame(part)
    }

    /// Adds the next entry. Cost: the entry, hashed twice.
    ///
    /// # Errors
    ///
    /// [`FileError::State`] where the rows before it were not those of the floor; [`FileError::Chain`] where it does not
    /// follow the last one or is not what its hash says, [`FileError::TooLong`]; nothing is written then.
    /// [`FileError::Io`] leaves a file that is of no use.
    pub fn write(&mut self, entry: &Entry) -> Result<(), FileError> {
        self.state.end(&self.header)?;
        let chain = self.chain.next(entry);
        let chain = chain.map_err(|fault| FileError::Chain {
            revision: entry.revision,
            offset: self.offset,
            fault,
        })?;
        self.begin_frame(FRAME);
        put_entry(&mut self.buffer, entry);
        self.send_frame(Part::Entry(entry.revision))?;
        self.chain = chain;
        self.count += 1;
        Ok(())
    }

    /// Begins a frame. Its length is filled in when it is known.
    fn begin_frame(&mut self, kind: u8) {
        self.buffer.clear();
        self.buffer.extend([kind, 0, 0, 0, 0]);
    }

    fn send_frame(&mut self, part: Part) -> Result<(), FileError> {
        let length = self.buffer.len() - FRAME_HEAD;
        match u32::try_from(length) {
            Ok(field) if length <= LONGEST_ENTRY => {
                self.buffer[1..FRAME_HEAD].copy_from_slice(&field.to_le_bytes());
            }
            _ => {
                let length = length as u64;
                return Err(FileError::TooLong { part, length });
            }
        }
        self.hasher.update(&self.buffer);
        self.send()
    }

    /// Ends the file and flushes it; gives the sink back, and where the chain has come to.
    ///
    /// # Errors
    ///
    /// [`FileError::State`]; [`FileError::Damaged`] where there is a state, and no entry; [`FileError::Io`].
    pub fn finish(mut self) -> Result<(W, Chain), FileError> {
        self.state.end(&self.header)?;
        expect_entries(&self.header, self.count, self.offset)?;
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
