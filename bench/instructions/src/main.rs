//! Instructions of one packet, counted by valgrind's callgrind: the same in every run and on every machine that builds the same
//! code, so that a change which makes the hot path longer is seen where times are noise. A figure above its limit fails.
//!
//! Each workload runs in a process of its own, once with few bursts and once with more: the difference is what the packets cost.
//!
//! A figure far below its limit fails nothing: whoever has made the path shorter would have to change two numbers to be let in, and
//! another compiler counts a little more or less. But it is said, since such a limit guards nothing.
//!
//! This program is one of its own because of what it is built of: the compiler, the tables and the graph, and no store, no DPDK and no
//! command line. `make test` builds it with optimisation in a minute or two, and `make bench NAME=instructions` runs the same file.

use std::process::{Command, ExitCode};

use rewire_instructions::{Failure, masqueraded};

/// What is counted, its name, and the most that it may cost.
const WORKLOADS: [(&str, Workload, f64); 2] = [
    ("established", masqueraded::some_established, 640.0),
    ("new", masqueraded::some_new, 2_430.0),
];

/// Below this share of its limit, a figure is far away from it.
const FAR: f64 = 0.9;

/// Sends so many bursts through a worker; answers the packets.
type Workload = fn(usize) -> Result<usize, Failure>;

/// Says to a process that it is one of those whose instructions are counted, and what it has to do: `established 200`.
const ORDER: &str = "REWIRE_BENCH_INSTRUCTIONS";

const BURSTS: [usize; 2] = [200, 400];

fn main() -> ExitCode {
    let done = match std::env::var(ORDER) {
        Ok(order) => obey(&order),
        Err(_) => run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Counts; the last line is for machines: `instructions established=609 new=2430`.
fn run() -> Result<(), Failure> {
    println!(
        "data: 10,000 masqueraded connections of UDP; and connections that begin and end, 6,400 of them live"
    );
    let mut line = "instructions".to_owned();
    let mut figures = Vec::new();
    for (name, _, limit) in WORKLOADS {
        let [few, more] = BURSTS.map(|bursts| count(name, bursts));
        let ((few, fewer), (more, packets)) = (few?, more?);
        let each = (more - few) as f64 / (packets - fewer) as f64;
        println!("  {name:<12} {each:>6.0} instructions a packet, at most {limit:.0}");
        if each < FAR * limit {
            println!("  {name:<12} is far below its limit, which guards nothing: lower it");
        }
        figures.push((name, each, limit));
        line += &format!(" {name}={each:.0}");
    }
    println!("{line}");
    match complaint(&figures) {
        Some(complaint) => Err(complaint.into()),
        None => Ok(()),
    }
}

/// What is said of figures, each with its limit, some of which are above theirs.
fn complaint(figures: &[(&str, f64, f64)]) -> Option<String> {
    let above = figures.iter().filter(|(_, each, limit)| each > limit);
    let above = above.map(|(name, each, limit)| format!("{name}: {each:.0} instead of {limit:.0}"));
    let above: Vec<String> = above.collect();
    (!above.is_empty()).then(|| format!("the hot path has become longer: {}", above.join(", ")))
}

/// The instructions that a workload takes within [`rewire_instructions::worker::through`], and its packets.
fn count(name: &str, bursts: usize) -> Result<(u64, u64), Failure> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*worker::through*")
        .arg(std::env::current_exe()?)
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

/// Is one of the processes that are counted.
fn obey(order: &str) -> Result<(), Failure> {
    let (name, bursts) = order.split_once(' ').ok_or("no number of bursts")?;
    let workload = WORKLOADS.iter().find(|(known, ..)| *known == name);
    let (_, workload, _) = workload.ok_or("no such workload")?;
    println!("packets {}", workload(bursts.parse()?)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn a_figure_above_its_limit_fails() {
        assert_eq!(complaint(&[("one", 820.0, 820.0), ("two", 1.0, 9.0)]), None);
        assert_eq!(
            complaint(&[("one", 821.0, 820.0), ("two", 1.0, 9.0)]).as_deref(),
            Some("the hot path has become longer: one: 821 instead of 820")
        );
    }
}
