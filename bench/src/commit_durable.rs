//! A one-row durable commit: rows, journal entry, hash chain and state digest in one transaction with one sync, beside
//! what SQLite alone needs to insert one row durably. Without a checker: what is measured is the store.

use std::time::Instant;

use rewire_configdb::{CommitRequest, Store, Unchecked};
use rewire_schema::Changeset;
use rewire_schema::model::VpcRow;
use rusqlite::Connection;

use crate::configuration::{insertion, with_routes};
use crate::report::{Report, Run, median};

const RUNS: usize = 7;
const COMMITS: u32 = 200;
const ROUTES: u32 = 5_000;

type Failure = Box<dyn std::error::Error>;

pub(crate) fn run() -> Result<Report, Failure> {
    // On the disk that the build is on, not in a file system in memory.
    let folder = tempfile::tempdir_in(".")?;
    println!(
        "data: {ROUTES} generated routes, {} rows; {COMMITS} commits a run",
        2 * ROUTES + 6
    );
    let mut store = Store::create(folder.path().join("ours.db"))?;
    commit(&mut store, &insertion(with_routes(ROUTES).rows()))?;
    let peer = raw(&folder.path().join("peer.db"))?;
    let mut runs = Vec::new();
    let mut number = 0;
    for _ in 0..RUNS {
        let mut ours_ns = Vec::new();
        let mut peer_ns = Vec::new();
        for _ in 0..COMMITS {
            number += 1;
            let row = VpcRow::new(format!("vpc-{number}").parse()?);
            let changeset = insertion([row.into()]);
            let start = Instant::now();
            commit(&mut store, &changeset)?;
            ours_ns.push(start.elapsed().as_nanos() as f64);
            let start = Instant::now();
            peer.execute(
                "INSERT INTO vpc (name) VALUES (?1)",
                [format!("vpc-{number}")],
            )?;
            peer_ns.push(start.elapsed().as_nanos() as f64);
        }
        runs.push(Run {
            ours: median(ours_ns),
            peer: Some(median(peer_ns)),
        });
    }
    store.verify()?;
    Ok(Report {
        unit: "ns/commit",
        peer_name: "sqlite-wal-full",
        runs,
        more: Vec::new(),
    })
}

fn commit(store: &mut Store, changeset: &Changeset) -> Result<(), Failure> {
    let base = store.head()?;
    let request = CommitRequest::new(base, changeset, "bench", "one row");
    store.commit(request, &mut Unchecked)?;
    Ok(())
}

fn raw(path: &std::path::Path) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.execute_batch(
        "CREATE TABLE vpc (name TEXT NOT NULL PRIMARY KEY, description TEXT) STRICT, WITHOUT ROWID",
    )?;
    Ok(connection)
}
