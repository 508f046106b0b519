//! Benchmarks beside peers, in one run.
//!
//! Without an argument, lists them; with a name, runs that one. Ours and the peer run in turn, several times, on the same
//! data. A table for people comes first, and one line for machines last; `docs/` of each benchmark's function says what
//! is measured. Costs: lower is better.

mod acl;
mod acl_forward;
mod acl_rules;
mod bisect;
mod bpf;
mod cold_start;
mod commit_durable;
mod commit_live;
mod commit_live_ovn;
mod commit_ovsdb;
mod configuration;
mod conntrack;
mod forward4;
mod history;
mod instructions;
mod journal_verify;
#[cfg(feature = "peers")]
mod learned_routes;
mod linux_nat;
mod load_1m;
#[cfg(feature = "peers")]
mod lpm;
mod nat;
mod next_hops;
mod offload;
mod ovn;
mod program;
mod publish_pause;
mod replay;
mod report;
mod restart;
mod rewind;
mod scrape_cost;
mod session;
mod stores;
mod thread;
mod trace;
mod veth;
mod workers;

use std::process::ExitCode;

use report::Report;

type Failure = Box<dyn std::error::Error>;

/// A benchmark: its name, what it measures, and how it is run.
struct Benchmark {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Report, Failure>,
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
        name: "replay",
        about: "a frame of a replay with all checks, of a history of 100 revisions and generated traffic that is ready; no peer",
        run: replay::run,
    },
    Benchmark {
        name: "bisect",
        about: "the revision that broke a packet's way, as a whole process, at 10,000 revisions and 20,000 rows; no peer",
        run: bisect::run,
    },
    Benchmark {
        name: "probes",
        about: "a one-row commit with 300 probes at 100,000 rows as a whole process, beside itself without probes",
        run: bisect::probes,
    },
    Benchmark {
        name: "trace",
        about: "where a packet would go, asked of a running gateway at 100,000 rows, and as a whole process; no peer",
        run: trace::run,
    },
    Benchmark {
        name: "journal-verify",
        about: "verifying a journal, chain, changesets, digests and rows, a byte of it; no peer",
        run: journal_verify::run,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm4-random",
        about: "1,048,576 random IPv4 addresses in batches of 64 and 256 among a million routes, beside DPDK's tables and crates",
        run: lpm::random4,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm4-hit",
        about: "the same, for random addresses inside random routes",
        run: lpm::hit4,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm4-zipf",
        about: "the same, for 65,536 destinations with Zipf's frequencies",
        run: lpm::zipf4,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm4-repeat",
        about: "the same, for one destination",
        run: lpm::repeat4,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm6-hit",
        about: "random IPv6 addresses inside random routes among 246,175, beside DPDK's tables and crates",
        run: lpm::hit6,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm6-zipf",
        about: "the same, for 65,536 destinations with Zipf's frequencies",
        run: lpm::zipf6,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "lpm-memory",
        about: "the memory of both families' routes in one half of the tables, beside rte_fib and rte_fib6",
        run: lpm::memory,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "route-updates",
        about: "a day of RIS updates on both halves, published every millisecond while another core looks up, beside rte_fib",
        run: lpm::updates,
    },
    Benchmark {
        name: "commit-live",
        about: "a one-route commit from changeset to live on all workers at 1,000,000 routes, without the disk, beside itself at 1,000",
        run: commit_live::run,
    },
    Benchmark {
        name: "commit-live-ovn",
        about: "a one-route commit at 100,000 routes and 10,000 ports, durable and live in a running gateway, beside OVN's northd",
        run: commit_live_ovn::run,
    },
    Benchmark {
        name: "cold-start",
        about: "from the start of `rewire run` on a store with a million routes to the first packet forwarded; no peer; needs root",
        run: cold_start::run,
    },
    #[cfg(feature = "peers")]
    Benchmark {
        name: "learned-routes",
        about: "a day of updates from a routing daemon's bytes in a socket to published tables; no peer",
        run: learned_routes::run,
    },
    Benchmark {
        name: "publish-pause",
        about: "the delay that publishing every millisecond adds to a worker's bursts, for all but one in 10,000; no peer",
        run: publish_pause::run,
    },
    Benchmark {
        name: "next-hops",
        about: "which of several weighted next hops a flow takes; no peer",
        run: next_hops::run,
    },
    Benchmark {
        name: "acl",
        about: "the first of 10,000 rules that a packet matches, in batches of 64, beside DPDK's rte_acl",
        run: acl::run,
    },
    Benchmark {
        name: "acl-forward",
        about: "a packet through the whole graph past 10,000 rules that decide about packets, in bursts of 64, beside 10 rules",
        run: acl_forward::run,
    },
    Benchmark {
        name: "nat-established-10k",
        about: "a packet of one of 10,000 masqueraded connections, from rx to tx through the whole graph, beside Linux's conntrack and NAT; root",
        run: nat::established_10k,
    },
    Benchmark {
        name: "nat-established-1m",
        about: "the same, of a million connections",
        run: nat::established_1m,
    },
    Benchmark {
        name: "nat-established-10m",
        about: "the same, of ten million connections; no peer",
        run: nat::established_10m,
    },
    Benchmark {
        name: "nat-new",
        about: "a masqueraded connection from its first packet to its end, through the whole graph, at a million live ones, beside Linux's begin of one; root",
        run: nat::new,
    },
    Benchmark {
        name: "scrape-cost",
        about: "a packet of one of 10,000 masqueraded connections while all metrics are read at 10 Hz, beside nobody reading",
        run: scrape_cost::run,
    },
    Benchmark {
        name: "workers-established",
        about: "a packet of one of 10,000 masqueraded connections, of two workers with a queue each, beside one worker",
        run: workers::established,
    },
    Benchmark {
        name: "workers-new",
        about: "a masqueraded connection that begins, of two workers with a queue each, beside one worker",
        run: workers::new,
    },
    Benchmark {
        name: "nat-flood",
        about: "a connection that begins in a full table, while one that was never answered makes way",
        run: nat::flood,
    },
    Benchmark {
        name: "restart",
        about: "a million connections from a gateway that ends to the one that starts in its place; no peer",
        run: restart::restart,
    },
    Benchmark {
        name: "conntrack",
        about: "the table of connections alone, one inserted and one removed, a million live, beside rte_hash and crates",
        run: conntrack::run,
    },
    Benchmark {
        name: "instructions",
        about: "instructions of a packet, established and new, counted by callgrind; fails above a limit; no peer",
        run: instructions::run,
    },
    Benchmark {
        name: "connection-memory",
        about: "the memory of a masqueraded connection, both directions, mapping and timer; no peer",
        run: nat::memory,
    },
    Benchmark {
        name: "offload-latency",
        about: "from the decision to offload a flow until its rules are handed to a modelled card, at 500,000 flows a second; no peer",
        run: offload::latency,
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
