//! A one-route commit from changeset to live on all workers: compiled, published, and every worker out of the old tables.
//! Without the disk. Beside itself at a thousandth of the routes: the cost of a change is the change.
//!
//! What is not compiling, publishing or waiting for workers is handing over to the manager's thread and back. Waking a
//! thread costs 1 to 40 µs as the scheduler likes: run it under `chrt -f 5`.

use std::time::Instant;

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};

use crate::configuration::{insertion, route, with_routes};
use crate::report::{Report, Run, median, percentile};

const RUNS: usize = 7;
/// Commits of one run, of either size: every second one takes back the one before it.
const COMMITS: u32 = 2000;
const LARGE: u32 = 1_000_000;
const SMALL: u32 = 1_000;

type Failure = Box<dyn std::error::Error>;

/// Where the time of a commit went, in ns: the whole, compiling, publishing, waiting for workers.
type Times = [f64; 4];

struct Live {
    compiler: Compiler,
    gateway: Gateway,
    next: u32,
}

impl Live {
    fn start(routes: u32) -> Result<Self, Failure> {
        let (compiler, compiled) = Compiler::compile(with_routes(routes), 1)?;
        let gateway = Gateway::start(GatewayConfig::default(), MemoryDriver::default())?;
        gateway.apply(1, compiled.into_parts())?;
        Ok(Live {
            compiler,
            gateway,
            next: routes,
        })
    }

    /// Commits one route, and then its way back; the times of either.
    fn commit(&mut self) -> Result<[Times; 2], Failure> {
        let insert = insertion(route(self.next));
        self.next += 1;
        let mut times = [[0.0; 4]; 2];
        for (time, changeset) in times.iter_mut().zip([insert.clone(), insert.inverse()]) {
            let revision = self.compiler.revision() + 1;
            let start = Instant::now();
            let compiled = self.compiler.apply(revision, &changeset)?;
            let compile = start.elapsed();
            let applied = self.gateway.apply(revision, compiled.into_parts())?;
            *time = [start.elapsed(), compile, applied.publish, applied.live]
                .map(|time| time.as_nanos() as f64);
        }
        Ok(times)
    }
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!(
        "data: {LARGE} and {SMALL} generated routes; {COMMITS} commits a run of either, 2 workers on ports in memory"
    );
    let mut large = Live::start(LARGE)?;
    let mut small = Live::start(SMALL)?;
    let mut runs = Vec::new();
    let mut all = Vec::new();
    for _ in 0..RUNS {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..COMMITS / 2 {
            ours.extend(large.commit()?);
            peer.extend(small.commit()?);
        }
        runs.push(Run {
            ours: median(ours.iter().map(|times| times[0])),
            peer: Some(median(peer.iter().map(|times| times[0]))),
        });
        all.extend(ours);
    }
    let stage = |stage: usize| median(all.iter().map(|times: &Times| times[stage]));
    let mut whole: Vec<f64> = all.iter().map(|times| times[0]).collect();
    let more = vec![
        ("p99_ns", percentile(&mut whole, 0.99)),
        ("worst_ns", percentile(&mut whole, 1.0)),
        ("compile_ns", stage(1)),
        ("publish_ns", stage(2)),
        ("leave_ns", stage(3)),
    ];
    Ok(Report {
        unit: "ns/commit",
        peer_name: "ours-at-1000",
        runs,
        more,
    })
}
