//! What publishing does to a worker: the time of each burst through the whole graph at a million routes, while another core
//! publishes every millisecond.
//!
//! `ours` is the delay beyond the median that publishing a commit adds for no more than one burst in 10,000. Interrupts, and what a
//! hypervisor takes, delay far more bursts than that, and cannot be told apart one by one; but they come with and without
//! publishing. So of the bursts beyond a delay those are not counted that lie beyond it without publishing, in slices of
//! a few hundredths of a second of either, in turn. `control_ns` is the same figure between two halves of the slices without publishing: what
//! the measure says where there is nothing to be seen. `swap_added_ns` is that of generations that change no policy, after which no
//! connection is resolved again: what is left is the new half itself.
//!
//! Bursts in which the kernel took the core away (the thread's count of context switches says so) are set aside and
//! counted, `preempted`. `first_ns` is how much longer the first burst takes that sees a half that the worker was not in before
//! (of a commit there are two: the new generation, and the other half after it has caught up), at the median, and `first_p99_ns` at the 99th
//! percentile of each; `first_swap_ns` and `first_swap_p99_ns` without policy. The worker is pinned to the last core, the publisher to the
//! first; run it under `chrt -f 5`.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_conntrack::{Config, Timeouts};
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool};
use rewire_dataplane::clock;
use rewire_dataplane::counters::WorkerCounters;
use rewire_dataplane::graph::{Graph, GraphConfig, Origin, Received};
use rewire_instructions::masqueraded::datagram;
use rewire_instructions::worker::Sent;
use rewire_packet::ethernet::MacAddress;
use rewire_tables::{InterfaceIndex, Publisher, Reader, TableOperation};

use crate::configuration::{insertion, route, with_router, with_routes};
use crate::report::{Report, Run, median, percentile};
use crate::thread::{pin, switches};

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
/// Commits: connections are resolved again.
const COMMIT: u8 = 1;
/// Generations in which something was learned.
const LEARN: u8 = 2;
const END: u8 = 3;
/// What a run does in turn.
const MODES: [u8; 4] = [REST, COMMIT, REST, LEARN];

/// The share of bursts that may be delayed by more.
const SHARE: f64 = 1e-4;

/// Keeps this thread on one core, where the system lets it.
/// A worker without a port: its bursts are made ahead, and what comes out is looked at behind the clock.
struct Worker {
    reader: Reader,
    graph: Graph<MemoryPool>,
    counters: WorkerCounters,
    frames: Vec<Vec<u8>>,
    blue: InterfaceIndex,
    next: usize,
    /// The generation of the last burst, and where its tables are.
    seen: (u64, usize),
}

/// What was seen of bursts, times in ns.
#[derive(Default)]
struct Seen {
    /// Of bursts in which the core was not taken away.
    times: Vec<f64>,
    /// Of these, the first ones in other tables than those of the burst before.
    first: Vec<f64>,
    /// The bursts in which it was.
    preempted: u64,
    /// Packets that did not come out.
    lost: u64,
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
                received.push(Received::new(
                    MemoryBuffer::new(self.frames[self.next].clone()),
                    Origin::Received(self.blue),
                ));
            }
            let now = clock::Instant(1_000_000);
            let start = Instant::now();
            let mut tables_seen = self.seen;
            if let Some(tables) = self.reader.enter() {
                tables_seen = (tables.generation(), std::ptr::from_ref(&*tables).addr());
                self.graph
                    .run(&mut received, &tables, now, &self.counters, &mut sent);
            }
            let time = start.elapsed().as_nanos() as f64;
            let switches_after = switches();
            if switches_after == switches_before {
                seen.times.push(time);
                if tables_seen != self.seen {
                    seen.first.push(time);
                }
            } else {
                seen.preempted += 1;
            }
            (self.seen, switches_before) = (tables_seen, switches_after);
            seen.lost += (BURST - sent.0.len()) as u64;
            sent.0.clear();
        }
    }
}

/// Publishes what is wished for until the end.
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
            REST => {
                std::thread::sleep(EVERY);
                continue;
            }
            COMMIT => {
                let revision = compiler.revision() + 1;
                let changeset = &both[(revision % 2) as usize];
                let compiled = compiler
                    .apply(revision, changeset)
                    .map_err(|error| error.to_string())?;
                publisher.extend(compiled.operations);
            }
            _ => publisher.append(TableOperation::LearnNeighbor {
                interface: InterfaceIndex(0),
                address: [192, 0, 2, 1].into(),
                mac: MacAddress([2, 0, 0, 0, 0, published.load(Ordering::Relaxed) as u8]),
            }),
        }
        publisher
            .publish(Duration::from_secs(1))
            .map_err(|late| late.to_string())?;
        published.fetch_add(1, Ordering::Relaxed);
        // As the manager does after its answer, when no worker is in the old half any more.
        while !publisher.catch_up() {
            std::hint::spin_loop();
        }
        std::thread::sleep(EVERY);
    }
}

/// Delays beyond the median, ascending.
fn delays(mut times: Vec<f64>) -> Vec<f64> {
    let median = percentile(&mut times, 0.5);
    times.iter_mut().for_each(|time| *time -= median);
    times
}

/// The delay that publishing adds: no more than [`SHARE`] of all bursts are delayed by more, those not counted that are without
/// it. Both ascending.
fn added(with: &[f64], without: &[f64]) -> f64 {
    let beyond = |delays: &[f64], delay: f64| {
        let count = delays.len() - delays.partition_point(|other| *other < delay);
        count as f64 / delays.len() as f64
    };
    let is_more = |delay: &&f64| beyond(with, **delay) - beyond(without, **delay) > SHARE;
    with.iter()
        .rev()
        .find(is_more)
        .map_or(0.0, |delay| delay.max(0.0))
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!(
        "data: {ROUTES} generated routes, {FLOWS} flows; a run is {SLICES} slices of {BURSTS} bursts of {BURST} of each kind"
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
        fragmented_datagrams: 1024,
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
        seen: (0, 0),
    };
    let cores = std::thread::available_parallelism()?.get();
    let (wish, published) = (AtomicU8::new(REST), AtomicU64::new(0));
    let mut runs = Vec::new();
    let (mut control, mut learned) = (Vec::new(), Vec::new());
    let mut all = [0; 4].map(|_| Seen::default());
    std::thread::scope(|scope| {
        let (wish, published) = (&wish, &published);
        let publisher = scope.spawn(move || {
            pin(0);
            publish(&mut publisher, &mut compiler, wish, published)
        });
        pin(cores - 1);
        worker.run(BURSTS, &mut Seen::default());
        for _ in 0..RUNS {
            let mut seen = MODES.map(|_| Seen::default());
            for _ in 0..SLICES {
                for (mode, seen) in MODES.into_iter().zip(&mut seen) {
                    wish.store(mode, Ordering::Release);
                    worker.run(BURSTS, seen);
                }
            }
            wish.store(REST, Ordering::Release);
            for (all, seen) in all.iter_mut().zip(&seen) {
                all.lost += seen.lost;
                all.preempted += seen.preempted;
                all.first.extend(&seen.first);
                all.times.extend(&seen.times);
            }
            let [rest, commit, other_rest, learn] = seen.map(|seen| delays(seen.times));
            control.push(added(&other_rest, &rest));
            learned.push(added(&learn, &rest));
            runs.push(Run {
                ours: added(&commit, &rest),
                peer: None,
            });
        }
        wish.store(END, Ordering::Release);
        publisher.join().map_err(|_| "the publisher panicked")?
    })?;
    let lost: u64 = all.iter().map(|seen| seen.lost).sum();
    let preempted: u64 = all.iter().map(|seen| seen.preempted).sum();
    let first = |share: f64, seen: &mut Seen| {
        percentile(&mut seen.first, share) - percentile(&mut seen.times, share)
    };
    let [rest, commit, _, learn] = &mut all;
    Ok(Report {
        unit: "ns-delay-at-p99.99",
        peer_name: "-",
        runs,
        more: vec![
            ("control_ns", median(control)),
            ("swap_added_ns", median(learned)),
            ("first_ns", first(0.5, commit)),
            ("first_p99_ns", first(0.99, commit)),
            ("first_swap_ns", first(0.5, learn)),
            ("first_swap_p99_ns", first(0.99, learn)),
            ("rest_median_ns", percentile(&mut rest.times, 0.5)),
            ("median_ns", percentile(&mut commit.times, 0.5)),
            ("median_swap_ns", percentile(&mut learn.times, 0.5)),
            ("first_bursts", commit.first.len() as f64),
            ("publications", published.load(Ordering::Relaxed) as f64),
            ("preempted", preempted as f64),
            ("lost", lost as f64),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_without_publishing_is_not_counted() {
        // One in a hundred waits for an interrupt, either way; one in a thousand for the swap.
        let quiet: Vec<f64> = (0..100_000)
            .map(|burst| if burst % 100 == 0 { 50_000.0 } else { 0.0 })
            .collect();
        let busy: Vec<f64> = (0..100_000)
            .map(|burst| match burst % 1000 {
                0 | 100 | 200 | 300 | 400 | 500 | 600 | 700 | 800 | 900 => 50_000.0,
                1 => 3000.0,
                _ => 0.0,
            })
            .collect();
        let [quiet, busy] = [quiet, busy].map(delays);
        assert_eq!(added(&busy, &quiet), 3000.0);
        assert_eq!(added(&quiet, &quiet), 0.0);
    }
}
