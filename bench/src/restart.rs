//! A gateway with a million connections ends, and another takes them over (`restart`): from the word to stop until the next
//! one's first revision is live with all of them. Ports in memory, one worker, the file on a disk of memory.

use std::path::Path;
use std::time::{Duration, Instant};

use rewire_compiler::{Compiled, Compiler};
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_instructions::masqueraded::{Frames, document};
use rewire_schema::from_document;

use crate::report::{Report, Run};

type Failure = Box<dyn std::error::Error>;

const CONNECTIONS: u32 = 1_000_000;
const RUNS: usize = 5;

fn compiled() -> Result<Compiled, Failure> {
    let document = serde_json::from_str(&document())?;
    let configuration = from_document(&document).map_err(|problems| format!("{problems:?}"))?;
    Ok(Compiler::compile(configuration, 1)?.1)
}

fn start(driver: MemoryDriver, file: &Path) -> Result<Gateway, Failure> {
    let config = GatewayConfig {
        workers: 1,
        connections: CONNECTIONS as usize,
        connections_file: Some(file.to_owned()),
        live_deadline: Duration::from_secs(30),
        ..GatewayConfig::default()
    };
    Ok(Gateway::start(config, driver)?)
}

pub(crate) fn restart() -> Result<Report, Failure> {
    println!(
        "data: {CONNECTIONS} masqueraded connections of UDP, one worker, ports in memory, the file in /dev/shm"
    );
    let folder = tempfile::tempdir_in("/dev/shm")?;
    let file = folder.path().join("connections");
    let driver = MemoryDriver::default();
    let (blue, wan) = (driver.port("blue0"), driver.port("wan"));
    let mut gateway = start(driver, &file)?;
    gateway.apply(1, compiled()?.into_parts())?;
    let frames = Frames::default();
    let shared = gateway.shared();
    for number in 0..CONNECTIONS {
        let mut frame = [0; 128];
        let length = frames.write(number, &mut frame);
        while !blue.send(frame[..length].to_vec()) {
            while wan.receive().is_some() {}
        }
    }
    let until = Instant::now() + Duration::from_secs(30);
    while shared.totals().connections < u64::from(CONNECTIONS) && Instant::now() < until {
        while wan.receive().is_some() {}
    }
    let live = shared.totals().connections;
    let mut runs = Vec::new();
    let (mut stopping, mut bytes) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let change = compiled()?.into_parts();
        let begin = Instant::now();
        gateway.stop();
        let stopped = begin.elapsed();
        bytes = std::fs::metadata(&file)?.len();
        gateway = start(MemoryDriver::default(), &file)?;
        gateway.apply(1, change)?;
        let ours = begin.elapsed().as_nanos() as f64;
        let restored = gateway.shared().restored().ok_or("nothing was restored")?;
        if restored.restored != live || restored.lost() > 0 {
            return Err(format!("of {live} connections: {restored:?}").into());
        }
        println!(
            "{live} connections: stopped in {stopped:.3?}, back after {:.3} s",
            ours / 1e9
        );
        stopping.push(stopped.as_secs_f64());
        runs.push(Run {
            ours: ours / live as f64,
            peer: None,
        });
    }
    gateway.stop();
    stopping.sort_by(f64::total_cmp);
    let mut all: Vec<f64> = runs
        .iter()
        .map(|run| run.ours * live as f64 / 1e9)
        .collect();
    all.sort_by(f64::total_cmp);
    Ok(Report {
        unit: "ns/connection",
        peer_name: "-",
        runs,
        more: vec![
            ("seconds", all[RUNS / 2]),
            ("stop_seconds", stopping[RUNS / 2]),
            ("bytes_each", bytes as f64 / live as f64),
        ],
    })
}
