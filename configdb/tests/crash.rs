//! A writer that is killed at any moment leaves whole revisions, and all that it acknowledged.
//!
//! What the kernel had been given survives a killed process; a power failure is another matter: see `power.rs`.

mod common;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rewire_configdb::Store;
use rewire_schema::testing;

/// Set in the processes that the test starts of itself, to be killed: the store that they write to.
const STORE: &str = "REWIRE_TEST_STORE";

/// Commits one configuration after the other, and says so, until it is killed.
fn write(path: &OsStr) -> ! {
    let mut store = Store::open(path).unwrap();
    let mut runner = TestRunner::default();
    let mut out = std::io::stdout();
    loop {
        let target = testing::configuration()
            .new_tree(&mut runner)
            .unwrap()
            .current();
        if let Some(committed) = commit_target(&mut store, &target).unwrap() {
            // One write, so that a line is there whole or not at all.
            let line = format!(
                "COMMITTED {} {}\n",
                committed.revision, committed.state_digest
            );
            out.write_all(line.as_bytes()).unwrap();
            out.flush().unwrap();
        }
    }
}

#[test]
fn a_killed_writer_leaves_whole_revisions_and_all_that_it_acknowledged() {
    if let Some(path) = std::env::var_os(STORE) {
        write(&path);
    }
    let (_folder, path) = folder();
    drop(Store::create(&path).unwrap());
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    for round in 0..20u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_writer_leaves_whole_revisions_and_all_that_it_acknowledged",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let mut take = |line: String| {
            // The harness may have written before us on the same line.
            let Some((_, rest)) = line.split_once("COMMITTED ") else {
                return false;
            };
            let (revision, digest) = rest.split_once(' ').unwrap();
            acknowledged.push((revision.parse().unwrap(), digest.to_owned()));
            true
        };
        let mut wanted = round % 5;
        while wanted > 0 {
            if take(lines.next().expect("the writer has ended by itself")) {
                wanted -= 1;
            }
        }
        // The child is somewhere in its next commit, or still starting; go on to a different point each round.
        let until = Instant::now() + Duration::from_micros(round * 371 % 4000);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            take(line);
        }

        let store = Store::open(&path).unwrap();
        let head = store.verify().unwrap().revisions;
        let last = acknowledged.last().map_or(0, |(revision, _)| *revision);
        // At most one commit was on its way.
        assert!(
            head == last || head == last + 1,
            "round {round}: head {head}, acknowledged {last}"
        );
        if head > last {
            acknowledged.push((head, store.entry(head).unwrap().state_digest.to_string()));
        }
    }
    let store = Store::open(&path).unwrap();
    for (index, (revision, digest)) in acknowledged.iter().enumerate() {
        assert_eq!(*revision, index as u64 + 1);
        assert_eq!(
            &store.entry(*revision).unwrap().state_digest.to_string(),
            digest
        );
    }
    assert!(acknowledged.len() >= 20);
}
