//! The first rule of an ACL that a packet matches, beside DPDK's `rte_acl`: generated rules in three mixes, 10, 1,000 and 10,000
//! of them, packets in batches of 64.
//!
//! The figure is the mean over the three mixes at 10,000 rules, for packets that rules are about. `rte_acl` counts with the
//! fastest of its algorithms for each. Both must give the same rule for each packet. Build times, the cost of one rule that goes
//! and comes, packets that match nothing, and the memory of one half are further figures.

use std::net::Ipv4Addr;
use std::time::Instant;

use rewire_tables::AclKey;
use rewire_tables::acl::{Acl, AclDefault};

use crate::acl_rules::{FiveTuple, Mix, hits, misses, rules};
use crate::report::{Report, Run, median};

const RUNS: usize = 7;
const BATCH: usize = 64;
const PACKETS: usize = 1 << 14;
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// Rules that are taken out and put in again, to see what that costs.
const CHANGES: usize = 500;

type Failure = Box<dyn std::error::Error>;

/// What one run over packets costs, in ns a packet: ours, and the peer's.
type Pair = (f64, Option<f64>);

/// One ACL, built by both sides.
struct Built {
    acl: Acl,
    peer: peer::Context,
    rules: Vec<FiveTuple>,
    build_ms: (f64, f64),
    change_us: f64,
}

pub(crate) fn run() -> Result<Report, Failure> {
    println!("data: generated rules (acl, fw, ipc), {PACKETS} packets each, batches of {BATCH}");
    println!("peer: {}", peer::start()?);
    println!(
        "\n  rules        ours   rte_acl  ratio   misses: ours   rte_acl   (ns/packet, medians)   tables"
    );
    let mut large: Vec<Vec<Pair>> = Vec::new();
    let (mut builds, mut changes, mut memory) = (Vec::new(), Vec::new(), (0.0, 0.0));
    let (mut small, mut missed) = (Vec::new(), Vec::new());
    for (mix, name) in Mix::ALL {
        for size in SIZES {
            let built = build(mix, size)?;
            let hit = measure(&built, &hits(&built.rules, PACKETS, 7))?;
            let miss = measure(&built, &misses(&built.rules, PACKETS, 9))?;
            let ours = |pairs: &[Pair]| median(pairs.iter().map(|pair| pair.0));
            let theirs = |pairs: &[Pair]| median(pairs.iter().filter_map(|pair| pair.1));
            println!(
                "  {name:<4}{size:>6}  {:>7.1}   {:>7.1}   {:.2}       {:>9.1}   {:>7.1}                         {}",
                ours(&hit),
                theirs(&hit),
                ours(&hit) / theirs(&hit),
                ours(&miss),
                theirs(&miss),
                built.acl.table_counts().0,
            );
            match size {
                10 => small.push(ours(&hit)),
                10_000 => {
                    missed.push(ours(&miss));
                    large.push(hit);
                    builds.push(built.build_ms);
                    changes.push(built.change_us);
                    memory.0 += built.acl.memory() as f64 / 3.0;
                    memory.1 += built.peer.memory() as f64 / 3.0;
                }
                _ => {}
            }
        }
    }
    let mean = |run: usize, side: fn(&Pair) -> Option<f64>| {
        let figures: Option<Vec<f64>> = large.iter().map(|pairs| side(&pairs[run])).collect();
        figures.map(|figures| figures.iter().sum::<f64>() / figures.len() as f64)
    };
    let runs = (0..RUNS).map(|run| Run {
        ours: mean(run, |pair| Some(pair.0)).unwrap_or(f64::NAN),
        peer: mean(run, |pair| pair.1),
    });
    let most = |figures: Vec<f64>| figures.into_iter().fold(f64::MIN, f64::max);
    let mean_of = |figures: &[f64]| figures.iter().sum::<f64>() / figures.len() as f64;
    Ok(Report {
        unit: "ns/packet",
        peer_name: peer::NAME,
        runs: runs.collect(),
        more: vec![
            ("at_10_rules", mean_of(&small)),
            ("misses", mean_of(&missed)),
            (
                "build_ms",
                most(builds.iter().map(|build| build.0).collect()),
            ),
            (
                "peer_build_ms",
                most(builds.iter().map(|build| build.1).collect()),
            ),
            ("change_us", most(changes)),
            ("memory_kib", memory.0 / 1024.0),
            ("peer_memory_kib", memory.1 / 1024.0),
        ],
    })
}

fn build(mix: Mix, size: usize) -> Result<Built, Failure> {
    let rules = rules(mix, size, 42);
    let said: Vec<_> = rules.iter().map(FiveTuple::rule).collect();
    let start = Instant::now();
    let mut acl = Acl::new("bench".into(), AclDefault::Deny);
    for (sequence, rule) in (0..).zip(&said) {
        acl.set_rule(sequence, rule.clone());
    }
    let ours = start.elapsed().as_secs_f64() * 1e3;
    let start = Instant::now();
    for number in 0..CHANGES {
        let position = number * 37 % size;
        acl.remove_rule(position as u32);
        acl.set_rule(position as u32, said[position].clone());
    }
    let change_us = start.elapsed().as_secs_f64() * 1e6 / (2 * CHANGES) as f64;
    let start = Instant::now();
    let peer = peer::Context::build(&rules)?;
    let theirs = start.elapsed().as_secs_f64() * 1e3;
    Ok(Built {
        acl,
        peer,
        rules,
        build_ms: (ours, theirs),
        change_us,
    })
}

/// Ours and the peer in turn, so many times.
fn measure(built: &Built, keys: &[AclKey<Ipv4Addr>]) -> Result<Vec<Pair>, Failure> {
    let per_packet = |start: Instant| start.elapsed().as_nanos() as f64 / keys.len() as f64;
    let peer_keys = peer::Keys::new(keys);
    let mut found = vec![0u32; keys.len()];
    let look_up = |found: &mut [u32]| {
        for (number, batch) in keys.chunks(BATCH).enumerate() {
            built.acl.lookup_batch(batch, |index, verdict| {
                found[number * BATCH + index] = verdict.rule.map_or(0, |rule| rule + 1);
            });
        }
    };
    let mut pairs = Vec::new();
    for _ in 0..RUNS {
        // Once unmeasured, so that the caches are ours; the peer's algorithms warm them for each other.
        look_up(&mut found);
        let start = Instant::now();
        look_up(&mut found);
        let ours = per_packet(start);
        let theirs = built.peer.classify(&peer_keys)?;
        if let Some((_, results)) = &theirs
            && *results != found
        {
            return Err("the two do not find the same rules".into());
        }
        pairs.push((ours, theirs.map(|(cost, _)| cost)));
    }
    Ok(pairs)
}

/// DPDK's `rte_acl`, through a few lines of C.
#[cfg(feature = "rte-acl")]
mod peer {
    use std::net::Ipv4Addr;
    use std::ptr::NonNull;
    use std::time::Instant;

    use rewire_tables::AclKey;

    use super::{BATCH, Failure};
    use crate::acl_rules::FiveTuple;

    pub(super) const NAME: &str = "rte_acl";

    /// The algorithms that rte_acl has for this processor: scalar, SSE, AVX2, AVX-512 by 16 and by 32.
    const ALGORITHMS: [i32; 5] = [1, 2, 3, 6, 7];

    #[repr(C)]
    struct Rule {
        source: u32,
        destination: u32,
        source_port: [u16; 2],
        destination_port: [u16; 2],
        source_length: u8,
        destination_length: u8,
        protocol: u8,
        protocol_mask: u8,
    }

    #[repr(C)]
    struct Key {
        protocol: u8,
        pad: [u8; 3],
        source: u32,
        destination: u32,
        source_port: u16,
        destination_port: u16,
    }

    /// A context of rte_acl's.
    enum Opaque {}

    unsafe extern "C" {
        fn peer_start(hugepages: i32) -> i32;
        fn peer_build(rules: *const Rule, count: u32, memory: *mut usize) -> *mut Opaque;
        fn peer_algorithm(context: *mut Opaque, algorithm: i32) -> i32;
        fn peer_classify(
            context: *mut Opaque,
            keys: *const *const u8,
            results: *mut u32,
            count: u32,
        );
        fn peer_free(context: *mut Opaque);
    }

    /// Starts DPDK, with hugepages where there are any.
    pub(super) fn start() -> Result<&'static str, Failure> {
        let free =
            std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
        let free: u32 = free
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let hugepages = free >= 128;
        // SAFETY: called once, before anything else of DPDK's.
        match unsafe { peer_start(i32::from(hugepages)) } {
            0.. if hugepages => Ok("rte_acl, its tries on hugepages"),
            0.. => Ok("rte_acl, without hugepages (sysctl vm.nr_hugepages=512 gives it some)"),
            _ => Err("DPDK does not start".into()),
        }
    }

    /// The rules, as rte_acl has built them.
    pub(super) struct Context {
        context: NonNull<Opaque>,
        memory: usize,
    }

    impl Context {
        pub(super) fn build(rules: &[FiveTuple]) -> Result<Context, Failure> {
            let rules: Vec<Rule> = rules
                .iter()
                .map(|rule| Rule {
                    source: rule.source.0,
                    destination: rule.destination.0,
                    source_port: rule.source_port.into(),
                    destination_port: rule.destination_port.into(),
                    source_length: rule.source.1,
                    destination_length: rule.destination.1,
                    protocol: rule.protocol.unwrap_or(0),
                    protocol_mask: if rule.protocol.is_some() { 255 } else { 0 },
                })
                .collect();
            let mut memory = 0;
            // SAFETY: as many rules as are said, laid out as C reads them; both pointers live through the call.
            let context = unsafe { peer_build(rules.as_ptr(), rules.len() as u32, &mut memory) };
            let context = NonNull::new(context).ok_or("rte_acl does not build these rules")?;
            Ok(Context { context, memory })
        }

        pub(super) fn memory(&self) -> usize {
            self.memory
        }

        /// The cost of a packet by the fastest algorithm, and what was found.
        pub(super) fn classify(&self, keys: &Keys) -> Result<Option<(f64, Vec<u32>)>, Failure> {
            let mut results = vec![0u32; keys.pointers.len()];
            let mut best = f64::MAX;
            for algorithm in ALGORITHMS {
                // SAFETY: the context lives as long as `self`.
                if unsafe { peer_algorithm(self.context.as_ptr(), algorithm) } != 0 {
                    continue;
                }
                let start = Instant::now();
                for (keys, results) in keys.pointers.chunks(BATCH).zip(results.chunks_mut(BATCH)) {
                    // SAFETY: as many keys and results as are said; what the keys point at lives in `keys`.
                    unsafe {
                        peer_classify(
                            self.context.as_ptr(),
                            keys.as_ptr(),
                            results.as_mut_ptr(),
                            keys.len() as u32,
                        );
                    }
                }
                best = best.min(start.elapsed().as_nanos() as f64 / keys.pointers.len() as f64);
            }
            if best == f64::MAX {
                return Err("rte_acl has no algorithm for this processor".into());
            }
            Ok(Some((best, results)))
        }
    }

    impl Drop for Context {
        fn drop(&mut self) {
            // SAFETY: made by `peer_build`, and freed once.
            unsafe { peer_free(self.context.as_ptr()) }
        }
    }

    /// Packets as rte_acl reads them.
    pub(super) struct Keys {
        pointers: Vec<*const u8>,
        /// What the pointers point at: never moved.
        _keys: Box<[Key]>,
    }

    impl Keys {
        pub(super) fn new(keys: &[AclKey<Ipv4Addr>]) -> Keys {
            let keys: Box<[Key]> = keys
                .iter()
                .map(|key| Key {
                    protocol: key.protocol,
                    pad: [0; 3],
                    source: key.source.to_bits().to_be(),
                    destination: key.destination.to_bits().to_be(),
                    source_port: (key.source_port as u16).to_be(),
                    destination_port: (key.destination_port as u16).to_be(),
                })
                .collect();
            Keys {
                pointers: keys
                    .iter()
                    .map(|key| std::ptr::from_ref(key).cast())
                    .collect(),
                _keys: keys,
            }
        }
    }
}

/// Built without the peer.
#[cfg(not(feature = "rte-acl"))]
mod peer {
    use std::net::Ipv4Addr;

    use rewire_tables::AclKey;

    use super::Failure;
    use crate::acl_rules::FiveTuple;

    pub(super) const NAME: &str = "-";

    pub(super) fn start() -> Result<&'static str, Failure> {
        Ok("none: built without the feature rte-acl")
    }

    pub(super) struct Context;

    impl Context {
        pub(super) fn build(_: &[FiveTuple]) -> Result<Context, Failure> {
            Ok(Context)
        }
        pub(super) fn memory(&self) -> usize {
            0
        }
        pub(super) fn classify(&self, _: &Keys) -> Result<Option<(f64, Vec<u32>)>, Failure> {
            Ok(None)
        }
    }

    pub(super) struct Keys;

    impl Keys {
        pub(super) fn new(_: &[AclKey<Ipv4Addr>]) -> Keys {
            Keys
        }
    }
}
