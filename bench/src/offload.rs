//! `offload-latency`: how long it takes from the decision to offload a flow until its rules are handed to the card, and to
//! remove them, at 500,000 flows a second; and what share of a trace is offloaded.
//!
//! Two threads on two cores: a worker that decides, and the engine with a modelled card that takes a million rules a second.
//! Each flow has two rules, so the card is as busy as it can be. Connections are made before; packets are not in it.

mod flow_sizes;
mod trace;

use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rewire_conntrack::offload::{Engine, EngineConfig, Offloading, Path};
use rewire_conntrack::{
    Config, Connections, Direction, FlowId, FlowKey, NewFlow, Segment, Timeouts,
};
use rewire_dataplane::clock::{Clock, MonotonicClock};
use rewire_dataplane::offload::{CardConfig, Histogram, ModelledCard, OffloadConfig};
use rewire_packet::MacAddress;
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::{InterfaceIndex, VpcIndex};

use crate::report::{Report, Run, median};

type Failure = Box<dyn std::error::Error>;

const RUNS: usize = 7;
/// Flows of one run: 0.2 s.
const FLOWS: u32 = 100_000;
/// A flow every so many ns.
const PACE: u64 = 2000;
/// Flows between two looks at what the engine reports, as in a burst.
const BURST: u32 = 32;

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

/// What one run has taken.
struct Took {
    /// The median and the 99th percentile, of handing over an installation, and a removal, in ns.
    handed: [[f64; 2]; 2],
    /// Of confirming them.
    confirmed: [[f64; 2]; 2],
    /// Flows a second.
    rate: f64,
    /// Rules for which there was no room in the ring.
    ring_full: f64,
}

fn quantiles(histogram: &Histogram) -> [f64; 2] {
    [0.5, 0.99].map(|share| {
        let quantile = histogram.quantile(share);
        quantile.map_or(f64::NAN, |quantile| quantile.as_nanos() as f64)
    })
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
    let is_over = AtomicBool::new(false);
    let rate = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                engine.poll(|| clock.now());
            }
        });
        // One pass installs, and the next removes.
        let mut rates = Vec::new();
        for is_installing in [true, false] {
            let start = clock.now().0;
            for (number, id) in (0_u32..).zip(&flows) {
                let at = start + PACE * u64::from(number);
                while clock.now().0 < at {
                    std::hint::spin_loop();
                }
                let now = clock.now();
                if is_installing {
                    connections.offload(*id, Direction::Original, &path, now);
                    connections.offload(*id, Direction::Reply, &path, now);
                } else {
                    connections.take_back(*id, now);
                }
                if number % BURST == 0 {
                    connections.run_offload(now, |_| {});
                }
            }
            let took = clock.now().0 - start;
            rates.push(f64::from(FLOWS) * 1e9 / took as f64);
            // Whatever is under way comes to its end.
            let deadline = clock.now().saturating_add(Duration::from_secs(5));
            let is_done = |connections: &Connections<Ipv4Addr>| {
                let counts = connections.offload_counts();
                match is_installing {
                    true => counts.installed == counts.installs,
                    false => counts.flows == 0,
                }
            };
            while !is_done(&connections) && clock.now() < deadline {
                connections.run_offload(clock.now(), |_| {});
            }
        }
        is_over.store(true, Ordering::Relaxed);
        median(rates)
    });
    let counts = connections.offload_counts();
    if counts.flows != 0 || counts.removed != counts.installs {
        return Err(format!("not all flows have gone again: {counts:?}").into());
    }
    Ok(Took {
        handed: [
            quantiles(&latencies.install_handed),
            quantiles(&latencies.remove_handed),
        ],
        confirmed: [
            quantiles(&latencies.install_confirmed),
            quantiles(&latencies.remove_confirmed),
        ],
        rate,
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
    let of = |figure: fn(&Took) -> f64| median(took.iter().map(figure));
    let most = |figure: fn(&Took) -> f64| took.iter().map(figure).fold(0.0, f64::max);
    Ok(Report {
        unit: "ns",
        peer_name: "-",
        more: vec![
            ("install_p99_ns", of(|took| took.handed[0][1])),
            ("install_p99_worst_ns", most(|took| took.handed[0][1])),
            ("remove_p50_ns", of(|took| took.handed[1][0])),
            ("remove_p99_ns", of(|took| took.handed[1][1])),
            ("remove_p99_worst_ns", most(|took| took.handed[1][1])),
            ("confirmed_p50_ns", of(|took| took.confirmed[0][0])),
            ("confirmed_p99_ns", of(|took| took.confirmed[0][1])),
            ("flows_per_s", of(|took| took.rate)),
            ("ring_full_worst", most(|took| took.ring_full)),
            ("offloaded_bytes_percent", 100.0 * shares.bytes),
            ("offloaded_flows_percent", 100.0 * shares.flows),
        ],
        runs: took
            .iter()
            .map(|took| Run {
                ours: took.handed[0][0],
                peer: None,
            })
            .collect(),
    })
}
