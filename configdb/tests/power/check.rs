//! Cuts the power after every operation of a history, in every way, and looks at what the store makes of it.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use rewire_configdb::{Error, Store};

use crate::common::text;
use crate::disk::{Disk, Fate, Operation};
use crate::history::{History, NAME};
use crate::random::Random;
use crate::world::{Files, World, scratch, write_files};

/// What came out.
#[derive(Default)]
pub(crate) struct Report {
    /// How many power failures there were: after each operation, one of each fate.
    pub(crate) failures: usize,
    /// How many different disks they left; each was opened once.
    pub(crate) disks: usize,
    pub(crate) broken: Vec<Broken>,
}

/// A promise that was not kept.
pub(crate) struct Broken {
    /// After so many operations.
    at: usize,
    fate: Fate,
    pub(crate) promise: Promise,
}

pub(crate) enum Promise {
    /// The store was acknowledged, and is not there.
    Gone,
    /// A revision was acknowledged, and is not there.
    Lost { acknowledged: u64, head: u64 },
    /// The revisions are right; candidates, tags, a deadline, the schedule or the lock are not.
    Rest,
    /// What is there was never committed.
    Invented,
    /// The store does not open, or is damaged.
    Damaged(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Broken { at, fate, .. } = self;
        write!(
            f,
            "power failure after operation {at}, what was not synced is {fate:?}: "
        )?;
        match &self.promise {
            Promise::Gone => write!(f, "there is no store any more"),
            Promise::Lost { acknowledged, head } => write!(
                f,
                "revision {acknowledged} was acknowledged, the last one is {head}"
            ),
            Promise::Rest => write!(f, "something beside the revisions is not what was saved"),
            Promise::Invented => write!(f, "there is a revision that was never committed"),
            Promise::Damaged(why) => write!(f, "{why}"),
        }
    }
}

/// Checks the power failures of a history after every `step`th operation, on two threads.
pub(crate) fn check(history: &History, seed: u64, step: usize) -> Report {
    let (half, end) = (history.operations.len() / 2, history.operations.len());
    std::thread::scope(|scope| {
        let threads = [0..half, half..end];
        let threads =
            threads.map(|part| scope.spawn(move || check_part(part, history, seed, step)));
        let mut all = Report::default();
        for thread in threads {
            let part = thread.join().unwrap();
            all.failures += part.failures;
            all.disks += part.disks;
            all.broken.extend(part.broken);
        }
        all.broken.sort_by_key(|broken| broken.at);
        all
    })
}

/// Cuts the power after every `step`th of these operations. The seed says which is the first.
fn check_part(part: Range<usize>, history: &History, seed: u64, step: usize) -> Report {
    let mut report = Report::default();
    let mut disk = Disk::new(&history.start);
    let mut acknowledged = 0;
    let mut seen: HashMap<blake3::Hash, Result<Option<World>, String>> = HashMap::new();
    for (at, operation) in history.operations.iter().enumerate() {
        disk.apply(operation);
        if let Operation::Mark(steps) = operation {
            acknowledged = *steps;
        }
        if !part.contains(&at) || !(at + seed as usize).is_multiple_of(step) {
            continue;
        }
        for fate in Fate::ALL {
            let mut random = Random(seed ^ ((at as u64) << 8 | fate as u64));
            let files = disk.after_power_failure(fate, &mut random);
            report.failures += 1;
            // Many failures leave the same disk; what may be expected of it differs.
            let found = seen.entry(hash(&files)).or_insert_with(|| {
                report.disks += 1;
                observe(&files).map_err(|error| text(&error))
            });
            if let Err(promise) = judge(found, &history.worlds[acknowledged..]) {
                report.broken.push(Broken { at, fate, promise });
            }
        }
    }
    report
}

fn hash(files: &Files) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in files {
        for part in [name.as_bytes(), bytes] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
    hasher.finalize()
}

/// Opens a store on these files and reads everything in it. Where there is none, one can be made.
fn observe(files: &Files) -> Result<Option<World>, Error> {
    let folder = scratch();
    write_files(folder.path(), files);
    let path = folder.path().join(NAME);
    match World::of(&path) {
        Err(Error::Missing { .. }) => Store::create(path).map(|_| None),
        result => result.map(Some),
    }
}

/// The first of `worlds` was acknowledged, the second one is on its way.
fn judge(found: &Result<Option<World>, String>, worlds: &[Option<World>]) -> Result<(), Promise> {
    let found = found
        .as_ref()
        .map_err(|why| Promise::Damaged(why.clone()))?;
    let mut allowed = worlds.iter().take(2);
    if allowed.clone().any(|world| world == found) {
        return Ok(());
    }
    let revisions = |world: &Option<World>| world.as_ref().map(|world| world.revisions.clone());
    let last = |world: &Option<World>| world.as_ref().map_or(0, World::head);
    let (acknowledged, head) = (last(&worlds[0]), last(found));
    Err(if found.is_none() {
        Promise::Gone
    } else if head < acknowledged {
        Promise::Lost { acknowledged, head }
    } else if allowed.any(|world| revisions(world) == revisions(found)) {
        Promise::Rest
    } else {
        Promise::Invented
    })
}
