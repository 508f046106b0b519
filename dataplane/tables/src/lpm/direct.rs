//! The direct table: the slots of the trie's upper levels, spread out, so that a lookup in a full table begins below them.

use super::array::Array;
use super::key::Shape;
use super::node::ones;
use super::slot::{STRIDE, Slot, Slots};
use super::trie::{ALL, Trie, below};

/// A cell for each value of the first bits of the addresses in the window. Absent while `bits` is 0.
#[derive(Clone, Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Direct {
    cells: Array<Slot>,
    bits: u8,
}

impl Direct {
    /// A table that resolves `bits` bits, all cells empty.
    pub(super) fn new(shape: &Shape, bits: u8) -> Direct {
        let count = 1usize << (bits - shape.window_length);
        Direct {
            cells: Array::filled(Slot::NONE, count),
            bits,
        }
    }

    /// How many bits of the address the table resolves; 0 where there is none.
    #[inline(always)]
    pub(super) fn bits(&self) -> u8 {
        self.bits
    }

    /// The cells, in the order of the addresses.
    #[inline(always)]
    pub(super) fn cells(&self) -> &[Slot] {
        &self.cells
    }

    /// Whether the slots of a node at `depth` show in the table.
    pub(super) fn shows(&self, depth: u8) -> bool {
        depth + STRIDE <= self.bits
    }

    /// Whether the table is read in the place of a node at `depth` that `key` leads to: whether all its addresses are in the window.
    pub(super) fn hides(&self, shape: &Shape, key: u128, depth: u8) -> bool {
        let outside = shape.window_length > 0
            && key >> (128 - u32::from(shape.window_length)) != u128::from(shape.window);
        depth < self.bits && depth >= shape.window_length && !outside
    }

    /// Takes over the slots of a node at `depth`, whose addresses begin with the `depth` bits `prefix`. What leads further
    /// above the last level is left to that node's own slots.
    pub(super) fn update(&mut self, shape: &Shape, prefix: u32, depth: u8, slots: &Slots) {
        for (number, slot) in slots.iter().enumerate() {
            self.set(shape, prefix << STRIDE | number as u32, depth, *slot);
        }
    }

    /// The same for one slot, named by the `depth + 6` bits that lead to it.
    pub(super) fn set(&mut self, shape: &Shape, prefix: u32, depth: u8, new: Slot) {
        let spread = self.bits - depth - STRIDE;
        if spread > 0 && !new.is_value() {
            return;
        }
        let first = shape.window << (self.bits - shape.window_length);
        let start = (prefix << spread).wrapping_sub(first) as usize;
        let cells = start..start.wrapping_add(1 << spread);
        if self.cells.get(cells.clone()).is_some() {
            self.cells.write(cells).fill(new);
        }
    }

    /// The memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.cells.bytes()
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        self.cells.record();
    }

    /// Becomes equal to `other`: see [`Array::catch_up`].
    pub(super) fn catch_up(&mut self, other: &Direct) {
        self.bits = other.bits;
        self.cells.catch_up(&other.cells);
    }
}

impl Trie {
    /// Makes the direct table as fine as the number of prefixes asks for. It shrinks later than it grows, so that a
    /// number that swings does not build it again and again.
    pub(super) fn fit_direct(&mut self) {
        let bits_for = |count: usize| {
            let steps = self.shape.steps.iter().rev();
            let mut steps = steps.skip_while(|(from, _)| *from > count);
            steps.next().map_or(0, |(_, bits)| *bits)
        };
        let bits = self.direct.bits();
        let wanted = bits_for(self.count);
        if wanted > bits || bits_for(self.count.saturating_mul(4)) < bits {
            self.build_direct(wanted);
        }
    }

    fn build_direct(&mut self, bits: u8) {
        let upper = self.direct.bits().max(bits);
        self.direct = match bits {
            0 => Direct::default(),
            bits => Direct::new(self.shape, bits),
        };
        if !self.nodes.words().is_empty() {
            self.show_upper(0, 0, 0, upper);
        }
    }

    /// Writes a node and those below anew, as far as they are above the depth `upper`: what they say changes
    /// with the direct table.
    fn show_upper(&mut self, node: u32, key: u128, depth: u8, upper: u8) {
        if depth + STRIDE < upper {
            for slot in ones(self.nodes.at(node).children) {
                if let Some(child) = self.child(node, slot) {
                    self.show_upper(child, below(key, depth, slot), depth + STRIDE, upper);
                }
            }
        }
        self.show(node, self.own_slots(node), key, depth, ALL);
    }
}
