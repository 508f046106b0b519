//! The external ports that a rule gives out.

use std::fmt;

use crate::acl::PortRange;

/// A set of ports, in the form that a search among the ports in use reads: a word for each 64 ports.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PortSet {
    ranges: Box<[PortRange]>,
    /// Blocks of 64 ports that have any of the set, in order, each with a bit for each of its ports.
    blocks: Box<[(u16, u64)]>,
    fingerprint: u64,
}

impl PortSet {
    /// The ports in a block.
    const BLOCK: u16 = 64;

    /// The set of some ranges, first and last included.
    pub fn new(ranges: &[PortRange]) -> Self {
        let mut blocks: Vec<(u16, u64)> = Vec::new();
        for number in 0..=u16::MAX / Self::BLOCK {
            let first = number * Self::BLOCK;
            let bit = |offset: u16| {
                let is_in = |range: &PortRange| (range.0..=range.1).contains(&(first + offset));
                u64::from(ranges.iter().any(is_in)) << offset
            };
            let word = (0..Self::BLOCK).map(bit).fold(0, |word, bit| word | bit);
            if word != 0 {
                blocks.push((number, word));
            }
        }
        // FNV-1a, over the ports themselves: the same set has the same fingerprint, however it is said.
        let fold = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x0100_0000_01b3);
        let fingerprint = blocks
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, &(number, word)| {
                fold(fold(hash, number.into()), word)
            });
        PortSet {
            ranges: ranges.into(),
            blocks: blocks.into(),
            fingerprint,
        }
    }

    /// Blocks of 64 ports that have any of the set, in order: the number of the block, and a bit for each of its ports.
    pub fn blocks(&self) -> &[(u16, u64)] {
        &self.blocks
    }

    /// Whether a port is in the set. Cost: the logarithm of the number of blocks.
    pub fn contains(&self, port: u16) -> bool {
        let block = self
            .blocks
            .binary_search_by_key(&(port / Self::BLOCK), |(number, _)| *number);
        block.is_ok_and(|at| self.blocks[at].1 & 1 << (port % Self::BLOCK) != 0)
    }

    /// What tells sets apart by a number.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle: the ranges, port by port.
        #[test]
        fn a_set_has_the_ports_of_its_ranges(
            ranges in prop::collection::vec((any::<u16>(), 0u16..300), 1..5),
            ports in prop::collection::vec(any::<u16>(), 0..50),
        ) {
            let ranges: Vec<PortRange> =
                ranges.into_iter().map(|(first, more)| (first, first.saturating_add(more))).collect();
            let set = PortSet::new(&ranges);
            let ends = ranges.iter().flat_map(|(first, last)| {
                [*first, *last, first.wrapping_sub(1), last.wrapping_add(1)]
            });
            for port in ports.into_iter().chain(ends) {
                let expected = ranges.iter().any(|(first, last)| (first..=last).contains(&&port));
                prop_assert_eq!(set.contains(port), expected);
            }
            let number: u32 = set.blocks().iter().map(|(_, word)| word.count_ones()).sum();
            let expected = (0..=u16::MAX).filter(|port| set.contains(*port)).count();
            prop_assert_eq!(number as usize, expected);
        }
    }

    #[test]
    fn the_same_ports_have_the_same_fingerprint() {
        let one = PortSet::new(&[(1000, 1999)]);
        let two = PortSet::new(&[(1000, 1500), (1501, 1999)]);
        assert_eq!(one.fingerprint(), two.fingerprint());
        let other = PortSet::new(&[(1000, 1998)]);
        assert_ne!(one.fingerprint(), other.fingerprint());
    }
}
