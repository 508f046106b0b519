//! Undoing one old revision: what came after it stays, or is named.

mod common;

use common::*;
use rewire_configdb::{CommitRequest, EntryKind, Error, Store, Unchecked};
use rewire_schema::{Change, Changeset};

fn blue(text: &str) -> rewire_schema::Row {
    vpc("blue", Some(text))
}

fn store() -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    commit(&mut store, &insert([blue("one"), vpc("gone", None)])).unwrap();
    let second = [
        update(blue("one"), blue("two")),
        Change::Insert(vpc("red", None)),
        Change::Delete(vpc("gone", None)),
    ];
    commit(&mut store, &second.into_iter().collect()).unwrap();
    commit(&mut store, &insert([vpc("green", None)])).unwrap();
    (folder, store)
}

#[test]
fn what_came_later_stays() {
    let (_folder, mut store) = store();
    let committed = revert(&mut store, 2).unwrap();
    assert_eq!(
        store.entry(committed.revision).unwrap().kind,
        EntryKind::Revert { of: 2 }
    );
    let rows: Vec<_> = store.configuration().unwrap().rows().collect();
    assert_eq!(rows, [blue("one"), vpc("gone", None), vpc("green", None)]);
    // It is undone already; and an undoing can be undone.
    assert!(store.revert_changeset(2).unwrap().is_empty());
    revert(&mut store, committed.revision).unwrap();
    let rows: Vec<_> = store.configuration().unwrap().rows().collect();
    assert_eq!(rows, [blue("two"), vpc("green", None), vpc("red", None)]);
    store.verify().unwrap();
}

#[test]
fn what_was_changed_again_is_named_with_its_revision() {
    let (_folder, mut store) = store();
    let again: Changeset = [
        update(blue("two"), blue("three")),
        Change::Delete(vpc("red", None)),
    ]
    .into_iter()
    .collect();
    commit(&mut store, &again).unwrap();
    commit(&mut store, &insert([vpc("red", Some("another"))])).unwrap();
    let error = store.revert_changeset(2).unwrap_err();
    insta::assert_snapshot!(text(&error), @"revision 2 cannot be undone: vpcs.blue.description was changed again by revision 4; vpcs.red was changed again by revision 5");
    let Error::RevertConflict {
        revision: 2,
        depends,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(
        depends.iter().map(|one| one.revision).collect::<Vec<_>>(),
        [Some(4), Some(5)]
    );
}

#[test]
fn rows_that_refer_to_what_goes_are_named_with_their_revision() {
    let (_folder, mut store) = store();
    commit(&mut store, &insert([interface("wan", "red", "null:a")])).unwrap();
    commit(&mut store, &insert([route("red", "10.0.0.0/8")])).unwrap();
    let error = revert(&mut store, 2).unwrap_err();
    insta::assert_snapshot!(text(&error), @r#"interfaces.wan.vpc: interface wan belongs to VPC red, which this commit deletes (the row is of revision 4); vpcs.red.routes.10.0.0.0/8: route red/10.0.0.0/8 belongs to VPC red, which this commit deletes (the row is of revision 5)"#);
    assert_eq!(store.head().unwrap(), 5);
}

#[test]
fn only_what_was_committed_can_be_undone() {
    let (_folder, mut store) = store();
    for of in [0, 4, u64::MAX] {
        assert!(matches!(
            store.revert_changeset(of),
            Err(Error::NoSuchRevision { head: 3, .. })
        ));
        let changeset = insert([vpc("x", None)]);
        let request = CommitRequest {
            kind: EntryKind::Revert { of },
            ..request(&store, &changeset)
        };
        assert!(matches!(
            store.commit(request, &mut Unchecked),
            Err(Error::NoSuchRevision { head: 3, .. })
        ));
    }
}
