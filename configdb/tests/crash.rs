//! Writers that are killed at any moment leave whole revisions, and all that they acknowledged.
//!
//! What the kernel had been given survives a killed process; a power failure is another matter: see `power.rs`.
//!
//! `REWIRE_KILLS` sets how often writers are killed, `REWIRE_SEED` what they write and when they are.

mod common;
#[path = "power/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use random::Random;
use rewire_configdb::{Error, LogQuery, Store};
use rewire_schema::Changeset;

/// Set in the processes that the test starts of itself, to be killed: the store that they write to, who they are, and what
/// they do.
const STORE: &str = "REWIRE_TEST_STORE";
const NAME: &str = "REWIRE_TEST_NAME";
const SEED: &str = "REWIRE_TEST_SEED";

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// The candidate that a writer saves as its `nth`.
fn candidate(nth: u64) -> Changeset {
    insert((0..nth % 40).map(|n| vpc(&format!("candidate-{nth}-{n}"), None)))
}

fn save(store: &mut Store, name: &str, nth: u64) -> Result<u64, Error> {
    let base = store.head()?;
    save_candidate(store, name, base, &candidate(nth), &nth.to_string())
}

/// Says something in one write, so that it is there whole or not at all.
fn say(line: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("SAID {line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Commits, goes back, saves candidates, and says so, until it is killed. Others may do the same.
fn write(path: &Path, name: &str, mut random: Random) -> ! {
    let mut store = Store::open(path).unwrap();
    let nth = store.candidate(name).unwrap();
    let mut nth: u64 = nth.map_or(0, |candidate| candidate.author.parse().unwrap());
    loop {
        let result = match random.below(8) {
            0 => match save(&mut store, name, nth + 1) {
                Ok(_) => {
                    nth += 1;
                    say(&format!("saved {nth}"));
                    continue;
                }
                Err(error) => Err(error),
            },
            1 => {
                let to = random.below(1 + usize::try_from(store.head().unwrap()).unwrap());
                rewind(&mut store, to as u64)
            }
            _ => {
                // Networks of its own come and go; one that is shared is written by all.
                let mut target = store.configuration().unwrap();
                for _ in 0..=random.below(30) {
                    let row = vpc(&format!("{name}-{}", random.below(50)), None);
                    if target.remove(&row).is_none() {
                        target.insert(row);
                    }
                }
                target.insert(vpc("all", Some(&random.next().to_string())));
                commit_target(&mut store, &target).map(|committed| committed.unwrap())
            }
        };
        match result {
            Ok(committed) => say(&format!(
                "committed {} {}",
                committed.revision, committed.state_digest
            )),
            // Another one was quicker, perhaps even between two looks of this one.
            Err(Error::StaleCandidate { .. } | Error::NothingToCommit | Error::Mismatch(_)) => {}
            // On a loaded machine another one can have the lock at each of the moments at which this one asks for it: SQLite
            // gives it to no one in particular. That nobody dead has it, `expect_no_lock` sees to.
            Err(Error::Busy) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// A process that writes, and what it has said.
struct Writer {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

/// What was acknowledged to anybody.
#[derive(Default)]
struct Acknowledged {
    revisions: BTreeMap<u64, String>,
    /// The last one of each writer.
    candidates: BTreeMap<String, u64>,
}

impl Acknowledged {
    /// Takes a line of a writer; says whether it acknowledged anything.
    fn take(&mut self, name: &str, line: &str) -> bool {
        // The harness may have written before on the same line.
        let Some((_, said)) = line.split_once("SAID ") else {
            return false;
        };
        let words: Vec<&str> = said.split(' ').collect();
        match words[..] {
            ["saved", nth] => {
                let nth = nth.parse().unwrap();
                self.candidates.insert(name.to_owned(), nth);
            }
            ["committed", revision, digest] => {
                let revision = revision.parse().unwrap();
                let before = self.revisions.insert(revision, digest.to_owned());
                assert_eq!(before, None, "revision {revision} was acknowledged twice");
            }
            _ => panic!("{line}"),
        }
        true
    }
}

impl Writer {
    fn start(path: &Path, name: &str, seed: u64) -> Writer {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "killed_writers_leave_whole_revisions_and_all_that_they_acknowledged",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(STORE, path)
            .env(NAME, name)
            .env(SEED, seed.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Writer { child, lines }
    }

    fn next_line(&mut self) -> Option<String> {
        self.lines.next().transpose().unwrap()
    }
}

/// Starts writers on a store, and kills them all at some moment. Gives how many may have been at work on a revision.
fn write_and_kill(path: &Path, random: &mut Random, acknowledged: &mut Acknowledged) -> u64 {
    let names = &["ada", "grace"][..1 + random.below(2)];
    let mut writers: Vec<Writer> = names
        .iter()
        .map(|name| Writer::start(path, name, random.next()))
        .collect();
    let mut wanted = random.below(6);
    while wanted > 0 {
        let line = writers[0].next_line();
        let line = line.expect("the writer has ended by itself");
        wanted -= usize::from(acknowledged.take(names[0], &line));
    }
    // They are somewhere in their next step, or still starting.
    let until = Instant::now() + Duration::from_micros(random.below(5000) as u64);
    while Instant::now() < until {
        std::hint::spin_loop();
    }
    for writer in &mut writers {
        writer.child.kill().unwrap();
    }
    for (writer, name) in writers.iter_mut().zip(names) {
        writer.child.wait().unwrap();
        while let Some(line) = writer.next_line() {
            acknowledged.take(name, &line);
        }
    }
    names.len() as u64
}

/// Takes the write lock of a store whose writers were killed, without waiting for it: it went with them.
fn expect_no_lock(path: &Path, place: &str) {
    let mut store = Store::open(path).unwrap();
    store.set_busy_timeout(Duration::ZERO).unwrap();
    let discarded = store.discard_candidate("nobody");
    assert!(matches!(discarded, Ok(false)), "{place}: {discarded:?}");
}

/// Looks at the store after so many writers were killed. What is there without having been acknowledged, it is from now on.
fn expect_all(path: &Path, killed: u64, acknowledged: &mut Acknowledged, place: &str) {
    let store = Store::open(path).unwrap();
    let head = store.verify().unwrap().revisions;
    let known = acknowledged.revisions.len() as u64;
    // Each writer was at work on at most one revision.
    assert!(
        (known..=known + killed).contains(&head),
        "{place}: {known} revisions acknowledged, the last one is {head}"
    );
    for entry in store.log(LogQuery::last(usize::MAX)).unwrap() {
        let digest = entry.state_digest.to_string();
        let revisions = &mut acknowledged.revisions;
        let known = revisions.entry(entry.revision).or_insert(digest.clone());
        assert_eq!(*known, digest, "{place}: revision {}", entry.revision);
    }
    for name in ["ada", "grace"] {
        let saved = acknowledged.candidates.get(name).copied().unwrap_or(0);
        let found = store.candidate(name).unwrap();
        let nth = found
            .as_ref()
            .map_or(0, |found| found.author.parse().unwrap());
        assert!(
            nth == saved || nth == saved + 1,
            "{place}: candidate {nth} of {name}, {saved} acknowledged"
        );
        if let Some(found) = found {
            assert_eq!(found.changeset, candidate(nth), "{place}");
        }
        acknowledged.candidates.insert(name.to_owned(), nth);
    }
}

#[test]
fn killed_writers_leave_whole_revisions_and_all_that_they_acknowledged() {
    if let Some(path) = std::env::var_os(STORE) {
        let name = std::env::var(NAME).unwrap();
        write(path.as_ref(), &name, Random(setting(SEED, 0)));
    }
    let kills = setting("REWIRE_KILLS", 40);
    let seed = setting("REWIRE_SEED", 1);
    let mut random = Random(seed);
    let (mut killed, mut revisions) = (0, 0);
    while killed < kills {
        let (_folder, path) = folder();
        drop(Store::create(&path).unwrap());
        let mut acknowledged = Acknowledged::default();
        let end = (killed + 50).min(kills);
        while killed < end {
            let place = format!("REWIRE_SEED={seed}, after {killed} kills");
            let writers = write_and_kill(&path, &mut random, &mut acknowledged);
            expect_no_lock(&path, &place);
            expect_all(&path, writers, &mut acknowledged, &place);
            killed += writers;
        }
        revisions += acknowledged.revisions.len();
    }
    println!("{killed} writers were killed, {revisions} revisions are there");
    assert!(revisions as u64 >= kills / 2);
}
