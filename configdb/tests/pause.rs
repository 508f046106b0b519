//! A process that pauses in the middle of its transaction, while others go about their business.
//!
//! The process is a child of the test, and stops itself (SIGSTOP): in its checker, when it holds the write lock and has
//! written its rows; where its commit is about to be synced; or in the middle of reading. The test waits for the kernel to
//! say that it has stopped, looks at what others can do meanwhile, and then lets it go on, or kills it.

mod common;
mod vfs;

use std::ffi::c_int;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use rewire_configdb::{
    Checker, CommitRequest, Error, LogQuery, StateDigest, StateReader, Store, Unchecked,
};
use rewire_schema::{Changeset, Configuration};
use vfs::{Call, Layer};

/// Set in the process that the test starts of itself: the store, and where to pause.
const STORE: &str = "REWIRE_TEST_STORE";
const PLACE: &str = "REWIRE_TEST_PLACE";

/// Stops this process until somebody lets it go on.
fn pause() {
    // SAFETY: a signal to this process.
    assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0);
}

struct PausingChecker;

impl Checker for PausingChecker {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        pause();
        Ok(())
    }
}

/// Pauses before one call to the disk.
struct PausingDisk {
    call: Call,
    /// So many such calls are done before.
    calls: AtomicUsize,
}

/// Never, until it is set.
const NEVER: usize = usize::MAX / 2;

static BEFORE_SYNC: PausingDisk = PausingDisk {
    call: Call::Sync,
    calls: AtomicUsize::new(NEVER),
};
static BEFORE_READ: PausingDisk = PausingDisk {
    call: Call::Read,
    calls: AtomicUsize::new(NEVER),
};

impl Layer for PausingDisk {
    fn before(&self, call: Call) -> Option<c_int> {
        if call == self.call && self.calls.fetch_sub(1, Ordering::SeqCst) == 0 {
            pause();
        }
        None
    }
}

/// What a child does: it commits the network "child", using up the candidate of this name, or reads; and pauses.
fn child(path: &Path, place: &str) -> String {
    let turn = vfs::turn();
    turn.install(if place == "read" {
        &BEFORE_READ
    } else {
        &BEFORE_SYNC
    });
    let mut store = Store::open(path).unwrap();
    let changeset = insert([vpc("child", None)]);
    let request = CommitRequest {
        clear_candidate: Some("child"),
        ..request(&store, &changeset)
    };
    match place {
        "checker" => {
            let committed = store.commit(request, &mut PausingChecker).unwrap();
            format!("committed {}", committed.revision)
        }
        "sync" => {
            BEFORE_SYNC.calls.store(0, Ordering::SeqCst);
            let committed = store.commit(request, &mut Unchecked).unwrap();
            format!("committed {}", committed.revision)
        }
        "read" => {
            BEFORE_READ.calls.store(3, Ordering::SeqCst);
            let configuration = store.configuration().unwrap();
            format!("read {}", StateDigest::of(&configuration))
        }
        other => panic!("nobody pauses there: {other}"),
    }
}

/// A process that has paused. It is killed when this is dropped.
struct Paused(Child);

impl Paused {
    /// Starts the child, in the test of this name, and waits until it has paused.
    fn start(test: &str, path: &Path, place: &str) -> Paused {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(STORE, path)
            .env(PLACE, place)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let paused = Paused(child);
        let mut status = 0;
        let pid = paused.pid();
        // SAFETY: waits for a child of ours, which is still to be waited for when it has only stopped.
        let waited = unsafe { libc::waitpid(pid, &mut status, libc::WUNTRACED) };
        assert_eq!(waited, pid);
        assert!(libc::WIFSTOPPED(status), "it has ended: {status:#x}");
        paused
    }

    fn pid(&self) -> libc::pid_t {
        self.0.id().try_into().unwrap()
    }

    /// Lets it go on to its end. Gives what it says.
    fn go_on(mut self) -> String {
        // SAFETY: a signal to a child that was not waited for yet.
        assert_eq!(unsafe { libc::kill(self.pid(), libc::SIGCONT) }, 0);
        let mut output = String::new();
        let mut stdout = self.0.stdout.take().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        assert!(self.0.wait().unwrap().success(), "{output}");
        let said = output.lines().find_map(|line| line.split_once("SAID "));
        said.unwrap_or_else(|| panic!("{output}")).1.to_owned()
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have ended, and been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the rest of a test on a store with one revision and a candidate; or the child, where this is its process.
fn with_store(test: impl FnOnce(Store)) {
    if let Some(path) = std::env::var_os(STORE) {
        let place = std::env::var(PLACE).unwrap();
        // On a line of its own: the harness has written before.
        println!("\nSAID {}", child(path.as_ref(), &place));
        return;
    }
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    let edits = insert([vpc("child", None)]);
    save_candidate(&mut store, "child", 1, &edits, "child").unwrap();
    test(store);
    Store::open(&path).unwrap().verify().unwrap();
}

/// Everything that writes is told that the store is busy, and nothing else.
fn expect_busy(store: &mut Store) {
    let changeset = insert([vpc("red", None)]);
    let results = [
        commit(store, &changeset).map(drop),
        rewind(store, 0).map(drop),
        store
            .check(request(store, &changeset), &mut Unchecked)
            .map(drop),
        save_candidate(store, "ada", 1, &changeset, "ada").map(drop),
        store.discard_candidate("child").map(drop),
    ];
    for (nth, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::Busy)), "{nth}: {result:?}");
    }
}

/// Readers, those who were there and those who come, see what was last committed.
fn expect_readable(store: &Store, head: u64, configuration: &Configuration) {
    let read_only = Store::open_read_only(store.path()).unwrap();
    let newcomer = Store::open(store.path()).unwrap();
    for store in [store, &read_only, &newcomer] {
        let (found, rows) = store.head_and_configuration().unwrap();
        assert_eq!((found, &rows), (head, configuration));
        assert_eq!(store.verify().unwrap().revisions, head);
        assert_eq!(store.log(LogQuery::last(10)).unwrap().len() as u64, head);
        assert_eq!(store.candidates().unwrap().len(), 1);
    }
}

#[test]
fn others_read_and_are_told_that_it_is_busy_while_a_commit_is_checked() {
    let test = "others_read_and_are_told_that_it_is_busy_while_a_commit_is_checked";
    with_store(|mut store| expect_order_around(&mut store, test, "checker"));
}

#[test]
fn others_read_and_are_told_that_it_is_busy_while_a_commit_is_synced() {
    let test = "others_read_and_are_told_that_it_is_busy_while_a_commit_is_synced";
    with_store(|mut store| expect_order_around(&mut store, test, "sync"));
}

fn expect_order_around(store: &mut Store, test: &str, place: &str) {
    let before = store.configuration().unwrap();
    let version = store.data_version().unwrap();
    let paused = Paused::start(test, store.path(), place);
    store.set_busy_timeout(Duration::from_millis(20)).unwrap();
    expect_busy(store);
    expect_readable(store, 1, &before);
    assert_eq!(store.data_version().unwrap(), version);

    assert_eq!(paused.go_on(), "committed 2");
    assert_ne!(store.data_version().unwrap(), version);
    assert_eq!(store.candidates().unwrap().len(), 0);
    // Made on what was there before, and therefore too late.
    let changeset = insert([vpc("red", None)]);
    let late = CommitRequest {
        base: 1,
        ..request(store, &changeset)
    };
    let result = store.commit(late, &mut Unchecked);
    assert!(
        matches!(result, Err(Error::StaleCandidate { base: 1, head: 2 })),
        "{result:?}"
    );
    assert_eq!(commit(store, &changeset).unwrap().revision, 3);
}

/// Starts a commit on revision 1 that waits as long as it must, and then ends the pause.
fn commit_behind(store: &Store, end: impl FnOnce()) -> Result<u64, Error> {
    let mut other = Store::open(store.path()).unwrap();
    other.set_busy_timeout(Duration::from_secs(50)).unwrap();
    let changeset = insert([vpc("red", None)]);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let request = CommitRequest {
                base: 1,
                ..request(&other, &changeset)
            };
            let committed = other.commit(request, &mut Unchecked)?;
            Ok(committed.revision)
        });
        end();
        waiting.join().unwrap()
    })
}

#[test]
fn who_waits_comes_after_the_one_who_paused() {
    let test = "who_waits_comes_after_the_one_who_paused";
    with_store(|store| {
        let paused = Paused::start(test, store.path(), "checker");
        let result = commit_behind(&store, || assert_eq!(paused.go_on(), "committed 2"));
        assert!(
            matches!(result, Err(Error::StaleCandidate { base: 1, head: 2 })),
            "{result:?}"
        );
    });
}

#[test]
fn who_waits_goes_on_when_the_one_who_paused_is_killed() {
    let test = "who_waits_goes_on_when_the_one_who_paused_is_killed";
    with_store(|store| {
        let paused = Paused::start(test, store.path(), "checker");
        assert_eq!(commit_behind(&store, || paused.kill()).unwrap(), 2);
        let rows = store.configuration().unwrap();
        assert_eq!(rows.rows().count(), 2);
        // The candidate only goes with its commit, which never was.
        assert_eq!(store.candidates().unwrap().len(), 1);
    });
}

/// It was killed when its commit stood in the log, and was not synced. Those who have the store open know that it was
/// never acknowledged, and write over it.
#[test]
fn what_was_killed_before_its_sync_is_gone_for_those_who_are_there() {
    let test = "what_was_killed_before_its_sync_is_gone_for_those_who_are_there";
    with_store(|mut store| {
        let before = store.configuration().unwrap();
        Paused::start(test, store.path(), "sync").kill();
        expect_readable(&store, 1, &before);
        assert_eq!(
            commit(&mut store, &insert([vpc("red", None)]))
                .unwrap()
                .revision,
            2
        );
        assert_eq!(store.candidates().unwrap().len(), 1);
    });
}

/// Where nobody had the store open, the log is all there is: the revision is in it whole, or not at all.
#[test]
fn what_was_killed_before_its_sync_is_whole_or_gone_for_those_who_come() {
    let test = "what_was_killed_before_its_sync_is_whole_or_gone_for_those_who_come";
    with_store(|store| {
        let path = store.path().to_owned();
        drop(store);
        Paused::start(test, &path, "sync").kill();
        let mut store = Store::open(&path).unwrap();
        let head = store.verify().unwrap().revisions;
        let candidates = store.candidates().unwrap().len() as u64;
        assert!(
            (head, candidates) == (1, 1) || (head, candidates) == (2, 0),
            "{head} revisions, {candidates} candidates"
        );
        let committed = commit(&mut store, &insert([vpc("red", None)])).unwrap();
        assert_eq!(committed.revision, head + 1);
    });
}

/// A reader sees one moment, however long it takes, and stands in nobody's way: not of commits, nor of the log going into
/// the file, which waits with what the reader still needs.
#[test]
fn a_reader_that_pauses_reads_the_state_of_its_beginning() {
    let test = "a_reader_that_pauses_reads_the_state_of_its_beginning";
    with_store(|mut store| {
        let digest = store.state_digest().unwrap();
        let paused = Paused::start(test, store.path(), "read");
        for name in ["red", "green", "yellow"] {
            commit(&mut store, &insert([vpc(name, None)])).unwrap();
            let connection = rusqlite::Connection::open(store.path()).unwrap();
            let checkpoint = "PRAGMA wal_checkpoint(PASSIVE)";
            let busy: bool = connection
                .query_row(checkpoint, [], |row| row.get(0))
                .unwrap();
            assert!(!busy);
        }
        rewind(&mut store, 0).unwrap();
        assert_eq!(paused.go_on(), format!("read {digest}"));
        assert_eq!(store.head().unwrap(), 5);
    });
}
