//! The Internet checksum: the sum (RFC 1071), its incremental update (RFC 1624), pseudo headers.
//!
//! One's-complement arithmetic has two zeroes, 0x0000 and 0xffff. A sum of bytes that are not all
//! zero is never 0x0000, so its checksum is never 0xffff; the checksum of all-zero bytes is 0xffff.
//! An update by [`Delta`] always gives the checksum of bytes that are *not* all zero, which is
//! right for every header but one: an ICMPv4 echo reply of nothing but zeroes, which [`crate::nat`]
//! takes care of.

use crate::ip::{IpAddress, Protocol};

/// A one's-complement sum in the making.
///
/// Room for more than 4 GiB of bytes before anything could be lost, which no packet has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum(0);

    /// Adds a 16-bit word.
    #[inline]
    pub const fn u16(self, word: u16) -> Sum {
        Sum(self.0 + word as u64)
    }

    /// Adds a 32-bit value: two words, of which the sum is folded later.
    #[inline]
    pub const fn u32(self, value: u32) -> Sum {
        Sum(self.0 + value as u64)
    }

    /// Adds a 128-bit value: eight words. An IPv4 address with 96 zero bits after it adds what it
    /// does alone.
    #[inline]
    pub const fn u128(self, value: u128) -> Sum {
        self.u32((value >> 96) as u32)
            .u32((value >> 64) as u32)
            .u32((value >> 32) as u32)
            .u32(value as u32)
    }

    /// Adds bytes, that start at an even offset of what is summed. An odd last byte is the high
    /// half of a word whose low half is zero, so only the last piece may have one.
    ///
    /// Eight bytes a step, both halves of a word into one 64-bit sum: no carry to wait for, and
    /// the compiler makes vectors of it.
    #[inline]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        // The sum is the same in either byte order but for a swap of the result (RFC 1071 section 2
        // B).
        let (words, rest) = bytes.as_chunks::<8>();
        let mut sum: u64 = 0;
        for word in words {
            let word = u64::from_ne_bytes(*word);
            sum += (word >> 32) + (word & 0xffff_ffff);
        }
        // A header of IPv4 without options ends here.
        let (half, rest) = match rest.split_first_chunk::<4>() {
            Some((half, rest)) => (u32::from_ne_bytes(*half), rest),
            None => (0, rest),
        };
        sum += u64::from(half);
        let (pairs, last) = rest.as_chunks::<2>();
        for pair in pairs {
            sum += u64::from(u16::from_ne_bytes(*pair));
        }
        if let [last] = last {
            sum += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Sum(self.0 + u64::from(u16::from_be(fold(sum))))
    }

    /// The sum itself, in 16 bits. 0xffff over bytes that contain their own right checksum.
    #[inline]
    pub const fn folded(self) -> u16 {
        fold(self.0)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether what was summed contains its own right checksum.
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.checksum() == 0
    }
}

/// A sum of words as they lie in memory, whatever the byte order of the processor: it is the sum in the other order, swapped
/// (RFC 1071 section 2 B). So what is summed, and put back, in one order needs no swap. Four words at a time: what is carried out of them
/// comes back in (section 2 C).
#[derive(Clone, Copy)]
pub(crate) struct MemorySum(u64);

impl MemorySum {
    /// What forwarding adds to the sum of an IPv4 header: the time to live, the first byte of its word, is one less.
    pub(crate) const HOP: MemorySum = MemorySum((u16::MAX - u16::from_ne_bytes([1, 0])) as u64);

    /// The sum of nothing.
    pub(crate) const ZERO: MemorySum = MemorySum(0);

    /// Adds two words.
    #[inline(always)]
    pub(crate) const fn u32(self, words: u32) -> Self {
        self.u64(words as u64)
    }

    /// Adds four words.
    #[inline(always)]
    pub(crate) const fn u64(self, words: u64) -> Self {
        let (sum, is_over) = self.0.overflowing_add(words);
        // Whatever has overflowed is far from doing so again.
        MemorySum(sum + is_over as u64)
    }

    /// Adds another sum.
    #[inline(always)]
    pub(crate) const fn and(self, other: Self) -> Self {
        self.u64(other.0)
    }

    /// The checksum in memory after a change of what it covers: this is the sum of the complements of what was, and of what is
    /// (RFC 1624 equation 3).
    #[inline(always)]
    pub(crate) const fn apply(self, checksum: u16) -> u16 {
        !fold(self.u64(!checksum as u64).0)
    }

    /// Whether what was summed contains its own right checksum.
    #[inline(always)]
    pub(crate) const fn is_valid(self) -> bool {
        fold(self.0) == u16::MAX
    }
}

#[inline]
const fn fold(sum: u64) -> u16 {
    // The sum of both halves stands in the high one, and the carry out of the low one has come to it: 64 bits into 32, and
    // those into 16.
    let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
    (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
}

/// The Internet checksum of `bytes` (RFC 1071).
#[inline]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::ZERO.bytes(bytes).checksum()
}

/// The sum of the pseudo header that TCP, UDP and ICMPv6 put before their bytes (RFC 9293 section
/// 3.1, RFC 8200 section 8.1). `length` is that of the upper-layer packet.
#[inline]
pub fn pseudo_header<A: IpAddress>(
    source: A,
    destination: A,
    protocol: Protocol,
    length: usize,
) -> Sum {
    Sum::ZERO
        .u128(source.to_left_aligned())
        .u128(destination.to_left_aligned())
        .u16(protocol.0.into())
        .u32(u32::try_from(length).unwrap_or(u32::MAX))
}

/// What a change of some words does to a checksum that covers them (RFC 1624 equation 3).
///
/// A delta is made once and may be applied to several checksums: an address change touches both the
/// IPv4 header's checksum and, through the pseudo header, that of TCP. It never looks at the other
/// bytes covered, so a packet that was damaged stays recognisably damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Delta(Sum);

impl Delta {
    /// No change.
    pub const NONE: Delta = Delta(Sum::ZERO);

    /// A word changes.
    #[inline]
    pub const fn u16(self, old: u16, new: u16) -> Delta {
        Delta(self.0.u16(!old).u16(new))
    }

    /// A 32-bit value at an even offset changes.
    #[inline]
    pub const fn u32(self, old: u32, new: u32) -> Delta {
        Delta(self.0.u32(!old).u32(new))
    }

    /// A 128-bit value at an even offset changes: a 16-byte address, or anything shorter,
    /// left-aligned.
    #[inline]
    pub const fn u128(self, old: u128, new: u128) -> Delta {
        Delta(self.0.u128(!old).u128(new))
    }

    /// An address changes.
    #[inline]
    pub fn address<A: IpAddress>(self, old: A, new: A) -> Delta {
        self.u128(old.to_left_aligned(), new.to_left_aligned())
    }

    /// Both changes.
    #[inline]
    pub const fn and(self, other: Delta) -> Delta {
        Delta(Sum(self.0.0 + other.0.0))
    }

    /// The checksum after the change. Gives 0x0000, not 0xffff, for the zero that they both are.
    #[inline]
    pub const fn apply(self, checksum: u16) -> u16 {
        self.0.u16(!checksum).checksum()
    }
}

/// The checksum after a word that it covers changed from `old` to `new`.
#[inline]
pub const fn update_u16(checksum: u16, old: u16, new: u16) -> u16 {
    Delta::NONE.u16(old, new).apply(checksum)
}

/// The checksum after a 32-bit value that it covers changed.
#[inline]
pub const fn update_u32(checksum: u16, old: u32, new: u32) -> u16 {
    Delta::NONE.u32(old, new).apply(checksum)
}

/// The checksum after an address that it covers changed, of either family.
#[inline]
pub fn update_address<A: IpAddress>(checksum: u16, old: A, new: A) -> u16 {
    Delta::NONE.address(old, new).apply(checksum)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 section 4.1 as it is written there: the oracle.
    fn reference(bytes: &[u8]) -> u16 {
        let mut sum: u32 = 0;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn the_example_of_rfc_1071() {
        // Section 3: the sum of these is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::ZERO.bytes(&bytes).folded(), 0xddf2);
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: equation 3 gives 0x0000 where RFC 1141 gave 0xffff.
        assert_eq!(update_u16(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn zeroes() {
        assert_eq!(checksum(&[]), 0xffff);
        assert_eq!(checksum(&[0; 40]), 0xffff);
        assert_eq!(checksum(&[0xff; 40]), 0x0000);
        assert!(Sum::ZERO.bytes(&[0xff; 40]).is_valid());
        assert!(!Sum::ZERO.bytes(&[0; 40]).is_valid());
    }

    #[test]
    fn long_and_full_of_carries() {
        let bytes = vec![0xff; 65_535];
        assert_eq!(checksum(&bytes), reference(&bytes));
    }

    /// Words where the two zeroes and the carries are.
    fn word() -> impl Strategy<Value = u16> {
        prop_oneof![Just(0), Just(0xffff), Just(1), Just(0xfffe), any::<u16>()]
    }

    fn v6() -> impl Strategy<Value = Ipv6Addr> {
        prop_oneof![
            Just(Ipv6Addr::UNSPECIFIED),
            Just(Ipv6Addr::from([0xff; 16])),
            any::<[u8; 16]>().prop_map(Ipv6Addr::from),
        ]
    }

    fn v4() -> impl Strategy<Value = Ipv4Addr> {
        prop_oneof![
            Just(Ipv4Addr::UNSPECIFIED),
            Just(Ipv4Addr::BROADCAST),
            any::<[u8; 4]>().prop_map(Ipv4Addr::from),
        ]
    }

    /// What an update must equal: the full sum, but 0x0000 for all-zero bytes.
    fn not_ffff(full: u16) -> u16 {
        if full == 0xffff { 0 } else { full }
    }

    fn bytes_of(words: &[u16]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    proptest! {
        #[test]
        fn the_fast_sum_is_the_slow_sum(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(checksum(&bytes), reference(&bytes));
        }

        /// Folding is the remainder by 65,535, but that only the sum 0 gives 0.
        #[test]
        fn every_carry_comes_back(words in [word(), word(), word(), word()]) {
            let sum = words.into_iter().fold(0, |sum, word| sum << 16 | u64::from(word));
            let expected = match sum % 0xffff {
                0 if sum != 0 => 0xffff,
                rest => rest as u16,
            };
            prop_assert_eq!(fold(sum), expected);
        }

        #[test]
        fn pieces_add_up(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cut: prop::sample::Index,
        ) {
            let cut = cut.index(bytes.len() + 1) & !1;
            let sum = Sum::ZERO.bytes(&bytes[..cut]).bytes(&bytes[cut..]);
            prop_assert_eq!(sum.checksum(), reference(&bytes));
        }

        #[test]
        fn numbers_add_like_their_bytes(a: u16, b: u32, c: u128) {
            let mut bytes = a.to_be_bytes().to_vec();
            bytes.extend(b.to_be_bytes());
            bytes.extend(c.to_be_bytes());
            prop_assert_eq!(Sum::ZERO.u16(a).u32(b).u128(c).checksum(), reference(&bytes));
        }

        #[test]
        fn an_update_equals_the_full_sum(
            words in prop::collection::vec(word(), 10),
            index in 0usize..9,
            new: [u16; 2],
            edge in word(),
        ) {
            let mut words = words;
            let old = reference(&bytes_of(&words));
            let narrow = Delta::NONE.u16(words[index], edge);
            let (a, b) = (words[index], words[index + 1]);
            words[index] = edge;
            prop_assert_eq!(narrow.apply(old), not_ffff(reference(&bytes_of(&words))));
            prop_assert_eq!(update_u16(old, a, edge), narrow.apply(old));
            [words[index], words[index + 1]] = new;
            let long = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
            let updated = update_u32(old, long(a, b), long(new[0], new[1]));
            prop_assert_eq!(updated, not_ffff(reference(&bytes_of(&words))));
        }

        #[test]
        fn an_address_update_equals_the_full_sum(
            old6 in v6(),
            new6 in v6(),
            old4 in v4(),
            new4 in v4(),
            rest in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let full = |address: &[u8]| reference(&[address, &rest[..]].concat());
            prop_assert_eq!(
                update_address(full(&old6.octets()), old6, new6),
                not_ffff(full(&new6.octets()))
            );
            prop_assert_eq!(
                update_address(full(&old4.octets()), old4, new4),
                not_ffff(full(&new4.octets()))
            );
        }

        #[test]
        fn damage_stays_damage(
            words in prop::collection::vec(word(), 1..20),
            bad in 1u16..0xffff,
            new in word(),
        ) {
            let mut bytes = bytes_of(&words);
            let damaged = Sum::ZERO.u16(reference(&bytes)).u16(bad).folded();
            let updated = update_u16(damaged, words[0], new);
            bytes[..2].copy_from_slice(&new.to_be_bytes());
            prop_assert!(!Sum::ZERO.bytes(&bytes).u16(updated).is_valid());
        }

        #[test]
        fn pseudo_headers_are_those_of_the_rfcs(
            s4 in v4(), d4 in v4(), s6 in v6(), d6 in v6(), protocol: u8, length: u16,
        ) {
            let mut bytes = [s4.octets(), d4.octets()].concat();
            bytes.extend([0, protocol]);
            bytes.extend(length.to_be_bytes());
            let sum = pseudo_header(s4, d4, Protocol(protocol), length.into());
            prop_assert_eq!(sum.checksum(), reference(&bytes));

            let mut bytes = [s6.octets(), d6.octets()].concat();
            bytes.extend(u32::from(length).to_be_bytes());
            bytes.extend([0, 0, 0, protocol]);
            let sum = pseudo_header(s6, d6, Protocol(protocol), length.into());
            prop_assert_eq!(sum.checksum(), reference(&bytes));
        }
    }
}
