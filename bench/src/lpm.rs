//! Longest prefix match beside DPDK's tables and crates: one core, batches of 64 and of 256 addresses, the same addresses
//! for all, in turn in one process. All answers are compared first.
//!
//! The peer of a run is the best one of that run. The line's figures are those of batches of 64; `*_256` are those of 256.

mod crates;
pub(crate) mod dpdk;
mod dpdk4;
mod dpdk6;
mod dpdk_table;
mod peers;
mod random;
mod routes;
mod updates;
mod workload;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use dpdk::Dpdk;
use dpdk_table::DpdkTable;
use peers::{LONGEST, Ours, Peer};
pub(crate) use routes::{Family, RouteTable, day};
use workload::{LOOKUPS, Workload};

use crate::Failure;
use crate::report::{Report, Run, median};

const RUNS: usize = 9;
const BATCHES: [usize; 2] = [64, LONGEST];

/// The peers of a family.
trait Peers: Family {
    fn peers(
        dpdk: &Dpdk,
        table: &RouteTable<Self>,
        addresses: &[Self],
    ) -> Result<Vec<Box<dyn Peer>>, Failure>;
}

impl Peers for Ipv4Addr {
    fn peers(
        dpdk: &Dpdk,
        table: &RouteTable<Self>,
        addresses: &[Self],
    ) -> Result<Vec<Box<dyn Peer>>, Failure> {
        let routes = &table.routes;
        let mut peers = DpdkTable::<dpdk4::Fib4>::ways(dpdk, routes, addresses)?;
        peers.extend(DpdkTable::<dpdk4::Lpm4>::ways(dpdk, routes, addresses)?);
        peers.extend(crates::tables4(routes, addresses));
        Ok(peers)
    }
}

impl Peers for Ipv6Addr {
    fn peers(
        dpdk: &Dpdk,
        table: &RouteTable<Self>,
        addresses: &[Self],
    ) -> Result<Vec<Box<dyn Peer>>, Failure> {
        let routes = &table.routes;
        let mut peers = DpdkTable::<dpdk6::Fib6>::ways(dpdk, routes, addresses)?;
        peers.extend(DpdkTable::<dpdk6::Lpm6>::ways(dpdk, routes, addresses)?);
        peers.extend(crates::tables6(routes, addresses));
        Ok(peers)
    }
}

pub(crate) use updates::{memory, updates};

pub(crate) fn random4() -> Result<Report, Failure> {
    lookups::<Ipv4Addr>(Workload::Random)
}

pub(crate) fn hit4() -> Result<Report, Failure> {
    lookups::<Ipv4Addr>(Workload::Hit)
}

pub(crate) fn zipf4() -> Result<Report, Failure> {
    lookups::<Ipv4Addr>(Workload::Zipf)
}

pub(crate) fn repeat4() -> Result<Report, Failure> {
    lookups::<Ipv4Addr>(Workload::Repeat)
}

pub(crate) fn hit6() -> Result<Report, Failure> {
    lookups::<Ipv6Addr>(Workload::Hit)
}

pub(crate) fn zipf6() -> Result<Report, Failure> {
    lookups::<Ipv6Addr>(Workload::Zipf)
}

/// The cost of one lookup in ns, over all addresses once. They have been looked up once before: what other tables displaced
/// from the caches is back, as it is in a gateway, which looks up in one table all the time.
fn time(peer: &mut dyn Peer, batch: usize) -> f64 {
    peer.prepare();
    for from in (0..LOOKUPS).step_by(batch) {
        peer.lookup(from, batch);
    }
    let start = Instant::now();
    for from in (0..LOOKUPS).step_by(batch) {
        peer.lookup(from, batch);
    }
    start.elapsed().as_nanos() as f64 / LOOKUPS as f64
}

/// Compares all answers; names the first difference.
fn compare(ours: &mut dyn Peer, peer: &mut dyn Peer) -> Result<(), Failure> {
    for from in (0..LOOKUPS).step_by(LONGEST) {
        ours.lookup(from, LONGEST);
        peer.lookup(from, LONGEST);
        for index in 0..LONGEST {
            let (own, other) = (ours.answer(index), peer.answer(index));
            if own != other {
                let name = peer.name();
                return Err(format!(
                    "{name} answers {other} to number {}, ours {own}",
                    from + index
                )
                .into());
            }
        }
    }
    Ok(())
}

fn lookups<A: Peers>(workload: Workload) -> Result<Report, Failure> {
    let table = RouteTable::<A>::load()?;
    println!("data: {}", table.about);
    let addresses = workload.addresses(&table);
    let dpdk = Dpdk::start()?;
    let start = Instant::now();
    let mut ours = Ours::new(&table, &addresses);
    println!("ours was made in {:?}", start.elapsed());
    let start = Instant::now();
    let mut peers = A::peers(&dpdk, &table, &addresses)?;
    println!("the peers were made in {:?}", start.elapsed());
    peers.retain_mut(|peer| {
        let runs = peer.prepare();
        if !runs {
            println!("{} does not run on this processor", peer.name());
        }
        runs
    });
    for peer in &mut peers {
        peer.prepare();
        compare(&mut ours, peer.as_mut())?;
    }
    // By batch size, by run: our cost, and that of each peer.
    let mut costs: [Vec<(f64, Vec<f64>)>; 2] = Default::default();
    for _ in 0..RUNS {
        for (batch, costs) in BATCHES.into_iter().zip(&mut costs) {
            let own = time(&mut ours, batch);
            let others = peers.iter_mut().map(|peer| time(peer.as_mut(), batch));
            costs.push((own, others.collect()));
        }
    }
    for (batch, costs) in BATCHES.iter().zip(&costs) {
        println!("\n  batches of {batch}, ns a lookup, median of {RUNS} runs:");
        println!(
            "    {:<16} {:6.2}",
            ours.name(),
            median(costs.iter().map(|c| c.0))
        );
        for (index, peer) in peers.iter().enumerate() {
            let cost = median(costs.iter().map(|c| c.1[index]));
            println!("    {:<16} {cost:6.2}", peer.name());
        }
    }
    let runs = costs.each_ref().map(|costs| {
        let runs = costs.iter().map(|(ours, others)| Run {
            ours: *ours,
            peer: others.iter().copied().min_by(f64::total_cmp),
        });
        runs.collect::<Vec<_>>()
    });
    let best = (0..peers.len())
        .min_by(|a, b| {
            let cost = |index: usize| median(costs[0].iter().map(|c| c.1[index]));
            cost(*a).total_cmp(&cost(*b))
        })
        .ok_or("no peer")?;
    let [short, long] = runs;
    let of = |pick: fn(&Run) -> f64| median(long.iter().map(pick));
    let more = vec![
        ("ours_256", of(|run| run.ours)),
        ("peer_256", of(|run| run.peer.unwrap_or(f64::NAN))),
        (
            "ratio_256",
            of(|run| run.ours / run.peer.unwrap_or(f64::NAN)),
        ),
    ];
    Ok(Report {
        unit: "ns/lookup",
        peer_name: peers[best].name(),
        runs: short,
        more,
    })
}
