//! What changes of routes cost, and what tables take.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use rewire_tables::{
    Address, InterfaceIndex, NextHop, NextHops, Publisher, Reader, Route, TableOperation, VpcIndex,
};

use super::dpdk::{Dpdk, FIB_ARRAYS, Update};
use super::dpdk_table::DpdkTable;
use super::dpdk4::Fib4;
use super::dpdk6::Fib6;
use super::peers::Peer;
use super::random::Random;
use super::routes::{self, Family, Prefix, RouteTable};
use super::workload::{LOOKUPS, Workload};
use crate::Failure;
use crate::report::{Report, Run, median, percentile};
use crate::thread::{pin, switches};

const RUNS: usize = 7;
const VPC: VpcIndex = VpcIndex(0);
/// How often what came is published.
const INTERVAL: Duration = Duration::from_millis(1);
/// How long a publication may wait for the reader.
const DEADLINE: Duration = Duration::from_secs(1);
/// The updates that are published at once, at the most: what comes faster than it is published is not to make publications longer.
const MOST: usize = 1024;
/// The updates of a millisecond where they come at the rate that is wanted.
const PACE: usize = 1000;
/// The addresses that the reader looks up under one guard.
const BATCH: usize = 64;

/// One next hop each, as many as there are numbers.
fn route_to(number: u32) -> Route {
    let via = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | number));
    let interface = InterfaceIndex((number % 64) as u16);
    let name = format!("wan{}", number % 64);
    Route::Forward(NextHops::one(NextHop::new(interface, &name, Some(via))))
}

fn set<A: Family>((network, length): Prefix<A>, route: &Route) -> Result<TableOperation, Failure> {
    Ok(TableOperation::SetRoute {
        vpc: VPC,
        prefix: ipnet::IpNet::new(network.into(), length)?,
        route: route.clone(),
    })
}

/// Announcements lead to another next hop each time, so that each changes something.
struct Updates<A> {
    updates: Vec<(bool, Prefix<A>, u32)>,
}

impl<A: Family> Updates<A> {
    fn load(table: &RouteTable<A>, hops: u32) -> Result<Updates<A>, Failure> {
        let mut random = Random::new(3);
        let updates = match routes::day::<A>()? {
            Some(updates) => updates,
            None => (0..1_000_000)
                .map(|_| {
                    let (prefix, _) = table.routes[random.below(table.routes.len())];
                    (random.below(8) > 0, prefix)
                })
                .collect(),
        };
        let hop = |_: &_| 1 + random.below(hops as usize) as u32;
        let hops: Vec<u32> = updates.iter().map(hop).collect();
        let updates = updates.into_iter().zip(hops);
        Ok(Updates {
            updates: updates.map(|((is_set, p), hop)| (is_set, p, hop)).collect(),
        })
    }

    fn operations(&self, routes: &[Route]) -> Result<Vec<TableOperation>, Failure> {
        let operations = self
            .updates
            .iter()
            .map(|(is_set, prefix, hop)| match is_set {
                true => set(*prefix, &routes[*hop as usize]),
                false => Ok(TableOperation::RemoveRoute {
                    vpc: VPC,
                    prefix: ipnet::IpNet::new(prefix.0.into(), prefix.1)?,
                }),
            });
        operations.collect()
    }

    fn apply(&self, table: &mut impl Update<A>) {
        for (is_set, prefix, hop) in &self.updates {
            match is_set {
                true => table.set(*prefix, *hop),
                false => table.remove(*prefix),
            }
        }
    }
}

fn most_hop<A>(table: &RouteTable<A>) -> u32 {
    table.routes.iter().map(|(_, hop)| *hop).max().unwrap_or(1)
}

/// Ours under left-right, with the routes of both tables in one VPC.
fn published(
    table4: &RouteTable<Ipv4Addr>,
    table6: &RouteTable<Ipv6Addr>,
    routes: &[Route],
) -> Result<(Publisher, Reader), Failure> {
    let (mut publisher, mut readers) = Publisher::new(1);
    publisher.append(TableOperation::SetVpc {
        vpc: VPC,
        name: Arc::from("blue"),
    });
    for (prefix, hop) in &table4.routes {
        publisher.append(set(*prefix, &routes[*hop as usize])?);
    }
    for (prefix, hop) in &table6.routes {
        publisher.append(set(*prefix, &routes[*hop as usize])?);
    }
    publisher.publish(DEADLINE)?;
    // Nobody is inside: the other half takes all of it over now, and not within the first publication that is measured.
    publisher.catch_up();
    let reader = readers.pop().ok_or("no reader")?;
    Ok((publisher, reader))
}

/// Both families' tables, and the route to each next hop by its number.
type Data = (RouteTable<Ipv4Addr>, RouteTable<Ipv6Addr>, Vec<Route>);

fn both_tables() -> Result<Data, Failure> {
    let (table4, table6) = (RouteTable::load()?, RouteTable::load()?);
    println!("data: {}", table4.about);
    println!("data: {}", table6.about);
    let hops = most_hop(&table4).max(most_hop(&table6));
    Ok((table4, table6, (0..=hops).map(route_to).collect()))
}

/// The bytes that the two tables take in one half, everything included, beside rte_fib and rte_fib6 with theirs. `*_arrays`
/// holds all of ours against the arrays alone that those look up in.
pub(crate) fn memory() -> Result<Report, Failure> {
    let (table4, table6, routes) = both_tables()?;
    let (publisher, reader) = published(&table4, &table6, &routes)?;
    let dpdk = Dpdk::start()?;
    let fib4 = DpdkTable::<Fib4>::new(&dpdk, &table4.routes, &[])?;
    let fib6 = DpdkTable::<Fib6>::new(&dpdk, &table6.routes, &[])?;
    let guard = reader.enter().ok_or("no tables")?;
    let peers = [fib4.memory(), fib6.memory()].map(|bytes| bytes.unwrap_or(0) as f64);
    let [ours4, ours6] = guard.vpc(VPC).table_memory().map(|bytes| bytes as f64);
    let whole = guard.vpc(VPC).memory() as f64;
    let empty = guard.vpc(VpcIndex(1)).memory() as f64;
    drop(guard);
    drop(publisher);
    println!("\n              ours      rte_fib   (bytes; one half, with what updates need)");
    println!("  IPv4  {ours4:>10}  {:>11}", peers[0]);
    println!("  IPv6  {ours6:>10}  {:>11}", peers[1]);
    println!("  an empty VPC: {empty} bytes");
    Ok(Report {
        unit: "bytes",
        peer_name: "rte_fib",
        runs: vec![Run {
            ours: whole,
            peer: Some(peers.iter().sum()),
        }],
        more: vec![
            ("ratio_v4", ours4 / peers[0]),
            ("ratio_v6", ours6 / peers[1]),
            ("ratio_v4_arrays", ours4 / FIB_ARRAYS[0] as f64),
            ("ratio_v6_arrays", ours6 / FIB_ARRAYS[1] as f64),
            ("empty_vpc_bytes", empty),
        ],
    })
}

/// What the reader does all the time: looks IPv4 addresses up, a guard a batch, and says how many it did in how long.
struct Lookups {
    stop: AtomicBool,
    done: AtomicU64,
}

impl Lookups {
    fn run(&self, reader: &Reader, keys: &[u32], has_begun: &Barrier) {
        pin(1);
        has_begun.wait();
        let mut answers = 0;
        for batch in keys.chunks(BATCH).cycle() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(guard) = reader.enter() else { break };
            let mut found = [None; BATCH];
            guard.vpc(VPC).route_batch::<Ipv4Addr>(batch, &mut found);
            answers += found.iter().flatten().count();
            let done = self.done.load(Ordering::Relaxed);
            self.done
                .store(done + batch.len() as u64, Ordering::Relaxed);
        }
        std::hint::black_box(answers);
    }
}

/// The writer, and what publications took.
struct Writer {
    publisher: Publisher,
    /// In ns, until readers saw them. Those in which the kernel took the core away are not among them.
    times: Vec<f64>,
    disturbed: u64,
}

impl Writer {
    /// Publishes what was appended, and lets the other half catch up, as the manager does after its answer.
    fn publish(&mut self) -> Result<(), Failure> {
        let (start, before) = (Instant::now(), switches());
        self.publisher.publish(DEADLINE)?;
        let time = start.elapsed().as_nanos() as f64;
        if switches() == before {
            self.times.push(time);
        } else {
            self.disturbed += 1;
        }
        self.publisher.catch_up();
        Ok(())
    }

    /// All updates as fast as they go, published every millisecond.
    fn run(&mut self, operations: Vec<TableOperation>) -> Result<(), Failure> {
        let mut next = Instant::now() + INTERVAL;
        let mut waiting = 0;
        for operation in operations {
            self.publisher.append(operation);
            waiting += 1;
            // The clock is not asked for each.
            if waiting >= MOST || (waiting % BATCH == 0 && Instant::now() >= next) {
                self.publish()?;
                waiting = 0;
                next = Instant::now() + INTERVAL;
            }
        }
        self.publish()?;
        while !self.publisher.catch_up() {
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// The same, at the rate that is wanted. Says how many milliseconds it fell behind at the end.
    fn run_paced(&mut self, operations: Vec<TableOperation>) -> Result<f64, Failure> {
        let start = Instant::now();
        let mut at = start;
        let mut operations = operations.into_iter().peekable();
        while operations.peek().is_some() {
            operations
                .by_ref()
                .take(PACE)
                .for_each(|operation| self.publisher.append(operation));
            self.publish()?;
            at += INTERVAL;
            while Instant::now() < at {
                std::hint::spin_loop();
            }
        }
        Ok(at.elapsed().as_secs_f64() * 1e3)
    }
}

/// A day of RIS updates of both families through left-right, on both halves, published every millisecond, while another
/// core looks addresses up; beside rte_fib and rte_fib6, which take the same updates alone on one core. (DPDK 22.11 has no
/// RCU for them.) The cost counts until both halves hold the last update. Lookups are timed without updates, while they come as
/// fast as they go, and while a million come in a second.
pub(crate) fn updates() -> Result<Report, Failure> {
    let (table4, table6, routes) = both_tables()?;
    let hops = routes.len() as u32 - 1;
    let (updates4, updates6) = (Updates::load(&table4, hops)?, Updates::load(&table6, hops)?);
    let count = updates4.updates.len() + updates6.updates.len();
    println!("data: {count} updates");
    let mut operations = updates4.operations(&routes)?;
    operations.extend(updates6.operations(&routes)?);
    let addresses = Workload::Hit.addresses(&table4);
    let keys: Vec<u32> = addresses[..LOOKUPS].iter().map(|a| a.key()).collect();
    let dpdk = Dpdk::start()?;
    let mut fib4 = DpdkTable::<Fib4>::new(&dpdk, &table4.routes, &[])?;
    let mut fib6 = DpdkTable::<Fib6>::new(&dpdk, &table6.routes, &[])?;
    let (publisher, reader) = published(&table4, &table6, &routes)?;
    let mut writer = Writer {
        publisher,
        times: Vec::new(),
        disturbed: 0,
    };
    let lookups = Lookups {
        stop: AtomicBool::new(false),
        done: AtomicU64::new(0),
    };
    let mut runs = Vec::new();
    // Of a lookup in ns: without updates, with as many as go, with a million a second.
    let mut costs: Vec<[f64; 3]> = Vec::new();
    let mut behind: f64 = 0.0;
    let begun = Barrier::new(2);
    std::thread::scope(|scope| -> Result<(), Failure> {
        let (lookups, keys) = (&lookups, &keys);
        // A thread begins where the one that starts it may run: under a real-time priority it would never come to move away
        // from there, so that this one goes to its own core last.
        let has_begun = &begun;
        scope.spawn(move || lookups.run(&reader, keys, has_begun));
        begun.wait();
        pin(0);
        // Stops the reader however this ends.
        let _stop = StopAtEnd(&lookups.stop);
        let lookup_cost = |while_running: &mut dyn FnMut() -> Result<(), Failure>| {
            let (start, before) = (Instant::now(), lookups.done.load(Ordering::Relaxed));
            while_running()?;
            let done = lookups.done.load(Ordering::Relaxed) - before;
            Ok::<f64, Failure>(start.elapsed().as_nanos() as f64 / done as f64)
        };
        for _ in 0..RUNS {
            let quiet = lookup_cost(&mut || {
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(300) {
                    std::hint::spin_loop();
                }
                Ok(())
            })?;
            // Made ahead: what it costs to make them is not what is measured.
            let mut ready = Some(operations.clone());
            let start = Instant::now();
            let busy = lookup_cost(&mut || writer.run(ready.take().unwrap_or_default()))?;
            let ours = start.elapsed().as_nanos() as f64 / count as f64;
            let mut ready = Some(operations.clone());
            let paced = lookup_cost(&mut || {
                behind = behind.max(writer.run_paced(ready.take().unwrap_or_default())?);
                Ok(())
            })?;
            let start = Instant::now();
            updates4.apply(&mut fib4);
            updates6.apply(&mut fib6);
            let peer = start.elapsed().as_nanos() as f64 / count as f64;
            runs.push(Run {
                ours,
                peer: Some(peer),
            });
            costs.push([quiet, busy, paced]);
        }
        Ok(())
    })?;
    let [quiet, busy, paced] = [0, 1, 2].map(|which| median(costs.iter().map(|cost| cost[which])));
    let [slowed, slowed_paced] =
        [1, 2].map(|which| median(costs.iter().map(|cost| cost[which] / cost[0])));
    let rate = 1e3 / median(runs.iter().map(|run| run.ours));
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| percentile(&mut writer.times, share) / 1e3);
    println!("\n  {rate:.2} million updates a second on both halves");
    println!(
        "  a lookup: {quiet:.2} ns without updates, {busy:.2} ns meanwhile, {paced:.2} ns at a million updates a second"
    );
    println!(
        "  publications of {MOST} updates or fewer: {p50:.0} us, 99 % within {p99:.0}, the longest {most:.0}; {} more in which the kernel took the core away",
        writer.disturbed
    );
    println!("  at a million a second, at most {behind:.1} ms late at the end of the day");
    println!(
        "  VPP 22.10, for comparison: 0.17 million a second added (measured elsewhere, not in this run)"
    );
    Ok(Report {
        unit: "ns/update",
        peer_name: "rte_fib",
        runs,
        more: vec![
            ("million_per_s", rate),
            ("lookup_ns", busy),
            ("lookup_quiet_ns", quiet),
            ("lookup_slowed", slowed),
            ("lookup_slowed_at_1m", slowed_paced),
            ("publish_us", p50),
            ("publish_p99_us", p99),
            ("longest_publish_us", most),
            ("disturbed", writer.disturbed as f64),
        ],
    })
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
