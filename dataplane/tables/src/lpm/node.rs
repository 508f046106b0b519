//! The nodes of the trie.

use super::slot::{STRIDE, Slot};

/// One node.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Node {
    /// Which prefixes are there: bit 2ˡ + *b* is that of length *l* (1–6) with the bits *b*. Ascending bits are ascending lengths.
    pub(super) prefixes: [u64; 2],
    /// Which slots have a child.
    pub(super) children: u64,
    /// The value of the longest prefix above the node.
    pub(super) inherited: Slot,
    /// What leads to the node's table or leaf; a value where all its slots are equal.
    pub(super) slot: Slot,
    /// The block of its children, in the order of `children`, and its values, in the order of `prefixes`.
    pub(super) entries: u32,
}

impl Node {
    pub(super) fn child_count(&self) -> usize {
        self.children.count_ones() as usize
    }

    pub(super) fn entry_count(&self) -> usize {
        let prefixes = self.prefixes[0].count_ones() + self.prefixes[1].count_ones();
        self.child_count() + prefixes as usize
    }

    pub(super) fn has_prefix(&self, id: u32) -> bool {
        self.prefixes[id as usize / 64] >> (id % 64) & 1 != 0
    }

    /// Where among the entries the value of a prefix is, or would be.
    pub(super) fn prefix_rank(&self, id: u32) -> usize {
        let below = self.prefixes[id as usize / 64] & ((1 << (id % 64)) - 1);
        let first = if id < 64 {
            0
        } else {
            self.prefixes[0].count_ones()
        };
        self.child_count() + (first + below.count_ones()) as usize
    }

    /// Where among the entries the child of a slot is, or would be.
    pub(super) fn child_rank(&self, slot: u32) -> usize {
        (self.children & ((1 << slot) - 1)).count_ones() as usize
    }
}

/// The positions of the bits that are set, ascending.
pub(super) fn ones(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let next = bits.trailing_zeros();
        (bits != 0).then(|| bits &= bits - 1)?;
        Some(next)
    })
}

/// The six bits of a key from `depth` on.
pub(super) fn slot_of(key: u128, depth: u8) -> u32 {
    ((key << depth) >> (128 - u32::from(STRIDE))) as u32
}

/// The number of a prefix within its node: `length` (1–6) bits of `slot`.
pub(super) fn prefix_id(slot: u32, length: u8) -> u32 {
    1 << length | slot >> (STRIDE - length)
}
