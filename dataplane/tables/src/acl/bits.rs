//! Addresses as numbers: what the classifier needs of either width.

use std::fmt::Debug;

/// An address as an unsigned number of 32 or 128 bits.
pub trait Bits: Copy + Ord + Debug + Default + Send + Sync + 'static {
    /// Bits of an address.
    const WIDTH: u8;
    /// The steps in which prefix lengths of tables differ.
    const FINE: u8;
    /// The steps in which those differ that are tried first.
    const COARSE: u8;
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
}

impl Bits for u128 {
    const WIDTH: u8 = 128;
    const FINE: u8 = 8;
    const COARSE: u8 = 16;
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
