//! Commits that must be confirmed: the deadline is durable with the commit, and never undoes anything later.

mod common;

use std::time::Duration;

use common::*;
use rewire_configdb::{
    AUTOMATIC_AUTHOR, CommitRequest, Committed, EntryKind, Error, Settled, Store, Unchecked,
};
use rewire_schema::{Change, Changeset, Row};

const MINUTE: Duration = Duration::from_secs(60);

fn commit_confirmed(
    store: &mut Store,
    rows: impl IntoIterator<Item = Row>,
    time: Duration,
) -> Committed {
    let changeset = insert(rows);
    let request = CommitRequest {
        confirm: Some(time),
        ..request(store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap()
}

fn settle(store: &mut Store) -> Vec<Settled> {
    store.settle(&mut Unchecked).unwrap()
}

#[test]
fn what_nobody_confirms_goes_back_even_after_the_process_is_gone() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    let before = store.configuration().unwrap();
    let committed = commit_confirmed(&mut store, [vpc("red", None)], 10 * MINUTE);
    assert_eq!(committed.deadline, Some(600_000_000));
    drop(store);

    let mut store = clock.open(&path);
    let pending = store.pending_confirmation().unwrap().unwrap();
    assert_eq!((pending.revision, pending.back_to), (2, 1));
    assert_eq!(
        (pending.deadline, pending.author.as_str()),
        (600_000_000, "ada")
    );
    assert_eq!(store.next_deadline().unwrap(), Some(600_000_000));
    clock.advance(10 * MINUTE - Duration::from_micros(1));
    assert_eq!(settle(&mut store), []);
    clock.advance(Duration::from_micros(1));
    // Several processes notice at once; one of them does it.
    let mut other = clock.open(&path);
    let settled = settle(&mut store);
    assert_eq!(settle(&mut other), []);
    let [
        Settled::WentBack {
            unconfirmed,
            to,
            committed: Some(committed),
        },
    ] = &settled[..]
    else {
        panic!("{settled:?}")
    };
    assert_eq!(
        (unconfirmed.clone(), *to, committed.revision),
        (2..=2, 1, 3)
    );
    assert_eq!(store.configuration().unwrap(), before);
    let entry = store.entry(3).unwrap();
    assert_eq!(entry.kind, EntryKind::Rewind { to: 1 });
    assert_eq!(entry.author, AUTOMATIC_AUTHOR);
    insta::assert_snapshot!(entry.message, @"revision 2 was not confirmed in time: back to revision 1");
    assert_eq!(store.pending_confirmation().unwrap(), None);
    assert_eq!(store.next_deadline().unwrap(), None);
    store.verify().unwrap();
}

#[test]
fn a_sequence_goes_back_to_before_its_first() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    let before = store.configuration().unwrap();
    commit_confirmed(&mut store, [vpc("red", None)], MINUTE);
    clock.advance(MINUTE / 2);
    // Issuing it again sets the deadline anew.
    commit_confirmed(&mut store, [vpc("green", None)], MINUTE);
    clock.advance(MINUTE / 2);
    assert_eq!(settle(&mut store), []);
    let pending = store.rearm_confirmation(2 * MINUTE).unwrap();
    assert_eq!((pending.revision, pending.back_to), (3, 1));
    assert_eq!(pending.deadline, clock.now() + 120_000_000);
    clock.advance(2 * MINUTE);
    let settled = settle(&mut store);
    assert!(
        matches!(&settled[..], [Settled::WentBack { unconfirmed, to: 1, .. }] if *unconfirmed == (2..=3))
    );
    insta::assert_snapshot!(store.entry(4).unwrap().message, @"revisions 2 to 3 were not confirmed in time: back to revision 1");
    assert_eq!(store.configuration().unwrap(), before);
}

#[test]
fn a_confirmation_a_commit_a_rewind_and_a_revert_confirm() {
    type Confirming = fn(&mut Store);
    let ways: [(&str, Confirming); 4] = [
        ("confirm", |store| drop(store.confirm().unwrap())),
        ("commit", |store| {
            drop(commit(store, &insert([vpc("later", None)])).unwrap())
        }),
        ("rewind", |store| drop(rewind(store, 0).unwrap())),
        ("revert", |store| drop(revert(store, 1).unwrap())),
    ];
    for (name, confirming) in ways {
        let (_folder, path) = folder();
        let clock = Clock::default();
        let mut store = clock.create(&path);
        commit(&mut store, &insert([vpc("blue", None)])).unwrap();
        commit_confirmed(&mut store, [vpc("red", None)], MINUTE);
        confirming(&mut store);
        let after = (store.head().unwrap(), store.configuration().unwrap());
        clock.advance(10 * MINUTE);
        assert_eq!(settle(&mut store), [], "{name}");
        assert_eq!(
            (store.head().unwrap(), store.configuration().unwrap()),
            after,
            "{name}"
        );
        assert!(
            matches!(store.confirm(), Err(Error::NothingToConfirm)),
            "{name}"
        );
        assert!(matches!(
            store.rearm_confirmation(MINUTE),
            Err(Error::NothingToConfirm)
        ));
    }
}

/// A refused commit confirms nothing, and sets no deadline.
#[test]
fn a_refusal_changes_nothing_about_the_deadline() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit_confirmed(&mut store, [vpc("red", None)], MINUTE);
    let pending = store.pending_confirmation().unwrap();
    for confirm in [None, Some(10 * MINUTE)] {
        let changeset = insert([interface("wan", "nowhere", "null:a")]);
        let request = CommitRequest {
            confirm,
            ..request(&store, &changeset)
        };
        store.commit(request, &mut Unchecked).unwrap_err();
        store.check(request, &mut Unchecked).unwrap_err();
        assert_eq!(store.pending_confirmation().unwrap(), pending);
    }
}

/// Where the state came back anyway, there is nothing to go back to.
#[test]
fn a_state_that_is_there_already_makes_no_revision() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit_confirmed(&mut store, [vpc("red", None)], MINUTE);
    let back: Changeset = [Change::Delete(vpc("red", None))].into_iter().collect();
    let request = CommitRequest {
        confirm: Some(MINUTE),
        ..request(&store, &back)
    };
    store.commit(request, &mut Unchecked).unwrap();
    clock.advance(MINUTE);
    let settled = settle(&mut store);
    assert_eq!(
        settled,
        [Settled::WentBack {
            unconfirmed: 1..=2,
            to: 0,
            committed: None
        }]
    );
    assert_eq!(store.head().unwrap(), 2);
    assert_eq!(store.next_deadline().unwrap(), None);
}

#[test]
fn a_deadline_beyond_the_end_of_time_is_the_end_of_time() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    clock.set(i64::MAX - 5);
    let mut store = clock.create(&path);
    let committed = commit_confirmed(&mut store, [vpc("red", None)], Duration::MAX);
    assert_eq!(committed.deadline, Some(i64::MAX));
    assert_eq!(settle(&mut store), []);
}
