//! What the tests of the store share.
#![allow(dead_code, unreachable_pub, missing_docs)] // each test file uses its part

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rewire_configdb::{
    CandidateEdit, CommitRequest, Committed, EntryKind, Error, Store, Unchecked,
};
use rewire_schema::model::{InterfaceRow, NextHopRow, RouteRow, VpcRow};
use rewire_schema::{Change, Changeset, Configuration, Row};
use tempfile::TempDir;

pub fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gateway.db");
    (folder, path)
}

/// A folder in memory, where there is one: what is tested is not the disk.
pub fn folder_in_memory() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let folder = folder.unwrap();
    let path = folder.path().join("gateway.db");
    (folder, path)
}

pub fn vpc(name: &str, description: Option<&str>) -> Row {
    VpcRow {
        description: description.map(|text| text.parse().unwrap()),
        ..VpcRow::new(name.parse().unwrap())
    }
    .into()
}

pub fn interface(name: &str, vpc: &str, port: &str) -> Row {
    InterfaceRow::physical(
        name.parse().unwrap(),
        vpc.parse().unwrap(),
        port.parse().unwrap(),
        "02:00:00:00:00:01".parse().unwrap(),
    )
    .into()
}

pub fn route(vpc: &str, prefix: &str) -> Row {
    RouteRow::unicast(vpc.parse().unwrap(), prefix.parse().unwrap()).into()
}

pub fn next_hop(vpc: &str, prefix: &str, interface: &str) -> Row {
    NextHopRow::new(
        vpc.parse().unwrap(),
        prefix.parse().unwrap(),
        0,
        interface.parse().unwrap(),
        None,
    )
    .into()
}

pub fn insert(rows: impl IntoIterator<Item = Row>) -> Changeset {
    rows.into_iter().map(Change::Insert).collect()
}

pub fn update(before: Row, after: Row) -> Change {
    Change::Update { before, after }
}

/// A request by the tests' author on the last revision.
pub fn request<'a>(store: &Store, changeset: &'a Changeset) -> CommitRequest<'a> {
    CommitRequest::new(store.head().unwrap(), changeset, "ada", "a test")
}

pub fn commit(store: &mut Store, changeset: &Changeset) -> Result<Committed, Error> {
    let request = request(store, changeset);
    store.commit(request, &mut Unchecked)
}

/// Saves a candidate over whatever is there.
pub fn save_candidate(
    store: &mut Store,
    name: &str,
    base: u64,
    changeset: &Changeset,
    author: &str,
) -> Result<u64, Error> {
    let edit = CandidateEdit {
        base,
        changeset,
        drafts: "",
        author,
        expected_version: None,
    };
    store.save_candidate(name, edit)
}

pub fn candidate_names(store: &Store) -> Vec<String> {
    let candidates = store.candidates().unwrap();
    candidates
        .into_iter()
        .map(|candidate| candidate.name)
        .collect()
}

pub fn rewind(store: &mut Store, to: u64) -> Result<Committed, Error> {
    let changeset = store.rewind_changeset(to)?;
    let request = CommitRequest {
        kind: EntryKind::Rewind { to },
        ..request(store, &changeset)
    };
    store.commit(request, &mut Unchecked)
}

/// Commits whatever leads to `target`; where the store is there already, nothing.
pub fn commit_target(
    store: &mut Store,
    target: &Configuration,
) -> Result<Option<Committed>, Error> {
    let changeset = Changeset::between(&store.configuration()?, target);
    match commit(store, &changeset) {
        Err(Error::NothingToCommit) => Ok(None),
        result => result.map(Some),
    }
}

/// The error with all its causes, as a person reads it.
pub fn text(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// A clock that stands still until it is moved, in microseconds. Its copies are one clock.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn advance(&self, time: Duration) {
        let microseconds = i64::try_from(time.as_micros()).unwrap();
        self.0.fetch_add(microseconds, Ordering::SeqCst);
    }

    pub fn set(&self, microseconds: i64) {
        self.0.store(microseconds, Ordering::SeqCst);
    }

    pub fn open(&self, path: &Path) -> Store {
        let clock = self.clone();
        Store::open(path).unwrap().with_clock(move || clock.now())
    }

    pub fn create(&self, path: &Path) -> Store {
        drop(Store::create(path).unwrap());
        self.open(path)
    }
}

/// Commits the inverse of a revision's changes.
pub fn revert(store: &mut Store, of: u64) -> Result<Committed, Error> {
    let changeset = store.revert_changeset(of)?;
    let request = CommitRequest {
        kind: EntryKind::Revert { of },
        ..request(store, &changeset)
    };
    store.commit(request, &mut Unchecked)
}
