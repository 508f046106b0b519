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
    let copy = Store::create_from(folder.path().join("copy.db"), &file(&store, 1..=4)[..]).unwrap();
    expect_same(&store, &copy);
    // Of any beginning of it, too, and of none at all.
    let beginning =
        Store::create_from(folder.path().join("2.db"), &file(&store, 1..=2)[..]).unwrap();
    assert_eq!(
        beginning.configuration().unwrap(),
        store.configuration_at(2).unwrap()
    );
    let empty = Store::create_from(
        folder.path().join("0.db"),
        &file(&store, std::ops::RangeInclusive::new(1, 0))[..],
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
        let error = Store::create_from(&path, bytes).unwrap_err();
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
    insta::assert_snapshot!(text(&error), @"the journal file begins after revision 2: a new store needs it from revision 1");
    assert!(matches!(
        Store::create_from(store.path(), &whole[..]),
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
    let mut follower = Store::create_from(&path, &file(&store, 1..=2)[..]).unwrap();
    let imported = follower.import(&file(&store, 2..=4)[..]).unwrap();
    assert_eq!(
        imported,
        Imported {
            known: 1,
            added: 2,
            head: 4
        }
    );
    expect_same(&store, &follower);
    let again = follower.import(&file(&store, 1..=4)[..]).unwrap();
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
    let error = follower.import(&file(&store, 6..=6)[..]).unwrap_err();
    insta::assert_snapshot!(text(&error), @"the journal file begins after revision 5, but the last revision here is 4");
    follower.import(&file(&store, 5..=6)[..]).unwrap();
    expect_same(&store, &follower);

    // A store that was pruned meanwhile passes over what it no longer has.
    follower.prune(3, false).unwrap();
    commit(&mut store, &insert([vpc("last", None)])).unwrap();
    let imported = follower.import(&file(&store, 1..=7)[..]).unwrap();
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
    let mut follower = Store::create_from(&path, &file(&store, 1..=4)[..]).unwrap();
    commit(&mut store, &insert([vpc("ours", None)])).unwrap();
    commit(&mut follower, &insert([vpc("theirs", None)])).unwrap();
    commit(&mut store, &insert([vpc("more", None)])).unwrap();
    for range in [1..=6, 5..=6, 6..=6] {
        let error = follower.import(&file(&store, range)[..]).unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(text(&error), @"the journals part at revision 5: the file has another entry than the store");
        }
        assert_eq!(follower.head().unwrap(), 5);
    }
    let (_other_folder, other) = self::store();
    let error = follower.import(&file(&other, 1..=4)[..]).unwrap_err();
    assert!(matches!(error, Error::ForeignJournal { theirs, .. } if theirs == other.identity()));
    // A file that ends early has brought nothing, though its entries were read.
    let mut behind =
        Store::create_from(folder.path().join("behind.db"), &file(&store, 1..=4)[..]).unwrap();
    let whole = file(&store, 1..=6);
    let error = behind.import(&whole[..whole.len() - 1]).unwrap_err();
    assert!(matches!(error, Error::File(_)));
    assert_eq!(behind.head().unwrap(), 4);
    behind.verify().unwrap();
}

#[test]
fn an_import_is_like_a_commit_to_deadlines_and_locks() {
    let (folder, mut store) = store();
    let path = folder.path().join("follower.db");
    let mut follower = Store::create_from(&path, &file(&store, 1..=4)[..]).unwrap();
    let changeset = insert([vpc("red", None)]);
    let request = CommitRequest {
        confirm: Some(Duration::from_secs(60)),
        ..request(&store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap();
    follower
        .commit(request, &mut Unchecked)
        .unwrap_or_else(|error| panic!("{error:?}"));
    let mut copy =
        Store::create_from(folder.path().join("copy.db"), &file(&follower, 1..=5)[..]).unwrap();
    commit(&mut copy, &insert([vpc("green", None)])).unwrap();
    // Known entries confirm nothing, new ones do.
    follower.import(&file(&copy, 1..=5)[..]).unwrap();
    assert!(follower.pending_confirmation().unwrap().is_some());
    follower
        .lock("ada", Session::current().unwrap(), "")
        .unwrap();
    assert!(matches!(
        follower.import(&file(&copy, 1..=6)[..]),
        Err(Error::Locked(_))
    ));
    follower.unlock(true).unwrap();
    follower.import(&file(&copy, 1..=6)[..]).unwrap();
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
        let header = rewire_journal::export::Header { identity, floor };
        let mut writer = rewire_journal::export::Writer::new(Vec::new(), &header).unwrap();
        parts.iter().for_each(|entry| writer.write(entry).unwrap());
        let (bytes, _) = writer.finish().unwrap();
        text(&Store::create_from(folder.path().join("forged.db"), &bytes[..]).unwrap_err())
    };
    let encoded = |changeset: Changeset| rewire_journal::encode(&changeset);
    insta::assert_snapshot!(forge(&|entry| entry.schema_version = 99), @"revision 2 is of schema version 99; this program knows versions up to 5");
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
        let mut copy = Store::create_from(folder.path().join("copy.db"), &file(&store, 1..=cut)[..]).unwrap();
        prop_assert_eq!(copy.configuration().unwrap(), store.configuration_at(cut).unwrap());
        let imported = copy.import(&file(&store, 1..=head)[..]).unwrap();
        prop_assert_eq!(imported, Imported { known: cut, added: head - cut, head });
        expect_same(&store, &copy);
    }
}
