use std::io::{self, Read, Write};

use proptest::prelude::*;
use rewire_schema::Changeset;

use super::*;
use crate::entry::{Entry, EntryKind};

const IDENTITY: [u8; 16] = *b"identity of 16 b";

/// What differs from entry to entry; the rest follows from the chain.
type Told = (EntryKind, String, String, i64, u32, [u8; 32], Vec<u8>);

fn told() -> impl Strategy<Value = Told> {
    let kind = prop_oneof![
        Just(EntryKind::Commit),
        any::<u64>().prop_map(|to| EntryKind::Rewind { to }),
        any::<u64>().prop_map(|of| EntryKind::Revert { of }),
    ];
    let changeset = prop::collection::vec(any::<u8>(), 0..60);
    (
        kind,
        ".{0,8}",
        ".{0,20}",
        any::<i64>(),
        any::<u32>(),
        any::<[u8; 32]>(),
        changeset,
    )
}

fn chained(header: &Header, told: Vec<Told>) -> Vec<Entry> {
    let mut chain = header.chain();
    let entries = told.into_iter().map(|told| {
        let (kind, author, message, committed_at, schema_version, digest, changeset) = told;
        let entry = Entry {
            revision: chain.revision + 1,
            kind,
            author,
            message,
            committed_at,
            schema_version,
            parent: chain.hash,
            state_digest: StateDigest::from_bytes(digest),
            changeset,
            hash: Hash::from_bytes([0; 32]),
        }
        .sealed();
        chain.follow(&entry).expect("it was made to follow");
        entry
    });
    entries.collect()
}

/// A header and entries that follow it.
fn journal() -> impl Strategy<Value = (Header, Vec<Entry>)> {
    let floor = (1..u64::MAX / 2, any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(
        |(revision, hash, digest)| Floor {
            revision,
            hash: Hash::from_bytes(hash),
            state_digest: StateDigest::from_bytes(digest),
        },
    );
    let header = prop_oneof![Just(Floor::beginning(&IDENTITY)), floor].prop_map(|floor| Header {
        identity: IDENTITY,
        floor,
        has_state: false,
    });
    (header, prop::collection::vec(told(), 0..5)).prop_map(|(header, told)| {
        let entries = chained(&header, told);
        (header, entries)
    })
}

fn file(header: &Header, entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), header).unwrap();
    entries
        .iter()
        .for_each(|entry| writer.write(entry).unwrap());
    let (bytes, chain) = writer.finish().unwrap();
    let last = entries.last().map_or(header.floor.hash, |entry| entry.hash);
    assert_eq!(chain.hash, last);
    bytes
}

fn read(source: impl Read) -> Result<(Header, Vec<Entry>), FileError> {
    let mut reader = Reader::new(source)?;
    let entries = reader.by_ref().collect::<Result<Vec<Entry>, FileError>>()?;
    assert!(reader.next().is_none());
    Ok((*reader.header(), entries))
}

/// Gives a few bytes at a time, with interruptions between.
struct Trickle<'a>(&'a [u8], bool);

impl Read for Trickle<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let most = out.len().min(3);
        self.0.read(&mut out[..most])
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back((header, entries) in journal()) {
        let bytes = file(&header, &entries);
        prop_assert_eq!(read(&bytes[..]).unwrap(), (header, entries.clone()));
        prop_assert_eq!(read(Trickle(&bytes, false)).unwrap(), (header, entries));
    }

    #[test]
    fn a_file_that_changed_anywhere_is_refused(
        (header, entries) in journal(),
        at in any::<prop::sample::Index>(),
        flip in 1u8..,
        more in prop::collection::vec(any::<u8>(), 1..9),
    ) {
        let whole = file(&header, &entries);
        let place = at.index(whole.len());

        let mut flipped = whole.clone();
        flipped[place] ^= flip;
        prop_assert!(read(&flipped[..]).is_err(), "byte {place} flipped");

        prop_assert!(read(&whole[..place]).is_err(), "cut at {place}");

        let mut longer = whole.clone();
        longer.splice(place..place, more.iter().copied());
        prop_assert!(read(&longer[..]).is_err(), "{more:?} put in at {place}");

        let mut shorter = whole.clone();
        shorter.drain(place..(place + more.len()).min(whole.len()));
        prop_assert!(read(&shorter[..]).is_err(), "{} taken out at {place}", more.len());

        let mut trailing = whole;
        trailing.extend(more);
        prop_assert!(read(&trailing[..]).is_err());
    }

    #[test]
    fn any_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(read(&bytes[..]).is_err());
        // Further inside: after a header that is right.
        let mut file = file(&Header { identity: IDENTITY, floor: Floor::beginning(&IDENTITY), has_state: false }, &[]);
        file.truncate(HEADER_LENGTH);
        file.extend(bytes);
        prop_assert!(read(&file[..]).is_err());
    }
}

const HEADER_LENGTH: usize = 8 + 1 + 16 + 8 + 32 + 32 + 32;

fn three_entries() -> (Header, Vec<Entry>) {
    let header = Header {
        identity: IDENTITY,
        floor: Floor::beginning(&IDENTITY),
        has_state: false,
    };
    let told = |kind| {
        let changeset = crate::encode(&Changeset::default());
        (
            kind,
            "ada".to_owned(),
            "why".to_owned(),
            1_700_000_000_000_000,
            2,
            [7; 32],
            changeset,
        )
    };
    let told = vec![
        told(EntryKind::Commit),
        told(EntryKind::Rewind { to: 0 }),
        told(EntryKind::Revert { of: 1 }),
    ];
    let entries = chained(&header, told);
    (header, entries)
}

#[test]
fn every_bit_of_a_file_counts() {
    let (header, entries) = three_entries();
    let mut bytes = file(&header, &entries);
    for place in 0..bytes.len() {
        for bit in 0..8 {
            bytes[place] ^= 1 << bit;
            assert!(read(&bytes[..]).is_err(), "bit {bit} of byte {place}");
            bytes[place] ^= 1 << bit;
        }
        assert!(read(&bytes[..place]).is_err(), "cut at {place}");
    }
    assert_eq!(read(&bytes[..]).unwrap(), (header, entries));
}

/// Files are kept: what is written today must always be read, and be written again as it is.
#[test]
fn a_known_journal_has_its_known_file() {
    let (header, entries) = three_entries();
    let bytes = file(&header, &entries);
    assert_eq!(bytes.len(), 544);
    assert_eq!(
        blake3::hash(&bytes).to_string(),
        "0728c5a1f5bb0b82b18b0fe987afcabb42575fb30880f496f3269350989d5a33"
    );
}

/// The place where a file is damaged, in words.
fn complaint(bytes: &[u8]) -> String {
    read(bytes).expect_err("the file is damaged").to_string()
}

#[test]
fn errors_say_which_entry_and_which_byte() {
    let (header, entries) = three_entries();
    let bytes = file(&header, &entries);
    let first = file(&header, &entries[..1]).len() - (1 + 8 + 32);
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        edit(&mut bytes);
        complaint(&bytes)
    };
    let cut = |at: usize| complaint(&bytes[..at]);
    let complaints = [
        complaint(b"# a document, not a journal\n"),
        cut(3),
        edited(&|bytes| bytes[8] = 9),
        cut(20),
        edited(&|bytes| bytes[20] ^= 1),
        cut(first),
        cut(first + 30),
        edited(&|bytes| bytes[first] = 7),
        edited(&|bytes| bytes[first + 1..first + 5].fill(0xff)),
        // The longest length that is believed, of which little is there.
        edited(&|bytes| bytes[first + 1..first + 5].copy_from_slice(&(1u32 << 30).to_le_bytes())),
        // Its kind, its author's length, a letter of its author.
        edited(&|bytes| bytes[first + 6] = 9),
        edited(&|bytes| bytes[first + 8] = 0xff),
        edited(&|bytes| bytes[first + 9] ^= 1),
        edited(&|bytes| bytes[first + 5] = 3),
        edited(&|bytes| drop(bytes.drain(HEADER_LENGTH..first))),
        cut(bytes.len() - 1),
        edited(&|bytes| *bytes.last_mut().unwrap() ^= 1),
        edited(&|bytes| bytes.push(0)),
    ];
    let expected = "\
this is not a journal file
this is not a journal file
the journal file is of format 9; this program reads formats up to 2
the journal file ends early, at byte 20, in the header
the journal file is damaged at byte 97, in the header: its hash is not that of the bytes before it
the journal file ends early, at byte 253, in the entry of revision 2
the journal file ends early, at byte 283, in the entry of revision 2
the journal file is damaged at byte 253, in the entry of revision 2: neither an entry nor the trailer begins here
the entry of revision 2 has 4294967295 bytes, at most 1073741824 are possible
the journal file ends early, at byte 544, in the entry of revision 2
the journal file is damaged at byte 260, in the entry of revision 2: the kind is unknown
the journal file is damaged at byte 378, in the entry of revision 2: the entry ends early
the chain is broken at byte 253, in the entry of revision 2: its hash is not that of its contents
the chain is broken at byte 253, in the entry of revision 3: revision 2 was expected here
the chain is broken at byte 129, in the entry of revision 2: revision 1 was expected here
the journal file ends early, at byte 543, in the trailer
the journal file is damaged at byte 512, in the trailer: its hash is not that of the bytes before it
the journal file is damaged at byte 544, in the trailer: bytes follow after it";
    assert_eq!(complaints.join("\n"), expected);
}

#[test]
fn a_header_that_is_sealed_but_wrong_is_refused() {
    let (mut header, entries) = three_entries();
    header.floor.state_digest = StateDigest::from_bytes([1; 32]);
    assert!(matches!(
        Writer::new(Vec::new(), &header),
        Err(FileError::Damaged {
            part: Part::Header,
            ..
        })
    ));
    // The file of somebody who can make checks.
    let mut bytes = file(&three_entries().0, &entries);
    bytes[8 + 1 + 16 + 8 + 32] ^= 1;
    let check = *check_hasher()
        .update(&bytes[..HEADER_LENGTH - 32])
        .finalize()
        .as_bytes();
    bytes[HEADER_LENGTH - 32..HEADER_LENGTH].copy_from_slice(&check);
    assert!(complaint(&bytes).ends_with(UNSOUND_FLOOR));
}

#[test]
fn only_what_follows_is_written() {
    let (header, entries) = three_entries();
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let fault = |result| match result {
        Err(FileError::Chain {
            revision, fault, ..
        }) => (revision, fault),
        other => panic!("{other:?}"),
    };
    let expected = ChainFault::Revision { expected: 1 };
    assert_eq!(fault(writer.write(&entries[1])), (2, expected));
    let mut changed = entries[0].clone();
    changed.author.push('x');
    assert_eq!(fault(writer.write(&changed)), (1, ChainFault::Hash));
    // Nothing of them was written.
    entries
        .iter()
        .for_each(|entry| writer.write(entry).unwrap());
    assert_eq!(writer.finish().unwrap().0, file(&header, &entries));
}

/// Takes some bytes and then no more; gives some and then no more.
struct Broken(usize);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }
    fn flush(&mut self) -> io::Result<()> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[test]
fn a_disk_that_fails_is_told() {
    let (header, entries) = three_entries();
    let bytes = file(&header, &entries);
    let write = |room: usize| -> Result<(), FileError> {
        let mut writer = Writer::new(Broken(room), &header)?;
        entries.iter().try_for_each(|entry| writer.write(entry))?;
        writer.finish().map(drop)
    };
    for room in 0..=bytes.len() {
        assert!(
            matches!(write(room), Err(FileError::Io { writing: true, source })
                if source.kind() == io::ErrorKind::StorageFull),
            "room for {room}"
        );
    }
    write(bytes.len() + 1).unwrap();
    for given in [0, 8, HEADER_LENGTH, HEADER_LENGTH + 20, bytes.len()] {
        assert!(
            matches!(
                read(bytes[..given].chain(Broken(0))),
                Err(FileError::Io { writing: false, .. })
            ),
            "{given} bytes were given"
        );
    }
}

#[test]
fn the_chain_ends_with_its_numbers() {
    let floor = Floor {
        revision: u64::MAX,
        ..Floor::beginning(&IDENTITY)
    };
    let header = Header {
        identity: IDENTITY,
        floor,
        has_state: false,
    };
    let mut writer = Writer::new(Vec::new(), &header).unwrap();
    let mut entry = three_entries().1.remove(0);
    entry.revision = u64::MAX;
    assert!(writer.write(&entry.sealed()).is_err());
    let (bytes, _) = writer.finish().unwrap();
    assert_eq!(read(&bytes[..]).unwrap(), (header, Vec::new()));
}
