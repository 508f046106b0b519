//! Finding the revision that broke a packet's way, as a whole process: `rewire bisect` on a store of 10,000 revisions and 20,000 rows.
//!
//! Every revision takes one route away and brings another; one of them, at a place that is drawn for each run, takes away the one that
//! the packet follows. Beside it stands `probes`: what 300 of them add to a commit at 100,000 rows.

use rewire_schema::model::ProbeRow;
use rewire_schema::types::{ProbeResult, Protocol};
use rewire_schema::{Change, Changeset, Configuration};

use crate::configuration::{route, with_routes};
use crate::program::{largest_child_mib, rewire};
use crate::report::{Report, Run, median};
use crate::stores::{Failure, commit, store_with};

const RUNS: usize = 5;
const ROUTES: u32 = 10_000;
const REVISIONS: u32 = 10_000;
/// The revisions that break it, of which each run looks for one.
const BROKEN: [u32; RUNS] = [137, 9_871, 5_000, 2_503, 7_777];

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("rewire.db");
    let mut store = store_with(&path, &with_routes(ROUTES))?;
    for revision in 2..=REVISIONS {
        let broken = BROKEN.iter().position(|broken| *broken == revision);
        let goes = broken.map_or(ROUTES - 1 + revision - 2, |number| number as u32);
        let comes = route(ROUTES + revision - 2).into_iter().map(Change::Insert);
        let goes = route(goes).into_iter().map(Change::Delete);
        let changes: Changeset = goes.chain(comes).collect();
        commit(&mut store, &changes)?;
    }
    let head = store.head()?;
    drop(store);
    println!("data: {head} revisions, {} rows", 2 * ROUTES);
    let mut runs = Vec::new();
    for (number, revision) in BROKEN.iter().enumerate() {
        let packet = format!("in blue0 10.1.0.5:40000 > 100.0.0.{number}:443 tcp");
        let time = rewire(
            &path,
            &[
                "bisect",
                &packet,
                "--want",
                "out wan0",
                "--good",
                "1",
                "--no-pager",
            ],
        )?;
        println!("  revision {revision}: {:.0} ms", time / 1e6);
        runs.push(Run {
            ours: time,
            peer: None,
        });
    }
    Ok(Report {
        unit: "ns",
        peer_name: "-",
        more: vec![
            (
                "worst_ns",
                runs.iter().map(|run| run.ours).fold(0.0, f64::max),
            ),
            ("mib", largest_child_mib()),
        ],
        runs,
    })
}

const PROBED_ROUTES: u32 = 50_000;
const PROBES: u32 = 300;

/// What 300 probes add to a commit at 100,000 rows.
pub(crate) fn probes() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let with = |name: &str, configuration: &Configuration| -> Result<_, Failure> {
        let path = folder.path().join(name);
        store_with(&path, configuration)?;
        Ok(path)
    };
    let plain = with_routes(PROBED_ROUTES);
    let mut probed = plain.clone();
    for number in 0..PROBES {
        let probe = ProbeRow {
            name: format!("probe{number}").parse()?,
            description: None,
            interface: "blue0".parse()?,
            source: "10.1.0.5".parse()?,
            destination: format!("100.0.{}.{}", number / 200, number % 200).parse()?,
            protocol: Some(Protocol::Number(17)),
            source_port: None,
            destination_port: Some(53),
            icmp_type: None,
            icmp_code: None,
            expect: ProbeResult::Forwarded,
            out_interface: None,
            via: None,
            translated_source: None,
            translated_destination: None,
            translated_destination_port: None,
            marks: Default::default(),
        };
        probed.insert(probe.into());
    }
    let (plain, probed) = (with("plain.db", &plain)?, with("probed.db", &probed)?);
    println!("data: {} rows, {PROBES} probes", 2 * PROBED_ROUTES);
    let mut runs = Vec::new();
    for run in 0..RUNS {
        let description = format!("number {run}");
        let time = |store| -> Result<f64, Failure> {
            rewire(store, &["set", "vpcs", "blue", "description", &description])?;
            rewire(store, &["commit", "--no-wait"])
        };
        runs.push(Run {
            ours: time(&probed)?,
            peer: Some(time(&plain)?),
        });
    }
    let more = median(
        runs.iter()
            .map(|run| run.ours - run.peer.unwrap_or_default()),
    );
    Ok(Report {
        unit: "ns/commit",
        peer_name: "without-probes",
        runs,
        more: vec![("added_ns", more)],
    })
}
