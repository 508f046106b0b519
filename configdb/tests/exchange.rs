//! The journal out to a file and in again: the same store, or an error that names the revision.

mod common;

use std::time::Duration;

use common::*;
use proptest::prelude::*;
use rewire_configdb::{CommitRequest, Error, Imported, LogQuery, Session, Store, Unchecked};
use rewire_schema::{Changeset, testing};

/// Four revisions, of which the third is a rewind and the fourth a revert.
fn store() -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    commit(
        &mut store,
        &insert([vpc("blue", None), interface("wan", "blue", "null:a")]),
    )
    .unwrap();
    commit(&mut store, &insert([route("blue", "10.0.0.0/8")])).unwrap();
    rewind(&mut store, 1).unwrap();
    revert(&mut store, 3).unwrap();
    (folder, store)
}

fn file(store: &Store, revisions: std::ops::RangeInclusive<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let count = revisions.clone().count() as u64;
    assert_eq!(store.export(revisions, &mut bytes).unwrap(), count);
    bytes
}

fn expect_same(a: &Store, b: &Store) {
    assert_eq!(a.identity(), b.identity());
    assert_eq!(a.configuration().unwrap(), b.configuration().unwrap());
    let all = LogQuery::last(usize::MAX);
    assert_eq!(a.log(all).unwrap(), b.log(all).unwrap());
    assert_eq!(a.verify().unwrap(), b.verify().unwrap());
}

#[test]
fn a_store_is_made_of_its_journal() {
    let (folder, store) = store();
    let copy = Store::create_from(
        folder.path().join("copy.db"),
        &file(&store, 1..=4)[..],
        &mut Unchecked,
    )
    .unwrap();
    expect_same(&store, &copy);
    // Of any beginning of it, too, and of none at all.
    let beginning = Store::create_from(
        folder.path().join("2.db"),
        &file(&store, 1..=2)[..],
        &mut Unchecked,
    )
    .unwrap();
    assert_eq!(
        beginning.configuration().unwrap(),
        store.configuration_at(2).unwrap()
    );
    let empty = Store::create_from(
        folder.path().join("0.db"),
        &file(&store, std::ops::RangeInclusive::new(1, 0))[..],
        &mut Unchecked,
    )
    .unwrap();
    assert_eq!(
        (empty.head().unwrap(), empty.identity()),
        (0, store.identity())
    );
}

#[test]
fn a_store_is_made_whole_or_not_at_all() {
    let (folder, mut store) = store();
    let path = folder.path().join("copy.db");
    let whole = file(&store, 1..=4);
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    let expect_refused = |bytes: &[u8]| {
        let error = Store::create_from(&path, bytes, &mut Unchecked).unwrap_err();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before);
        error
    };
    for bytes in [
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        b"",
        b"nonsense",
    ] {
        assert!(matches!(expect_refused(bytes), Error::File(_)));
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(matches!(expect_refused(&damaged), Error::File(_)));
    let error = expect_refused(&file(&store, 3..=4));
    insta::assert_snapshot!(text(&error), @"the journal file begins after revision 2, and does not hold the state there: a new store needs it from revision 1");
    assert!(matches!(
        Store::create_from(store.path(), &whole[..], &mut Unchecked),
        Err(Error::Exists { .. })
    ));
    // What was pruned cannot be written.
    store.prune(2, false).unwrap();
    assert!(matches!(
        store.export(2..=4, Vec::new()),
        Err(Error::Pruned { .. })
    ));
    assert!(matches!(
        store.export(3..=5, Vec::new()),
        Err(Error::NoSuchRevision { .. })
    ));
    file(&store, 3..=4);
}

#[test]
fn entries_that_follow_are_appended_and_known_ones_compared() {
    let (folder, mut store) = store();
    let path = folder.path().join("follower.db");
    let mut follower = Store::create_from(&path, &file(&store, 1..=2)[..], &mut Unchecked).unwrap();
    let imported = follower
        .import(&file(&store, 2..=4)[..], &mut Unchecked)
        .unwrap();
    assert_eq!(
        imported,
        Imported {
            known: 1,
            added: 2,
            head: 4
        }
    );
    expect_same(&store, &follower);
    let again = follower
        .import(&file(&store, 1..=4)[..], &mut Unchecked)
        .unwrap();
    assert_eq!(
        again,
        Imported {
            known: 4,
            added: 0,
            head: 4
        }
    );

    // A file that begins where the store ends; and one that begins after that.
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    commit(&mut store, &insert([vpc("green", None)])).unwrap();
    let error = follower
        .import(&file(&store, 6..=6)[..], &mut Unchecked)
        .unwrap_err();
    insta::assert_snapshot!(text(&error), @"the journal file begins after revision 5, but the last revision here is 4");
    follower
        .import(&file(&store, 5..=6)[..], &mut Unchecked)
        .unwrap();
    expect_same(&store, &follower);

    // A store that was pruned meanwhile passes over what it no longer has.
    follower.prune(3, false).unwrap();
    commit(&mut store, &insert([vpc("last", None)])).unwrap();
    let imported = follower
        .import(&file(&store, 1..=7)[..], &mut Unchecked)
        .unwrap();
    assert_eq!(
        imported,
        Imported {
            known: 4,
            added: 1,
            head: 7
        }
    );
    follower.verify().unwrap();
}

#[test]
fn journals_that_part_are_not_joined() {
    let (folder, mut store) = store();
    let path = folder.path().join("follower.db");
    let mut follower = Store::create_from(&path, &file(&store, 1..=4)[..], &mut Unchecked).unwrap();
    commit(&mut store, &insert([vpc("ours", None)])).unwrap();
    commit(&mut follower, &insert([vpc("theirs", None)])).unwrap();
    commit(&mut store, &insert([vpc("more", None)])).unwrap();
    for range in [1..=6, 5..=6, 6..=6] {
        let error = follower
            .import(&file(&store, range)[..], &mut Unchecked)
            .unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(text(&error), @"the journals part at revision 5: the file has another entry than the store");
        }
        assert_eq!(follower.head().unwrap(), 5);
    }
    let (_other_folder, other) = self::store();
    let error = follower
        .import(&file(&other, 1..=4)[..], &mut Unchecked)
        .unwrap_err();
    assert!(matches!(error, Error::ForeignJournal { theirs, .. } if theirs == other.identity()));
    // A file that ends early has brought nothing, though its entries were read.
    let mut behind = Store::create_from(
        folder.path().join("behind.db"),
        &file(&store, 1..=4)[..],
        &mut Unchecked,
    )
    .unwrap();
    let whole = file(&store, 1..=6);
    let error = behind
        .import(&whole[..whole.len() - 1], &mut Unchecked)
        .unwrap_err();
    assert!(matches!(error, Error::File(_)));
    assert_eq!(behind.head().unwrap(), 4);
    behind.verify().unwrap();
}

#[test]
fn an_import_is_like_a_commit_to_deadlines_and_locks() {
    let (folder, mut store) = store();
    let path = folder.path().join("follower.db");
    let mut follower = Store::create_from(&path, &file(&store, 1..=4)[..], &mut Unchecked).unwrap();
    let changeset = insert([vpc("red", None)]);
    let request = CommitRequest {
        confirm: Some(Duration::from_secs(60)),
        ..request(&store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap();
    follower
        .commit(request, &mut Unchecked)
        .unwrap_or_else(|error| panic!("{error:?}"));
    let mut copy = Store::create_from(
        folder.path().join("copy.db"),
        &file(&follower, 1..=5)[..],
        &mut Unchecked,
    )
    .unwrap();
    commit(&mut copy, &insert([vpc("green", None)])).unwrap();
    // Known entries confirm nothing, new ones do.
    follower
        .import(&file(&copy, 1..=5)[..], &mut Unchecked)
        .unwrap();
    assert!(follower.pending_confirmation().unwrap().is_some());
    follower
        .lock("ada", Session::current().unwrap(), "")
        .unwrap();
    assert!(matches!(
        follower.import(&file(&copy, 1..=6)[..], &mut Unchecked),
        Err(Error::Locked(_))
    ));
    follower.unlock(true).unwrap();
    follower
        .import(&file(&copy, 1..=6)[..], &mut Unchecked)
        .unwrap();
    assert_eq!(follower.pending_confirmation().unwrap(), None);
    expect_same(&copy, &follower);
}

/// A journal whose chain holds, and whose contents do not fit: sealed by somebody who could.
#[test]
fn entries_that_cannot_be_applied_are_named() {
    let (folder, store) = store();
    let forge = |forge: &dyn Fn(&mut rewire_configdb::Entry)| {
        let mut parts: Vec<_> = (1..=4)
            .map(|revision| store.entry(revision).unwrap())
            .collect();
        forge(&mut parts[1]);
        for index in 1..4 {
            parts[index].parent = parts[index - 1].hash;
            parts[index] = parts[index].clone().sealed();
        }
        let identity = store.identity();
        let floor = rewire_journal::export::Floor::beginning(&identity);
        let header = rewire_journal::export::Header {
            identity,
            floor,
            has_state: false,
        };
        let mut writer = rewire_journal::export::Writer::new(Vec::new(), &header).unwrap();
        parts.iter().for_each(|entry| writer.write(entry).unwrap());
        let (bytes, _) = writer.finish().unwrap();
        text(
            &Store::create_from(folder.path().join("forged.db"), &bytes[..], &mut Unchecked)
                .unwrap_err(),
        )
    };
    let encoded = |changeset: Changeset| rewire_journal::encode(&changeset);
    insta::assert_snapshot!(forge(&|entry| entry.schema_version = 99), @"revision 2 is of schema version 99; this program knows versions up to 10");
    insta::assert_snapshot!(forge(&|entry| entry.changeset = vec![9]), @"revision 2 cannot be read: the changeset is encoded in format 9; this program reads format 1");
    insta::assert_snapshot!(forge(&|entry| entry.changeset = encoded(insert([vpc("blue", None)]))), @"revision 2 cannot be applied: vpcs.blue exists already");
    insta::assert_snapshot!(forge(&|entry| entry.changeset = encoded(insert([route("red", "10.0.0.0/8")]))), @r#"revision 2 cannot be applied: vpcs.red.routes.10.0.0.0/8: route red/10.0.0.0/8 belongs to VPC red, which does not exist"#);
    let other = forge(&|entry| entry.changeset = encoded(insert([vpc("red", None)])));
    assert!(
        other.starts_with("the state of revision 2 does not match its digest"),
        "{other}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_history_comes_back(states in proptest::collection::vec(testing::configuration(), 1..6), cut in any::<prop::sample::Index>()) {
        let (folder, path) = folder();
        let mut store = Store::create(path).unwrap();
        for state in states {
            commit_target(&mut store, &state).unwrap();
        }
        let head = store.head().unwrap();
        let cut = cut.index(head as usize + 1) as u64;
        let mut copy = Store::create_from(folder.path().join("copy.db"), &file(&store, 1..=cut)[..], &mut Unchecked).unwrap();
        prop_assert_eq!(copy.configuration().unwrap(), store.configuration_at(cut).unwrap());
        let imported = copy.import(&file(&store, 1..=head)[..], &mut Unchecked).unwrap();
        prop_assert_eq!(imported, Imported { known: cut, added: head - cut, head });
        expect_same(&store, &copy);
    }
}

/// A store of three revisions that was pruned up to the second.
fn pruned() -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    let rows = [vpc("blue", None), interface("wan", "blue", "null:a")];
    commit(&mut store, &insert(rows)).unwrap();
    commit(&mut store, &insert([route("blue", "10.0.0.0/8")])).unwrap();
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    commit(&mut store, &insert([vpc("green", None)])).unwrap();
    store.prune(2, false).unwrap();
    (folder, store)
}

#[test]
fn a_store_that_was_pruned_is_made_again_of_its_journal() {
    let (folder, mut store) = pruned();
    let whole = file(&store, 3..=4);
    let path = folder.path().join("copy.db");
    let mut copy = Store::create_from(&path, &whole[..], &mut Unchecked).unwrap();
    expect_same(&store, &copy);
    assert_eq!(file(&copy, 3..=4), whole);
    assert_eq!(
        copy.configuration_at(2).unwrap(),
        store.configuration_at(2).unwrap()
    );
    assert!(matches!(
        copy.configuration_at(1),
        Err(Error::Pruned { floor: 2, .. })
    ));
    // It goes on like any other: by commits, ways back, and entries that follow.
    rewind(&mut copy, 2).unwrap();
    rewind(&mut store, 2).unwrap();
    copy.verify().unwrap();
    let mut behind = Store::create_from(
        folder.path().join("behind.db"),
        &file(&store, 3..=3)[..],
        &mut Unchecked,
    )
    .unwrap();
    let all = file(&store, 3..=5);
    let imported = behind.import(&all[..], &mut Unchecked).unwrap();
    let expected = Imported {
        known: 1,
        added: 2,
        head: 5,
    };
    assert_eq!(imported, expected);
    expect_same(&store, &behind);
    copy.prune(3, false).unwrap();
    copy.verify().unwrap();
    // The later part is no journal to begin with, and goes on from where the store is.
    let error = Store::create_from(
        folder.path().join("none.db"),
        &file(&store, 4..=5)[..],
        &mut Unchecked,
    );
    insta::assert_snapshot!(text(&error.unwrap_err()), @"the journal file begins after revision 3, and does not hold the state there: a new store needs it from revision 1");
}

/// The same store as a whole journal, or nothing, of a file that holds a state.
#[test]
fn a_store_without_revisions_takes_a_state_over() {
    let (folder, store) = pruned();
    let nothing = rewire_journal::export::Header {
        identity: store.identity(),
        floor: rewire_journal::export::Floor::beginning(&store.identity()),
        has_state: false,
    };
    let writer = rewire_journal::export::Writer::new(Vec::new(), &nothing).unwrap();
    let (nothing, _) = writer.finish().unwrap();
    let empty = |name| {
        let path = folder.path().join(name);
        let mut empty = Store::create_from(path, &nothing[..], &mut Unchecked).unwrap();
        empty.tag("beginning", 0, "ada").unwrap();
        empty
    };
    let whole = file(&store, 3..=4);
    let mut copy = empty("copy.db");
    let imported = copy.import(&whole[..], &mut Unchecked).unwrap();
    let expected = Imported {
        known: 0,
        added: 2,
        head: 4,
    };
    assert_eq!(imported, expected);
    expect_same(&store, &copy);
    let again = copy.import(&whole[..], &mut Unchecked).unwrap();
    assert_eq!((again.known, again.added), (2, 0));

    let mut untouched = empty("untouched.db");
    for bytes in [
        &whole[..150],
        &whole[..whole.len() - 1],
        &file(&store, 4..=4)[..],
    ] {
        assert!(untouched.import(bytes, &mut Unchecked).is_err());
        assert_eq!(untouched.head().unwrap(), 0);
        assert_eq!(untouched.tags().unwrap().len(), 1);
        untouched.verify().unwrap();
    }
    // One with revisions of its own lacks those between.
    let mut other = empty("other.db");
    commit(&mut other, &insert([vpc("own", None)])).unwrap();
    assert!(matches!(
        other.import(&whole[..], &mut Unchecked),
        Err(Error::Gap { head: 1, floor: 2 })
    ));
}

/// Lets nothing through whose last revision has a virtual network of this name.
struct Not(&'static str);

impl rewire_configdb::Checker for Not {
    fn check(
        &mut self,
        _: u64,
        state: &dyn rewire_configdb::StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let name = (self.0.parse().unwrap(),);
        match state.configuration()?.vpc.contains_key(&name) {
            true => Err(format!("{} is no name for a network", self.0).into()),
            false => Ok(()),
        }
    }
}

#[test]
fn a_state_that_cannot_be_used_is_not_taken_over() {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    commit(&mut store, &insert([vpc("bad", None)])).unwrap();
    let path = folder.path().join("copy.db");
    let error = Store::create_from(&path, &file(&store, 1..=2)[..], &mut Not("bad")).unwrap_err();
    insta::assert_snapshot!(text(&error), @"revision 2, the last one of the journal file, is refused: bad is no name for a network");
    assert!(!path.exists());
    let mut copy = Store::create_from(&path, &file(&store, 1..=1)[..], &mut Not("bad")).unwrap();
    let error = copy
        .import(&file(&store, 1..=2)[..], &mut Not("bad"))
        .unwrap_err();
    assert!(matches!(error, Error::Unusable { revision: 2, .. }));
    assert_eq!(copy.head().unwrap(), 1);
    copy.verify().unwrap();
    // What was history when it was written is history.
    rewind(&mut store, 1).unwrap();
    let all = file(&store, 1..=3);
    assert_eq!(copy.import(&all[..], &mut Not("bad")).unwrap().added, 2);
    expect_same(&store, &copy);
    // The same for a state that the journal begins with.
    store.prune(2, false).unwrap();
    let path = folder.path().join("pruned.db");
    let pruned = file(&store, 3..=3);
    let copy = Store::create_from(path, &pruned[..], &mut Not("bad")).unwrap();
    expect_same(&store, &copy);
    let path = folder.path().join("none.db");
    let error = Store::create_from(path, &pruned[..], &mut Not("blue")).unwrap_err();
    assert!(matches!(error, Error::Unusable { revision: 3, .. }));
}

/// A state whose digest is that of its rows, and which the database does not take: by somebody who could.
#[test]
fn a_state_that_cannot_be_applied_is_named() {
    let (folder, store) = pruned();
    let entry = store.entry(3).unwrap();
    let create = |pieces: &[Changeset]| {
        let mut state_digest = rewire_journal::StateDigest::EMPTY;
        pieces.iter().for_each(|rows| state_digest.apply(rows));
        let header = rewire_journal::export::Header {
            identity: store.identity(),
            floor: rewire_journal::export::Floor {
                revision: 2,
                hash: entry.parent,
                state_digest,
            },
            has_state: true,
        };
        let mut writer = rewire_journal::export::Writer::new(Vec::new(), &header).unwrap();
        pieces
            .iter()
            .for_each(|rows| writer.write_rows(rows).unwrap());
        writer.write(&entry).unwrap();
        let (bytes, _) = writer.finish().unwrap();
        let path = folder.path().join("forged.db");
        text(&Store::create_from(&path, &bytes[..], &mut Unchecked).unwrap_err())
    };
    let blue = insert([vpc("blue", None)]);
    insta::assert_snapshot!(create(&[blue.clone(), blue.clone()]), @"revision 2 cannot be applied: vpcs.blue exists already");
    insta::assert_snapshot!(create(&[blue, insert([route("grey", "10.0.0.0/8")])]), @"revision 2 cannot be applied: vpcs.grey.routes.10.0.0.0/8: route grey/10.0.0.0/8 belongs to VPC grey, which does not exist");
    let other = create(&[insert([vpc("grey", None)])]);
    assert!(
        other.starts_with("the state of revision 3 does not match its digest"),
        "{other}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_pruned_history_comes_back(
        states in proptest::collection::vec(testing::configuration(), 2..7),
        at in any::<prop::sample::Index>(),
        back in any::<prop::sample::Index>(),
    ) {
        let (folder, path) = folder();
        let mut store = Store::create(path).unwrap();
        for state in states {
            commit_target(&mut store, &state).unwrap();
        }
        let head = store.head().unwrap();
        prop_assume!(head > 1);
        let floor = at.index(head as usize - 1) as u64 + 1;
        store.prune(floor, false).unwrap();
        let whole = file(&store, floor + 1..=head);
        let path = folder.path().join("copy.db");
        let mut copy = Store::create_from(path, &whole[..], &mut Unchecked).unwrap();
        expect_same(&store, &copy);
        prop_assert_eq!(&file(&copy, floor + 1..=head), &whole);
        for revision in floor..=head {
            prop_assert_eq!(
                copy.configuration_at(revision).unwrap(),
                store.configuration_at(revision).unwrap()
            );
        }
        // The same ways back lead to the same states.
        let to = floor + back.index((head - floor) as usize) as u64;
        let ways = [&mut store, &mut copy].map(|store| match rewind(store, to) {
            Ok(committed) => Some(committed.state_digest),
            Err(Error::NothingToCommit) => None,
            Err(error) => panic!("{error}"),
        });
        prop_assert_eq!(ways[0], ways[1]);
        copy.verify().unwrap();
    }
}
