//! Looking many packets up in a classifier at once: sixteen side by side, so that a table costs all of them one step.
//!
//! What cannot be foretold is not branched on. The tables only say which chains are to be looked at, for which packet; these
//! wait in a list, and are looked at one after the other, so that the processor is busy with several at a time.

use crate::acl::block::{NONE, Packet, Packets};
use crate::acl::classifier::Classifier;
#[cfg(target_arch = "x86_64")]
use crate::acl::code_path::Avx512;
use crate::acl::code_path::{Chains, CodePath, Instructions, LANES, Lanes, Portable};
use crate::acl::key::AclKey;
use crate::acl::rule::AclDecision;
use crate::acl::search::{LENGTHS, NO_RANK, positions};
use crate::acl::table::{UPPER_KINDS, destination_hash, source_hash, upper_hash};
use crate::acl::{AclFamily, Bits};

/// Chains that wait, from which on they are looked at, before another table is asked.
const ENOUGH: usize = 32;

/// Packets from which on they are looked up side by side.
const WORTH_IT: usize = 4;

/// The hashes of sixteen packets, by the lengths that tables have. Those that no table has are not there.
struct Hashes {
    sources: [Lanes; LENGTHS],
    destinations: [Lanes; LENGTHS],
    uppers: [Lanes; UPPER_KINDS],
}

impl Hashes {
    fn new() -> Self {
        Hashes {
            sources: [[0; LANES]; LENGTHS],
            destinations: [[0; LANES]; LENGTHS],
            uppers: [[0; LANES]; UPPER_KINDS],
        }
    }
}

/// Chains to look at: the packets' lanes, and the chains' first blocks.
struct Waiting {
    lanes: [u32; ENOUGH + 2 * LANES],
    blocks: [u32; ENOUGH + 2 * LANES],
    count: usize,
}

impl Waiting {
    /// Up to sixteen more.
    #[inline(always)]
    fn add(&mut self, chains: &Chains) {
        // What is written beyond the chains' number is written over by the next.
        let places = self.count..self.count + LANES;
        self.lanes[places.clone()].copy_from_slice(&chains.lanes);
        self.blocks[places].copy_from_slice(&chains.blocks);
        self.count += chains.count;
    }
}

impl<N: Bits> Classifier<N> {
    /// As [`find`](Self::find), for each key, by the best instructions that the processor has.
    pub(super) fn find_batch<A: AclFamily<Bits = N>>(
        &self,
        keys: &[AclKey<A>],
        mut found: impl FnMut(usize, Option<(u32, AclDecision)>),
    ) {
        if keys.len() < WORTH_IT {
            for (index, key) in keys.iter().enumerate() {
                found(index, self.find(key));
            }
            return;
        }
        self.find_batch_by(Instructions::best(), keys, found);
    }

    /// The same by these instructions.
    pub(super) fn find_batch_by<A: AclFamily<Bits = N>>(
        &self,
        instructions: Instructions,
        keys: &[AclKey<A>],
        mut found: impl FnMut(usize, Option<(u32, AclDecision)>),
    ) {
        let mut ranks = [NO_RANK; LANES];
        let mut hashes = Hashes::new();
        for (number, keys) in keys.chunks(LANES).enumerate() {
            match instructions {
                Instructions::Portable => {
                    self.rank_lanes_by::<A, Portable>(keys, &mut hashes, &mut ranks);
                }
                // SAFETY: the processor has them: only `Instructions::best` says so.
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => unsafe {
                    self.rank_lanes_avx512(keys, &mut hashes, &mut ranks);
                },
            }
            for (lane, &rank) in ranks.iter().take(keys.len()).enumerate() {
                found(number * LANES + lane, self.outcome(rank));
            }
        }
    }

    /// # Safety
    /// The processor must have what [`Instructions::Avx512`] stands for.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,bmi1,bmi2,popcnt")]
    unsafe fn rank_lanes_avx512<A: AclFamily<Bits = N>>(
        &self,
        keys: &[AclKey<A>],
        hashes: &mut Hashes,
        ranks: &mut [u64; LANES],
    ) {
        self.rank_lanes_by::<A, Avx512>(keys, hashes, ranks);
    }

    #[inline(always)]
    fn rank_lanes_by<A: AclFamily<Bits = N>, C: CodePath>(
        &self,
        keys: &[AclKey<A>],
        hashes: &mut Hashes,
        ranks: &mut [u64; LANES],
    ) {
        *ranks = [NO_RANK; LANES];
        let Some(last) = keys.last() else {
            return;
        };
        // The lanes beyond the end look for the last packet once more, which costs nothing.
        let key = |lane: usize| keys.get(lane).unwrap_or(last);
        let packets: [Packet<N>; LANES] = std::array::from_fn(|lane| Packet::of(key(lane)));
        if self.is_small() {
            self.rank_among_few::<A, C>(&packets, key, ranks);
            return;
        }
        self.hash(&packets, hashes);
        let mut waiting = Waiting {
            lanes: [0; ENOUGH + 2 * LANES],
            blocks: [0; ENOUGH + 2 * LANES],
            count: 0,
        };
        for &index in &self.order {
            let table = &self.tables[usize::from(index)];
            let open = C::above(ranks, table.first);
            if open == 0 {
                break;
            }
            let tuple = table.tuple;
            let sources = &hashes.sources[usize::from(tuple.source)];
            let destinations = &hashes.destinations[usize::from(tuple.destination)];
            let uppers = &hashes.uppers[tuple.upper_kind()];
            let hash: Lanes =
                std::array::from_fn(|lane| sources[lane] ^ destinations[lane] ^ uppers[lane]);
            waiting.add(&C::chains(table.filter(), table.heads(), &hash, open));
            if waiting.count >= ENOUGH {
                self.look::<A, C>(&mut waiting, &packets, key, ranks);
            }
        }
        self.look::<A, C>(&mut waiting, &packets, key, ranks);
    }

    /// Compares the packets with every box there is, one box at a time.
    #[inline(always)]
    fn rank_among_few<'k, A: AclFamily<Bits = N>, C: CodePath>(
        &self,
        packets: &[Packet<N>; LANES],
        key: impl Fn(usize) -> &'k AclKey<A>,
        ranks: &mut [u64; LANES],
    ) {
        let packets = Packets::of(packets);
        for (index, block) in self.blocks.iter() {
            for place in 0..block.len() {
                let (mut found, is_hint) = block.takes::<C>(place, &packets);
                if is_hint {
                    let matches = |lane: &usize| self.asks_rule(block.sequence(place), key(*lane));
                    found = positions(found)
                        .filter(matches)
                        .fold(0, |found, lane| found | 1 << lane);
                }
                let rank = block.rank_at(place, index);
                for (lane, best) in ranks.iter_mut().enumerate() {
                    let is_in = found >> lane & 1 != 0;
                    *best = (*best).min(if is_in { rank } else { NO_RANK });
                }
            }
        }
    }

    /// Looks at the chains that wait, block by block: the blocks that follow wait in turn.
    #[inline(always)]
    fn look<'k, A: AclFamily<Bits = N>, C: CodePath>(
        &self,
        waiting: &mut Waiting,
        packets: &[Packet<N>; LANES],
        key: impl Fn(usize) -> &'k AclKey<A>,
        ranks: &mut [u64; LANES],
    ) {
        while waiting.count > 0 {
            let mut left = 0;
            for place in 0..waiting.count {
                let (lane, index) = (waiting.lanes[place] as usize % LANES, waiting.blocks[place]);
                let packet = &packets[lane];
                let (rank, next) = self.rank_in::<A, C>(index, packet, key(lane));
                ranks[lane] = ranks[lane].min(rank);
                waiting.lanes[left] = lane as u32;
                waiting.blocks[left] = next;
                left += usize::from((next != NONE) & (rank == NO_RANK));
            }
            waiting.count = left;
        }
    }

    #[inline(always)]
    fn hash(&self, packets: &[Packet<N>; LANES], hashes: &mut Hashes) {
        let source: [N; LANES] = std::array::from_fn(|lane| packets[lane].addresses[0]);
        let destination: [N; LANES] = std::array::from_fn(|lane| packets[lane].addresses[1]);
        for length in positions(self.sources) {
            hashes.sources[length] =
                std::array::from_fn(|lane| source_hash(source[lane], length as u8));
        }
        for length in positions(self.destinations) {
            hashes.destinations[length] =
                std::array::from_fn(|lane| destination_hash(destination[lane], length as u8));
        }
        if self.uppers == 1 {
            return;
        }
        let protocol: Lanes = std::array::from_fn(|lane| packets[lane].upper[2].into());
        let source_port: Lanes = std::array::from_fn(|lane| packets[lane].port(0));
        let destination_port: Lanes = std::array::from_fn(|lane| packets[lane].port(1));
        for kind in positions(self.uppers) {
            hashes.uppers[kind] = std::array::from_fn(|lane| {
                let (source, destination) = (source_port[lane], destination_port[lane]);
                upper_hash(kind, protocol[lane], source, destination)
            });
        }
    }
}
