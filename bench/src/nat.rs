//! Masquerade through the whole graph of one worker, from a received frame to a sent one, in bursts of 64: connections that
//! are there (`nat-established-*`), connections that begin and end (`nat-new`), and the memory of one
//! (`connection-memory`).
//!
//! Frames of UDP with 18 bytes of data come in from one VPC and leave by another one's interface, 10,000 routes, their sources
//! translated to a pool of 256 addresses, in random order of connections. Making the frames is not in the figure.

use std::net::Ipv6Addr;

use rewire_conntrack::{Config, Connections, Timeouts};
use rewire_instructions::masqueraded::{Frames, ROUTES, Random, begun, document};
use rewire_instructions::worker::{BURST, Worker};

use crate::linux_nat::LinuxNat;
use crate::report::{Report, Run, median};

type Failure = Box<dyn std::error::Error>;

const RUNS: usize = 7;
/// Frames that Linux gets at once.
const LINUX_FRAMES: u32 = 1_000_000;

/// Linux with its rule, if it can be had: not without being root, and nftables.
fn linux() -> Option<LinuxNat> {
    let linux = LinuxNat::new(LINUX_FRAMES as usize).and_then(|linux| {
        linux.translate(true)?;
        Ok(linux)
    });
    linux
        .map_err(|error| println!("without Linux as a peer: {error}"))
        .ok()
}

fn peer_name(linux: Option<&LinuxNat>) -> &'static str {
    linux.map_or("-", |_| "linux-conntrack-snat")
}

fn established(connections: u32, has_peer: bool) -> Result<Report, Failure> {
    println!(
        "data: {connections} connections, {ROUTES} routes, frames of 60 bytes in random order of connections"
    );
    let mut linux = has_peer.then(linux).flatten();
    let frames = Frames::default();
    let mut more = Vec::new();
    if let Some(linux) = &mut linux {
        let mut number = 0;
        let mut in_turn = |frame: &mut _| {
            number += 1;
            frames.write(number % connections, frame)
        };
        linux.translate(false)?;
        linux.run(&mut in_turn)?;
        more.push(("linux_forward_ns", linux.run(&mut in_turn)?));
        linux.translate(true)?;
        linux.run(&mut in_turn)?;
        let live = LinuxNat::connections()?;
        if live != u64::from(connections) {
            return Err(format!("of {connections} connections Linux has {live}").into());
        }
    }
    let (mut worker, begin) = begun(connections)?;
    println!("beginning them took {begin:.0} ns each");
    more.insert(0, ("begin_ns", begin));
    let mut random = Random(88_172_645_463_325_252);
    let mut any = |frame: &mut _| frames.write(random.below(connections), frame);
    let bursts = 40_000;
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let ours = worker.run(bursts, 1_000, &mut any, |_| {})?;
        let peer = linux
            .as_mut()
            .map(|linux| linux.run(&mut any))
            .transpose()?;
        runs.push(Run { ours, peer });
    }
    if worker.graph.connections4().len() != connections as usize {
        return Err("connections were lost".into());
    }
    Ok(Report {
        unit: "ns/packet",
        peer_name: peer_name(linux.as_ref()),
        runs,
        more,
    })
}

pub(crate) fn established_10k() -> Result<Report, Failure> {
    established(10_000, true)
}

pub(crate) fn established_1m() -> Result<Report, Failure> {
    established(1_000_000, true)
}

/// Without Linux, which takes gigabytes for so many.
pub(crate) fn established_10m() -> Result<Report, Failure> {
    established(10_000_000, false)
}

/// Each packet begins a connection, while as many end: their time is up. About a million live at any time.
pub(crate) fn new() -> Result<Report, Failure> {
    const LIVE: u64 = 1_000_000;
    println!(
        "data: {LIVE} live connections, each packet begins one and one ends; {ROUTES} routes, frames of 60 bytes"
    );
    let mut linux = linux();
    if linux.is_some() {
        println!(
            "Linux begins {LINUX_FRAMES} in an empty table; to end them is not in its figure, as it is in ours"
        );
    }
    let mut worker = Worker::new(&document(), 2 * LIVE as usize, "blue0")?;
    let frames = Frames::default();
    // Two minutes are the time-out of a datagram that nobody answers.
    let step = 120_000_000_000 * BURST as u64 / LIVE;
    let bursts = LIVE as usize / BURST;
    let mut number = 0;
    let mut next = |frame: &mut _| {
        number += 1;
        frames.write(number, frame)
    };
    let (mut runs, mut ends) = (Vec::new(), Vec::new());
    // Until as many end as begin.
    for run in 0..RUNS + 2 {
        let ours = worker.run(bursts, step, &mut next, |_| {})?;
        let mut peer = None;
        if let Some(linux) = &mut linux {
            peer = Some(linux.run(&mut next)?);
            let began = LinuxNat::connections()?;
            if began != u64::from(LINUX_FRAMES) {
                return Err(format!("of {LINUX_FRAMES} connections Linux has {began}").into());
            }
            ends.push(linux.clear()?);
        }
        if run >= 2 {
            runs.push(Run { ours, peer });
        }
    }
    let live = worker.graph.connections4().len();
    let created = worker.counters.connections_created.get();
    let expired = worker.counters.connections_expired.get();
    println!("{created} began, {expired} ended, {live} live");
    let mut more = vec![("live", live as f64)];
    if linux.is_some() {
        more.push(("linux_end_ns", median(ends)));
    }
    Ok(Report {
        unit: "ns/connection",
        peer_name: peer_name(linux.as_ref()),
        runs,
        more,
    })
}

/// Each packet begins a connection in a table that is full of connections that nobody has answered: one makes way.
pub(crate) fn flood() -> Result<Report, Failure> {
    const CAPACITY: u32 = 1_000_000;
    println!("data: a table of {CAPACITY} connections, all taken; each packet begins one more");
    let mut worker = Worker::new(&document(), CAPACITY as usize, "blue0")?;
    let frames = Frames::default();
    let mut number = 0;
    let mut runs = Vec::new();
    // Once to fill it, and once round.
    for run in 0..RUNS + 2 {
        let ours = worker.run(
            CAPACITY as usize / BURST,
            0,
            |frame| {
                number += 1;
                frames.write(number, frame)
            },
            |_| {},
        )?;
        if run >= 2 {
            runs.push(Run { ours, peer: None });
        }
    }
    let evicted = worker.counters.connections_evicted.get();
    let live = worker.graph.connections4().len();
    println!("{evicted} made way, {live} live");
    if evicted < u64::from(CAPACITY) * RUNS as u64 / 2 {
        return Err("the table was not full".into());
    }
    Ok(Report {
        unit: "ns/connection",
        peer_name: "-",
        runs,
        more: vec![("live", live as f64)],
    })
}

/// What a connection takes of the memory that the kernel has given: a million of them, masqueraded. A table with room for them is
/// held against one that has room for hardly any, so that all that grows with the room is counted, but for the room for IPv6.
pub(crate) fn memory() -> Result<Report, Failure> {
    const CONNECTIONS: u32 = 1_000_000;
    println!("data: {CONNECTIONS} masqueraded connections in a table of as many");
    // What a worker has besides, its configuration and its routes, is in both; what making them takes for a while, the first one has left.
    let make = |room| Worker::new(&document(), room, "blue0");
    let first = make(BURST)?;
    let before = resident()?;
    let small = make(BURST)?;
    let few = resident()?;
    let mut worker = make(CONNECTIONS as usize)?;
    let empty = resident()? - few;
    // The room for connections of IPv6 is no part of it.
    let config = Config {
        capacity: CONNECTIONS as usize,
        timeouts: Timeouts::default(),
        worker: 0,
        workers: 1,
        tcp_pickup: true,
        hash_seed: 7,
    };
    let other = Connections::<Ipv6Addr>::new(config);
    let other = {
        let with = resident()? - few - empty;
        drop(other);
        with
    };
    let frames = Frames::default();
    let mut number = 0;
    worker.run(
        CONNECTIONS as usize / BURST,
        0,
        |frame| {
            number += 1;
            frames.write(number, frame)
        },
        |_| {},
    )?;
    let full = resident()? - few;
    let few = few - before;
    drop((first, small));
    let live = worker.graph.connections4().len() as f64;
    println!(
        "resident: a worker with room for {BURST} takes {:.1} MB, one with an empty table {:.1} MB ({:.1} MB of it for IPv6), with {live} connections {:.1} MB",
        few / 1e6,
        empty / 1e6,
        other / 1e6,
        full / 1e6
    );
    Ok(Report {
        unit: "bytes/connection",
        peer_name: "-",
        runs: vec![Run {
            ours: (full - few - other) / live,
            peer: None,
        }],
        more: vec![(
            "reserved",
            worker.graph.connections4().memory() as f64 / live,
        )],
    })
}

/// The memory of this process that is there, in bytes.
fn resident() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = status
        .split_whitespace()
        .nth(1)
        .ok_or("no resident pages")?
        .parse()?;
    Ok(pages * 4096.0)
}
