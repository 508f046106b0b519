//! Going back from one small commit in a large configuration, beside that commit.

use std::time::Instant;

use rewire_configdb::{CommitRequest, EntryKind};

use crate::configuration::{insertion, route, with_routes};
use crate::report::{Report, Run, median};
use crate::stores::{Failure, OfChange, commit, store_with};

const RUNS: usize = 7;
const TIMES: u32 = 50;
const ROUTES: u32 = 500_000;

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let configuration = with_routes(ROUTES);
    println!(
        "data: {} generated rows; {TIMES} commits of one route, each gone back from, a run",
        configuration.len()
    );
    let mut store = store_with(&folder.path().join("rewire.db"), &configuration)?;
    let mut runs = Vec::new();
    let mut number = ROUTES;
    for _ in 0..RUNS {
        let (mut rewinds_ns, mut commits_ns) = (Vec::new(), Vec::new());
        for _ in 0..TIMES {
            number += 1;
            let changeset = insertion(route(number));
            let start = Instant::now();
            let committed = commit(&mut store, &changeset)?;
            commits_ns.push(start.elapsed().as_nanos() as f64);
            let start = Instant::now();
            let to = committed.revision - 1;
            let back = store.rewind_changeset(to)?;
            let request = CommitRequest {
                kind: EntryKind::Rewind { to },
                ..CommitRequest::new(committed.revision, &back, "bench", "back")
            };
            store.commit(request, &mut OfChange)?;
            rewinds_ns.push(start.elapsed().as_nanos() as f64);
        }
        runs.push(Run {
            ours: median(rewinds_ns),
            peer: Some(median(commits_ns)),
        });
    }
    Ok(Report {
        unit: "ns/rewind",
        peer_name: "the-commit",
        runs,
        more: Vec::new(),
    })
}
