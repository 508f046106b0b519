//! Which keys connections have begun with of late: who has found that there is none, and has begun some since, need not look again
//! for most.

use super::KeyHash;

/// Bits: a batch of 64 connections sets 128 of them, so one of eight others is taken for one of theirs.
const BITS: usize = 1024;

/// A bit for each of many hashes, set by those of the keys that have been added.
#[derive(Clone, Debug)]
pub(super) struct Newcomers([u64; BITS / 64]);

impl Default for Newcomers {
    fn default() -> Self {
        Newcomers([0; BITS / 64])
    }
}

impl Newcomers {
    /// The word of a hash, and its bit there. Of the middle of the hash: the ends say where the index has it.
    #[inline(always)]
    fn place(KeyHash(spot): KeyHash) -> (usize, u64) {
        let bit = (spot.low() >> 16) as usize % BITS;
        (bit / 64, 1 << (bit % 64))
    }

    #[inline(always)]
    pub(super) fn add(&mut self, hash: KeyHash) {
        let (word, bit) = Self::place(hash);
        self.0[word] |= bit;
    }

    /// Whether a key with this hash may have been added; false, if none was.
    #[inline(always)]
    pub(super) fn may_have(&self, hash: KeyHash) -> bool {
        let (word, bit) = Self::place(hash);
        self.0[word] & bit != 0
    }

    pub(super) fn forget(&mut self) {
        self.0 = [0; BITS / 64];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;

    #[test]
    fn what_was_added_is_known_until_it_is_forgotten() {
        let mut newcomers = Newcomers::default();
        let index = Index::new(2_000);
        let hash = |n: u64| KeyHash(index.spot(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let hashes = (0..64).map(hash);
        hashes.clone().for_each(|hash| newcomers.add(hash));
        assert!(hashes.clone().all(|hash| newcomers.may_have(hash)));
        let others = (64..1064).map(hash);
        let taken = others.filter(|hash| newcomers.may_have(*hash)).count();
        assert!(taken < 150, "{taken} of 1000 are taken for another");
        newcomers.forget();
        assert!(!hashes.clone().any(|hash| newcomers.may_have(hash)));
    }
}
