//! Journals as files.

use rewire_journal::export::{FileError, Floor, Header, Reader, Writer};
use rewire_journal::{Chain, Entry, EntryKind, Hash, StateDigest};

const IDENTITY: [u8; 16] = *b"rewire, fuzzing!";

fn header() -> Header {
    Header {
        identity: IDENTITY,
        floor: Floor::beginning(&IDENTITY),
    }
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Entry>), FileError> {
    let mut reader = Reader::new(bytes)?;
    let entries = reader.by_ref().collect::<Result<Vec<Entry>, FileError>>()?;
    Ok((*reader.header(), entries))
}

fn write(header: &Header, entries: &[Entry]) -> Result<Vec<u8>, FileError> {
    let mut writer = Writer::new(Vec::new(), header)?;
    entries.iter().try_for_each(|entry| writer.write(entry))?;
    Ok(writer.finish()?.0)
}

/// Reads a file. What is read is written to the same bytes. Because no fuzzer guesses the hashes of a file, the bytes are
/// also taken for what follows a right header, and for what entries say. Gives whether the bytes are a journal.
pub fn run(bytes: &[u8]) -> bool {
    let is_journal = match read(bytes) {
        Ok((header, entries)) => {
            let written = write(&header, &entries).expect("what was read can be written");
            assert_eq!(written, bytes);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    };
    // The header without the trailer.
    let mut file = write(&header(), &[]).expect("the header is sound");
    file.truncate(file.len() - (1 + 8 + 32));
    file.extend(bytes);
    if let Ok((header, entries)) = read(&file) {
        let written = write(&header, &entries).expect("what was read can be written");
        assert_eq!(written, file);
    }
    told_and_read_back(bytes);
    is_journal
}

/// Entries that say what the bytes say are written and read back; a file with one byte changed is refused.
fn told_and_read_back(bytes: &[u8]) {
    let mut chain = Chain::new(header().floor.hash);
    let mut entries = Vec::new();
    for piece in bytes.chunks(97).take(8) {
        let number = piece
            .iter()
            .fold(0u64, |n, byte| n.rotate_left(9) ^ u64::from(*byte));
        let text = String::from_utf8_lossy(piece);
        let entry = Entry {
            revision: chain.revision + 1,
            kind: match number % 3 {
                0 => EntryKind::Commit,
                1 => EntryKind::Rewind { to: number },
                _ => EntryKind::Revert { of: number },
            },
            author: text.chars().take(3).collect(),
            message: text.into_owned(),
            committed_at: number as i64,
            schema_version: number as u32,
            parent: chain.hash,
            state_digest: StateDigest::from_bytes([piece[0]; 32]),
            changeset: piece.to_vec(),
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        chain.follow(&entry).expect("it was made to follow");
        entries.push(entry);
    }
    let mut file = write(&header(), &entries).expect("the entries follow each other");
    match read(&file) {
        Ok(read) => assert_eq!(read, (header(), entries)),
        Err(error) => panic!("what was written is not read: {error}"),
    }
    if let [first, .., last] = bytes {
        let place = (usize::from(*first) << 8 | usize::from(*last)) % file.len();
        file[place] ^= last | 1;
        assert!(read(&file).is_err(), "byte {place} was changed");
    }
}
