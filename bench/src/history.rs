//! Looking back: `log`, `blame` and `diff` of neighbours as whole processes, on a store of many revisions and many rows.

use crate::configuration::{insertion, with_routes};
use crate::program::rewire;
use crate::report::{Report, Run, median};
use crate::stores::{Failure, store_with};

use rewire_configdb::{CommitRequest, Unchecked};
use rewire_schema::model::RouteRow;
use rewire_schema::types::RouteType;

const RUNS: usize = 7;
const ROUTES: u32 = 50_000;
const REVISIONS: u32 = 10_000;

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("rewire.db");
    let mut store = store_with(&path, &with_routes(ROUTES))?;
    for number in 1..REVISIONS {
        let [_, a, b, c] = number.to_be_bytes();
        let prefix = format!("200.{a}.{b}.{c}/32").parse()?;
        let row = RouteRow {
            route_type: RouteType::Blackhole,
            ..RouteRow::unicast("blue".parse()?, prefix)
        };
        let changeset = insertion([row.into()]);
        let message = format!("route {number}");
        let request = CommitRequest::new(u64::from(number), &changeset, "bench", &message);
        store.commit(request, &mut Unchecked)?;
    }
    drop(store);
    println!(
        "data: {REVISIONS} revisions, {} rows",
        2 * ROUTES + REVISIONS + 5
    );
    let middle = (REVISIONS / 2).to_string();
    let before = (REVISIONS / 2 - 1).to_string();
    // The oldest route there is: its history goes back to the first revision.
    let oldest = "vpcs.blue.routes.100.0.0.7/32";
    // Another VPC's routes are in every revision; this one's parts, and itself, are in the first alone.
    let object = "vpcs.internet";
    // A next hop has no parts: it is one row.
    let row = format!("{oldest}.next_hops.0");
    let verbs: [(&str, Vec<&str>); 6] = [
        ("log_ms", vec!["log"]),
        ("log_path_ms", vec!["log", oldest]),
        ("log_object_ms", vec!["log", object]),
        ("log_row_ms", vec!["log", &row]),
        ("blame_ms", vec!["blame", oldest]),
        ("diff_ms", vec!["diff", &before, &middle]),
    ];
    let (mut runs, mut more) = (Vec::new(), Vec::new());
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); verbs.len()];
    for _ in 0..RUNS {
        for ((_, arguments), times) in verbs.iter().zip(&mut times) {
            times.push(rewire(&path, arguments)? / 1e6);
        }
        let slowest = times.iter().filter_map(|times| times.last());
        runs.push(Run {
            ours: slowest.copied().fold(0.0, f64::max),
            peer: None,
        });
    }
    for ((name, _), times) in verbs.iter().zip(times) {
        more.push((*name, median(times)));
    }
    Ok(Report {
        unit: "ms/slowest-verb",
        peer_name: "-",
        runs,
        more,
    })
}
