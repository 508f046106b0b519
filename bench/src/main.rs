//! Benchmarks beside peers, in one run.
//!
//! Without an argument, lists them; with a name, runs that one. Ours and the peer run in turn, several times, on the same
//! data. A table for people comes first, and one line for machines last; `docs/` of each benchmark's function says what
//! is measured. Costs: lower is better.

mod acl;
mod acl_rules;
mod commit_durable;
mod commit_live;
mod commit_ovsdb;
mod configuration;
mod forward4;
mod history;
mod journal_verify;
mod load_1m;
mod program;
mod report;
mod rewind;
mod session;
mod stores;

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
        about: "a one-row durable commit at 1,000,000 rows, beside raw SQLite (WAL, synchronous FULL, a recording session)",
        run: commit_durable::run,
    },
    Benchmark {
        name: "commit-scale",
        about: "a one-row durable commit at 1,000,000 rows, beside itself at 1,000",
        run: commit_durable::scale,
    },
    Benchmark {
        name: "commit-ovsdb",
        about: "a one-row durable commit at 1,000,000 rows, beside a durable transaction of OVSDB",
        run: commit_ovsdb::run,
    },
    Benchmark {
        name: "load-1m",
        about: "a million routes from a document to a durable revision, beside raw SQLite inserting the same rows",
        run: load_1m::run,
    },
    Benchmark {
        name: "rewind",
        about: "going back from one small commit at 1,000,000 rows, beside that commit",
        run: rewind::run,
    },
    Benchmark {
        name: "history",
        about: "log, blame and diff as whole processes, at 10,000 revisions and 100,000 rows; no peer",
        run: history::run,
    },
    Benchmark {
        name: "journal-verify",
        about: "verifying a journal, chain, changesets, digests and rows, a byte of it; no peer",
        run: journal_verify::run,
    },
    Benchmark {
        name: "commit-live",
        about: "a one-route commit from changeset to live on all workers at 10,000 routes, without the disk, beside itself at 1,000",
        run: commit_live::run,
    },
    Benchmark {
        name: "acl",
        about: "the first of 10,000 rules that a packet matches, in batches of 64, beside DPDK's rte_acl",
        run: acl::run,
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
