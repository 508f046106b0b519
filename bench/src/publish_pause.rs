//! What publishing does to a worker: the time of each burst through the whole graph at a million routes, while another core
//! publishes a route every millisecond, beside the same without a publication.
//!
//! `ours` and `peer` are how far the 99.99th percentile of all bursts lies above their median, in short slices of either,
//! in turn. Bursts in which the kernel took the core away (the thread's count of context switches says so) are set aside and
//! counted, `preempted`. Interrupts, and what a hypervisor takes, cannot be told apart and stay in both: what publishing adds
//! is the difference, `added_ns`. That is as noisy as they are, so the swap is looked at by itself, too: `swap_ns` is how much
//! longer the first burst of a generation takes than others at the median, and `swap_p99_ns` at the 99th percentile of each.
//! The worker is pinned to the last core, the publisher to the first; run it under `chrt -f 5`.

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
/// Slices of one run, either way.
const SLICES: usize = 100;
/// Bursts of one slice: some tens of milliseconds.
const BURSTS: usize = 3_000;
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
    /// The generation of the last burst.
    generation: u64,
}

/// What was seen of bursts, times in ns.
#[derive(Default)]
struct Seen {
    /// Of bursts in which the core was not taken away.
    times: Vec<f64>,
    /// Of these, the first ones of a generation.
    first: Vec<f64>,
    /// The bursts in which it was.
    preempted: u64,
    /// Packets that did not come out.
    lost: u64,
}

/// How often the kernel has taken this thread's core away, or the thread has waited.
fn switches() -> i64 {
    // SAFETY: all zeros is a valid `rusage`, and the call writes nothing but that.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        usage
    };
    usage.ru_nvcsw + usage.ru_nivcsw
}

impl Worker {
    /// Runs so many bursts, and adds to what was seen.
    fn run(&mut self, bursts: usize, seen: &mut Seen) {
        let mut received = Vec::with_capacity(BURST);
        let mut sent = Sent(Vec::with_capacity(BURST));
        let mut switches_before = switches();
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
            let mut generation = self.generation;
            if let Some(tables) = self.reader.enter() {
                generation = tables.generation();
                self.graph
                    .run(&mut received, &tables, now, &self.counters, &mut sent);
            }
            let time = start.elapsed().as_nanos() as f64;
            let switches_after = switches();
            if switches_after == switches_before {
                seen.times.push(time);
                if generation != self.generation {
                    seen.first.push(time);
                }
            } else {
                seen.preempted += 1;
            }
            (self.generation, switches_before) = (generation, switches_after);
            seen.lost += (BURST - sent.0.len()) as u64;
            sent.0.clear();
        }
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
        "data: {ROUTES} generated routes, {FLOWS} flows; a run is {SLICES} slices of {BURSTS} bursts of {BURST}, either way"
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
        fast_path: true,
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
        generation: 0,
    };
    let cores = std::thread::available_parallelism()?.get();
    let (wish, published) = (AtomicU8::new(REST), AtomicU64::new(0));
    let (mut runs, mut added) = (Vec::new(), Vec::new());
    let mut all = Seen::default();
    std::thread::scope(|scope| {
        let (wish, published) = (&wish, &published);
        let publisher = scope.spawn(move || {
            pin(0);
            publish(&mut publisher, &mut compiler, wish, published)
        });
        pin(cores - 1);
        worker.run(BURSTS, &mut Seen::default());
        for _ in 0..RUNS {
            let mut seen = [Seen::default(), Seen::default()];
            for _ in 0..SLICES {
                for (mode, seen) in [REST, PUBLISH].into_iter().zip(&mut seen) {
                    wish.store(mode, Ordering::Release);
                    worker.run(BURSTS, seen);
                }
            }
            wish.store(REST, Ordering::Release);
            let above = |seen: &mut Seen| {
                percentile(&mut seen.times, 0.9999) - percentile(&mut seen.times, 0.5)
            };
            let [quiet, busy] = seen.each_mut().map(above);
            let [without, with] = seen;
            added.push(busy - quiet);
            runs.push(Run {
                ours: busy,
                peer: Some(quiet),
            });
            all.lost += without.lost + with.lost;
            all.preempted += without.preempted + with.preempted;
            all.times.extend(with.times);
            all.first.extend(with.first);
        }
        wish.store(END, Ordering::Release);
        publisher.join().map_err(|_| "the publisher panicked")?
    })?;
    let swap = |share: f64, all: &mut Seen| {
        percentile(&mut all.first, share) - percentile(&mut all.times, share)
    };
    Ok(Report {
        unit: "ns-above-median-at-p99.99",
        peer_name: "no-publishing",
        runs,
        more: vec![
            ("added_ns", median(added)),
            ("swap_ns", swap(0.5, &mut all)),
            ("swap_p99_ns", swap(0.99, &mut all)),
            ("median_ns", percentile(&mut all.times, 0.5)),
            ("first_bursts", all.first.len() as f64),
            ("publications", published.load(Ordering::Relaxed) as f64),
            ("preempted", all.preempted as f64),
            ("lost", all.lost as f64),
        ],
    })
}
