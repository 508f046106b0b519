//! The exclusive lock: it names its holder, keeps everybody else from changing the configuration, and dies with the session
//! that took it.

mod common;

use std::process::{Child, Command};
use std::time::Duration;

use common::*;
use rewire_configdb::{CommitRequest, Error, Session, Settled, Store, Unchecked};

/// A process that does nothing until it is killed.
struct Somebody(Child);

impl Somebody {
    fn new() -> Somebody {
        Somebody(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn session(&self) -> Session {
        Session::of(self.0.id()).unwrap()
    }

    fn ends(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn expect_locked(result: Result<impl Sized, Error>) {
    assert!(matches!(result.map(drop), Err(Error::Locked(lock)) if lock.holder == "ada"));
}

#[test]
fn nobody_else_changes_the_configuration() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    clock.set(77);
    let ada = Somebody::new();
    store
        .lock("ada", ada.session(), "moving the uplink")
        .unwrap();
    let holder = store.lock_holder().unwrap().unwrap();
    assert_eq!((holder.holder.as_str(), holder.since), ("ada", 77));
    assert_eq!(
        (holder.message.as_str(), &holder.session),
        ("moving the uplink", &ada.session())
    );

    let changeset = insert([vpc("red", None)]);
    let error = commit(&mut store, &changeset).unwrap_err();
    let message = text(&error).replace(&ada.session().pid.to_string(), "PID");
    insta::assert_snapshot!(message, @"the configuration is locked by ada (moving the uplink), process PID");
    expect_locked(rewind(&mut store, 0));
    expect_locked(revert(&mut store, 1));
    let request = request(&store, &changeset);
    expect_locked(store.schedule(request, 0));
    let bob = Somebody::new();
    expect_locked(store.lock("bob", bob.session(), ""));
    expect_locked(store.unlock(false));
    // Candidates, checks and tags are nobody's harm.
    save_candidate(&mut store, "bob", 1, &changeset, "bob").unwrap();
    store.check(request, &mut Unchecked).unwrap();
    store.tag("before", 1, "bob").unwrap();
    assert_eq!(store.head().unwrap(), 1);

    // Whoever acts in the name of its session, does.
    let mut holding = clock
        .open(&path)
        .with_sessions(vec![bob.session(), ada.session()]);
    commit(&mut holding, &changeset).unwrap();
    holding.lock("ada", ada.session(), "still at it").unwrap();
    assert_eq!(store.lock_holder().unwrap().unwrap().message, "still at it");
    assert_eq!(holding.unlock(false).unwrap().unwrap().holder, "ada");
    assert_eq!(holding.unlock(false).unwrap(), None);
    commit(&mut store, &insert([vpc("green", None)])).unwrap();
    ada.ends();
    bob.ends();
}

#[test]
fn it_dies_with_its_session() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let ada = Somebody::new();
    let session = ada.session();
    store.lock("ada", session.clone(), "").unwrap();
    expect_locked(commit(&mut store, &insert([vpc("blue", None)])));
    ada.ends();
    assert_eq!(store.lock_holder().unwrap(), None);
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    // The commit has cleared it: a process that comes with the same number does not inherit it.
    let count: i64 = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT count(*) FROM exclusive_lock", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 0);

    // So does one of before a restart of the machine, or of a process whose number was given out again.
    let current = Session::current().unwrap();
    for dead in [
        Session {
            boot: "another".into(),
            ..current.clone()
        },
        Session {
            started: current.started + 1,
            ..current.clone()
        },
    ] {
        store.lock("ada", dead, "").unwrap();
        assert_eq!(store.lock_holder().unwrap(), None);
        let bob = Somebody::new();
        store.lock("bob", bob.session(), "").unwrap();
        assert_eq!(store.lock_holder().unwrap().unwrap().holder, "bob");
        assert_eq!(store.unlock(true).unwrap().unwrap().holder, "bob");
        bob.ends();
    }
}

#[test]
fn a_deadline_is_not_stopped_by_it() {
    let (_folder, path) = folder();
    let clock = Clock::default();
    let mut store = clock.create(&path);
    let changeset = insert([vpc("blue", None)]);
    let request = CommitRequest {
        confirm: Some(Duration::from_secs(60)),
        ..request(&store, &changeset)
    };
    store.commit(request, &mut Unchecked).unwrap();
    store.lock("ada", Session::current().unwrap(), "").unwrap();
    clock.advance(Duration::from_secs(60));
    let settled = store.settle(&mut Unchecked).unwrap();
    assert!(matches!(settled[..], [Settled::WentBack { to: 0, .. }]));
    assert!(store.configuration().unwrap().is_empty());
}
