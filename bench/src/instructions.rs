//! Instructions of one packet, counted by valgrind's callgrind: the same in every run and on every machine that builds the same
//! code, so that a change which makes the hot path longer is seen where times are noise. A figure above its limit fails.
//!
//! Each workload runs in a process of its own, once with few bursts and once with more: the difference is what the packets cost.

use std::process::Command;

use crate::nat;
use crate::report::{Report, Run};

type Failure = Box<dyn std::error::Error>;

/// What is counted, its name, and the most that it may cost.
const WORKLOADS: [(&str, Workload, f64); 2] = [
    ("established", nat::some_established, 820.0),
    ("new", nat::some_new, 4_200.0),
];

/// Sends so many bursts through a worker; answers the packets.
type Workload = fn(usize) -> Result<usize, Failure>;

/// Says to a process that it is one of those whose instructions are counted, and what it has to do: `established 200`.
const ORDER: &str = "REWIRE_BENCH_INSTRUCTIONS";

const BURSTS: [usize; 2] = [200, 400];

pub(crate) fn run() -> Result<Report, Failure> {
    if let Ok(order) = std::env::var(ORDER) {
        return obey(&order);
    }
    println!(
        "data: 10,000 masqueraded connections of UDP; and connections that begin and end, 6,400 of them live"
    );
    let mut counts = Vec::new();
    let mut above = Vec::new();
    for (name, _, limit) in WORKLOADS {
        let [few, more] = BURSTS.map(|bursts| count(name, bursts));
        let ((few, fewer), (more, packets)) = (few?, more?);
        let each = (more - few) as f64 / (packets - fewer) as f64;
        println!("  {name:<12} {each:>6.0} instructions a packet, at most {limit:.0}");
        if each > limit {
            above.push(format!("{name}: {each:.0} instead of {limit:.0}"));
        }
        counts.push((name, each));
    }
    if !above.is_empty() {
        return Err(format!("the hot path has become longer: {}", above.join(", ")).into());
    }
    Ok(Report {
        unit: "instructions/packet",
        peer_name: "-",
        runs: vec![Run {
            ours: counts[0].1,
            peer: None,
        }],
        more: counts[1..].to_vec(),
    })
}

/// The instructions that a workload takes within [`crate::worker::through`], and its packets.
fn count(name: &str, bursts: usize) -> Result<(u64, u64), Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*worker::through*")
        .arg(std::env::current_exe()?)
        .arg("instructions")
        .env(ORDER, format!("{name} {bursts}"))
        .output()
        .map_err(|error| format!("valgrind does not start ({error}): apt-get install valgrind"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, number)| number.trim().parse().ok());
    let packets = String::from_utf8_lossy(&output.stdout)
        .lines()
        .find_map(|line| line.strip_prefix("packets ")?.parse().ok());
    collected
        .zip(packets)
        .filter(|(instructions, _)| *instructions > 0)
        .ok_or_else(|| format!("valgrind has counted nothing:\n{said}").into())
}

fn obey(order: &str) -> Result<Report, Failure> {
    let (name, bursts) = order.split_once(' ').ok_or("no number of bursts")?;
    let workload = WORKLOADS.iter().find(|(known, ..)| *known == name);
    let (_, workload, _) = workload.ok_or("no such workload")?;
    println!("packets {}", workload(bursts.parse()?)?);
    std::process::exit(0);
}
