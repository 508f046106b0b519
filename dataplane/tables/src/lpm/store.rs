//! What lookups read of a trie: tables and leaves, and how a node is put into them.
//!
//! A *table* has a cell for each value of one to six bits: as many bits as it takes to tell a node's slots apart. Where a family has
//! leaves, a node of few intervals is a [leaf](super::leaf) instead, and neighboring cells of a table whose
//! intervals fit into one leaf share it. A lookup thus reads one word a table and at last one cache line, whatever
//! prefixes nest there. The window of a leaf begins at the depth of the table whose cell leads to it, or where the lookup began.

use std::ops::Range;

use super::arena::Arena;
use super::leaf::{INTERVALS, Interval, Leaf, WINDOW};
use super::slot::{SLOTS, STRIDE, Says, Slot, Slots};

/// The bits of a window behind the six of its node: those that the leaf of a child may use, if it is to become part of one above.
const BEHIND: u32 = (WINDOW - STRIDE) as u32;
/// The depth that leaves do not reach across: vectors of lookups hold the first 64 bits of an address.
pub(super) const SEAM: u8 = 60;

/// Tables and leaves.
#[derive(Clone, Debug)]
pub(super) struct Store {
    tables: Arena<u32>,
    leaves: Arena<Leaf>,
    has_leaves: bool,
    /// The intervals of the node at hand, kept for its room.
    intervals: Vec<Interval>,
}

impl Store {
    pub(super) fn new(has_leaves: bool) -> Store {
        Store {
            tables: Arena::default(),
            leaves: Arena::default(),
            has_leaves,
            intervals: Vec::new(),
        }
    }

    /// All cells of all tables.
    #[inline(always)]
    pub(super) fn cells(&self) -> &[u32] {
        self.tables.words()
    }

    /// All leaves.
    #[inline(always)]
    pub(super) fn leaves(&self) -> &[Leaf] {
        self.leaves.words()
    }

    /// The memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let intervals = size_of::<Interval>() * self.intervals.capacity();
        self.tables.bytes() + self.leaves.bytes() + intervals
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        self.tables.record();
        self.leaves.record();
    }

    /// Becomes equal to `other`: see [`Array::catch_up`](super::array::Array::catch_up).
    pub(super) fn catch_up(&mut self, other: &Store) {
        self.tables.catch_up(&other.tables);
        self.leaves.catch_up(&other.leaves);
    }

    /// Whether both are the same in every array.
    #[cfg(test)]
    pub(super) fn is_equal(&self, other: &Store) -> bool {
        (&self.tables, &self.leaves) == (&other.tables, &other.leaves)
    }

    /// Changes what the table of a node says of a slot that leads to a table before and after. Nothing where the direct table
    /// is read instead.
    pub(super) fn patch(&mut self, table: Slot, slot: u32, new: Slot) {
        if let Says::Table { at, stride } = table.says()
            && table != Slot::MIRRORED
        {
            let cell = at as u32 + (slot >> (STRIDE - stride));
            self.tables.block_mut(cell, 1)[0] = new.0;
        }
    }

    /// Writes one value into some cells, and into some intervals of leaves, each named by its line and position.
    pub(super) fn replace(&mut self, cells: Range<usize>, intervals: &[(u32, usize)], new: Slot) {
        if !cells.is_empty() {
            let cells = self.tables.block_mut(cells.start as u32, cells.len());
            cells.fill(new.0);
        }
        for (line, index) in intervals {
            self.leaves.at_mut(*line).set_value(*index, new);
        }
    }

    /// Gives back what a slot leads to: a table with the leaves that its cells share, but not the tables below.
    pub(super) fn release(&mut self, old: Slot) {
        match old.says() {
            Says::Leaf(line) => self.leaves.release(line, 1),
            Says::Table { at, stride } if old != Slot::MIRRORED => {
                let mut last = None;
                for index in at..at + (1 << stride) {
                    if let Says::Leaf(line) = Slot(self.tables.words()[index]).says()
                        && last != Some(line)
                    {
                        self.leaves.release(line, 1);
                        last = Some(line);
                    }
                }
                self.tables.release(at as u32, 1 << stride);
            }
            _ => {}
        }
    }

    /// Writes a node at `depth` in the place of what `old` led to, and says what leads to it now: where all slots are equal,
    /// just that. A slot that leads to a leaf is a child's, and the window of that leaf begins at the child.
    pub(super) fn encode(&mut self, old: Slot, slots: &Slots, depth: u8) -> Slot {
        self.release(old);
        if self.has_leaves {
            self.with_leaves(slots, depth)
        } else {
            self.plain(slots)
        }
    }

    /// A table of the slots as they are.
    fn plain(&mut self, slots: &Slots) -> Slot {
        let differ = (1..SLOTS).filter(|slot| slots[*slot] != slots[slot - 1]);
        // The last bit that any of the boundaries has.
        let boundaries = differ.fold(0, |boundaries, slot| boundaries | slot);
        let Some(stride) = STRIDE.checked_sub(boundaries.trailing_zeros() as u8) else {
            return slots[0];
        };
        let (at, table) = self.table(stride);
        let every = slots.iter().step_by(SLOTS >> stride);
        let cells = self.tables.block_mut(at, 1 << stride);
        for (cell, slot) in cells.iter_mut().zip(every) {
            *cell = slot.0;
        }
        table
    }

    fn table(&mut self, stride: u8) -> (u32, Slot) {
        let at = self.tables.allocate(1 << stride);
        (at, Slot::table(at, stride))
    }

    fn leaf(&mut self, intervals: Range<usize>) -> Slot {
        let line = self.leaves.allocate(1);
        self.leaves.block_mut(line, 1)[0] = Leaf::of(&self.intervals[intervals]);
        Slot::leaf(line)
    }

    fn with_leaves(&mut self, slots: &Slots, depth: u8) -> Slot {
        let leads_to_table = self.collect(slots, &(0..SLOTS as u32));
        let intervals = &self.intervals;
        if intervals.len() == 1 {
            return intervals[0].slot;
        }
        let fits_above = |interval: &Interval| interval.start.is_multiple_of(1 << STRIDE);
        if !leads_to_table
            && intervals.len() <= INTERVALS
            && depth != SEAM
            && intervals.iter().all(fits_above)
        {
            return self.leaf(0..intervals.len());
        }
        let stride = match leads_to_table {
            true => STRIDE,
            false => (1..STRIDE)
                .find(|stride| self.fits_leaves(*stride))
                .unwrap_or(STRIDE),
        };
        self.shared(stride)
    }

    /// Fills `intervals` with what a range of a node's slots say; says whether any leads to a table. Such a slot is an
    /// interval of its own.
    fn collect(&mut self, slots: &Slots, range: &Range<u32>) -> bool {
        self.intervals.clear();
        let mut leads_to_table = false;
        let mut last = None;
        for number in range.clone() {
            let slot = &slots[number as usize];
            if last == Some(*slot) && slot.is_value() {
                continue;
            }
            let first = number << BEHIND;
            let Says::Leaf(line) = slot.says() else {
                leads_to_table |= slot.is_table();
                self.intervals.push(Interval {
                    start: first,
                    slot: *slot,
                });
                last = Some(*slot);
                continue;
            };
            for interval in self.leaves.words()[line as usize].intervals() {
                if last != Some(interval.slot) {
                    self.intervals.push(Interval {
                        start: first | interval.start >> STRIDE,
                        slot: interval.slot,
                    });
                    last = Some(interval.slot);
                }
            }
        }
        leads_to_table
    }

    /// Whether the intervals of each cell of a table with this stride fit into a leaf.
    fn fits_leaves(&self, stride: u8) -> bool {
        let mut counts = [1u8; SLOTS];
        let shift = WINDOW - stride;
        self.intervals[1..].iter().all(|interval| {
            let cell = interval.start >> shift;
            // What begins with the cell leaves nothing of the one before in it.
            let within = interval.start & ((1 << shift) - 1) != 0;
            counts[cell as usize] += u8::from(within);
            usize::from(counts[cell as usize]) <= INTERVALS
        })
    }

    /// A table whose neighboring cells share leaves.
    fn shared(&mut self, stride: u8) -> Slot {
        let (at, table) = self.table(stride);
        // The cells and intervals that the next leaf is for.
        let mut cells = 0..0u32;
        let mut content = 0..0usize;
        let mut begins = 0;
        for cell in 0..1u32 << stride {
            let within = self.within(cell, stride, begins);
            begins = within.start;
            if within.len() == 1 {
                let slot = self.intervals[begins].slot;
                self.tables.block_mut(at + cell, 1)[0] = slot.0;
                if slot.is_table() {
                    self.fill(at, &mut cells, &content);
                }
                continue;
            }
            if cells.start < cells.end && within.end - content.start > INTERVALS {
                self.fill(at, &mut cells, &content);
            }
            if cells.start == cells.end {
                (cells.start, content.start) = (cell, begins);
            }
            (cells.end, content.end) = (cell + 1, within.end);
            // To be told from cells that say a value.
            self.tables.block_mut(at + cell, 1)[0] = Slot::MIRRORED.0;
        }
        self.fill(at, &mut cells, &content);
        table
    }

    /// The intervals that a cell of a table has a part of. That in which the cell begins is `from` or behind.
    fn within(&self, cell: u32, stride: u8, from: usize) -> Range<usize> {
        let shift = WINDOW - stride;
        let intervals = &self.intervals;
        let is_before = |index: usize, end: u32| {
            let next = intervals.get(index + 1);
            next.is_some_and(|interval| interval.start < end)
        };
        let mut begins = from;
        while is_before(begins, (cell << shift) + 1) {
            begins += 1;
        }
        let mut last = begins;
        while is_before(last, (cell + 1) << shift) {
            last += 1;
        }
        begins..last + 1
    }

    /// Makes a leaf of `content` and leads those of `cells` there that wait for one; none is left then.
    fn fill(&mut self, table: u32, cells: &mut Range<u32>, content: &Range<usize>) {
        if cells.start == cells.end {
            return;
        }
        let leaf = self.leaf(content.clone());
        for cell in self.tables.block_mut(table + cells.start, cells.len()) {
            if *cell == Slot::MIRRORED.0 {
                *cell = leaf.0;
            }
        }
        *cells = 0..0;
    }

    /// The slots, all those of `changed` among them, whose cells in this table share one leaf; none where there is no such leaf.
    pub(super) fn sharing(&self, table: Slot, changed: &Range<u32>) -> Option<Range<u32>> {
        let Says::Table { at, stride } = table.says() else {
            return None;
        };
        if table == Slot::MIRRORED {
            return None;
        }
        let shift = STRIDE - stride;
        let cells = &self.tables.words()[at..at + (1 << stride)];
        let (first, last) = (changed.start >> shift, (changed.end - 1) >> shift);
        let leaf = Slot(cells[first as usize]);
        if !matches!(leaf.says(), Says::Leaf(_)) || cells[last as usize] != leaf.0 {
            return None;
        }
        // Values may lie between.
        let is_near = |cell: &u32| *cell == leaf.0 || Slot(*cell).is_value();
        let behind = cells[last as usize..]
            .iter()
            .take_while(|cell| is_near(cell));
        let end = behind
            .enumerate()
            .filter(|(_, cell)| **cell == leaf.0)
            .last();
        let before = cells[..=first as usize].iter().rev();
        let before = before.take_while(|cell| is_near(cell)).enumerate();
        let start = before.filter(|(_, cell)| **cell == leaf.0).last();
        let start = first - start.map_or(0, |(before, _)| before as u32);
        let end = last + 1 + end.map_or(0, |(behind, _)| behind as u32);
        Some(start << shift..end << shift)
    }

    /// Writes the slots that [share](Self::sharing) a leaf anew, in place, if one leaf is what they take; says whether it is.
    pub(super) fn amend(&mut self, table: Slot, slots: &Slots, group: &Range<u32>) -> bool {
        let Says::Table { at, stride } = table.says() else {
            return false;
        };
        let leads_to_table = self.collect(slots, group);
        if leads_to_table || self.intervals.len() > INTERVALS {
            return false;
        }
        let cell = (1 << (WINDOW - stride)) - 1;
        if self.intervals[1..]
            .iter()
            .all(|interval| interval.start & cell == 0)
        {
            // No cell needs a leaf any more.
            return false;
        }
        let shift = STRIDE - stride;
        let first = at as u32 + (group.start >> shift);
        let shared = Slot(self.tables.block(first, 1)[0]);
        let Says::Leaf(line) = shared.says() else {
            return false;
        };
        let mut begins = 0;
        for cell in group.start >> shift..group.end >> shift {
            let within = self.within(cell, stride, begins);
            begins = within.start;
            let slot = match within.len() {
                1 => self.intervals[begins].slot,
                _ => shared,
            };
            self.tables.block_mut(at as u32 + cell, 1)[0] = slot.0;
        }
        self.leaves.block_mut(line, 1)[0] = Leaf::of(&self.intervals);
        true
    }
}
