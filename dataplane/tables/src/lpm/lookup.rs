//! The lookup, for any processor, and for those that count bits in one instruction.

use super::key::Key;
use super::leaf::{Leaf, WINDOW};
use super::slot::{STRIDE, Says, Slot};
use super::trie::Trie;

/// What lookups read of a trie, taken apart once for a batch.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The cells of all tables.
    pub(super) cells: &'a [u32],
    pub(super) leaves: &'a [Leaf],
    /// The cells of the direct table.
    pub(super) direct: &'a [Slot],
    /// The number of bits that the direct table resolves; 0 where there is none.
    pub(super) bits: u8,
    pub(super) root: Slot,
    pub(super) default: Slot,
}

impl<'a> View<'a> {
    #[inline(always)]
    pub(super) fn of(trie: &'a Trie) -> View<'a> {
        View {
            cells: trie.cells(),
            leaves: trie.leaves(),
            direct: trie.direct().cells(),
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
            if let Some(cell) = self.direct.get(index as usize) {
                return (*cell, self.bits);
            }
        }
        (self.root, 0)
    }

    /// Goes on from a slot that `depth` bits led to.
    #[inline(always)]
    pub(super) fn finish<K: Key>(&self, key: K, mut slot: Slot, mut depth: u8) -> Slot {
        loop {
            match slot.says() {
                Says::Value => break,
                Says::Table { at, stride } => {
                    let index = key.window(depth) >> (32 - stride);
                    slot = Slot(self.cells[at + index as usize]);
                    if slot.is_table() {
                        depth += STRIDE;
                    }
                }
                Says::Leaf(line) => {
                    let window = key.window(depth) >> (32 - WINDOW);
                    slot = self.leaves[line as usize].find(window);
                }
            }
        }
        if slot == Slot::NONE {
            self.default
        } else {
            slot
        }
    }

    /// Looks one address up.
    #[inline(always)]
    pub(super) fn one<K: Key>(&self, key: K) -> Slot {
        let (slot, depth) = self.begin(key);
        self.finish(key, slot, depth)
    }

    /// Looks up `keys[i]` into `slots[i]`: the first cells of a group all at once, so that their reads of memory overlap.
    #[inline(always)]
    pub(super) fn portable<K: Key>(&self, keys: &[K], slots: &mut [Slot]) {
        for (keys, slots) in keys.chunks(GROUP).zip(slots.chunks_mut(GROUP)) {
            let mut depths = [0; GROUP];
            for ((key, slot), depth) in keys.iter().zip(slots.iter_mut()).zip(&mut depths) {
                (*slot, *depth) = self.begin(*key);
            }
            for ((key, slot), depth) in keys.iter().zip(slots.iter_mut()).zip(depths) {
                *slot = self.finish(*key, *slot, depth);
            }
        }
    }

    /// The same, with the instructions that came with AVX2 where this processor has them: counting bits takes one
    /// instead of a dozen.
    pub(super) fn best<K: Key>(&self, keys: &[K], slots: &mut [Slot]) {
        #[cfg(target_arch = "x86_64")]
        if avx2_is_available() {
            // SAFETY: the processor has been asked.
            return unsafe { with_avx2(self, keys, slots) };
        }
        self.portable(keys, slots);
    }
}

/// How many lookups of the portable way are under way at a time.
const GROUP: usize = 16;

/// Whether this processor has AVX2 and what came with it.
#[cfg(target_arch = "x86_64")]
pub(super) fn avx2_is_available() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
}

/// The portable way, compiled for AVX2, BMI and POPCNT.
///
/// # Safety
///
/// [`avx2_is_available`] has said yes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,popcnt")]
pub(super) unsafe fn with_avx2<K: Key>(view: &View<'_>, keys: &[K], slots: &mut [Slot]) {
    view.portable(keys, slots);
}
