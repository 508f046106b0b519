//! From a store with a million routes to the first packet forwarded by a real `rewire run`: from the start of the process
//! until a frame comes out behind its second port, over af_packet ports in a network namespace. A frame is sent every
//! millisecond; the one that is forwarded first has come in by the blue port.
//!
//! Where the time goes is measured in this process, with the daemon's own steps on ports in memory: these figures follow
//! `runs=`. Needs root. The store lies in the page cache.
//!
//! No peer runs beside it: OVN needs 15 to 20 s to its southbound database for 147,000 flows.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_configdb::Store;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_schema::model::InterfaceRow;

use crate::configuration::{datagram, with_router, with_routes};
use crate::program::binary;
use crate::report::{Report, Run, median};
use crate::stores::{Failure, store_with};
use crate::veth::{self, FarEnd};

const RUNS: usize = 7;
const ROUTES: u32 = 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);
/// What one start is made of, beside the process and its ports.
const STAGES: [&str; 4] = ["open_ms", "read_and_count_ms", "compile_ms", "publish_ms"];

/// The same rows, with ports that a packet can come in by.
fn configuration() -> Result<rewire_schema::Configuration, Failure> {
    let mut configuration = with_router(with_routes(ROUTES))?;
    for (number, interface, vpc) in [(1, "blue0", "blue"), (2, "wan0", "internet")] {
        let port = format!("af_packet:{interface}").parse()?;
        let mac = format!("02:00:00:00:00:0{number}").parse()?;
        let row = InterfaceRow::physical(interface.parse()?, vpc.parse()?, port, mac);
        configuration.insert(row.into());
    }
    Ok(configuration)
}

/// A running gateway, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The milliseconds from the start of the process to its first packet.
fn process(store: &Path, socket: &Path, [blue, wan]: [&FarEnd; 2]) -> Result<f64, Failure> {
    let frame = datagram([10, 1, 0, 2], 4000, [100, 0, 0, 1]);
    let is_ours = |frame: &[u8]| frame.get(36..38) == Some(&53u16.to_be_bytes());
    // What a run before has left.
    while wan.receive(Duration::ZERO).is_some() {}
    let start = Instant::now();
    let mut running = Running(
        Command::new(binary()?)
            .args(["run", "--metrics", "off", "--log", "error"])
            .arg("--store")
            .arg(store)
            .arg("--socket")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?,
    );
    while start.elapsed() < PATIENCE {
        blue.send(&frame)?;
        if wan
            .receive(Duration::from_millis(1))
            .is_some_and(|frame| is_ours(&frame))
        {
            return Ok(start.elapsed().as_secs_f64() * 1e3);
        }
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("rewire run: {status}").into());
        }
    }
    Err("no packet came out".into())
}

/// The milliseconds of each stage.
fn stages(store: &Path) -> Result<[f64; STAGES.len()], Failure> {
    let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    let store = Store::open(store)?;
    let gateway = Gateway::start(GatewayConfig::default(), MemoryDriver::default())?;
    let open = milliseconds(start);
    let start = Instant::now();
    let state = store.counted_state()?;
    let head = state.revision;
    if state.digest != store.entry(head)?.state_digest {
        return Err("the rows are not the state on record".into());
    }
    let read = milliseconds(start);
    let start = Instant::now();
    let (compiler, compiled) = Compiler::compile(state.configuration, head)?;
    let compile = milliseconds(start);
    let start = Instant::now();
    gateway.apply(head, compiled.into_parts())?;
    let publish = milliseconds(start);
    drop((gateway, compiler));
    Ok([open, read, compile, publish])
}

pub(crate) fn run() -> Result<Report, Failure> {
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("ours.db");
    let configuration = configuration()?;
    println!(
        "data: {} generated rows, {ROUTES} of them routes; 2 workers on af_packet ports in a namespace",
        configuration.len()
    );
    drop(store_with(&path, &configuration)?);
    drop(configuration);
    veth::enter_new_namespace()?;
    let (blue, wan) = (FarEnd::of("blue0")?, FarEnd::of("wan0")?);
    let (mut runs, mut all) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        runs.push(Run {
            ours: process(&path, &folder.path().join("ours.sock"), [&blue, &wan])?,
            peer: None,
        });
        all.push(stages(&path)?);
    }
    let stage = |(number, name)| (name, median(all.iter().map(|times| times[number])));
    let more = STAGES.into_iter().enumerate().map(stage).collect();
    Ok(Report {
        unit: "ms/start",
        peer_name: "-",
        runs,
        more,
    })
}
