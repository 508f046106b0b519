//! What a lookup needs to know of an address: its bits, from the first one on.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::lookup::View;
use super::slot::Slot;

/// An address as a lookup takes it.
pub trait Key: Copy + Default {
    /// Where the table that begins a lookup in a full trie lies.
    const SHAPE: Shape;

    /// The 32 bits from `depth` on; bits behind the end are 0. `depth` is less than the number of bits.
    fn window(self, depth: u8) -> u32;

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
    /// Whether nodes of few intervals are leaves. It takes longer to find an address in a leaf than in a table, but a leaf is in the place of
    /// several tables where prefixes lie far apart.
    pub has_leaves: bool,
}

/// An IPv4 address as a number, in host order.
impl Key for u32 {
    /// 2¹⁸ cells, 1 MiB.
    const SHAPE: Shape = Shape {
        window: 0,
        window_length: 0,
        steps: &[(4096, 18)],
        has_leaves: false,
    };

    #[inline(always)]
    fn window(self, depth: u8) -> u32 {
        self << depth
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

/// The octets of an IPv6 address, in the order of the wire.
impl Key for [u8; 16] {
    /// Global unicast, 2000::/3 (RFC 4291, section 2.4; IANA has given out nothing else): 2¹⁵ cells, 128 KiB, or 2²¹ cells,
    /// 8 MiB. Other addresses begin at the root.
    const SHAPE: Shape = Shape {
        window: 0b001,
        window_length: 3,
        steps: &[(4096, 18), (65_536, 24)],
        has_leaves: true,
    };

    #[inline(always)]
    fn window(self, depth: u8) -> u32 {
        ((u128::from_be_bytes(self) << depth) >> 96) as u32
    }

    #[inline(always)]
    fn first(self, count: u8) -> u32 {
        (u128::from_be_bytes(self) >> (128 - count)) as u32
    }

    fn lookup(view: &View<'_>, keys: &[[u8; 16]], slots: &mut [Slot]) {
        #[cfg(target_arch = "x86_64")]
        if avx512::is_available() {
            // SAFETY: the processor has been asked.
            return unsafe { avx512::lookup6(view, keys, slots) };
        }
        view.best(keys, slots);
    }
}
