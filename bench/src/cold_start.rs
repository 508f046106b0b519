//! From a store with a million routes to the first packet forwarded: what a gateway does at its start, with the daemon's
//! own steps, on virtual ports. The packet waits on the link from the beginning.
//!
//! No peer runs beside it: OVN needs 15 to 20 s to its southbound database for 147,000 flows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_configdb::{StateDigest, Store};
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};

use crate::configuration::{datagram, with_router, with_routes};
use crate::report::{Report, Run, median};
use crate::stores::{Failure, store_with};

const RUNS: usize = 5;
const ROUTES: u32 = 1_000_000;
/// What one start is made of.
const STAGES: [&str; 5] = [
    "open_ms",
    "read_ms",
    "compile_ms",
    "publish_ms",
    "first_packet_ms",
];

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("ours.db");
    let configuration = with_router(with_routes(ROUTES))?;
    println!(
        "data: {} generated rows, {ROUTES} of them routes; 2 workers on ports in memory",
        configuration.len()
    );
    drop(store_with(&path, &configuration)?);
    drop(configuration);
    let mut runs = Vec::new();
    let mut all: Vec<[f64; STAGES.len()]> = Vec::new();
    let mut verifying = Vec::new();
    for _ in 0..RUNS {
        let driver = MemoryDriver::default();
        let (inside, outside) = (driver.port("blue0"), driver.port("wan0"));
        inside.send(datagram([10, 1, 0, 2], 4000, [100, 0, 0, 1]));

        let start = Instant::now();
        let mut times = Vec::new();
        let mut lap = Instant::now();
        let mut stage = |times: &mut Vec<f64>| {
            times.push(lap.elapsed().as_secs_f64() * 1e3);
            lap = Instant::now();
        };
        let store = Store::open(&path)?;
        let gateway = Gateway::start(GatewayConfig::default(), driver)?;
        stage(&mut times);
        let (head, configuration) = store.head_and_configuration()?;
        stage(&mut times);
        // Side by side, as the daemon does.
        let configuration = Arc::new(configuration);
        let (digest, compiled) = std::thread::scope(|scope| {
            let digest = scope.spawn(|| {
                let start = Instant::now();
                let digest = StateDigest::of(&configuration);
                (digest, start.elapsed().as_secs_f64() * 1e3)
            });
            let compiled = Compiler::compile(Arc::clone(&configuration), head);
            (digest.join(), compiled)
        });
        drop(configuration);
        let (compiler, compiled) = compiled?;
        stage(&mut times);
        let (digest, verify) = digest.map_err(|_| "the digest panicked")?;
        if digest != store.entry(head)?.state_digest {
            return Err("the rows are not the state on record".into());
        }
        gateway.apply(head, compiled.into_parts())?;
        stage(&mut times);
        while outside.receive().is_none() {
            if start.elapsed() > Duration::from_secs(60) {
                return Err(format!("no packet came out: {:?}", gateway.shared().totals()).into());
            }
            std::hint::spin_loop();
        }
        stage(&mut times);
        runs.push(Run {
            ours: start.elapsed().as_secs_f64() * 1e3,
            peer: None,
        });
        verifying.push(verify);
        all.push(times.try_into().map_err(|_| "a stage is missing")?);
        drop((gateway, compiler));
    }
    let stage = |(number, name)| (name, median(all.iter().map(|times| times[number])));
    let mut more: Vec<_> = STAGES.into_iter().enumerate().map(stage).collect();
    more.push(("verify_beside_compile_ms", median(verifying)));
    Ok(Report {
        unit: "ms/start",
        peer_name: "-",
        runs,
        more,
    })
}
