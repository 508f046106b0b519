//! The lookup, for any processor; and which way through the table this processor is best at.

use super::chunk::{self, STRIDE, Slot};
use super::key::Key;
use super::trie::Trie;

/// What lookups read of a trie, taken apart once for a batch.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) words: &'a [u32],
    pub(super) cells: &'a [Slot],
    /// The number of bits that the cells resolve; 0 where there are none.
    pub(super) bits: u8,
    pub(super) root: Slot,
    pub(super) default: Slot,
}

impl<'a> View<'a> {
    #[inline(always)]
    pub(super) fn of(trie: &'a Trie) -> View<'a> {
        View {
            words: trie.words(),
            cells: trie.direct().cells(),
            bits: trie.direct().bits(),
            root: trie.root(),
            default: trie.default(),
        }
    }

    /// The slot that a lookup begins with, and how many bits that resolved.
    #[inline(always)]
    fn begin<K: Key>(&self, key: K) -> (Slot, u8) {
        if self.bits > 0 {
            let first = K::SHAPE.window << (self.bits - K::SHAPE.window_length);
            let index = key.first(self.bits).wrapping_sub(first);
            if let Some(cell) = self.cells.get(index as usize) {
                return (*cell, self.bits);
            }
        }
        (self.root, 0)
    }

    /// Goes on from a slot that `depth` bits led to.
    #[inline(always)]
    pub(super) fn finish<K: Key>(&self, key: K, mut slot: Slot, mut depth: u8) -> Slot {
        while let Some(at) = slot.chunk() {
            slot = chunk::read(self.words, at, key.slot(depth));
            depth += STRIDE;
        }
        if slot == Slot::NONE { self.default } else { slot }
    }

    /// Looks one address up.
    #[inline(always)]
    pub(super) fn one<K: Key>(&self, key: K) -> Slot {
        let (slot, depth) = self.begin(key);
        self.finish(key, slot, depth)
    }

    /// Looks up `keys[i]` into `slots[i]`.
    #[inline(always)]
    pub(super) fn portable<K: Key>(&self, keys: &[K], slots: &mut [Slot]) {
        for (key, slot) in keys.iter().zip(slots) {
            *slot = self.one(*key);
        }
    }
}
