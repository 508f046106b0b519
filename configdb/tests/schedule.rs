//! Commits that wait for their time.

mod common;

use std::time::Duration;

use common::*;
use rewire_configdb::{
    Checker, CommitRequest, Counts, EntryKind, Error, Session, Settled, StateReader, Store,
    Unchecked,
};
use rewire_schema::{Change, Changeset};

const MINUTE: Duration = Duration::from_secs(60);

fn schedule(store: &mut Store, changeset: &Changeset, at: i64) -> u64 {
    let request = CommitRequest {
        message: "in the night",
        ..request(store, changeset)
    };
    store.schedule(request, at).unwrap()
}

/// What was settled, in short.
fn settle(store: &mut Store) -> Vec<String> {
    let settled = store.settle(&mut Unchecked).unwrap();
    settled
        .iter()
        .map(|one| match one {
            Settled::WentBack { to, .. } => format!("back to {to}"),
            Settled::Committed {
                scheduled,
                committed,
            } => {
                format!("{} is revision {}", scheduled.id, committed.revision)
            }
            Settled::Refused { scheduled } => {
                format!("{}: {}", scheduled.id, scheduled.failed.as_ref().unwrap().1)
            }
        })
        .collect()
}

#[test]
fn what_is_due_is_merged_and_committed_in_the_order_of_time() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    clock.set(1_000);
    let mut store = clock.create(&path);
    let (late, early) = (insert([vpc("late", None)]), insert([vpc("early", None)]));
    save_candidate(&mut store, "night", 0, &late, "ada").unwrap();
    let request = CommitRequest {
        clear_candidate: Some("night"),
        confirm: Some(MINUTE),
        ..CommitRequest::new(0, &late, "ada", "in the night")
    };
    assert_eq!(store.schedule(request, 90_000_000).unwrap(), 1);
    assert!(candidate_names(&store).is_empty(), "it is used up");
    assert_eq!(schedule(&mut store, &early, 60_000_000), 2);
    commit(&mut store, &insert([vpc("between", None)])).unwrap();
    drop(store);

    let mut store = clock.open(&path);
    let waiting = store.scheduled().unwrap();
    assert_eq!(waiting.iter().map(|one| one.id).collect::<Vec<_>>(), [2, 1]);
    let one = &waiting[1];
    assert_eq!((one.at, one.base, one.scheduled_at), (90_000_000, 0, 1_000));
    assert_eq!((one.kind, one.confirm), (EntryKind::Commit, Some(MINUTE)));
    assert_eq!(
        one.counts,
        Counts {
            inserted: 1,
            updated: 0,
            deleted: 0
        }
    );
    assert_eq!(
        (one.author.as_str(), one.message.as_str()),
        ("ada", "in the night")
    );
    assert_eq!(store.scheduled_changeset(1).unwrap(), late);
    assert_eq!(store.next_deadline().unwrap(), Some(60_000_000));
    assert_eq!(settle(&mut store), [""; 0]);
    clock.set(90_000_000);
    assert_eq!(settle(&mut store), ["2 is revision 2", "1 is revision 3"]);
    assert!(store.scheduled().unwrap().is_empty());
    let entry = store.entry(3).unwrap();
    assert_eq!(
        (entry.author.as_str(), entry.message.as_str()),
        ("ada", "in the night")
    );
    assert_eq!(entry.committed_at, 90_000_000);
    // It asked to be confirmed.
    let pending = store.pending_confirmation().unwrap().unwrap();
    assert_eq!((pending.revision, pending.deadline), (3, 150_000_000));
    store.verify().unwrap();
}

#[test]
fn what_is_refused_stays_and_holds_nothing_up() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", Some("old"))])).unwrap();
    let blue = |before, after| -> Changeset {
        let change = update(vpc("blue", Some(before)), vpc("blue", Some(after)));
        [change].into_iter().collect()
    };
    schedule(&mut store, &blue("old", "night"), 10);
    schedule(
        &mut store,
        &insert([interface("wan", "nowhere", "null:a")]),
        20,
    );
    schedule(&mut store, &insert([vpc("red", None)]), 30);
    commit(&mut store, &blue("old", "day")).unwrap();
    clock.set(40);
    insta::assert_snapshot!(settle(&mut store).join("\n"), @r#"
    1: vpcs.blue.description: base old, ours night, theirs day (revision 2 by ada)
    2: interfaces.wan.vpc: interface wan belongs to VPC nowhere, which does not exist
    3 is revision 3
    "#);
    let left = store.scheduled().unwrap();
    let failed: Vec<_> = left
        .iter()
        .map(|one| (one.id, one.failed.as_ref().unwrap().0))
        .collect();
    assert_eq!(failed, [(1, 40), (2, 40)]);
    assert_eq!(store.next_deadline().unwrap(), None);
    assert_eq!(settle(&mut store), [""; 0]);
    assert_eq!(store.cancel(1).unwrap().id, 1);
    assert!(matches!(
        store.cancel(1),
        Err(Error::NoSuchSchedule { id: 1 })
    ));
    assert!(matches!(
        store.scheduled_changeset(1),
        Err(Error::NoSuchSchedule { .. })
    ));
    // No number comes again.
    store.cancel(2).unwrap();
    assert_eq!(schedule(&mut store, &insert([vpc("new", None)]), 99), 4);
    store.verify().unwrap();
}

struct Refuses;

impl Checker for Refuses {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("not tonight".into())
    }
}

#[test]
fn the_checker_is_asked() {
    let (_folder, path) = folder();
    let mut store = Clock::default().create(&path);
    schedule(&mut store, &insert([vpc("red", None)]), 0);
    store.settle(&mut Refuses).unwrap();
    let failed = store.scheduled().unwrap().remove(0).failed.unwrap();
    assert_eq!(failed, (0, "the change is refused: not tonight".to_owned()));
    assert!(store.configuration().unwrap().is_empty());
}

/// It would confirm what nobody has looked at yet.
#[test]
fn while_a_commit_waits_for_its_confirmation_nothing_else_happens() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    let changeset = insert([vpc("blue", None)]);
    let request = CommitRequest {
        confirm: Some(MINUTE),
        ..request(&store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap();
    schedule(&mut store, &insert([vpc("red", None)]), 10);
    clock.set(20);
    assert_eq!(store.next_deadline().unwrap(), Some(60_000_000));
    assert_eq!(settle(&mut store), [""; 0]);
    clock.set(60_000_000);
    assert_eq!(settle(&mut store), ["back to 0", "1 is revision 3"]);
    assert_eq!(
        store.configuration().unwrap().rows().collect::<Vec<_>>(),
        [vpc("red", None)]
    );
}

#[test]
fn while_somebody_else_holds_the_lock_it_waits() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    schedule(&mut store, &insert([vpc("red", None)]), 10);
    store
        .lock("ada", Session::current().unwrap(), "at work")
        .unwrap();
    clock.set(20);
    assert_eq!(settle(&mut store), [""; 0]);
    assert_eq!(store.next_deadline().unwrap(), Some(1_000_020));
    // Who holds the lock does not wait for it.
    let mut holder = clock
        .open(&path)
        .with_sessions(vec![Session::current().unwrap()]);
    assert_eq!(settle(&mut holder), ["1 is revision 1"]);
}

#[test]
fn an_undoing_can_be_put_off_and_a_rewind_cannot() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    let undoing = store.revert_changeset(1).unwrap();
    let request = CommitRequest {
        kind: EntryKind::Revert { of: 1 },
        ..request(&store, &undoing)
    };
    store.schedule(request, 5).unwrap();
    let rewind = CommitRequest {
        kind: EntryKind::Rewind { to: 1 },
        ..request
    };
    let error = store.schedule(rewind, 5).unwrap_err();
    insta::assert_snapshot!(text(&error), @"a rewind to revision 1 cannot be scheduled as such: the way back can, as a commit");
    let nothing = CommitRequest {
        changeset: &Changeset::default(),
        ..request
    };
    assert!(matches!(
        store.schedule(nothing, 5),
        Err(Error::NothingToCommit)
    ));
    let future = CommitRequest { base: 3, ..request };
    assert!(matches!(
        store.schedule(future, 5),
        Err(Error::NoSuchRevision {
            revision: 3,
            head: 2
        })
    ));
    clock.set(5);
    assert_eq!(settle(&mut store), ["1 is revision 3"]);
    assert_eq!(store.entry(3).unwrap().kind, EntryKind::Revert { of: 1 });
    let left: Vec<_> = store.configuration().unwrap().rows().collect();
    assert_eq!(left, [vpc("red", None)]);
    // What is gone cannot go again.
    let gone: Changeset = [Change::Delete(vpc("red", None))].into_iter().collect();
    schedule(&mut store, &gone, 5);
    commit(&mut store, &gone).unwrap();
    assert_eq!(settle(&mut store), ["2: there is nothing to commit"]);
}
