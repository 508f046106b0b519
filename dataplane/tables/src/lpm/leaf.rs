//! Leaves: up to eight intervals of addresses with their values, in one cache line.

use super::slot::Slot;

/// The most intervals of a leaf.
pub(super) const INTERVALS: usize = 8;
/// How many bits of an address a leaf tells apart.
pub(super) const WINDOW: u8 = 30;
/// No window begins with as many.
const NO_BOUNDARY: u32 = u32::MAX;

/// The addresses from `start` (the window of the first one) up to the next interval, and what is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) slot: Slot,
}

/// A leaf: seven boundaries, ascending, each the [`WINDOW`] bits that an interval but the first one begins with, then a word that is
/// none, then eight values. What is not in use holds a boundary that no address reaches. An address is in the
/// interval of as many boundaries as are not above it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(PartialEq))]
#[repr(C, align(64))]
pub(super) struct Leaf(pub(super) [u32; 2 * INTERVALS]);

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf([NO_BOUNDARY; 2 * INTERVALS])
    }
}

impl Leaf {
    /// A leaf of one to eight intervals. Where the first one begins is not kept: it begins with the leaf.
    pub(super) fn of(intervals: &[Interval]) -> Leaf {
        let mut leaf = Leaf::default();
        for (index, interval) in intervals.iter().enumerate() {
            if index > 0 {
                leaf.0[index - 1] = interval.start;
            }
            leaf.0[INTERVALS + index] = interval.slot.0;
        }
        leaf
    }

    /// Which interval the addresses with this window are in.
    #[inline(always)]
    pub(super) fn index_of(&self, window: u32) -> usize {
        let boundaries = &self.0[..INTERVALS];
        let above = boundaries.iter().map(|start| u32::from(window >= *start));
        // No window reaches the last word of the boundaries: the count is at most 7.
        above.sum::<u32>() as usize & (INTERVALS - 1)
    }

    /// What is said of an interval.
    #[inline(always)]
    pub(super) fn value(&self, index: usize) -> Slot {
        Slot(self.0[INTERVALS + index])
    }

    /// Says something else of an interval.
    pub(super) fn set_value(&mut self, index: usize, slot: Slot) {
        self.0[INTERVALS + index] = slot.0;
    }

    /// The window that an interval begins with, 0 for the first one, and the one behind it.
    pub(super) fn bounds(&self, index: usize) -> (u32, u32) {
        let start = index.checked_sub(1).map_or(0, |before| self.0[before]);
        (start, self.0[index].min(1 << WINDOW))
    }

    /// What is said of the addresses with this window.
    #[inline(always)]
    pub(super) fn find(&self, window: u32) -> Slot {
        self.value(self.index_of(window))
    }

    /// The intervals, the first one as beginning with window 0.
    pub(super) fn intervals(&self) -> impl Iterator<Item = Interval> {
        let starts = std::iter::once(0).chain(self.0[..INTERVALS].iter().copied());
        let intervals = starts.zip(&self.0[INTERVALS..]);
        intervals
            .take_while(|(start, _)| *start != NO_BOUNDARY)
            .map(|(start, slot)| Interval {
                start,
                slot: Slot(*slot),
            })
    }
}
