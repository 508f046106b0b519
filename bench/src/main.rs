//! Benchmarks beside peers, in one run.
//!
//! Without an argument, lists them; with a name, runs that one. Ours and the peer run in turn, several times, on the same
//! data. A table for people comes first, and one line for machines last; `docs/` of each benchmark's function says what
//! is measured. Costs: lower is better.

mod commit_durable;
mod commit_live;
mod configuration;
mod forward4;
mod report;

use std::process::ExitCode;

use report::Report;

/// A benchmark: its name, what it measures, and how it is run.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Report, Box<dyn std::error::Error>>,
}

const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "commit-durable",
        about: "a one-row durable commit at 10,000 rows, beside raw SQLite (WAL, synchronous FULL)",
        run: commit_durable::run,
    },
    Benchmark {
        name: "commit-live",
        about: "a one-route commit from changeset to live on all workers at 10,000 routes, without the disk, beside itself at 1,000",
        run: commit_live::run,
    },
    Benchmark {
        name: "forward4",
        about: "an established, masqueraded UDP flow through the whole graph, in bursts of 64; no peer here",
        run: forward4::run,
    },
];

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        println!("Benchmarks (make bench NAME=x):");
        for benchmark in BENCHMARKS {
            println!("  {:<16} {}", benchmark.name, benchmark.about);
        }
        return ExitCode::SUCCESS;
    };
    let Some(benchmark) = BENCHMARKS.iter().find(|benchmark| benchmark.name == name) else {
        eprintln!("error: no benchmark is named \"{name}\"");
        eprintln!("help: `make bench` lists them");
        return ExitCode::from(2);
    };
    println!("{}: {}", benchmark.name, benchmark.about);
    match (benchmark.run)() {
        Ok(report) => {
            report.print(benchmark.name);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
