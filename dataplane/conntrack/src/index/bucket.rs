//! A line of memory with entries.

use rewire_tables::memory::equal_bytes;
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Entries of one bucket.
pub(super) const SLOTS: usize = 12;
/// Counts of entries that are away, in a bucket.
pub(super) const COUNTS: u32 = 8;
/// The most that one of them can say.
pub(super) const MOST_MISSED: u32 = 15;
/// No slot has this tag but one that is free.
pub(super) const FREE: u8 = 0;

/// A cache line of entries. All zeros, it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) tags: [u8; SLOTS],
    /// How many entries have one of their places here, and are further away: eight counts of four bits, by the low bits of the tag. What is beyond
    /// the most that one can say is for [`Crowds`](super::crowds::Crowds); in an index without, it stays there.
    pub(super) missed: u32,
    pub(super) entries: [u32; SLOTS],
}

impl Bucket {
    /// The slots with a tag, the first one first. Exact: no slot that has another.
    #[inline(always)]
    pub(super) fn matches(&self, tag: u8) -> Matches {
        let (line, _) = self
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 16], &[]));
        Matches(equal_bytes(line, tag) & ((1 << SLOTS) - 1))
    }

    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.matches(FREE).0 == 0
    }

    /// Whether an entry with a tag that has one of its places here may be further away.
    #[inline(always)]
    pub(super) fn misses(&self, tag: u8) -> bool {
        self.missed >> missed_shift(tag) & MOST_MISSED != 0
    }

    /// Whether there are as many of them as can be said, or more.
    pub(super) fn misses_most(&self, tag: u8) -> bool {
        self.missed >> missed_shift(tag) & MOST_MISSED == MOST_MISSED
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self, is_exact: bool) -> bool {
        let mut tags = 0..COUNTS as u8;
        let is_over = |tag| !self.misses(tag) || !is_exact && self.misses_most(tag);
        self.tags == [FREE; SLOTS] && tags.all(is_over)
    }
}

/// Where a bucket counts those with a tag that are away from it.
#[inline(always)]
pub(super) fn missed_shift(tag: u8) -> u32 {
    u32::from(tag) % COUNTS * 4
}

/// Numbers of slots, a bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matches(pub(super) u32);

impl Iterator for Matches {
    type Item = usize;
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros();
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            slot as usize
        })
    }
}
