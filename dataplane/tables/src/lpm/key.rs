//! What a lookup needs to know of an address: its bits, from the first one on.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::chunk::Slot;
use super::lookup::View;

/// An address as a number, most significant bit first.
pub trait Key: Copy + Default {
    /// Where the table that begins a lookup in a full trie lies.
    const SHAPE: Shape;

    /// The six bits from `depth` on; bits behind the end are 0. `depth` is less than the number of bits.
    fn slot(self, depth: u8) -> u32;

    /// The first `count` bits, 1 to 32.
    fn first(self, count: u8) -> u32;

    /// Looks a batch up with the widest vectors that this processor has.
    #[doc(hidden)]
    fn lookup(view: &View<'_>, keys: &[Self], slots: &mut [Slot]);
}

/// Which part of a family's addresses has a direct table, and how fine it is for how many prefixes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The addresses that the table is for: those whose first `window_length` bits are `window`.
    pub window: u32,
    /// The number of bits that all addresses of the window share.
    pub window_length: u8,
    /// From how many prefixes on the table resolves how many bits of the address: growing, and multiples of six bits.
    pub steps: &'static [(usize, u8)],
}

impl Key for u32 {
    /// 2¹⁸ cells, 1 MiB.
    const SHAPE: Shape = Shape {
        window: 0,
        window_length: 0,
        steps: &[(4096, 18)],
    };

    #[inline(always)]
    fn slot(self, depth: u8) -> u32 {
        (self << depth) >> 26
    }

    #[inline(always)]
    fn first(self, count: u8) -> u32 {
        self >> (32 - count)
    }

    fn lookup(view: &View<'_>, keys: &[u32], slots: &mut [Slot]) {
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            // SAFETY: the processor has been asked.
            return unsafe { avx512::lookup4(view, keys, slots) };
        }
        view.best(keys, slots);
    }
}

impl Key for u128 {
    /// Global unicast, 2000::/3 (RFC 4291, section 2.4; IANA has given out nothing else): 2¹⁵ cells, 128 KiB, or 2²¹ cells,
    /// 8 MiB. Other addresses begin at the root.
    const SHAPE: Shape = Shape {
        window: 0b001,
        window_length: 3,
        steps: &[(4096, 18), (65_536, 24)],
    };

    #[inline(always)]
    fn slot(self, depth: u8) -> u32 {
        ((self << depth) >> 122) as u32
    }

    #[inline(always)]
    fn first(self, count: u8) -> u32 {
        (self >> (128 - count)) as u32
    }

    fn lookup(view: &View<'_>, keys: &[u128], slots: &mut [Slot]) {
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            // SAFETY: the processor has been asked.
            return unsafe { avx512::lookup6(view, keys, slots) };
        }
        view.best(keys, slots);
    }
}
