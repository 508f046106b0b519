//! A one-row durable commit in a large configuration: rows, the check of the change, journal entry, hash chain and state
//! digest in one transaction with one sync, beside what SQLite alone needs to insert the same row durably while a session
//! records it; and beside itself in a small configuration.

use std::time::Instant;

use rewire_configdb::Store;
use rewire_schema::model::RouteRow;
use rewire_schema::types::RouteType;
use rewire_schema::{Changeset, Configuration, Row};

use crate::configuration::{insertion, with_routes};
use crate::report::{Report, Run, median, percentile};
use crate::session::{self, recorded};
use crate::stores::{Failure, commit, insert, raw, store_with};

const RUNS: usize = 7;
const COMMITS: u32 = 100;
const LARGE: u32 = 500_000;
const SMALL: u32 = 500;

/// The `number`th blackhole route: one row.
fn one_row(number: u32) -> Result<Row, Failure> {
    let [_, a, b, c] = number.to_be_bytes();
    let prefix = format!("200.{a}.{b}.{c}/32").parse()?;
    Ok(RouteRow {
        route_type: RouteType::Blackhole,
        ..RouteRow::unicast("blue".parse()?, prefix)
    }
    .into())
}

/// Nanoseconds of one commit.
fn time(store: &mut Store, changeset: &Changeset) -> Result<f64, Failure> {
    let start = Instant::now();
    commit(store, changeset)?;
    Ok(start.elapsed().as_nanos() as f64)
}

fn describe(configuration: &Configuration) {
    println!(
        "data: generated routes, {} rows; {COMMITS} commits a run, on the disk that the build is on",
        configuration.len()
    );
}

/// Beside SQLite alone.
pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let configuration = with_routes(LARGE);
    describe(&configuration);
    let mut store = store_with(&folder.path().join("ours.db"), &configuration)?;
    let peer = raw(&folder.path().join("peer.db"))?;
    recorded(&peer, |peer| {
        configuration.rows().try_for_each(|row| insert(peer, &row))
    })?;
    peer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let (mut runs, mut all, mut number) = (Vec::new(), Vec::new(), 0);
    for _ in 0..RUNS {
        let (mut ours_ns, mut peer_ns) = (Vec::new(), Vec::new());
        for _ in 0..COMMITS {
            number += 1;
            let row = one_row(number)?;
            ours_ns.push(time(&mut store, &insertion([row.clone()]))?);
            let start = Instant::now();
            recorded(&peer, |peer| insert(peer, &row))?;
            peer_ns.push(start.elapsed().as_nanos() as f64);
        }
        all.extend(&ours_ns);
        runs.push(Run {
            ours: median(ours_ns),
            peer: Some(median(peer_ns)),
        });
    }
    Ok(Report {
        unit: "ns/commit",
        peer_name: session::PEER,
        runs,
        more: vec![("p99_ns", percentile(&mut all, 0.99))],
    })
}

/// Beside itself in a small configuration.
pub(crate) fn scale() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let configuration = with_routes(LARGE);
    describe(&configuration);
    let mut large = store_with(&folder.path().join("large.db"), &configuration)?;
    let mut small = store_with(&folder.path().join("small.db"), &with_routes(SMALL))?;
    let (mut runs, mut number) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let (mut ours_ns, mut peer_ns) = (Vec::new(), Vec::new());
        for _ in 0..COMMITS {
            number += 1;
            let changeset = insertion([one_row(number)?]);
            ours_ns.push(time(&mut large, &changeset)?);
            peer_ns.push(time(&mut small, &changeset)?);
        }
        runs.push(Run {
            ours: median(ours_ns),
            peer: Some(median(peer_ns)),
        });
    }
    Ok(Report {
        unit: "ns/commit",
        peer_name: "itself-at-1000-rows",
        runs,
        more: Vec::new(),
    })
}
