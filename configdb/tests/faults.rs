//! A disk that fails, or is full, at any call: no panic, no false answer, and nothing lost that was acknowledged.
//!
//! Each verb of the store is done again and again on the same files. The first call to the disk fails, then the second one
//! instead, and so on until the verb has come through untouched: once so that a single call fails, once so that all do
//! that follow. What then is there is what was there before or what the verb makes, and the store that was open all the
//! time goes on working as soon as the disk does.

mod common;
#[path = "faults/layer.rs"]
mod layer;
#[path = "faults/trial.rs"]
mod trial;
#[path = "faults/verb.rs"]
mod verb;
mod vfs;
#[path = "power/world.rs"]
mod world;

use layer::{Faults, Lasting, What};
use trial::{Start, Struck, every_call};
use verb::{READING, Verb, WRITING};
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

#[test]
fn what_writes_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(WRITING, What::Broken);
    for call in [
        Call::Open,
        Call::Delete,
        Call::Access,
        Call::Read,
        Call::Write,
        Call::Truncate,
        Call::Sync,
        Call::Link,
        Call::FileSize,
        Call::Lock,
        Call::MapIndex,
        Call::LockIndex,
    ] {
        assert!(struck.contains_key(&call), "{call:?} never failed");
    }
}

#[test]
fn what_writes_survives_a_disk_that_is_full_at_any_call() {
    let struck = every_call_of(WRITING, What::Full);
    assert!(struck[&Call::Write] > 100, "{struck:?}");
}

#[test]
fn what_reads_survives_a_disk_that_fails_at_any_call() {
    let struck = every_call_of(READING, What::Broken);
    assert!(struck[&Call::Read] > 100, "{struck:?}");
}
