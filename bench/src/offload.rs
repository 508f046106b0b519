//! `offload-latency`: how long it takes from the decision to offload a flow until its rules are handed to the card, and to
//! remove them, at 500,000 flows a second; and what share of a trace is offloaded.
//!
//! Two threads on two cores: a worker that decides, and the engine with a modelled card that takes a million rules a second.
//! Each flow has two rules, so the card is as busy as it can be. Connections are made before; packets are not in it.
//!
//! All flows come and go twice. The first time, memory of the worker, the engine and the card is touched that nobody had; the
//! second time is what a gateway does that has run for a while, and what is compared. Of both it is told how long the engine
//! was away between two polls at most, and how late the worker was: what is longer than that is the engine's own doing.

mod flow_sizes;
mod trace;

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rewire_conntrack::offload::{Engine, EngineConfig, Offloading, Path};
use rewire_conntrack::{
    Config, Connections, Direction, FlowId, FlowKey, NewFlow, Segment, Timeouts,
};
use rewire_dataplane::clock::{Clock, MonotonicClock};
use rewire_dataplane::offload::{CardConfig, Counted, Latencies, ModelledCard, OffloadConfig};
use rewire_packet::MacAddress;
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::{InterfaceIndex, VpcIndex};

use crate::report::{Report, Run, median};

type Failure = Box<dyn std::error::Error>;

/// Many, and short: what a thread's being stopped costs is another thing in each.
const RUNS: usize = 15;
/// Flows of one run: 0.2 s.
const FLOWS: u32 = 100_000;
/// A flow every so many ns.
const PACE: u64 = 2000;
/// Flows between two looks at what the engine reports, as in a burst.
const BURST: u32 = 32;

/// Which pass over the flows is which.
const COLD: usize = 0;
const WARM: usize = 1;
/// And which half of it.
const INSTALL: usize = 0;
const REMOVE: usize = 1;

/// Established connections.
fn connections() -> Result<(Connections<Ipv4Addr>, Vec<FlowId>), Failure> {
    let mut connections = Connections::new(Config {
        capacity: FLOWS as usize,
        timeouts: Timeouts::default(),
        worker: 0,
        workers: 1,
        tcp_pickup: true,
        hash_seed: 42,
    });
    let now = rewire_conntrack::Instant(0);
    let mut flows = Vec::new();
    for number in 0..FLOWS {
        let original = FlowKey {
            vpc: VpcIndex(1),
            protocol: 17,
            source: Ipv4Addr::from_bits(0x0a00_0000 + number),
            destination: Ipv4Addr::new(198, 51, 100, 1),
            source_port: 4000,
            destination_port: 53,
        };
        let new = NewFlow {
            original,
            reply: original.reversed(VpcIndex(2)),
            route_vpc: VpcIndex(1),
            policy_generation: 1,
            admission: Default::default(),
            mapping: None,
        };
        let id = connections.insert(new, &Segment::Udp, 60, now)?;
        connections.update(id, Direction::Reply, &Segment::Udp, 60, now)?;
        flows.push(id);
    }
    Ok((connections, flows))
}

/// What one pass over all flows has taken: of their installation, or of their removal.
struct Pass {
    /// The median and the 99th percentile, of handing over, in ns.
    handed: [f64; 2],
    /// The same, of confirming.
    confirmed: [f64; 2],
    /// Flows a second.
    rate: f64,
    /// How long the engine was away between two polls, at most, in ns.
    engine_away: f64,
    /// How much later than it should the worker has decided, at most, in ns.
    worker_late: f64,
}

/// What one run has taken.
struct Took {
    /// Cold, and warm: the installation and the removal.
    passes: [[Pass; 2]; 2],
    /// Rules for which there was no room in the ring.
    ring_full: f64,
}

fn quantiles(counted: &Counted) -> [f64; 2] {
    [0.5, 0.99].map(|share| {
        let quantile = counted.quantile(share);
        quantile.map_or(f64::NAN, |quantile| quantile.as_nanos() as f64)
    })
}

/// The worker's side of a run.
struct Worker<'a> {
    connections: Connections<Ipv4Addr>,
    flows: Vec<FlowId>,
    path: Path,
    clock: MonotonicClock,
    latencies: &'a Latencies,
    engine_away: &'a AtomicU64,
}

impl Worker<'_> {
    /// Lets all flows come, or go, at their pace, and waits for the last.
    fn pass(&mut self, is_installing: bool) -> Pass {
        let (handed, confirmed) = match is_installing {
            true => (
                &self.latencies.install_handed,
                &self.latencies.install_confirmed,
            ),
            false => (
                &self.latencies.remove_handed,
                &self.latencies.remove_confirmed,
            ),
        };
        let before = [handed.counted(), confirmed.counted()];
        let mut worker_late = 0;
        self.engine_away.store(0, Ordering::Relaxed);
        let start = self.clock.now().0;
        for (number, id) in (0_u32..).zip(&self.flows) {
            let at = start + PACE * u64::from(number);
            while self.clock.now().0 < at {
                std::hint::spin_loop();
            }
            let now = self.clock.now();
            worker_late = worker_late.max(now.0 - at);
            let connections = &mut self.connections;
            if is_installing {
                connections.offload(*id, Direction::Original, &self.path, now);
                connections.offload(*id, Direction::Reply, &self.path, now);
            } else {
                connections.take_back(*id, now);
            }
            if number % BURST == 0 {
                connections.run_offload(now, |_| {});
            }
        }
        let took = self.clock.now().0 - start;
        let engine_away = self.engine_away.load(Ordering::Relaxed);
        // Whatever is under way comes to its end.
        let deadline = self.clock.now().saturating_add(Duration::from_secs(5));
        let is_done = |connections: &Connections<Ipv4Addr>| {
            let counts = connections.offload_counts();
            match is_installing {
                true => counts.installed == counts.installs,
                false => counts.flows == 0,
            }
        };
        while !is_done(&self.connections) && self.clock.now() < deadline {
            self.connections.run_offload(self.clock.now(), |_| {});
        }
        let [handed, confirmed] = [(handed, &before[0]), (confirmed, &before[1])]
            .map(|(histogram, before)| quantiles(&histogram.counted().since(before)));
        Pass {
            handed,
            confirmed,
            rate: f64::from(FLOWS) * 1e9 / took as f64,
            engine_away: engine_away as f64,
            worker_late: worker_late as f64,
        }
    }
}

fn run() -> Result<Took, Failure> {
    let (mut connections, flows) = connections()?;
    let card = ModelledCard::new(CardConfig {
        per_request: Duration::from_micros(1),
        queue: 4096,
        ..CardConfig::default()
    });
    let engine_config = EngineConfig {
        queues: 1,
        flows: FLOWS,
        requests: 4096,
        query_every: Duration::from_secs(60),
    };
    let (mut engine, queues) = Engine::new(Box::new(card), &engine_config);
    let latencies = engine.latencies();
    let offloading = Offloading {
        packets: 1,
        again: NonZeroU64::MIN,
        idle_after: Duration::from_secs(60),
    };
    for queue in queues {
        connections.enable_offload(queue, offloading);
    }
    let path = Path {
        ingress: InterfaceIndex(1),
        ingress_mac: MacAddress([2, 0, 0, 0, 0, 1]),
        egress: InterfaceIndex(2),
        source_mac: MacAddress([2, 0, 0, 0, 0, 2]),
        destination_mac: MacAddress([2, 0, 0, 0, 0, 3]),
        longest: 1500,
        counters: UNCOUNTED,
    };
    let clock = MonotonicClock::default();
    let (is_running, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let engine_away = AtomicU64::new(0);
    let mut worker = Worker {
        connections,
        flows,
        path,
        clock,
        latencies: &latencies,
        engine_away: &engine_away,
    };
    let passes = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut last = clock.now().0;
            while !is_over.load(Ordering::Relaxed) {
                engine.poll(|| clock.now());
                let now = clock.now().0;
                if now - last > engine_away.load(Ordering::Relaxed) {
                    engine_away.store(now - last, Ordering::Relaxed);
                }
                last = now;
                is_running.store(true, Ordering::Relaxed);
            }
        });
        // A thread takes its time to start; no gateway offloads before its engine runs.
        while !is_running.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
        let passes =
            [(); 2].map(|()| [true, false].map(|is_installing| worker.pass(is_installing)));
        is_over.store(true, Ordering::Relaxed);
        passes
    });
    let counts = worker.connections.offload_counts();
    if counts.flows != 0 || counts.removed != counts.installs {
        return Err(format!("not all flows have gone again: {counts:?}").into());
    }
    Ok(Took {
        passes,
        ring_full: counts.ring_full as f64,
    })
}

pub(crate) fn latency() -> Result<Report, Failure> {
    println!(
        "data: {FLOWS} established connections of IPv4 and UDP, two rules each, one every {PACE} ns; a worker and the engine \
         on a core each"
    );
    let mut took = Vec::new();
    for _ in 0..RUNS {
        took.push(run()?);
        // Threads of real-time priority may not run for more than 0.95 s of each second.
        std::thread::sleep(Duration::from_secs(1));
    }
    let shares = trace::run(OffloadConfig::default())?;
    println!(
        "trace: {} packets; the card has forwarded {:.1} % of the bytes, with rules for {:.1} % of the flows",
        shares.packets,
        100.0 * shares.bytes,
        100.0 * shares.flows
    );
    for (name, warmth) in [("cold", COLD), ("warm", WARM)] {
        for (step, number) in [("install", INSTALL), ("remove", REMOVE)] {
            let of = |figure: fn(&Pass) -> f64| {
                let passes = took.iter().map(|took| figure(&took.passes[warmth][number]));
                let passes: Vec<f64> = passes.collect();
                let most = passes.iter().copied().fold(0.0, f64::max);
                format!("{:.1} (worst {:.1})", median(passes) / 1e3, most / 1e3)
            };
            println!(
                "{name} {step}: p99 {} µs; engine away {} µs, worker late {} µs at most",
                of(|pass| pass.handed[1]),
                of(|pass| pass.engine_away),
                of(|pass| pass.worker_late)
            );
        }
    }
    let of = |figure: fn(&Took) -> f64| median(took.iter().map(figure));
    let most = |figure: fn(&Took) -> f64| took.iter().map(figure).fold(0.0, f64::max);
    Ok(Report {
        unit: "ns",
        peer_name: "-",
        more: vec![
            (
                "install_p99_ns",
                of(|took| took.passes[WARM][INSTALL].handed[1]),
            ),
            (
                "install_p99_worst_ns",
                most(|took| took.passes[WARM][INSTALL].handed[1]),
            ),
            (
                "remove_p50_ns",
                of(|took| took.passes[WARM][REMOVE].handed[0]),
            ),
            (
                "remove_p99_ns",
                of(|took| took.passes[WARM][REMOVE].handed[1]),
            ),
            (
                "remove_p99_worst_ns",
                most(|took| took.passes[WARM][REMOVE].handed[1]),
            ),
            (
                "cold_install_p99_ns",
                of(|took| took.passes[COLD][INSTALL].handed[1]),
            ),
            (
                "cold_install_p99_worst_ns",
                most(|took| took.passes[COLD][INSTALL].handed[1]),
            ),
            (
                "confirmed_p50_ns",
                of(|took| took.passes[WARM][INSTALL].confirmed[0]),
            ),
            (
                "confirmed_p99_ns",
                of(|took| took.passes[WARM][INSTALL].confirmed[1]),
            ),
            ("flows_per_s", of(|took| took.passes[WARM][INSTALL].rate)),
            ("ring_full_worst", most(|took| took.ring_full)),
            ("offloaded_bytes_percent", 100.0 * shares.bytes),
            ("offloaded_flows_percent", 100.0 * shares.flows),
        ],
        runs: took
            .iter()
            .map(|took| Run {
                ours: took.passes[WARM][INSTALL].handed[0],
                peer: None,
            })
            .collect(),
    })
}
