//! The instructions by which packets are compared with boxes and tables: for every processor, or better ones.

use crate::acl::Bits;
use crate::acl::block::{BOXES, NONE};
use crate::acl::table::{WORD_SHIFT, filter_bits};

/// Packets side by side.
pub(super) const LANES: usize = 16;
/// A number for each packet.
pub(super) type Lanes = [u32; LANES];

/// The instructions that a batch of packets is looked up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    /// Those that every processor has.
    Portable,
    /// AVX-512F, BW and VL, with BMI1, BMI2 and POPCNT.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// The best that this processor has. Cost: a few loads, once the answer is known.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("bmi1")
            && std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("popcnt")
        {
            return Instructions::Avx512;
        }
        Instructions::Portable
    }
}

/// Chains of a table that packets are to be compared with.
pub(super) struct Chains {
    /// The packets' lanes.
    pub lanes: Lanes,
    /// The chains' first blocks.
    pub blocks: Lanes,
    /// How many there are; what lies behind is nothing.
    pub count: usize,
}

/// One way to do what the classifier does most.
pub(super) trait CodePath {
    /// A bit for each of three boxes that a source and a destination lie in.
    fn addresses_within<N: Bits>(
        first: &[[N; 2]; BOXES],
        last: &[[N; 2]; BOXES],
        value: [N; 2],
    ) -> u32;

    /// The same for what is above IP.
    fn uppers_within(first: &[[u16; 4]; BOXES], last: &[[u16; 4]; BOXES], value: [u16; 4]) -> u32;

    /// A bit for each of sixteen sources and destinations that lie in one box.
    fn lanes_within<N: Bits>(first: [N; 2], last: [N; 2], values: &[[N; 2]; LANES]) -> u32;

    /// The same for what is above IP.
    fn upper_lanes_within(first: [u16; 4], last: [u16; 4], values: &[[u16; 4]; LANES]) -> u32;

    /// A bit for each of sixteen ranks that lies behind a sequence number.
    fn above(ranks: &[u64; LANES], sequence: u32) -> u32;

    /// Asks a table about sixteen hashes, as far as their lanes are open: what chains may hold them? The number of the filter's
    /// words, and that of the heads, are powers of two.
    fn chains(filter: &[u32], heads: &[u32], hashes: &Lanes, open: u32) -> Chains;
}

/// Whether each field lies in its range. Without branches: which of them fails cannot be foretold.
#[inline(always)]
fn is_in<T: Copy + Ord, const FIELDS: usize>(
    first: &[T; FIELDS],
    last: &[T; FIELDS],
    value: &[T; FIELDS],
) -> bool {
    let fields = first.iter().zip(last).zip(value);
    fields.fold(true, |is_in, ((first, last), value)| {
        is_in & (first <= value) & (value <= last)
    })
}

/// A bit for each box that a value lies in.
#[inline(always)]
fn boxes_around<T: Copy + Ord, const FIELDS: usize>(
    first: &[[T; FIELDS]; BOXES],
    last: &[[T; FIELDS]; BOXES],
    value: &[T; FIELDS],
) -> u32 {
    let bit = |number| u32::from(is_in(&first[number], &last[number], value)) << number;
    (0..BOXES).fold(0, |found, number| found | bit(number))
}

/// A bit for each value that lies in a box.
#[inline(always)]
fn values_within<T: Copy + Ord, const FIELDS: usize>(
    first: &[T; FIELDS],
    last: &[T; FIELDS],
    values: &[[T; FIELDS]; LANES],
) -> u32 {
    let bit = |lane| u32::from(is_in(first, last, &values[lane])) << lane;
    (0..LANES).fold(0, |found, lane| found | bit(lane))
}

/// For every processor.
pub(super) struct Portable;

impl CodePath for Portable {
    #[inline(always)]
    fn addresses_within<N: Bits>(
        first: &[[N; 2]; BOXES],
        last: &[[N; 2]; BOXES],
        value: [N; 2],
    ) -> u32 {
        boxes_around(first, last, &value)
    }

    #[inline(always)]
    fn uppers_within(first: &[[u16; 4]; BOXES], last: &[[u16; 4]; BOXES], value: [u16; 4]) -> u32 {
        boxes_around(first, last, &value)
    }

    #[inline(always)]
    fn lanes_within<N: Bits>(first: [N; 2], last: [N; 2], values: &[[N; 2]; LANES]) -> u32 {
        values_within(&first, &last, values)
    }

    #[inline(always)]
    fn upper_lanes_within(first: [u16; 4], last: [u16; 4], values: &[[u16; 4]; LANES]) -> u32 {
        values_within(&first, &last, values)
    }

    #[inline(always)]
    fn above(ranks: &[u64; LANES], sequence: u32) -> u32 {
        let bit = |lane| u32::from(ranks[lane] >> 32 > u64::from(sequence)) << lane;
        (0..LANES).fold(0, |found, lane| found | bit(lane))
    }

    #[inline(always)]
    fn chains(filter: &[u32], heads: &[u32], hashes: &Lanes, open: u32) -> Chains {
        let mut chains = Chains {
            lanes: [0; LANES],
            blocks: [0; LANES],
            count: 0,
        };
        for (lane, &hash) in hashes.iter().enumerate() {
            let word = filter[(hash >> WORD_SHIFT) as usize & (filter.len() - 1)];
            let bits = filter_bits(hash);
            if open >> lane & 1 != 0 && word & bits == bits {
                let head = heads[hash as usize & (heads.len() - 1)];
                chains.lanes[chains.count] = lane as u32;
                chains.blocks[chains.count] = head;
                chains.count += usize::from(head != NONE);
            }
        }
        chains
    }
}

/// By AVX-512F, BW and VL. Used in functions alone that are compiled for them, and called where the processor has them.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl CodePath for Avx512 {
    #[inline(always)]
    fn addresses_within<N: Bits>(
        first: &[[N; 2]; BOXES],
        last: &[[N; 2]; BOXES],
        value: [N; 2],
    ) -> u32 {
        // SAFETY: see the type.
        unsafe { N::within_avx512(first, last, value) }
    }

    #[inline(always)]
    fn uppers_within(first: &[[u16; 4]; BOXES], last: &[[u16; 4]; BOXES], value: [u16; 4]) -> u32 {
        use std::arch::x86_64::*;
        // SAFETY: the processor has what it takes, see the type; three of four words are loaded, 24 bytes,
        // which is what each array has.
        unsafe {
            let first = _mm256_maskz_loadu_epi64(7, first.as_ptr().cast());
            let last = _mm256_maskz_loadu_epi64(7, last.as_ptr().cast());
            let value = _mm256_set1_epi64x(quad(value));
            let nearest = _mm256_max_epu16(first, _mm256_min_epu16(value, last));
            u32::from(_mm256_cmpeq_epi64_mask(nearest, value))
        }
    }

    #[inline(always)]
    fn lanes_within<N: Bits>(first: [N; 2], last: [N; 2], values: &[[N; 2]; LANES]) -> u32 {
        // SAFETY: see the type.
        unsafe { N::lanes_within_avx512(first, last, values) }
    }

    #[inline(always)]
    fn upper_lanes_within(first: [u16; 4], last: [u16; 4], values: &[[u16; 4]; LANES]) -> u32 {
        use std::arch::x86_64::*;
        let mut found = 0;
        for (half, values) in values.chunks_exact(8).enumerate() {
            // SAFETY: the processor has what it takes, see the type; eight values are 64 bytes.
            unsafe {
                let values = _mm512_loadu_si512(values.as_ptr().cast());
                let last = _mm512_set1_epi64(quad(last));
                let first = _mm512_set1_epi64(quad(first));
                let nearest = _mm512_max_epu16(first, _mm512_min_epu16(values, last));
                found |= u32::from(_mm512_cmpeq_epi64_mask(nearest, values)) << (8 * half);
            }
        }
        found
    }

    #[inline(always)]
    fn above(ranks: &[u64; LANES], sequence: u32) -> u32 {
        use std::arch::x86_64::*;
        let mut found = 0;
        for (half, ranks) in ranks.chunks_exact(8).enumerate() {
            // SAFETY: the processor has what it takes, see the type; eight ranks are 64 bytes.
            unsafe {
                let ranks = _mm512_srli_epi64::<32>(_mm512_loadu_si512(ranks.as_ptr().cast()));
                let sequence = _mm512_set1_epi64(i64::from(sequence));
                found |= u32::from(_mm512_cmpgt_epu64_mask(ranks, sequence)) << (8 * half);
            }
        }
        found
    }

    #[inline(always)]
    fn chains(filter: &[u32], heads: &[u32], hashes: &Lanes, open: u32) -> Chains {
        use std::arch::x86_64::*;
        debug_assert!(filter.len().is_power_of_two() && heads.len().is_power_of_two());
        let mut chains = Chains {
            lanes: [0; LANES],
            blocks: [0; LANES],
            count: 0,
        };
        // SAFETY: the processor has what it takes, see the type. The hashes are sixteen words, and so are lanes and blocks. Each
        // index into filter and heads is less than their number, which is a power of two and at least one.
        unsafe {
            let hash = _mm512_loadu_si512(hashes.as_ptr().cast());
            let mask = _mm512_set1_epi32((filter.len() - 1) as i32);
            let word = _mm512_and_si512(_mm512_srli_epi32::<WORD_SHIFT>(hash), mask);
            let words = _mm512_i32gather_epi32::<4>(word, filter.as_ptr().cast());
            let (one, five) = (_mm512_set1_epi32(1), _mm512_set1_epi32(31));
            let bit = |hash| _mm512_sllv_epi32(one, _mm512_and_si512(hash, five));
            let bits = _mm512_or_si512(
                _mm512_or_si512(bit(hash), bit(_mm512_srli_epi32::<5>(hash))),
                bit(_mm512_srli_epi32::<10>(hash)),
            );
            // All of the bits are in the word, where none is in its complement.
            let missing = _mm512_andnot_si512(words, bits);
            let held = _mm512_mask_testn_epi32_mask(open as __mmask16, missing, bits);
            let bucket = _mm512_and_si512(hash, _mm512_set1_epi32((heads.len() - 1) as i32));
            let none = _mm512_set1_epi32(NONE as i32);
            let blocks =
                _mm512_mask_i32gather_epi32::<4>(none, held, bucket, heads.as_ptr().cast());
            let there = _mm512_cmpneq_epi32_mask(blocks, none);
            let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
            _mm512_storeu_si512(
                chains.lanes.as_mut_ptr().cast(),
                _mm512_maskz_compress_epi32(there, lanes),
            );
            _mm512_storeu_si512(
                chains.blocks.as_mut_ptr().cast(),
                _mm512_maskz_compress_epi32(there, blocks),
            );
            chains.count = there.count_ones() as usize;
        }
        chains
    }
}

/// Four fields, as they lie in memory.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn quad(fields: [u16; 4]) -> i64 {
    let [a, b, c, d] = fields.map(i64::from);
    d << 48 | c << 32 | b << 16 | a
}
