//! A one-route commit from changeset to live on all workers: compiled, published, and every worker out of the old tables.
//! Without the disk. Beside itself at a tenth of the routes: the cost of a change is the change.
//!
//! Most of it is waking the manager's thread, which costs 1 to 40 µs as the scheduler likes: run it under `chrt -f 5`.

use std::time::Instant;

use rewire_compiler::Compiler;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};

use crate::configuration::{insertion, route, with_routes};
use crate::report::{Report, Run, median, percentile};

const RUNS: usize = 7;
const COMMITS: u32 = 300;

type Failure = Box<dyn std::error::Error>;

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

    /// Commits one route, and then its way back; the time of either, in ns.
    fn commit(&mut self) -> Result<[f64; 2], Failure> {
        let insert = insertion(route(self.next));
        self.next += 1;
        let mut times = [0.0; 2];
        for (time, changeset) in times.iter_mut().zip([insert.clone(), insert.inverse()]) {
            let revision = self.compiler.revision() + 1;
            let start = Instant::now();
            let compiled = self.compiler.apply(revision, &changeset)?;
            self.gateway.apply(revision, compiled.into_parts())?;
            *time = start.elapsed().as_nanos() as f64;
        }
        Ok(times)
    }
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!("data: generated routes; {COMMITS} commits a run, 2 workers on ports in memory");
    let mut large = Live::start(1_000_000)?;
    let mut small = Live::start(1_000)?;
    let mut runs = Vec::new();
    let mut all = Vec::new();
    for _ in 0..RUNS {
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..COMMITS / 2 {
            ours.extend(large.commit()?);
            peer.extend(small.commit()?);
        }
        all.extend(ours.iter().copied());
        runs.push(Run {
            ours: median(ours),
            peer: Some(median(peer)),
        });
    }
    let more = vec![
        ("p99_ns", percentile(&mut all, 0.99)),
        ("worst_ns", percentile(&mut all, 1.0)),
    ];
    Ok(Report {
        unit: "ns/commit",
        peer_name: "ours-at-1000",
        runs,
        more,
    })
}
