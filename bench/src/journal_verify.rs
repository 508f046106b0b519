//! Verifying the journal: hash chain, every changeset folded, digests, rows, the file. The cost of a byte of journal.
//!
//! The bytes that are counted are those of the encoded changesets, as the journal holds them: not their filters and hashes,
//! not the rows and their indices, which are read and compared as well. The time is that of the whole call. It keeps two
//! cores busy; where something else does, `core_s`, the time of all cores, says more.

use std::time::Instant;

use rewire_configdb::Store;
use rewire_schema::{Change, Changeset};

use crate::configuration::{route, with_routes};
use crate::program::core_seconds;
use crate::report::{Report, Run, median};
use crate::stores::{Failure, commit, store_with};

const RUNS: usize = 5;
const ROUTES: u32 = 250_000;
const REVISIONS: u32 = 300;
const CHANGES: u32 = 500;

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("rewire.db");
    let mut store = store_with(&path, &with_routes(ROUTES))?;
    for revision in 0..REVISIONS {
        // A window of routes that comes, and goes with the next revision.
        let window = |revision: u32| {
            let first = ROUTES + revision * CHANGES;
            (first..first + CHANGES).flat_map(route)
        };
        let gone = revision.checked_sub(1).map(window);
        let gone = gone.into_iter().flatten().map(Change::Delete);
        let changes: Changeset = gone.chain(window(revision).map(Change::Insert)).collect();
        commit(&mut store, &changes)?;
    }
    drop(store);
    let bytes: u64 = rusqlite::Connection::open(&path)?.query_row(
        "SELECT sum(length(changeset)) FROM journal",
        [],
        |row| row.get(0),
    )?;
    println!(
        "data: one revision of {} rows and {REVISIONS} of {} changes; {} MB of changesets",
        2 * ROUTES,
        4 * CHANGES,
        bytes / 1_000_000
    );
    let (mut runs, mut cores) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let store = Store::open(&path)?;
        let (start, core_start) = (Instant::now(), core_seconds());
        store.verify()?;
        cores.push(core_seconds() - core_start);
        runs.push(Run {
            ours: start.elapsed().as_nanos() as f64 / bytes as f64,
            peer: None,
        });
    }
    let megabytes = 1000.0 / median(runs.iter().map(|run| run.ours));
    Ok(Report {
        unit: "ns/byte",
        peer_name: "-",
        runs,
        more: vec![("mb_per_s", megabytes), ("core_s", median(cores))],
    })
}
