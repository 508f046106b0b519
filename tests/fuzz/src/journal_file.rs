//! Journals as files.

use rewire_journal::export::{FileError, Floor, Header, Reader, Writer};
use rewire_journal::{Chain, Entry, EntryKind, Hash, StateDigest};
use rewire_schema::{Change, Changeset};

const IDENTITY: [u8; 16] = *b"rewire, fuzzing!";

/// The length of a trailer: a frame's kind, a count, and a hash.
const TRAILER: usize = 1 + 8 + 32;

fn header() -> Header {
    Header {
        identity: IDENTITY,
        floor: Floor::beginning(&IDENTITY),
        has_state: false,
    }
}

/// What a file says.
#[derive(Debug, PartialEq)]
struct Contents {
    header: Header,
    rows: Vec<Changeset>,
    entries: Vec<Entry>,
}

fn read(bytes: &[u8]) -> Result<Contents, FileError> {
    let mut reader = Reader::new(bytes)?;
    let mut rows = Vec::new();
    while let Some(piece) = reader.next_rows()? {
        rows.push(piece);
    }
    let entries = reader.by_ref().collect::<Result<Vec<Entry>, FileError>>()?;
    Ok(Contents {
        header: *reader.header(),
        rows,
        entries,
    })
}

fn write(contents: &Contents) -> Result<Vec<u8>, FileError> {
    let Contents {
        header,
        rows,
        entries,
    } = contents;
    let mut writer = Writer::new(Vec::new(), header)?;
    rows.iter().try_for_each(|rows| writer.write_rows(rows))?;
    entries.iter().try_for_each(|entry| writer.write(entry))?;
    Ok(writer.finish()?.0)
}

/// What was read is written again: entries to the same bytes, rows to what says the same (they may be those of an earlier
/// version, with other columns).
fn expect_written_again(bytes: &[u8], contents: &Contents) {
    let written = write(contents).expect("what was read can be written");
    if contents.rows.is_empty() {
        assert_eq!(written, bytes);
    }
    match read(&written) {
        Ok(read) => assert_eq!(read, *contents),
        Err(error) => panic!("what was written is not read: {error}"),
    }
}

/// Reads a file. What is read is written to the same bytes. Because no fuzzer guesses the hashes of a file, the bytes are
/// also taken for what follows a right header, for what entries say, and for how a state is cut. Gives whether the bytes are
/// a journal.
pub fn run(bytes: &[u8]) -> bool {
    let is_journal = match read(bytes) {
        Ok(contents) => {
            expect_written_again(bytes, &contents);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    };
    // Headers without what follows them: of entries alone, and of a state without rows.
    let none = Contents {
        header: header(),
        rows: Vec::new(),
        entries: Vec::new(),
    };
    let alone = write(&none).expect("the header is sound");
    let state = with_state(&[], 1);
    for (file, header) in [
        (&alone, alone.len() - TRAILER),
        (&state, alone.len() - TRAILER),
    ] {
        let mut file = file[..header].to_vec();
        file.extend(bytes);
        if let Ok(contents) = read(&file) {
            expect_written_again(&file, &contents);
        }
    }
    told_and_read_back(bytes);
    cut_and_read_back(bytes);
    is_journal
}

/// A file with a state of these pieces, and one entry that changes nothing.
fn with_state(pieces: &[Changeset], revision: u64) -> Vec<u8> {
    let mut state_digest = StateDigest::EMPTY;
    pieces.iter().for_each(|rows| state_digest.apply(rows));
    let hash = Hash::from_bytes([7; 32]);
    let entry = Entry {
        revision: revision + 1,
        kind: EntryKind::Commit,
        author: "ada".to_owned(),
        message: String::new(),
        committed_at: 0,
        schema_version: 5,
        parent: hash,
        state_digest,
        changeset: rewire_journal::encode(&Changeset::default()),
        hash,
    };
    let contents = Contents {
        header: Header {
            identity: IDENTITY,
            floor: Floor {
                revision,
                hash,
                state_digest,
            },
            has_state: true,
        },
        rows: pieces.to_vec(),
        entries: vec![entry.sealed()],
    };
    let file = write(&contents).expect("the state is that of the header");
    match read(&file) {
        Ok(read) => assert_eq!(read, contents),
        Err(error) => panic!("what was written is not read: {error}"),
    }
    file
}

/// A state is cut where the bytes say, written, and read back; a file with one byte changed is refused.
fn cut_and_read_back(bytes: &[u8]) {
    let mut rows = crate::base().rows().map(Change::Insert).peekable();
    let mut pieces: Vec<Changeset> = Vec::new();
    let mut sizes = bytes.iter().chain(std::iter::repeat(&9)).take(64);
    while rows.peek().is_some() {
        let size = usize::from(*sizes.next().unwrap_or(&u8::MAX)) % 32 + 1;
        pieces.push(rows.by_ref().take(size).collect());
    }
    let mut file = with_state(&pieces, 1 + bytes.len() as u64);
    if let [first, .., last] = bytes {
        let place = (usize::from(*first) << 8 | usize::from(*last)) % file.len();
        file[place] ^= last | 1;
        assert!(read(&file).is_err(), "byte {place} was changed");
    }
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
    let contents = Contents {
        header: header(),
        rows: Vec::new(),
        entries,
    };
    let mut file = write(&contents).expect("the entries follow each other");
    match read(&file) {
        Ok(read) => assert_eq!(read, contents),
        Err(error) => panic!("what was written is not read: {error}"),
    }
    if let [first, .., last] = bytes {
        let place = (usize::from(*first) << 8 | usize::from(*last)) % file.len();
        file[place] ^= last | 1;
        assert!(read(&file).is_err(), "byte {place} was changed");
    }
}
