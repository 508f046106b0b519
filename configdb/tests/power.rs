//! A power failure at any moment leaves whole revisions, and all that was acknowledged.
//!
//! Random histories of all that writes, and the creation and the upgrade of a store, run on a VFS that notes every write, truncation, sync, creation and
//! deletion. For each prefix of that, the disk is built as a power failure at this moment may have left it, and opened as a store on the real VFS.
//!
//! `REWIRE_SEED` sets the first history's seed, `REWIRE_HISTORIES` how many there are; each has the seed after the last.
//! `REWIRE_STEPS` sets how long they are. With `REWIRE_THOROUGH=1` the power fails after every operation where a store is
//! made or upgraded, too, and not only after every few.

#[path = "power/check.rs"]
mod check;
mod common;
#[path = "power/disk.rs"]
mod disk;
#[path = "power/history.rs"]
mod history;
#[path = "power/random.rs"]
mod random;
#[path = "power/record.rs"]
mod record;
mod vfs;
#[path = "power/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use check::{Promise, check};
use history::{History, Verb, creation, creation_from, history, upgrade};
use record::Syncs;
use rewire_configdb::Store;

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// Making and upgrading a store takes hundreds of operations: usually the power fails after every so many of them.
fn usual_step(step: usize) -> usize {
    match setting("REWIRE_THOROUGH", 0) {
        0 => step,
        _ => 1,
    }
}

/// Checks the power failures of a history, after every `step`th operation; gives their number and that of the disks they
/// left.
fn expect_no_broken_promise(
    history: &History,
    seed: u64,
    step: usize,
    repeat: &str,
) -> (usize, usize) {
    let report = check(history, seed, step);
    let broken: Vec<String> = report.broken.iter().map(ToString::to_string).collect();
    assert!(
        broken.is_empty(),
        "{repeat}: {} promises broken in {} power failures:\n{}",
        broken.len(),
        report.failures,
        broken[..broken.len().min(5)].join("\n")
    );
    (report.failures, report.disks)
}

/// The seeds of so many histories, or as many as are asked for.
fn seeds(histories: u64) -> std::ops::Range<u64> {
    let first = setting("REWIRE_SEED", 1);
    first..first + setting("REWIRE_HISTORIES", histories)
}

#[test]
fn power_failures_leave_whole_revisions_and_all_that_were_acknowledged() {
    let steps = setting("REWIRE_STEPS", 14) as usize;
    let (mut failures, mut disks, mut revisions) = (0, 0, 0);
    let mut verbs: BTreeMap<Verb, usize> = BTreeMap::new();
    let seeds = seeds(3);
    for seed in seeds.clone() {
        let history = history(seed, steps, Syncs::All);
        let repeat = format!("REWIRE_SEED={seed} REWIRE_HISTORIES=1 REWIRE_STEPS={steps}");
        let (more_failures, more_disks) = expect_no_broken_promise(&history, seed, 1, &repeat);
        failures += more_failures;
        disks += more_disks;
        let last = history.worlds.last().unwrap().as_ref();
        revisions += last.unwrap().head();
        for (verb, done) in history.verbs {
            *verbs.entry(verb).or_default() += usize::from(done);
        }
    }
    println!(
        "{failures} power failures, which left {disks} different disks, in {} histories, while {revisions} revisions \
         were made: {verbs:?}",
        seeds.count()
    );
}

/// The test above would be worth less if it left anything out that writes.
#[test]
fn histories_have_every_verb_in_them() {
    let mut never: BTreeSet<Verb> = Verb::ALL.iter().map(|(_, verb)| *verb).collect();
    for seed in 1..200 {
        for (verb, done) in history(seed, 24, Syncs::All).verbs {
            if done {
                never.remove(&verb);
            }
        }
        if never.is_empty() {
            return;
        }
    }
    panic!("{never:?} came to nothing in any history");
}

#[test]
fn power_failures_while_a_store_is_created_leave_none_or_a_whole_one() {
    let history = creation(Syncs::All);
    for seed in seeds(1) {
        let repeat = format!("REWIRE_SEED={seed} REWIRE_HISTORIES=1");
        let (failures, disks) = expect_no_broken_promise(&history, seed, usual_step(4), &repeat);
        println!("{failures} power failures, which left {disks} different disks");
    }
}

#[test]
fn power_failures_while_a_store_is_made_of_a_journal_leave_none_or_a_whole_one() {
    made_of_a_journal(|_| 1);
}

#[test]
fn power_failures_while_a_store_is_made_of_a_pruned_journal_leave_none_or_a_whole_one() {
    made_of_a_journal(|store| store.prune(1, false).unwrap().floor + 1);
}

/// The journal begins with the revision that `prepare` gives.
fn made_of_a_journal(prepare: impl FnOnce(&mut Store) -> u64) {
    let (_folder, path) = common::folder();
    let mut store = Store::create(path).unwrap();
    for name in ["blue", "red"] {
        common::commit(&mut store, &common::insert([common::vpc(name, None)])).unwrap();
    }
    let mut journal = Vec::new();
    let first = prepare(&mut store);
    store.export(first..=2, &mut journal).unwrap();
    let history = creation_from(&journal, Syncs::All);
    for seed in seeds(1) {
        let repeat = format!("REWIRE_SEED={seed} REWIRE_HISTORIES=1");
        let (failures, disks) = expect_no_broken_promise(&history, seed, usual_step(4), &repeat);
        println!("{failures} power failures, which left {disks} different disks");
    }
}

#[test]
fn power_failures_while_a_store_is_upgraded_leave_the_old_or_the_new_one() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores");
    let old = Path::new(folder).join("version-2.db");
    let history = upgrade(&old, Syncs::All);
    for seed in seeds(1) {
        let repeat = format!("REWIRE_SEED={seed} REWIRE_HISTORIES=1");
        let (failures, disks) = expect_no_broken_promise(&history, seed, usual_step(8), &repeat);
        println!("{failures} power failures, which left {disks} different disks");
    }
}

/// The tests above would see it.
#[test]
fn a_disk_that_lies_about_syncs_loses_acknowledged_revisions() {
    for syncs in [Syncs::None, Syncs::NotOfLogs, Syncs::NotOfTheFolder] {
        let seed = 1;
        let broken = check(&history(seed, 8, syncs), seed, 1).broken;
        let lost = broken
            .iter()
            .find(|broken| matches!(broken.promise, Promise::Lost { .. }));
        let lost = lost.unwrap_or_else(|| panic!("syncs {syncs:?}, and nothing was lost"));
        println!("syncs {syncs:?}: {lost}");
    }
}

#[test]
fn a_disk_that_lies_about_syncs_loses_a_store_that_was_just_created() {
    for syncs in [Syncs::None, Syncs::NotOfTheFolder] {
        let history = creation(syncs);
        // After the last operation, that is.
        let broken = check(&history, 1, history.operations.len()).broken;
        let gone = broken
            .iter()
            .find(|broken| matches!(broken.promise, Promise::Gone));
        let gone = gone.unwrap_or_else(|| panic!("syncs {syncs:?}, and nothing was lost"));
        println!("syncs {syncs:?}: {gone}");
    }
}
