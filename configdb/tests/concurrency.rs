//! Many administrators at once come out as if each had waited for the others: no revision is missing, none is lost, and
//! each does to the state before it what was asked for.
//!
//! Once under a schedule, where a random order says who takes the next step, also in the middle of another one's commit;
//! once freely, with threads and processes. `REWIRE_SCHEDULES` sets how many schedules there are, `REWIRE_ROUNDS` how long
//! the free ones work, `REWIRE_SEED` what they do.

mod common;
#[path = "concurrency/model.rs"]
mod model;
#[path = "power/random.rs"]
mod random;
#[path = "concurrency/schedule.rs"]
mod schedule;
#[path = "concurrency/stress.rs"]
mod stress;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use common::*;
use model::{Edits, Model, change_on};
use proptest::test_runner::{Config, TestRunner};
use random::Random;
use rewire_configdb::{
    CommitRequest, EntryKind, Error, Session, Settled, StateDigest, Store, Unchecked,
};
use stress::{Acknowledged, Asked, work};

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

#[test]
fn every_schedule_comes_out_as_one_after_the_other() {
    let cases = u32::try_from(setting("REWIRE_SCHEDULES", 48)).unwrap();
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let steps = proptest::collection::vec(schedule::step(), 1..40);
    TestRunner::new(config)
        .run(&steps, |steps| {
            let (_folder, path) = folder();
            drop(Store::create(&path).unwrap());
            schedule::run(&path, &steps);
            Ok(())
        })
        .unwrap();
}

/// Set in the processes that the test starts of itself: the store, what they do and for how long.
const STORE: &str = "REWIRE_TEST_STORE";
const SEED: &str = "REWIRE_TEST_SEED";

#[test]
fn who_works_at_the_same_time_comes_one_after_the_other() {
    let rounds = usize::try_from(setting("REWIRE_ROUNDS", 60)).unwrap();
    if let Some(path) = std::env::var_os(STORE) {
        for acknowledged in work(path.as_ref(), Random(setting(SEED, 0)), rounds) {
            println!("\nSAID {acknowledged}");
        }
        return;
    }
    let (_folder, path) = folder();
    drop(Store::create(&path).unwrap());
    let mut random = Random(setting("REWIRE_SEED", 1));
    let all: Vec<Acknowledged> = std::thread::scope(|scope| {
        let path: &Path = &path;
        let workers: Vec<_> = (0..4)
            .map(|nth| {
                let seed = random.next();
                scope.spawn(move || match nth % 2 {
                    0 => work(path, Random(seed), rounds),
                    _ => work_elsewhere(path, seed),
                })
            })
            .collect();
        let workers = workers.into_iter();
        workers.flat_map(|worker| worker.join().unwrap()).collect()
    });
    let merged = expect_one_after_the_other(&path, &all);
    println!("{} revisions, of which {merged} were merged", all.len());
    assert!(all.len() > rounds / 2, "{} revisions", all.len());
    assert!(merged > 0, "nobody ever met");
}

/// Does the work in a process of its own.
fn work_elsewhere(path: &Path, seed: u64) -> Vec<Acknowledged> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "who_works_at_the_same_time_comes_one_after_the_other",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(STORE, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    let said = output.lines().filter_map(|line| line.strip_prefix("SAID "));
    said.map(|said| said.parse().unwrap()).collect()
}

/// Does what was asked for once more, in the order of the revisions, and compares. Gives how many were merged.
fn expect_one_after_the_other(path: &Path, all: &[Acknowledged]) -> usize {
    let by_revision: BTreeMap<u64, &Acknowledged> =
        all.iter().map(|one| (one.revision, one)).collect();
    assert_eq!(by_revision.len(), all.len(), "two have the same revision");
    let store = Store::open(path).unwrap();
    let head = store.verify().unwrap().revisions;
    assert!(
        by_revision.keys().copied().eq(1..=head),
        "revisions are missing"
    );
    let mut model = Model::new();
    let mut merged = 0;
    for (revision, one) in by_revision {
        let state = match one.asked {
            Asked::Rewind { to } => {
                assert_eq!(one.base, revision - 1, "a rewind was merged");
                assert_eq!(
                    store.entry(revision).unwrap().kind,
                    EntryKind::Rewind { to }
                );
                model.state(to).clone()
            }
            Asked::Change { seed, merge } => {
                merged += usize::from(one.base < revision - 1);
                let edits = Edits {
                    base: one.base,
                    changeset: change_on(model.state(one.base), seed),
                };
                let outcome = model.commit(&edits, merge);
                outcome.expect::<()>(&Ok(())).unwrap()
            }
        };
        assert_eq!(StateDigest::of(&state).to_string(), one.state_digest);
        let entry = store.entry(revision).unwrap();
        assert_eq!(entry.state_digest, StateDigest::of(&state));
        model.states.push(state);
    }
    assert_eq!(&store.configuration().unwrap(), model.last());
    merged
}

/// Lets so many stores do the same at the same moment.
fn at_once<T: Send>(path: &Path, act: impl Fn(usize, &mut Store) -> T + Sync) -> Vec<T> {
    const STORES: usize = 4;
    let barrier = Barrier::new(STORES);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..STORES)
            .map(|nth| {
                let (act, barrier) = (&act, &barrier);
                scope.spawn(move || {
                    let mut store = Store::open(path).unwrap().with_clock(|| 1_000);
                    store.set_busy_timeout(Duration::from_secs(50)).unwrap();
                    barrier.wait();
                    act(nth, &mut store)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

/// Several processes wait for the same deadline: one of them goes back, the others find it done.
#[test]
fn what_is_due_is_done_once() {
    for _ in 0..10 {
        let (_folder, path) = folder();
        let mut store = Store::create(&path).unwrap().with_clock(|| 0);
        commit(&mut store, &insert([vpc("blue", None)])).unwrap();
        let red = insert([vpc("red", None)]);
        let request = CommitRequest {
            confirm: Some(Duration::from_micros(10)),
            ..request(&store, &red)
        };
        store.commit(request, &mut Unchecked).unwrap();
        let green = insert([vpc("green", None)]);
        store
            .schedule(CommitRequest::new(2, &green, "ada", "later"), 20)
            .unwrap();
        let settled = at_once(&path, |_, store| store.settle(&mut Unchecked).unwrap());
        let settled: Vec<Settled> = settled.into_iter().flatten().collect();
        let back = settled
            .iter()
            .filter(|one| matches!(one, Settled::WentBack { to: 1, .. }));
        assert_eq!(back.count(), 1, "{settled:?}");
        assert_eq!(settled.len(), 2, "{settled:?}");
        assert_eq!(store.verify().unwrap().revisions, 4);
        let mut names: Vec<String> = store
            .configuration()
            .unwrap()
            .rows()
            .map(|row| row.path().to_string())
            .collect();
        names.sort();
        assert_eq!(names, ["vpcs.blue", "vpcs.green"]);
    }
}

/// A change on one revision goes to one of those who want it.
#[test]
fn of_many_first_commits_one_is_the_first() {
    for _ in 0..10 {
        let (_folder, path) = folder();
        drop(Store::create(&path).unwrap());
        let committed = at_once(&path, |_, store| {
            let changeset = insert([vpc("blue", None)]);
            let request = CommitRequest::new(0, &changeset, "ada", "first");
            match store.commit(request, &mut Unchecked) {
                Ok(committed) => Some(committed.revision),
                Err(Error::StaleCandidate { base: 0, head: 1 }) => None,
                Err(error) => panic!("{error:?}"),
            }
        });
        let committed: Vec<u64> = committed.into_iter().flatten().collect();
        assert_eq!(committed, [1]);
    }
}

/// So does the exclusive lock. The sessions are those of this process and of those that started it.
#[test]
fn of_many_sessions_one_gets_the_lock() {
    let sessions = Session::ancestry().unwrap();
    assert!(sessions.len() > 1);
    for _ in 0..10 {
        let (_folder, path) = folder();
        drop(Store::create(&path).unwrap());
        let holders = at_once(&path, |nth, store| {
            let session = &sessions[nth % sessions.len()];
            match store.lock("ada", session.clone(), "mine") {
                Ok(()) => Some(session),
                Err(Error::Locked(_)) => None,
                Err(error) => panic!("{error:?}"),
            }
        });
        let held = Store::open(&path).unwrap().lock_holder().unwrap().unwrap();
        let holders: Vec<&Session> = holders.into_iter().flatten().collect();
        assert!(!holders.is_empty());
        // Who holds it may take it again; nobody else got it.
        assert!(holders.iter().all(|session| **session == held.session));
    }
}
