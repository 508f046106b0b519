//! What publishing does to a worker: the time of each burst through the whole graph at a million routes, while another core
//! publishes a route every millisecond, beside the same without a publication.
//!
//! `ours` and `peer` are how far the 99.99th percentile of all bursts lies above their median. Bursts are delayed by much
//! that is not publishing (an interrupt, another machine's thread on the same core): that is in both, and what publishing
//! adds is the difference, `added_ns`. The worker is pinned to the last core, the publisher to the first; run it under
//! `chrt -f 5`.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool};
use rewire_dataplane::clock;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{
    AclLogEntry, Graph, GraphConfig, LearnedNeighbor, Origin, Received, Sinks,
};
use rewire_tables::{InterfaceIndex, Publisher, Reader};

use crate::configuration::{datagram, insertion, route, with_router, with_routes};
use crate::report::{Report, Run, median, percentile};

const RUNS: usize = 7;
const ROUTES: u32 = 1_000_000;
/// Bursts of one run, either way.
const BURSTS: usize = 300_000;
const BURST: usize = 64;
const FLOWS: usize = 1024;
const EVERY: Duration = Duration::from_millis(1);

type Failure = Box<dyn std::error::Error>;

/// What the publisher is to do.
const REST: u8 = 0;
const PUBLISH: u8 = 1;
const END: u8 = 2;

#[derive(Default)]
struct Sent(Vec<MemoryBuffer>);

impl Sinks<MemoryBuffer> for Sent {
    fn transmit(&mut self, _: InterfaceIndex, buffer: MemoryBuffer) {
        self.0.push(buffer);
    }
    fn learned(&mut self, _: LearnedNeighbor) -> bool {
        true
    }
    fn log(&mut self, _: AclLogEntry) -> bool {
        true
    }
}

/// Keeps this thread on one core, where the system lets it.
fn pin(core: usize) {
    // SAFETY: the set is all zeros, which is the empty set, and outlives the call; 0 is the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// A worker without a port: its bursts are made ahead, and what comes out is looked at behind the clock.
struct Worker {
    reader: Reader,
    graph: Graph<MemoryPool>,
    counters: WorkerCounters,
    frames: Vec<Vec<u8>>,
    blue: InterfaceIndex,
    next: usize,
}

impl Worker {
    /// The times of so many bursts, in ns, and how many packets did not come out.
    fn run(&mut self, bursts: usize) -> (Vec<f64>, u64) {
        let mut times = Vec::with_capacity(bursts);
        let mut received = Vec::with_capacity(BURST);
        let mut sent = Sent(Vec::with_capacity(BURST));
        let mut lost = 0;
        for _ in 0..bursts {
            for _ in 0..BURST {
                self.next = (self.next + 1) % self.frames.len();
                received.push(Received {
                    buffer: MemoryBuffer::new(self.frames[self.next].clone()),
                    origin: Origin::Received(self.blue),
                });
            }
            let now = clock::Instant(1_000_000);
            let start = Instant::now();
            if let Some(tables) = self.reader.enter() {
                self.graph
                    .run(&mut received, &tables, now, &self.counters, &mut sent);
            }
            times.push(start.elapsed().as_nanos() as f64);
            lost += (BURST - sent.0.len()) as u64;
            sent.0.clear();
        }
        (times, lost)
    }
}

fn publish(
    publisher: &mut Publisher,
    compiler: &mut Compiler,
    wish: &AtomicU8,
    published: &AtomicU64,
) -> Result<(), String> {
    let insert = insertion(route(ROUTES));
    let both = [insert.inverse(), insert];
    loop {
        match wish.load(Ordering::Acquire) {
            END => return Ok(()),
            REST => std::thread::sleep(EVERY),
            _ => {
                let revision = compiler.revision() + 1;
                let changeset = &both[(revision % 2) as usize];
                let compiled = compiler
                    .apply(revision, changeset)
                    .map_err(|error| error.to_string())?;
                publisher.extend(compiled.operations);
                publisher
                    .publish(Duration::from_secs(1))
                    .map_err(|late| late.to_string())?;
                published.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(EVERY);
                publisher.catch_up();
            }
        }
    }
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!(
        "data: {ROUTES} generated routes, {FLOWS} flows, {BURSTS} bursts of {BURST} a run, either way"
    );
    let configuration = with_router(with_routes(ROUTES))?;
    // An even revision, so that the next one inserts.
    let (mut compiler, compiled) = Compiler::compile(configuration, 2)?;
    let (mut publisher, mut readers) = Publisher::new(1);
    publisher.extend(compiled.operations);
    publisher.publish(Duration::from_secs(1))?;
    publisher.catch_up();
    let blue = compiler.interface_index(&"blue0".parse()?);
    let config = GraphConfig {
        connections: Config {
            capacity: 65_536,
            timeouts: Timeouts::default(),
            worker: 0,
            workers: 1,
            tcp_pickup: true,
            hash_seed: 7,
        },
        burst: BURST,
        icmp_errors_per_second: 1000,
        acl_logs_per_second: 100,
    };
    // Destinations all over the table.
    let frames = (0..FLOWS as u32).map(|flow| {
        let [_, a, b, c] = (flow.wrapping_mul(2_654_435_761) % ROUTES).to_be_bytes();
        let source = [10, 1, 0, 2 + (flow % 200) as u8];
        datagram(source, 4000 + flow as u16, [100, a, b, c])
    });
    let mut worker = Worker {
        reader: readers.remove(0),
        graph: Graph::new(config, MemoryPool),
        counters: WorkerCounters::default(),
        frames: frames.collect(),
        blue: blue.ok_or("there is no blue0")?,
        next: 0,
    };
    let cores = std::thread::available_parallelism()?.get();
    let (wish, published) = (AtomicU8::new(REST), AtomicU64::new(0));
    let (mut runs, mut added, mut medians, mut lost) = (Vec::new(), Vec::new(), Vec::new(), 0);
    std::thread::scope(|scope| {
        let (wish, published) = (&wish, &published);
        let publisher = scope.spawn(move || {
            pin(0);
            publish(&mut publisher, &mut compiler, wish, published)
        });
        pin(cores - 1);
        worker.run(BURSTS / 10);
        for _ in 0..RUNS {
            let mut above = [0.0; 2];
            for (mode, above) in [REST, PUBLISH].into_iter().zip(&mut above) {
                wish.store(mode, Ordering::Release);
                let (mut times, missing) = worker.run(BURSTS);
                lost += missing;
                let middle = median(times.iter().copied());
                *above = percentile(&mut times, 0.9999) - middle;
                if mode == PUBLISH {
                    medians.push(middle);
                }
            }
            wish.store(REST, Ordering::Release);
            added.push(above[1] - above[0]);
            runs.push(Run {
                ours: above[1],
                peer: Some(above[0]),
            });
        }
        wish.store(END, Ordering::Release);
        publisher.join().map_err(|_| "the publisher panicked")?
    })?;
    Ok(Report {
        unit: "ns-above-median-at-p99.99",
        peer_name: "no-publishing",
        runs,
        more: vec![
            ("added_ns", median(added)),
            ("median_ns", median(medians)),
            ("publications", published.load(Ordering::Relaxed) as f64),
            ("lost", lost as f64),
        ],
    })
}
