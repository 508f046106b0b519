//! The table of connections alone: a connection is inserted and another removed, a million live, in random order.
//!
//! Ours does all that a connection is: a record with both keys, state, deadline and counters, and the schedule of its end. The
//! peers keep the two keys of 16 bytes and a number to each, nothing else; of a removal they are told both keys, and ours one.

#[cfg(feature = "peers")]
mod peers;

use std::net::Ipv4Addr;
use std::time::Instant as Clock;

use rewire_conntrack::{
    Admission, Candidate, Config, Connections, FlowKey, Instant, KeyHash, NewFlow, Segment,
    Timeouts,
};
use rewire_instructions::masqueraded::Random;
use rewire_tables::VpcIndex;

use crate::report::{Report, Run, median};

type Failure = Box<dyn std::error::Error>;

const LIVE: u32 = 1_000_000;
const RUNS: usize = 7;
/// Pairs of one run.
const PAIRS: usize = 1_000_000;
/// Packets of a burst: so many are worked on at once.
const BATCH: usize = 64;
/// So many connections ahead, each stage asks the memory for what the next one needs.
const AHEAD: usize = 12;
const NOW: Instant = Instant(1_000_000_000);

/// The two keys of a connection, of 16 bytes each, as a peer keeps them.
#[cfg(feature = "peers")]
type Keys = [[u64; 2]; 2];

/// A table that connections are inserted into and removed from.
trait Table {
    fn name(&self) -> &'static str;
    /// Inserts a batch.
    ///
    /// # Errors
    /// One of them was refused.
    fn insert(&mut self, connections: &[u32]) -> Result<(), Failure>;
    /// Removes a batch of what was inserted.
    ///
    /// # Errors
    /// One of them is not there.
    fn remove(&mut self, connections: &[u32]) -> Result<(), Failure>;
}

/// The key of a connection's packets as they arrive, and that of replies to it: 64 connections of a host, masqueraded.
fn keys(connection: u32) -> [FlowKey<Ipv4Addr>; 2] {
    let scattered = connection.wrapping_mul(0x9e37_79b1);
    let original = FlowKey {
        vpc: VpcIndex(0),
        protocol: 17,
        source: Ipv4Addr::from_bits(0x0a00_0000 | connection >> 6),
        destination: Ipv4Addr::from_bits(0x6400_0000 | scattered >> 8),
        source_port: 1024 + (connection & 63) as u16 * 900 + (scattered & 511) as u16,
        destination_port: 443,
    };
    let reply = FlowKey {
        vpc: VpcIndex(1),
        protocol: 17,
        source: original.destination,
        destination: Ipv4Addr::from_bits(0xc612_0000 | connection >> 16),
        source_port: 443,
        destination_port: connection as u16,
    };
    [original, reply]
}

/// The same, as a peer keeps them.
#[cfg(feature = "peers")]
fn packed(connection: u32) -> Keys {
    keys(connection).map(|key| {
        let ends = u64::from(key.source.to_bits()) << 32 | u64::from(key.destination.to_bits());
        let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
        let place = u64::from(key.vpc.0) << 40 | u64::from(key.protocol) << 32;
        [ends, place | ports]
    })
}

struct Ours(Connections<Ipv4Addr>);

impl Ours {
    fn new() -> Self {
        Ours(Connections::new(Config {
            // A quarter more than live ones, which is 72 % of the index; the maps have twice as much.
            capacity: LIVE as usize / 4 * 5,
            timeouts: Timeouts::default(),
            worker: 0,
            workers: 1,
            tcp_pickup: true,
            hash_seed: 7,
        }))
    }
}

impl Table for Ours {
    fn name(&self) -> &'static str {
        "rewire"
    }

    fn insert(&mut self, connections: &[u32]) -> Result<(), Failure> {
        let mut hashes = [<[KeyHash; 2]>::default(); BATCH];
        let hashes = &mut hashes[..connections.len()];
        for step in 0..connections.len() + 2 * AHEAD {
            if let Some(hashes) = hashes.get_mut(step) {
                let [original, reply] = keys(connections[step]);
                *hashes = [self.0.hash(&original), self.0.hash(&reply)];
                for hash in hashes {
                    self.0.prefetch_index(*hash);
                }
            }
            if let Some(hashes) = hashes.get(step.wrapping_sub(AHEAD)) {
                for hash in hashes {
                    self.0.prefetch_insertion(*hash);
                }
            }
            let step = step.wrapping_sub(2 * AHEAD);
            if let Some(hashes) = hashes.get(step) {
                let [original, reply] = keys(connections[step]);
                let new = NewFlow {
                    original,
                    reply,
                    route_vpc: VpcIndex(0),
                    policy_generation: 1,
                    admission: Admission::default(),
                    mapping: None,
                };
                self.0.insert_hashed(new, *hashes, &Segment::Udp, 46, NOW)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, connections: &[u32]) -> Result<(), Failure> {
        let mut places = [<(KeyHash, Candidate)>::default(); BATCH];
        let places = &mut places[..connections.len()];
        let mut removals = [None; BATCH];
        let removals = &mut removals[..connections.len()];
        for step in 0..connections.len() + 4 * AHEAD {
            if let Some((hash, _)) = places.get_mut(step) {
                let [original, _] = keys(connections[step]);
                *hash = self.0.hash(&original);
                self.0.prefetch_index(*hash);
            }
            if let Some((hash, candidate)) = places.get_mut(step.wrapping_sub(AHEAD)) {
                *candidate = self.0.prefetch_flow(*hash);
            }
            if let Some((hash, candidate)) = places.get_mut(step.wrapping_sub(2 * AHEAD)) {
                self.0.prefetch_later(*hash, candidate);
            }
            let at = step.wrapping_sub(3 * AHEAD);
            if let Some(place) = places.get(at) {
                let [original, _] = keys(connections[at]);
                removals[at] = self.0.prefetch_removal(*place, &original);
            }
            if let Some(removal) = removals.get(step.wrapping_sub(4 * AHEAD)) {
                let removal = removal.ok_or("a connection was lost")?;
                if !self.0.remove_found(removal) {
                    return Err("a connection ended twice".into());
                }
            }
        }
        Ok(())
    }
}

/// Which connections are live, and which comes next.
struct Churn {
    live: Vec<u32>,
    next: u32,
    random: Random,
}

impl Churn {
    /// Of so many pairs, those that are removed, and those that are inserted.
    fn pairs(&mut self, number: usize) -> (Vec<u32>, Vec<u32>) {
        (0..number)
            .map(|_| {
                let place = self.random.below(LIVE) as usize;
                let new = self.next;
                self.next += 1;
                (std::mem::replace(&mut self.live[place], new), new)
            })
            .unzip()
    }
}

/// The time of a pair in ns.
fn time(table: &mut dyn Table, (old, new): &(Vec<u32>, Vec<u32>)) -> Result<f64, Failure> {
    let start = Clock::now();
    for (old, new) in old.chunks(BATCH).zip(new.chunks(BATCH)) {
        table.insert(new)?;
        table.remove(old)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / old.len() as f64)
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!(
        "data: {LIVE} live connections of IPv4, each with two keys; {PAIRS} pairs a run, random order"
    );
    let mut tables: Vec<Box<dyn Table>> = vec![Box::new(Ours::new())];
    #[cfg(feature = "peers")]
    let _dpdk = crate::lpm::dpdk::Dpdk::start()?;
    #[cfg(feature = "peers")]
    tables.extend(peers::all()?);
    let mut churn = Churn {
        live: (0..LIVE).collect(),
        next: LIVE,
        random: Random(88_172_645_463_325_252),
    };
    for table in &mut tables {
        for batch in churn.live.chunks(BATCH) {
            table.insert(batch)?;
        }
    }
    let mut costs = vec![Vec::new(); tables.len()];
    // Once unmeasured: pages are touched, and free places are no longer in a row.
    for number in 0..=RUNS {
        let pairs = churn.pairs(PAIRS / BATCH * BATCH);
        for (table, costs) in tables.iter_mut().zip(&mut costs) {
            let cost = time(table.as_mut(), &pairs)?;
            if number > 0 {
                costs.push(cost);
            }
        }
    }
    for (table, costs) in tables.iter().zip(&costs) {
        println!(
            "  {:<12} {:>6.0} ns",
            table.name(),
            median(costs.iter().copied())
        );
    }
    // The best peer counts.
    let best = (1..tables.len()).min_by(|a, b| {
        let of = |table: &usize| median(costs[*table].iter().copied());
        of(a).total_cmp(&of(b))
    });
    let runs = (0..RUNS).map(|run| Run {
        ours: costs[0][run],
        peer: best.map(|best| costs[best][run]),
    });
    Ok(Report {
        unit: "ns/pair",
        peer_name: best.map_or("-", |best| tables[best].name()),
        runs: runs.collect(),
        more: Vec::new(),
    })
}
