//! Looking many packets up in a classifier at once: sixteen side by side, so that a table costs all of them one step.

use crate::acl::classifier::{Classifier, Entry};
use crate::acl::key::AclKey;
use crate::acl::rule::AclDecision;
use crate::acl::search::{LENGTHS, positions};
use crate::acl::table::{UPPER_KINDS, destination_hash, source_hash, upper_hash};
use crate::acl::{AclFamily, Bits};

/// Packets side by side.
const LANES: usize = 16;
type Lanes = [u32; LANES];

/// Asks the filter of a table about sixteen hashes; a bit for each that may be there. The number of words is a power of
/// two.
trait Probe {
    fn probe(filter: &[u32], hashes: &Lanes) -> u32;
}

/// For every processor.
struct Portable;

impl Probe for Portable {
    #[inline(always)]
    fn probe(filter: &[u32], hashes: &Lanes) -> u32 {
        let mut found = 0;
        for (lane, hash) in hashes.iter().enumerate() {
            let word = filter[(hash >> 5) as usize & (filter.len() - 1)];
            found |= (word >> (hash & 31) & 1) << lane;
        }
        found
    }
}

/// The hashes of sixteen packets, by the lengths that tables have.
struct Hashes {
    sources: [Lanes; LENGTHS],
    destinations: [Lanes; LENGTHS],
    uppers: [Lanes; UPPER_KINDS],
}

impl<N: Bits> Classifier<N> {
    /// As [`find`](Self::find), for each key.
    pub(super) fn find_batch<A: AclFamily<Bits = N>>(
        &self,
        keys: &[AclKey<A>],
        mut found: impl FnMut(usize, Option<(u32, AclDecision)>),
    ) {
        for (number, keys) in keys.chunks(LANES).enumerate() {
            let best = self.find_lanes(keys);
            for (lane, best) in best.iter().take(keys.len()).enumerate() {
                let found_here = best.map(|entry| (entry.sequence, entry.decision));
                found(number * LANES + lane, found_here);
            }
        }
    }

    fn find_lanes<A: AclFamily<Bits = N>>(&self, keys: &[AclKey<A>]) -> [Option<&Entry<N>>; LANES] {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it, as was just asked.
            return unsafe { self.find_lanes_avx512(keys) };
        }
        self.find_lanes_by::<A, Portable>(keys)
    }

    /// # Safety
    /// The processor must have AVX-512F.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn find_lanes_avx512<A: AclFamily<Bits = N>>(
        &self,
        keys: &[AclKey<A>],
    ) -> [Option<&Entry<N>>; LANES] {
        self.find_lanes_by::<A, avx512::Avx512>(keys)
    }

    #[inline(always)]
    fn find_lanes_by<A: AclFamily<Bits = N>, P: Probe>(
        &self,
        keys: &[AclKey<A>],
    ) -> [Option<&Entry<N>>; LANES] {
        let mut best: [Option<&Entry<N>>; LANES] = [None; LANES];
        let Some(last) = keys.last() else {
            return best;
        };
        // The lanes beyond the end look for the last packet once more, which costs nothing.
        let key = |lane: usize| keys.get(lane).unwrap_or(last);
        let hashes = self.hashes(key);
        for &index in &self.order {
            let table = &self.tables[usize::from(index)];
            let mut open = 0;
            for (lane, best) in best.iter().enumerate() {
                let is_open = best.is_none_or(|best| best.sequence > table.first);
                open |= u32::from(is_open) << lane;
            }
            if open == 0 {
                break;
            }
            let tuple = table.tuple;
            let sources = &hashes.sources[usize::from(tuple.source)];
            let destinations = &hashes.destinations[usize::from(tuple.destination)];
            let uppers = &hashes.uppers[tuple.upper_kind()];
            let hash: Lanes =
                std::array::from_fn(|lane| sources[lane] ^ destinations[lane] ^ uppers[lane]);
            for lane in positions(P::probe(table.filter(), &hash) & open) {
                let limit = best[lane].map(|best| best.sequence);
                let head = table.head(hash[lane]);
                if let Some(found) = self.first_in_chain(head, key(lane), limit) {
                    best[lane] = Some(found);
                }
            }
        }
        best
    }

    #[inline(always)]
    fn hashes<'k, A: AclFamily<Bits = N>>(&self, key: impl Fn(usize) -> &'k AclKey<A>) -> Hashes {
        let mut hashes = Hashes {
            sources: [[0; LANES]; LENGTHS],
            destinations: [[0; LANES]; LENGTHS],
            uppers: [[0; LANES]; UPPER_KINDS],
        };
        let source: [N; LANES] = std::array::from_fn(|lane| key(lane).source.bits());
        let destination: [N; LANES] = std::array::from_fn(|lane| key(lane).destination.bits());
        let protocol: [u8; LANES] = std::array::from_fn(|lane| key(lane).protocol);
        let source_port: Lanes = std::array::from_fn(|lane| key(lane).source_port);
        let destination_port: Lanes = std::array::from_fn(|lane| key(lane).destination_port);
        for length in positions(self.sources) {
            hashes.sources[length] =
                std::array::from_fn(|lane| source_hash(source[lane], length as u8));
        }
        for length in positions(self.destinations) {
            hashes.destinations[length] =
                std::array::from_fn(|lane| destination_hash(destination[lane], length as u8));
        }
        for kind in positions(self.uppers) {
            hashes.uppers[kind] = std::array::from_fn(|lane| {
                upper_hash(
                    kind,
                    protocol[lane],
                    source_port[lane],
                    destination_port[lane],
                )
            });
        }
        hashes
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::{Lanes, Probe};

    /// By AVX-512F: sixteen words of the filter in one gather. Used in [`super::Classifier::find_lanes_avx512`] alone.
    pub(super) struct Avx512;

    impl Probe for Avx512 {
        #[inline(always)]
        fn probe(filter: &[u32], hashes: &Lanes) -> u32 {
            debug_assert!(filter.len().is_power_of_two());
            // SAFETY: the only caller is compiled for AVX-512F, and only called where the processor has it. The hashes are
            // sixteen words. Each index is less than the number of the filter's words, which is a power of two and at least
            // one, so that every word that is gathered lies in the filter.
            unsafe {
                let hash = _mm512_loadu_si512(hashes.as_ptr().cast());
                let mask = _mm512_set1_epi32((filter.len() - 1) as i32);
                let word = _mm512_and_si512(_mm512_srli_epi32::<5>(hash), mask);
                let words = _mm512_i32gather_epi32::<4>(word, filter.as_ptr().cast());
                let place = _mm512_and_si512(hash, _mm512_set1_epi32(31));
                let bit = _mm512_sllv_epi32(_mm512_set1_epi32(1), place);
                u32::from(_mm512_test_epi32_mask(words, bit))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_ask_a_filter_agree() {
        let mut seed = 1u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed ^ seed >> 15
        };
        for words in [1, 2, 64, 4096] {
            let filter: Vec<u32> = (0..words).map(|_| next() & next()).collect();
            for _ in 0..200 {
                let hashes: Lanes = std::array::from_fn(|_| next());
                let portable = Portable::probe(&filter, &hashes);
                for (lane, hash) in hashes.iter().enumerate() {
                    let bit = filter[(hash >> 5) as usize % words] >> (hash & 31) & 1;
                    assert_eq!(portable >> lane & 1, bit);
                }
                #[cfg(target_arch = "x86_64")]
                if std::arch::is_x86_feature_detected!("avx512f") {
                    #[target_feature(enable = "avx512f")]
                    fn probe(filter: &[u32], hashes: &Lanes) -> u32 {
                        avx512::Avx512::probe(filter, hashes)
                    }
                    // SAFETY: the processor has it.
                    assert_eq!(unsafe { probe(&filter, &hashes) }, portable);
                }
            }
        }
    }
}
