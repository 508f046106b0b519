//! A disk that fails, or is full, at any call: no panic, no false answer, and nothing lost that was acknowledged.
//!
//! Each verb of the store is done again and again on the same files. The first call to the disk fails, then the second one
//! instead, and so on until the verb has come through untouched: once so that a single call fails, once so that all do
//! that follow. What then is there is what was there before or what the verb makes, and the store that was open all the
//! time goes on working as soon as the disk does.
//!
//! Then random histories: one connection that lives through many failures. `REWIRE_SEED` sets the first one's seed,
//! `REWIRE_HISTORIES` how many there are. With `REWIRE_THOROUGH=1`, no call is left out anywhere; without, some are where
//! all calls fail from one on, and where a store is made of a journal.

mod common;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/layer.rs"]
mod layer;
#[path = "faults/long.rs"]
mod long;
#[path = "power/random.rs"]
mod random;
#[path = "faults/trial.rs"]
mod trial;
#[path = "faults/verb.rs"]
mod verb;
mod vfs;
#[path = "power/world.rs"]
mod world;

use std::path::Path;
use std::sync::Arc;

use common::{insert, vpc};
use layer::{Faults, Lasting, What};
use rewire_configdb::{Error, Store};
use trial::{Start, Struck, every_call};
use verb::{
    ADMINISTERING, CREATING, CREATING_FROM_JOURNAL, Desk, NAME, READING, UPGRADING, Verb, WRITING,
    commit, many_routes,
};
use vfs::Call;

fn every_call_of(verbs: &[Verb], what: What) -> Struck {
    let start = Start::new();
    let faults = Faults::start();
    let mut all = Struck::new();
    for verb in verbs {
        for lasting in [Lasting::Once, Lasting::ForGood] {
            let struck = every_call(&faults, &start, verb, what, lasting);
            println!("{}, {what:?}, {lasting:?}: {struck:?}", verb.name);
            for (call, times) in struck {
                *all.entry(call).or_default() += times;
            }
        }
    }
    println!("{}: {all:?}", all.values().sum::<usize>());
    all
}

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

fn expect_each(calls: &[Call], struck: &Struck) {
    for call in calls {
        assert!(struck.contains_key(call), "{call:?} never failed");
    }
}

#[test]
fn creating_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(CREATING, What::Broken);
    let calls = [
        Call::Access,
        Call::Delete,
        Call::Link,
        Call::Lock,
        Call::Sync,
    ];
    expect_each(&calls, &struck);
}

#[test]
fn creating_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(CREATING, What::Full);
    assert!(struck[&Call::Write] > 50, "{struck:?}");
}

#[test]
fn creating_from_a_journal_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(CREATING_FROM_JOURNAL, What::Broken);
    let calls = [Call::Read, Call::Write, Call::Sync];
    expect_each(&calls, &struck);
}

#[test]
fn creating_from_a_journal_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(CREATING_FROM_JOURNAL, What::Full);
    assert!(struck[&Call::Write] > 20, "{struck:?}");
}

#[test]
fn what_writes_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(WRITING, What::Broken);
    let calls = [
        Call::Open,
        Call::Delete,
        Call::Access,
        Call::Read,
        Call::Write,
        Call::Truncate,
        Call::Sync,
        Call::FileSize,
        Call::Lock,
        Call::MapIndex,
        Call::LockIndex,
    ];
    expect_each(&calls, &struck);
}

#[test]
fn what_writes_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(WRITING, What::Full);
    assert!(struck[&Call::Write] > 40, "{struck:?}");
}

#[test]
fn what_administers_survives_a_disk_that_fails_at_any_call() {
    administer(&ADMINISTERING[..ADMINISTERING.len() / 2]);
}

/// In two tests, because it takes long.
#[test]
fn what_else_administers_survives_a_disk_that_fails_at_any_call() {
    administer(&ADMINISTERING[ADMINISTERING.len() / 2..]);
}

fn administer(verbs: &[Verb]) {
    let struck = every_call_of(verbs, What::Broken);
    let calls = [Call::Read, Call::Write, Call::Sync, Call::LockIndex];
    expect_each(&calls, &struck);
}

#[test]
fn what_administers_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(ADMINISTERING, What::Full);
    assert!(struck[&Call::Write] > 40, "{struck:?}");
}

#[test]
fn an_upgrade_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(UPGRADING, What::Broken);
    let calls = [Call::Open, Call::Read, Call::Write, Call::Sync, Call::Lock];
    expect_each(&calls, &struck);
}

#[test]
fn an_upgrade_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(UPGRADING, What::Full);
    assert!(struck[&Call::Write] > 10, "{struck:?}");
}

#[test]
fn what_reads_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(READING, What::Broken);
    assert!(struck[&Call::Read] > 100, "{struck:?}");
}

#[test]
fn one_connection_lives_through_many_failures() {
    let faults = Faults::start();
    let first = setting("REWIRE_SEED", 1);
    for seed in first..first + setting("REWIRE_HISTORIES", 4) {
        let tally = long::live_through(&faults, seed, 60);
        println!("seed {seed}: {tally:?}");
        assert!(tally.acknowledged > 5 && tally.failed > 5, "{tally:?}");
    }
}

/// Tries to commit with no room, with room for a page, and so on, until there is enough.
fn commit_with_ever_more_room(folder: &Path) -> usize {
    let mut desk = Desk::new(folder, Arc::default());
    let store = desk.open().unwrap();
    commit(store, &insert([vpc("blue", None)])).unwrap();
    let before = store.configuration().unwrap();
    for pages in 0.. {
        full::fill(folder, pages);
        let result = commit(store, &many_routes());
        let committed = result.as_ref().is_ok();
        let reader = Store::open_read_only(folder.join(NAME)).unwrap();
        assert_eq!(reader.head().unwrap(), 1 + u64::from(committed));
        if committed {
            return pages;
        }
        let error = result.unwrap_err();
        let full = matches!(
            &error,
            Error::Sqlite { source, .. }
                if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
        );
        assert!(full, "with {pages} pages free: {error:?}");
        assert_eq!(store.configuration().unwrap(), before);
        store.verify().unwrap();
        full::empty(folder);
    }
    unreachable!()
}

#[test]
fn a_disk_that_is_really_full_refuses_and_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(error) = full::mount_small_disk(folder.path(), 2 << 20) {
        println!("skipped: no disk can be mounted here: {error}");
        return;
    }
    let path = folder.path().join(NAME);
    full::fill(folder.path(), 8);
    let error = Store::create(&path).unwrap_err();
    assert!(trial::blames_the_disk(&error), "{error:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "more than the ballast is left: {left:?}");
    full::empty(folder.path());

    drop(Store::create(&path).unwrap());
    let pages = commit_with_ever_more_room(folder.path());
    println!("{pages} pages were enough");
    assert!(pages > 0);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.verify().unwrap().revisions, 2);
}
