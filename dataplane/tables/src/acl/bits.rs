//! Addresses as numbers: what the classifier needs of either width.

use std::fmt::Debug;

use crate::acl::block::BOXES;
use crate::acl::code_path::{CodePath, LANES, Portable};

/// An address as an unsigned number of 32 or 128 bits.
pub trait Bits: Copy + Ord + Debug + Default + Send + Sync + 'static {
    /// Bits of an address.
    const WIDTH: u8;
    /// The steps in which prefix lengths of tables differ.
    const FINE: u8;
    /// The steps in which those differ that are tried first.
    const COARSE: u8;
    /// The longest length of a table that tells boxes apart by one address alone.
    const MOST: u8;
    /// The largest address.
    const MAX: Self;

    /// The address before; of the first, itself.
    fn before(self) -> Self;

    /// The address after; of the last, itself.
    fn after(self) -> Self;

    /// The length of the longest prefix that both addresses are in.
    fn common_length(self, other: Self) -> u8;

    /// A hash of the first `length` bits. `salt` tells sources from destinations.
    fn hash(self, length: u8, salt: u32) -> u32;

    /// A bit for each of three pairs of ranges that a pair of addresses lies in.
    ///
    /// # Safety
    /// The processor must have AVX-512F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn within_avx512(
        first: &[[Self; 2]; BOXES],
        last: &[[Self; 2]; BOXES],
        value: [Self; 2],
    ) -> u32 {
        Portable::addresses_within(first, last, value)
    }

    /// A bit for each of sixteen pairs of addresses that lies in a pair of ranges.
    ///
    /// # Safety
    /// The processor must have AVX-512F, BW and VL.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn lanes_within_avx512(
        first: [Self; 2],
        last: [Self; 2],
        values: &[[Self; 2]; LANES],
    ) -> u32 {
        Portable::lanes_within(first, last, values)
    }
}

/// Multipliers of good spectral quality (Steele and Vigna 2021).
const M32: u32 = 0x93d7_65dd;
const M64: u64 = 0xd134_2543_de82_ef95;

#[inline(always)]
pub(super) fn mix32(x: u32) -> u32 {
    let x = x.wrapping_mul(M32);
    let x = (x ^ (x >> 15)).wrapping_mul(0x85eb_ca77);
    x ^ (x >> 13)
}

impl Bits for u32 {
    const WIDTH: u8 = 32;
    const FINE: u8 = 4;
    const COARSE: u8 = 8;
    const MOST: u8 = 24;
    const MAX: u32 = u32::MAX;

    fn before(self) -> u32 {
        self.saturating_sub(1)
    }

    fn after(self) -> u32 {
        self.saturating_add(1)
    }

    fn common_length(self, other: u32) -> u8 {
        (self ^ other).leading_zeros() as u8
    }

    #[inline(always)]
    fn hash(self, length: u8, salt: u32) -> u32 {
        let prefix = self.checked_shr(32 - u32::from(length)).unwrap_or_default();
        mix32(prefix ^ salt)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn within_avx512(
        first: &[[u32; 2]; BOXES],
        last: &[[u32; 2]; BOXES],
        value: [u32; 2],
    ) -> u32 {
        use std::arch::x86_64::*;
        // SAFETY: the processor has what it takes, says the caller; three of four words are loaded, 24 bytes,
        // which is what each array has.
        unsafe {
            let first = _mm256_maskz_loadu_epi64(7, first.as_ptr().cast());
            let last = _mm256_maskz_loadu_epi64(7, last.as_ptr().cast());
            let value = _mm256_set1_epi64x(pair(value));
            let nearest = _mm256_max_epu32(first, _mm256_min_epu32(value, last));
            u32::from(_mm256_cmpeq_epi64_mask(nearest, value))
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn lanes_within_avx512(
        first: [u32; 2],
        last: [u32; 2],
        values: &[[u32; 2]; LANES],
    ) -> u32 {
        use std::arch::x86_64::*;
        let mut found = 0;
        for (half, values) in values.chunks_exact(8).enumerate() {
            // SAFETY: the processor has what it takes, says the caller; eight pairs are 64 bytes.
            unsafe {
                let values = _mm512_loadu_si512(values.as_ptr().cast());
                let last = _mm512_set1_epi64(pair(last));
                let first = _mm512_set1_epi64(pair(first));
                let nearest = _mm512_max_epu32(first, _mm512_min_epu32(values, last));
                found |= u32::from(_mm512_cmpeq_epi64_mask(nearest, values)) << (8 * half);
            }
        }
        found
    }
}

/// A pair of addresses, as it lies in memory.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pair([source, destination]: [u32; 2]) -> i64 {
    i64::from(destination) << 32 | i64::from(source)
}

impl Bits for u128 {
    const WIDTH: u8 = 128;
    const FINE: u8 = 8;
    const COARSE: u8 = 16;
    const MOST: u8 = 64;
    const MAX: u128 = u128::MAX;

    fn before(self) -> u128 {
        self.saturating_sub(1)
    }

    fn after(self) -> u128 {
        self.saturating_add(1)
    }

    fn common_length(self, other: u128) -> u8 {
        (self ^ other).leading_zeros() as u8
    }

    #[inline(always)]
    fn hash(self, length: u8, salt: u32) -> u32 {
        let mask = u128::MAX
            .checked_shl(128 - u32::from(length))
            .unwrap_or_default();
        let prefix = self & mask;
        let (high, low) = ((prefix >> 64) as u64, prefix as u64);
        let x = (high ^ u64::from(salt)).wrapping_mul(M64) ^ low.wrapping_mul(M64.rotate_left(24));
        let x = (x ^ (x >> 32)).wrapping_mul(M64);
        (x >> 32) as u32
    }
}
