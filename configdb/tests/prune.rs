//! A journal that was shortened: what is left is still proven, and what is gone is said to be.

mod common;

use std::time::Duration;

use common::*;
use rewire_configdb::{CommitRequest, Error, LogQuery, Store, Unchecked};
use rewire_schema::Changeset;

/// Ten revisions, each with the rows of so many virtual networks.
fn store(rows: usize) -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    for revision in 0..10 {
        let names = (0..rows).map(|n| vpc(&format!("vpc-{revision}-{n}"), Some("a description")));
        commit(&mut store, &insert(names)).unwrap();
    }
    (folder, store)
}

#[test]
fn older_revisions_are_gone_and_said_to_be() {
    let (_folder, mut store) = store(2);
    let states: Vec<_> = (0..=10)
        .map(|n| store.configuration_at(n).unwrap())
        .collect();
    let pruned = store.prune(4, false).unwrap();
    assert_eq!((pruned.entries, pruned.floor), (4, 4));
    pruned.compacted.unwrap();
    let verified = store.verify().unwrap();
    assert_eq!(
        (verified.revisions, verified.floor, verified.rows),
        (10, 4, 20)
    );

    let changeset = insert([vpc("x", None)]);
    let base = CommitRequest {
        merge: true,
        ..CommitRequest::new(3, &changeset, "ada", "a test")
    };
    let refusals = [
        store.configuration_at(3).unwrap_err(),
        store.entry(4).unwrap_err(),
        store.changesets_since(3).unwrap_err(),
        store.rewind_changeset(0).unwrap_err(),
        store.revert_changeset(4).unwrap_err(),
        store.tag("old", 3, "ada").unwrap_err(),
        store.commit(base, &mut Unchecked).unwrap_err(),
        save_candidate(&mut store, "old", 3, &changeset, "ada").unwrap_err(),
        store.export(4..=10, Vec::new()).unwrap_err(),
        store.schedule(base, 0).unwrap_err(),
    ];
    for error in refusals {
        assert!(matches!(error, Error::Pruned { floor: 4, .. }), "{error:?}");
    }
    insta::assert_snapshot!(text(&store.configuration_at(3).unwrap_err()), @"revision 3 was pruned; the oldest one that is left is 4");

    // What is left, is.
    for revision in 4..=10 {
        assert_eq!(
            store.configuration_at(revision).unwrap(),
            states[revision as usize]
        );
    }
    let log = store.log(LogQuery::last(100)).unwrap();
    assert_eq!(log.iter().map(|entry| entry.revision).min(), Some(5));
    let old = vpc("vpc-0-0", None).row_key();
    let new = vpc("vpc-7-0", None).row_key();
    let blames = store.blame(&[old, new]).unwrap();
    assert_eq!((blames[0].created, blames[1].created), (None, Some(8)));
    assert!(blames[0].fields.iter().all(|(_, since)| since.is_none()));
    rewind(&mut store, 4).unwrap();
    assert_eq!(store.configuration().unwrap(), states[4]);
    store.verify().unwrap();

    // Again, and again to where it is already.
    assert_eq!(store.prune(7, false).unwrap().entries, 3);
    let nothing = store.prune(3, false).unwrap();
    assert_eq!((nothing.entries, nothing.floor), (0, 7));
    assert_eq!(store.verify().unwrap().floor, 7);
}

#[test]
fn what_is_needed_stays() {
    let (_folder, mut store) = store(1);
    let refusal = |store: &mut Store, up_to| text(&store.prune(up_to, false).unwrap_err());
    insta::assert_snapshot!(refusal(&mut store, 10), @"the journal cannot be pruned up to revision 10: the last revision is 10, and its entry stays");
    assert!(matches!(
        store.prune(11, true),
        Err(Error::NoSuchRevision { .. })
    ));
    store.tag("golden", 3, "ada").unwrap();
    store.tag("edge", 5, "ada").unwrap();
    insta::assert_snapshot!(refusal(&mut store, 4), @r#"the journal cannot be pruned up to revision 4: revision 3 has the tag "golden""#);
    assert_eq!(store.verify().unwrap().floor, 0);
    store.prune(2, false).unwrap();
    // The state of the floor itself can still be told, and keeps its name.
    let pruned = store.prune(5, true).unwrap();
    assert_eq!(pruned.tags, ["golden"]);
    assert_eq!(store.tags().unwrap().len(), 1);

    let changeset = insert([vpc("unconfirmed", None)]);
    let request = CommitRequest {
        confirm: Some(Duration::from_secs(600)),
        ..request(&store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap();
    store
        .commit(
            CommitRequest {
                base: 11,
                changeset: &insert([vpc("unconfirmed-2", None)]),
                ..request
            },
            &mut Unchecked,
        )
        .unwrap();
    insta::assert_snapshot!(refusal(&mut store, 11), @"the journal cannot be pruned up to revision 11: a commit that is not confirmed may go back to revision 10");
    assert_eq!(store.prune(10, true).unwrap().floor, 10);
}

#[test]
fn space_is_given_back() {
    let (_folder, mut store) = store(400);
    // One more, so that what is large is not the last one.
    commit(&mut store, &insert([vpc("last", None)])).unwrap();
    let all: Changeset = store.rewind_changeset(0).unwrap();
    let request = CommitRequest {
        kind: rewire_configdb::EntryKind::Rewind { to: 0 },
        ..request(&store, &all)
    };
    store.commit(request, &mut Unchecked).unwrap();
    commit(&mut store, &insert([vpc("new", None)])).unwrap();
    let size = |store: &Store| {
        let wal = store.path().with_extension("db-wal");
        let len = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        len(store.path()) + len(&wal)
    };
    let before = size(&store);
    store.prune(12, false).unwrap().compacted.unwrap();
    let after = size(&store);
    assert!(after < before / 3, "{before} bytes became {after}");
    store.verify().unwrap();
    drop(store.configuration_at(12).unwrap());
}

/// The database itself lets nothing go that a checkpoint does not stand for.
#[test]
fn only_what_a_checkpoint_covers_can_be_deleted() {
    let (_folder, mut store) = store(1);
    store.prune(4, false).unwrap();
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    for sql in [
        "DELETE FROM journal WHERE revision = 5",
        "DELETE FROM journal",
        "DELETE FROM checkpoint",
        "UPDATE checkpoint SET revision = 7",
        "UPDATE checkpoint SET hash = zeroblob(32)",
        "INSERT OR REPLACE INTO checkpoint VALUES (1, 9, zeroblob(32), zeroblob(32))",
        "UPDATE journal SET author = 'eve'",
    ] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
    store.verify().unwrap();
}

/// A checkpoint that is not what the entries follow is found.
#[test]
fn a_forged_checkpoint_is_found() {
    for (damage, expected) in [
        (
            "UPDATE checkpoint SET hash = zeroblob(32)",
            "the journal is broken at revision 5",
        ),
        (
            "UPDATE checkpoint SET state_digest = zeroblob(32)",
            "the state of revision 5 does not match",
        ),
        (
            "UPDATE checkpoint SET revision = 3",
            "the journal is broken at revision 5",
        ),
        (
            "DELETE FROM checkpoint",
            "the journal is broken at revision 5",
        ),
        (
            "UPDATE vpc SET description = 'b description' WHERE name = 'vpc-0-0'",
            "the state of revision 10 does not match",
        ),
        (
            "UPDATE vpc SET description = 'b description' WHERE name = 'vpc-9-0'",
            "(the first row that differs is vpcs.vpc-9-0)",
        ),
    ] {
        let (_folder, mut store) = store(1);
        store.prune(4, false).unwrap();
        let path = store.path().to_owned();
        drop(store);
        let connection = rusqlite::Connection::open(&path).unwrap();
        let unlock =
            "DROP TRIGGER checkpoint_moves_to_an_entry; DROP TRIGGER checkpoint_is_never_removed;";
        connection
            .execute_batch(&format!("{unlock} {damage}"))
            .unwrap();
        drop(connection);
        let error = text(&Store::open(&path).unwrap().verify().unwrap_err());
        assert!(error.contains(expected), "{damage}: {error}");
    }
}
