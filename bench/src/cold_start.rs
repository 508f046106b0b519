//! From a store with a million routes to the first packet forwarded by a real `rewire run`: from the start of the process
//! until a frame comes out behind its second port, over af_packet ports in a network namespace. A frame is sent every
//! millisecond; the one that is forwarded first has come in by the blue port.
//!
//! Where the time goes is measured in this process, with the daemon's own steps on ports in memory: these figures follow
//! `runs=`, with the memory of the process. Needs root. The store lies in the page cache; for `uncached_ms` the kernel was told to forget
//! it, and `uncached_read_mib` says how much of it the process then read from the disk.
//!
//! No peer runs beside it: OVN needs 15 to 20 s to its southbound database for 147,000 flows.

use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_configdb::Store;
use rewire_dataplane::port::memory::MemoryDriver;
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_instructions::masqueraded::datagram;
use rewire_schema::model::InterfaceRow;

use crate::configuration::{with_router, with_routes};
use crate::program::{Running, binary};
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

/// One start of the process.
struct Started {
    /// The milliseconds to its first packet.
    time: f64,
    /// The memory that it then has, and the most that it had until then, in MiB.
    resident: f64,
    most_resident: f64,
    /// What it read from the disk until then, in MiB.
    read: f64,
}

impl Started {
    fn of(running: &Child, time: f64) -> Result<Started, Failure> {
        let field = |file: &str, name: &str| -> Result<f64, Failure> {
            let text = std::fs::read_to_string(format!("/proc/{}/{file}", running.id()))?;
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.ok_or("no such field")?.parse()?)
        };
        Ok(Started {
            time,
            resident: field("status", "VmRSS:")? / 1024.0,
            most_resident: field("status", "VmHWM:")? / 1024.0,
            read: field("io", "read_bytes:")? / f64::from(1 << 20),
        })
    }
}

/// Starts the process and waits for its first packet.
fn process(store: &Path, socket: &Path, [blue, wan]: [&FarEnd; 2]) -> Result<Started, Failure> {
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
            return Started::of(&running.0, start.elapsed().as_secs_f64() * 1e3);
        }
        if let Some(status) = running.0.try_wait()? {
            return Err(format!("rewire run: {status}").into());
        }
    }
    Err("no packet came out".into())
}

/// Where this process runs first in, first out, lets it and its children take turns: DPDK starts by waiting for a thread of its own, in
/// sleeps of a microsecond, and that thread would wait until the store has been read.
fn take_turns() -> Result<(), Failure> {
    // SAFETY: both calls look at this process alone, and at a parameter that lives through them.
    let done = unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        match libc::sched_getscheduler(0) {
            libc::SCHED_FIFO => {
                libc::sched_getparam(0, &mut parameter);
                libc::sched_setscheduler(0, libc::SCHED_RR, &parameter)
            }
            _ => 0,
        }
    };
    match done {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// Lets the kernel forget what it keeps of a file in memory.
fn forget(path: &Path) -> Result<(), Failure> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    // SAFETY: the descriptor is open; advice changes nothing that the file holds.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
        0 => Ok(()),
        error => Err(std::io::Error::from_raw_os_error(error).into()),
    }
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
    take_turns()?;
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
    let (mut warm, mut cold) = (Vec::new(), Vec::new());
    let start = || process(&path, &folder.path().join("ours.sock"), [&blue, &wan]);
    for _ in 0..RUNS {
        let started = start()?;
        runs.push(Run {
            ours: started.time,
            peer: None,
        });
        warm.push(started);
        all.push(stages(&path)?);
        forget(&path)?;
        cold.push(start()?);
    }
    let stage = |(number, name)| (name, median(all.iter().map(|times| times[number])));
    let mut more: Vec<_> = STAGES.into_iter().enumerate().map(stage).collect();
    let of = |all: &[Started], what: fn(&Started) -> f64| median(all.iter().map(what));
    more.push(("resident_mib", of(&warm, |start| start.resident)));
    more.push(("most_resident_mib", of(&warm, |start| start.most_resident)));
    more.push(("uncached_ms", of(&cold, |start| start.time)));
    more.push(("uncached_read_mib", of(&cold, |start| start.read)));
    Ok(Report {
        unit: "ms/start",
        peer_name: "-",
        runs,
        more,
    })
}
