//! What being looked at costs a worker that is busy (`scrape-cost`): all that a scrape reads of a gateway, ten times a second,
//! beside nobody looking.
//!
//! One worker forwards packets of 10,000 masqueraded connections without a pause. In slices of half a second in turn, another thread
//! reads what the daemon's metrics read: the counters' sums, drops by interface, connections by VPC, the sizes of the tables
//! (which the manager is asked for), and the use of external ports (which the worker is asked for, between two bursts). The
//! figure is the time that the worker's thread has had a core for, by the packets that it has forwarded meanwhile: what others
//! take of the machine is in neither. `scrape_us` is how long one look takes who looks.

use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_instructions::masqueraded::{Frames, Random, document};
use rewire_schema::from_document;

use crate::report::{Report, Run, median};
use crate::workers::{Driver, Traffic};

type Failure = Box<dyn std::error::Error>;

const RUNS: usize = 7;
/// Slices of one run, of either kind.
const SLICES: usize = 6;
const SLICE: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);
const CONNECTIONS: u32 = 10_000;
const FRAMES: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// The time that the worker's thread has had a core for, in ns.
fn core_time() -> Result<u64, Failure> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "worker-0" {
            let schedstat = std::fs::read_to_string(path.join("schedstat"))?;
            let first = schedstat.split(' ').next().ok_or("an empty schedstat")?;
            return Ok(first.parse()?);
        }
    }
    Err("the worker has no thread".into())
}

/// Reads all that a scrape reads; how long that took.
fn look(gateway: &Gateway) -> Result<Duration, Failure> {
    let start = Instant::now();
    let shared = gateway.shared();
    let mut seen = shared.totals().received;
    for (index, _) in shared.ports() {
        seen += shared.interface_drops(index).len() as u64;
    }
    seen += shared.vpc_connections().len() as u64;
    let sizes = gateway.table_sizes().ok_or("the gateway stops")?.ask()?;
    seen += sizes.vpcs.len() as u64;
    let connections = gateway.connection_table().ok_or("the gateway stops")?;
    seen += connections.external_addresses()?.len() as u64;
    let names = connections.names()?;
    connections.visit_ports(|listed| seen += names.vpc(listed.vpc).len() as u64)?;
    std::hint::black_box(seen);
    Ok(start.elapsed())
}

/// One slice: the worker's cost of a packet, and the times of the looks.
fn slice(gateway: &Gateway, looks: Option<&mut Vec<f64>>) -> Result<f64, Failure> {
    let shared = gateway.shared();
    let start = Instant::now();
    let (packets, time) = (shared.totals().transmitted, core_time()?);
    match looks {
        None => std::thread::sleep(SLICE),
        Some(looks) => {
            while start.elapsed() < SLICE {
                let took = look(gateway)?;
                looks.push(took.as_nanos() as f64 / 1e3);
                std::thread::sleep(EVERY.saturating_sub(took));
            }
        }
    }
    let (packets, time) = (shared.totals().transmitted - packets, core_time()? - time);
    Ok(time as f64 / packets.max(1) as f64)
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!("data: {CONNECTIONS} connections, frames of 60 bytes in random order, one worker");
    let frames = Frames::default();
    let mut random = Random(88_172_645_463_325_252);
    let traffic = Traffic::new(1, FRAMES, |frame| {
        frames.write(random.below(CONNECTIONS), frame)
    });
    let config = GatewayConfig {
        workers: 1,
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(config, Driver(traffic.clone()))?;
    let configuration = serde_json::from_str(&document())?;
    let configuration =
        from_document(&configuration).map_err(|problems| format!("{problems:?}"))?;
    let (_, compiled) = Compiler::compile(configuration, 1)?;
    gateway.apply(1, compiled.into_parts())?;
    traffic.flow();
    let start = Instant::now();
    while gateway.shared().totals().transmitted < 4 * FRAMES as u64 {
        if start.elapsed() > PATIENCE {
            return Err(format!("packets are missing: {:?}", gateway.shared().totals()).into());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut looks = Vec::new();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..SLICES {
            without.push(slice(&gateway, None)?);
            with.push(slice(&gateway, Some(&mut looks))?);
        }
        runs.push(Run {
            ours: median(with),
            peer: Some(median(without)),
        });
    }
    let dropped = gateway.shared().totals().dropped();
    gateway.stop();
    let mut ratios: Vec<f64> = runs
        .iter()
        .filter_map(|run| Some(run.ours / run.peer?))
        .collect();
    ratios.sort_by(f64::total_cmp);
    Ok(Report {
        unit: "ns/packet",
        peer_name: "unscraped",
        runs,
        more: vec![
            ("cost_percent", (median(ratios) - 1.0) * 100.0),
            ("scrape_us", median(looks)),
            ("dropped", dropped as f64),
        ],
    })
}
