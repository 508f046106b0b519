//! Choices that a seed repeats.
#![allow(dead_code)] // each test file uses its part

/// SplitMix64 (Steele, Lea and Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    /// Some of the items, in any order. Sometimes most of them and sometimes few, so that single ones are missing, or
    /// there, as well.
    pub(crate) fn some_of<T>(&mut self, items: Vec<T>) -> Vec<T> {
        let one_in = 1 + self.below(16);
        let invert = self.below(2) == 0;
        let mut some: Vec<T> = items
            .into_iter()
            .filter(|_| (self.below(one_in + 1) == 0) != invert)
            .collect();
        for end in (1..some.len()).rev() {
            some.swap(end, self.below(end + 1));
        }
        some
    }
}
