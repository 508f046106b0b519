//! Files that hold the state at their floor.

use proptest::prelude::*;
use rewire_schema::{Change, Changeset, Configuration, testing};

use super::*;
use crate::encode;
use crate::entry::{Entry, EntryKind};

const IDENTITY: [u8; 16] = *b"identity of 16 b";

/// The state, cut into pieces of so many rows.
fn pieces(state: &Configuration, rows: usize) -> Vec<Changeset> {
    let changeset = Changeset::between(&Configuration::default(), state);
    let all: Vec<Change> = changeset.iter().cloned().collect();
    all.chunks(rows)
        .map(|piece| piece.iter().cloned().collect())
        .collect()
}

fn header(state: &Configuration) -> Header {
    Header {
        identity: IDENTITY,
        floor: Floor {
            revision: 41,
            hash: Hash::from_bytes([3; 32]),
            state_digest: StateDigest::of(state),
        },
        has_state: true,
    }
}

/// The entries of revisions 42 and 43, which change nothing.
fn entries(header: &Header) -> Vec<Entry> {
    let mut chain = header.chain();
    let entries = ["ada", "grace"].map(|author| {
        let entry = Entry {
            revision: chain.revision + 1,
            kind: EntryKind::Commit,
            author: author.to_owned(),
            message: String::new(),
            committed_at: 1_700_000_000_000_000,
            schema_version: 2,
            parent: chain.hash,
            state_digest: header.floor.state_digest,
            changeset: encode(&Changeset::default()),
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        chain.follow(&entry).expect("it was made to follow");
        entry
    });
    entries.into()
}

fn file(header: &Header, pieces: &[Changeset], entries: &[Entry]) -> Result<Vec<u8>, FileError> {
    let mut writer = Writer::new(Vec::new(), header)?;
    pieces.iter().try_for_each(|rows| writer.write_rows(rows))?;
    entries.iter().try_for_each(|entry| writer.write(entry))?;
    Ok(writer.finish()?.0)
}

fn read(bytes: &[u8]) -> Result<(Header, Vec<Changeset>, Vec<Entry>), FileError> {
    let mut reader = Reader::new(bytes)?;
    let mut pieces = Vec::new();
    while let Some(rows) = reader.next_rows()? {
        pieces.push(rows);
    }
    let entries = reader.by_ref().collect::<Result<_, _>>()?;
    assert!(reader.next().is_none());
    assert_eq!(reader.next_rows().unwrap(), None);
    Ok((*reader.header(), pieces, entries))
}

/// Reads the entries alone.
fn pass_over(bytes: &[u8]) -> Result<Vec<Entry>, FileError> {
    Reader::new(bytes)?.collect()
}

proptest! {
    #[test]
    fn a_state_reads_back(state in testing::configuration(), rows in 1usize..9) {
        let (header, pieces) = (header(&state), pieces(&state, rows));
        let entries = entries(&header);
        let bytes = file(&header, &pieces, &entries).unwrap();
        prop_assert_eq!(pass_over(&bytes).unwrap(), entries.clone());
        prop_assert_eq!(read(&bytes).unwrap(), (header, pieces, entries));
    }

    #[test]
    fn a_file_that_changed_anywhere_is_refused(
        state in testing::configuration(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
    ) {
        let header = header(&state);
        let whole = file(&header, &pieces(&state, 3), &entries(&header)).unwrap();
        let place = at.index(whole.len());
        prop_assert!(read(&whole[..place]).is_err(), "cut at {place}");
        let mut flipped = whole;
        flipped[place] ^= flip;
        prop_assert!(read(&flipped).is_err(), "byte {place} flipped");
        prop_assert!(pass_over(&flipped).is_err(), "byte {place} flipped");
    }
}

fn two_rows() -> Configuration {
    let mut state = Configuration::default();
    for name in ["blue", "red"] {
        let row = rewire_schema::model::VpcRow::new(name.parse().unwrap());
        assert!(state.insert(row.into()).is_none());
    }
    state
}

/// The bytes of one frame.
fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((content.len() as u32).to_le_bytes());
    frame.extend(content);
    frame
}

/// A file by somebody who can make checks: these frames behind the header.
fn forged(header: &Header, frames: &[Vec<u8>], count: u64) -> Vec<u8> {
    let sound = Header {
        has_state: false,
        ..*header
    };
    let empty = file(&sound, &[], &[]).unwrap();
    let mut bytes = empty[..empty.len() - (1 + 8 + 32) - 32].to_vec();
    bytes[8] = header.format();
    let seal = |bytes: &mut Vec<u8>| {
        let check = *check_hasher().update(bytes).finalize().as_bytes();
        bytes.extend(check);
    };
    seal(&mut bytes);
    bytes.extend(frames.concat());
    bytes.push(TRAILER);
    bytes.extend(count.to_le_bytes());
    seal(&mut bytes);
    bytes
}

#[test]
fn bad_states_are_refused_by_name() {
    let state = two_rows();
    let header = header(&state);
    let [blue, red] = &pieces(&state, 1)[..] else {
        panic!("there are two rows");
    };
    let entries = entries(&header);
    let entry = |entry: &Entry| {
        let mut bytes = Vec::new();
        entry_bytes::put_entry(&mut bytes, entry);
        frame(FRAME, &bytes)
    };
    let (first, second) = (entry(&entries[0]), entry(&entries[1]));
    let rows = |rows: &Changeset| frame(STATE, &encode(rows));
    let (blue, red, gone) = (rows(blue), rows(red), rows(&blue.inverse()));
    let nothing = rows(&Changeset::default());
    let forge = |frames: &[&Vec<u8>], count| {
        let frames: Vec<Vec<u8>> = frames.iter().map(|frame| (*frame).clone()).collect();
        forged(&header, &frames, count)
    };
    let good = forge(&[&blue, &red, &first, &second], 2);
    assert_eq!(good, file(&header, &pieces(&state, 1), &entries).unwrap());
    assert!(read(&good).is_ok());
    // The same rows in another order are the same state, and are read.
    assert!(read(&forge(&[&red, &blue, &first], 1)).is_ok());

    let at_zero = Header {
        floor: Floor::beginning(&IDENTITY),
        ..header
    };
    let alone = Header {
        has_state: false,
        ..header
    };
    let cases = [
        ("cut in the state", good[..140].to_vec()),
        ("a row is missing", forge(&[&blue, &first, &second], 2)),
        ("none is there", forge(&[&first, &second], 2)),
        ("two states", forge(&[&blue, &red, &blue, &red, &first], 1)),
        ("after an entry", forge(&[&blue, &red, &first, &blue], 1)),
        ("split", forge(&[&blue, &first, &red], 1)),
        ("no entries", forge(&[&blue, &red], 0)),
        ("a row leaves", forge(&[&blue, &red, &gone, &first], 1)),
        ("an empty piece", forge(&[&blue, &nothing, &red, &first], 1)),
        ("no changeset", forge(&[&frame(STATE, b"junk"), &first], 1)),
        (
            "at revision 0",
            forged(&at_zero, std::slice::from_ref(&first), 1),
        ),
        (
            "in format 1",
            forged(&alone, &[blue.clone(), first.clone()], 1),
        ),
    ];
    let mut said = String::new();
    for (what, bytes) in cases {
        let error = read(&bytes).expect_err(what).to_string();
        assert_eq!(pass_over(&bytes).expect_err(what).to_string(), error);
        said += &format!("{what}: {error}\n");
    }
    assert_eq!(said, EXPECTED);
}

#[test]
fn only_a_state_that_is_whole_is_written() {
    let state = two_rows();
    let header = header(&state);
    let rows = pieces(&state, 1);
    let entries = entries(&header);
    let wrong = [
        file(&header, &rows[..1], &entries).unwrap_err(),
        file(&header, &rows[..1], &[]).unwrap_err(),
    ];
    for error in wrong {
        assert!(
            matches!(error, FileError::State { revision: 41, .. }),
            "{error}"
        );
    }
    let broken = |error: FileError| match error {
        FileError::Damaged { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(broken(file(&header, &rows, &[]).unwrap_err()), NO_ENTRY);
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    assert!(writer.write_rows(&Changeset::default()).is_err());
    assert!(writer.write_rows(&rows[0].inverse()).is_err());
    rows.iter()
        .for_each(|rows| writer.write_rows(rows).unwrap());
    writer.write(&entries[0]).unwrap();
    assert!(writer.write_rows(&rows[0]).is_err());
    writer.write(&entries[1]).unwrap();
    // What was refused is not in the file.
    let (bytes, _) = writer.finish().unwrap();
    assert_eq!(bytes, file(&header, &rows, &entries).unwrap());
    let whole_journal = Header {
        floor: Floor::beginning(&IDENTITY),
        ..header
    };
    assert!(Writer::new(Vec::new(), &whole_journal).is_err());
}

const EXPECTED: &str = "\
cut in the state: the journal file ends early, at byte 140, in the state
a row is missing: the state in the journal file is not that of revision 41: expected 7b4a0eeb4cd9, found 7ddfe3527109
none is there: the state in the journal file is not that of revision 41: expected 7b4a0eeb4cd9, found 000000000000
two states: the state in the journal file is not that of revision 41: expected 7b4a0eeb4cd9, found f6941cd699b2
after an entry: the journal file is damaged at byte 401, in the entry of revision 43: neither an entry nor the trailer begins here
split: the state in the journal file is not that of revision 41: expected 7b4a0eeb4cd9, found 7ddfe3527109
no entries: the journal file is damaged at byte 321, in the trailer: no entry follows the state
a row leaves: the journal file is damaged at byte 280, in the state: a state consists of rows, not of changes to them
an empty piece: the journal file is damaged at byte 205, in the state: a state is written without empty pieces
no changeset: the journal file is damaged at byte 129, in the state: the changeset is encoded in format 106; this program reads format 1
at revision 0: the journal file is damaged at byte 129, in the header: it begins at revision 0, but has a state
in format 1: the journal file is damaged at byte 129, in the entry of revision 42: neither an entry nor the trailer begins here
";
