//! A prefix that has a value gets another one: what nineteen of twenty updates of routes are.
//!
//! Where nothing longer lies within the prefix and its neighbors say something else, all that lookups read stays as it is but for that
//! value: some cells of a table, or one interval of each leaf that holds it. They are found first and written then; where any
//! does not show the prefix alone, nothing is written, and the node is written anew.

use std::ops::Range;

use super::leaf::WINDOW;
use super::node::{Node, slot_of};
use super::slot::{SLOTS, STRIDE, Says, Slot};
use super::store::Store;
use super::trie::{LEVELS, Trie, bits_of};

/// A prefix whose value changes. Bits of `key` behind `length` are 0.
#[derive(Clone, Copy)]
pub(super) struct Replacement {
    pub(super) key: u128,
    pub(super) length: u8,
    pub(super) old: Slot,
    pub(super) new: Slot,
}

impl Replacement {
    /// Where the prefix begins and ends in the windows of leaves that begin at `depth`.
    fn window(&self, depth: u8) -> Option<Range<u32>> {
        let behind = u32::from(WINDOW).checked_sub(u32::from(self.length - depth))?;
        let start = ((self.key << depth) >> (128 - u32::from(WINDOW))) as u32;
        Some(start..start + (1 << behind))
    }

    /// The slots of a node at `depth` that the prefix covers, where it is the node's own.
    fn slots(&self, depth: u8) -> Range<u32> {
        let first = slot_of(self.key, depth);
        first..first + (SLOTS as u32 >> (self.length - depth))
    }
}

impl Node {
    /// Whether any prefix lies within that of a number, which covers `slots`, here or below.
    fn has_longer(&self, id: u32, slots: &Range<u32>) -> bool {
        let covered = bits_of(slots);
        if slots.len() == 1 {
            return self.children & covered != 0;
        }
        // Twice as many of each next length.
        let shorter = (1..STRIDE - 1)
            .map(|more| (id << more, 1u32 << more))
            .take_while(|(first, _)| *first < SLOTS as u32);
        let within = shorter.fold(0, |bits, (first, count)| {
            bits | bits_of(&(first..first + count))
        });
        (self.children | self.prefixes[1]) & covered != 0 || self.prefixes[0] & within != 0
    }
}

impl Trie {
    /// Writes the new value of a prefix of number `id` in the last node of a way, where that is possible in place; says
    /// whether it was.
    pub(super) fn replace(&mut self, way: &[u32], id: u32, prefix: &Replacement) -> bool {
        let level = way.len() - 1;
        let depth = level as u8 * STRIDE;
        let node = self.nodes.at(way[level]);
        let slots = prefix.slots(depth);
        if self.direct.shows(depth) || node.has_longer(id, &slots) {
            return false;
        }
        let mut intervals = [(0, 0); LEVELS];
        let mut found = 0;
        let mut cells = 0..0;
        let is_narrow = |stride: u8| slots.len() < 1 << (STRIDE - stride);
        let table = node
            .slot
            .as_table()
            .filter(|(_, stride)| !is_narrow(*stride));
        if table.is_some() {
            match self.store.cells_of(node.slot, &slots, prefix) {
                Some(own) => cells = own,
                None => return false,
            }
        } else {
            // A leaf: the node's own, one of its table, and those above that took its content in.
            for level in (0..=level).rev() {
                let depth = level as u8 * STRIDE;
                let slot = self.nodes.at(way[level]).slot;
                if level < way.len() - 1 && self.direct.hides(self.shape, prefix.key, depth) {
                    break;
                }
                match self.store.interval_of(slot, depth, prefix) {
                    Some(interval) => intervals[found] = interval,
                    None => return false,
                }
                found += 1;
                if slot.is_table() {
                    break;
                }
            }
        }
        self.store.replace(cells, &intervals[..found], prefix.new);
        true
    }
}

impl Store {
    /// The cells of a node's table that a prefix of that node covers, if they are its alone.
    fn cells_of(
        &self,
        table: Slot,
        slots: &Range<u32>,
        prefix: &Replacement,
    ) -> Option<Range<usize>> {
        let (at, stride) = table.as_table()?;
        let shift = STRIDE - stride;
        let cells = &self.cells()[at..at + (1 << stride)];
        let (first, end) = (slots.start as usize >> shift, slots.end as usize >> shift);
        let are_own = cells[first..end].iter().all(|cell| *cell == prefix.old.0);
        let before = first.checked_sub(1).map(|before| cells[before]);
        let is_apart = before != Some(prefix.new.0) && cells.get(end) != Some(&prefix.new.0);
        (are_own && is_apart).then_some(at + first..at + end)
    }

    /// The line and the interval of the leaf that shows a prefix to the lookups that come by a node at `depth`, if it
    /// shows nothing else there.
    fn interval_of(&self, slot: Slot, depth: u8, prefix: &Replacement) -> Option<(u32, usize)> {
        let window = prefix.window(depth)?;
        let (line, begins) = match slot.says() {
            Says::Value => return None,
            Says::Leaf(line) => (line, 0),
            Says::Table { .. } => self.leaf_of(slot, window.start)?,
        };
        let leaf = &self.leaves()[line as usize];
        let index = leaf.index_of(window.start);
        let (start, end) = leaf.bounds(index);
        let is_exact = start.max(begins) == window.start && end == window.end;
        let is_own = leaf.value(index) == prefix.old
            && (index == 0 || leaf.value(index - 1) != prefix.new)
            && (end == 1 << WINDOW || leaf.value(index + 1) != prefix.new);
        (is_exact && is_own).then_some((line, index))
    }

    /// The leaf that the cell of a window in a table leads to, and the window that its first cell begins with.
    fn leaf_of(&self, table: Slot, window: u32) -> Option<(u32, u32)> {
        let (at, stride) = table.as_table()?;
        let shift = WINDOW - stride;
        let cells = &self.cells()[at..at + (1 << stride)];
        let cell = (window >> shift) as usize;
        let Says::Leaf(line) = Slot(cells[cell]).says() else {
            return None;
        };
        // Values may lie between those that share it.
        let before = cells[..cell].iter().rev();
        let before = before.take_while(|other| **other == cells[cell] || Slot(**other).is_value());
        let shares = before
            .enumerate()
            .filter(|(_, other)| **other == cells[cell]);
        let first = cell - shares.last().map_or(0, |(before, _)| before + 1);
        Some((line, (first as u32) << shift))
    }
}
