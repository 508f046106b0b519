//! The trie: which prefixes there are, and the tables and leaves that lookups read, kept true in place.
//!
//! Each node decides on six bits. What it holds is written twice, for two readers. For updates: which of its 126
//! prefixes are there (of one to six bits behind those that lead to the node), their values, and its children, as in a tree bitmap
//! (Eatherton, Varghese and Dittia, 2004). For lookups: what the longest prefix is for each of the 64 slots, those of shorter
//! prefixes above included, or what goes on, put into a [table or a leaf](super::store). A lookup thus never looks back,
//! and an update rewrites one node, those above as long as a leaf holds it whole, and those below whose inheritance it changes.

use std::ops::Range;

use super::arena::Arena;
use super::direct::Direct;
use super::key::Shape;
use super::leaf::Leaf;
use super::node::{Node, ones, prefix_id, slot_of};
use super::replace::Replacement;
use super::slot::{SLOTS, STRIDE, Slot, Slots};
use super::store::Store;
use super::written::Written;

/// All slots of a node.
pub(super) const ALL: Range<u32> = 0..SLOTS as u32;

/// The most nodes on a way: those of an IPv6 address.
pub(super) const LEVELS: usize = 128usize.div_ceil(STRIDE as usize);

/// Prefixes of one family with their values. Keys have their first bit highest, whatever the family.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    pub(super) shape: &'static Shape,
    pub(super) store: Store,
    entries: Arena<u32>,
    /// The first is the root, which is there when any prefix but that of length 0 is.
    pub(super) nodes: Arena<Node>,
    pub(super) direct: Direct,
    /// The value of the prefix of length 0. Apart, so that a default route that comes and goes is one word.
    default: Slot,
    /// Prefixes but that of length 0.
    pub(super) count: usize,
}

impl Trie {
    pub(super) fn new(shape: &'static Shape) -> Trie {
        Trie {
            shape,
            store: Store::new(shape.has_leaves),
            entries: Arena::default(),
            nodes: Arena::default(),
            direct: Direct::default(),
            default: Slot::NONE,
            count: 0,
        }
    }

    /// The number of prefixes.
    pub(super) fn len(&self) -> usize {
        self.count + usize::from(self.default != Slot::NONE)
    }

    /// What lookups read: the cells of all tables.
    #[inline(always)]
    pub(super) fn cells(&self) -> &[u32] {
        self.store.cells()
    }

    /// And all leaves.
    #[inline(always)]
    pub(super) fn leaves(&self) -> &[Leaf] {
        self.store.leaves()
    }

    /// What lookups begin with.
    #[inline(always)]
    pub(super) fn direct(&self) -> &Direct {
        &self.direct
    }

    /// What addresses begin with that the direct table has no cell for.
    #[inline(always)]
    pub(super) fn root(&self) -> Slot {
        self.nodes
            .words()
            .first()
            .map_or(Slot::NONE, |root| root.slot)
    }

    /// What an address has that no prefix matches.
    #[inline(always)]
    pub(super) fn default(&self) -> Slot {
        self.default
    }

    /// The memory in use, in bytes, everything included.
    pub(super) fn bytes(&self) -> usize {
        self.store.bytes() + self.entries.bytes() + self.direct.bytes() + self.nodes.bytes()
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        self.store.record();
        self.entries.record();
        self.nodes.record();
        self.direct.record();
    }

    /// Becomes equal to `other`: see [`Array::catch_up`](super::array::Array::catch_up).
    pub(super) fn catch_up(&mut self, other: &Trie) {
        self.store.catch_up(&other.store);
        self.entries.catch_up(&other.entries);
        self.nodes.catch_up(&other.nodes);
        self.direct.catch_up(&other.direct);
        self.default = other.default;
        self.count = other.count;
    }

    /// Whether both are the same in every array.
    #[cfg(test)]
    pub(super) fn is_equal(&self, other: &Trie) -> bool {
        self.store.is_equal(&other.store)
            && (&self.entries, &self.nodes, &self.direct)
                == (&other.entries, &other.nodes, &other.direct)
            && (self.default, self.count) == (other.default, other.count)
    }

    /// The value of exactly this prefix.
    pub(super) fn get(&self, key: u128, length: u8) -> Slot {
        let Some(last) = length.checked_sub(1) else {
            return self.default;
        };
        let mut node = 0;
        for level in 0..last / STRIDE {
            match self.child(node, slot_of(key, level * STRIDE)) {
                Some(child) => node = child,
                None => return Slot::NONE,
            }
        }
        let depth = last / STRIDE * STRIDE;
        let id = prefix_id(slot_of(key, depth), length - depth);
        self.value(node, id)
    }

    fn value(&self, node: u32, id: u32) -> Slot {
        match self.nodes.words().get(node as usize) {
            Some(node) if node.has_prefix(id) => {
                Slot(*self.entries.at(node.entries + node.prefix_rank(id) as u32))
            }
            _ => Slot::NONE,
        }
    }

    pub(super) fn child(&self, node: u32, slot: u32) -> Option<u32> {
        let node = self.nodes.words().get(node as usize)?;
        (node.children >> slot & 1 != 0)
            .then(|| *self.entries.at(node.entries + node.child_rank(slot) as u32))
    }

    /// Gives a prefix a value, or takes it out, with [`Slot::NONE`]. Says the value that it had. Bits of `key` behind
    /// `length` are ignored. Cost: one node, and where the prefix is shorter than others those that inherit from it.
    pub(super) fn set(&mut self, key: u128, length: u8, value: Slot) -> Slot {
        let (old, written) = self.write(key, length, value);
        if let Some(written) = written {
            self.tell(&written);
        }
        old
    }

    /// As [`set`](Self::set), without telling lookups.
    pub(super) fn write(&mut self, key: u128, length: u8, value: Slot) -> (Slot, Option<Written>) {
        let Some(last) = length.checked_sub(1) else {
            return (std::mem::replace(&mut self.default, value), None);
        };
        let level = usize::from(last / STRIDE);
        let depth = level as u8 * STRIDE;
        // The way as far as it is there.
        let mut way = [0; LEVELS];
        let mut known = 0;
        while known < level
            && let Some(child) = self.child(way[known], slot_of(key, known as u8 * STRIDE))
        {
            known += 1;
            way[known] = child;
        }
        let id = prefix_id(slot_of(key, depth), length - depth);
        let old = match known == level {
            true => self.value(way[level], id),
            false => Slot::NONE,
        };
        if old == value {
            return (old, None);
        }
        if old != Slot::NONE && value != Slot::NONE {
            let replacement = Replacement {
                key: key & !(u128::MAX.checked_shr(u32::from(length)).unwrap_or(0)),
                length,
                old,
                new: value,
            };
            if self.replace(&way[..=level], id, &replacement) {
                self.set_value(way[level], id, old, value);
                return (old, None);
            }
        }
        if self.nodes.words().is_empty() {
            let root = self.nodes.allocate(1);
            *self.nodes.at_mut(root) = Node::default();
        }
        for above in known..level {
            way[above + 1] = self.new_child(way[above], slot_of(key, above as u8 * STRIDE));
        }
        let before = self.nodes.at(way[level]).slot;
        let (old, changed) = self.write_into(way[level], key, depth, length, value);
        let written = changed.map(|changed| Written {
            way,
            level,
            key,
            before,
            changed,
        });
        (old, written)
    }

    /// Gives a prefix of a node a value, or takes it out; gives the value that it had, and the slots that change.
    pub(super) fn write_into(
        &mut self,
        node: u32,
        key: u128,
        depth: u8,
        length: u8,
        value: Slot,
    ) -> (Slot, Option<Range<u32>>) {
        let bits = length - depth;
        let id = prefix_id(slot_of(key, depth), bits);
        let old = self.value(node, id);
        if old == value {
            return (old, None);
        }
        self.count = self.count + usize::from(old == Slot::NONE) - usize::from(value == Slot::NONE);
        self.set_value(node, id, old, value);
        let first = slot_of(key, depth) >> (STRIDE - bits) << (STRIDE - bits);
        (old, Some(first..first + (SLOTS as u32 >> bits)))
    }

    fn set_value(&mut self, node: u32, id: u32, old: Slot, value: Slot) {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        let rank = self.nodes.at(node).prefix_rank(id);
        if old == Slot::NONE {
            self.insert_entry(node, rank, value.0);
            self.nodes.at_mut(node).prefixes[word] |= bit;
        } else if value == Slot::NONE {
            self.remove_entry(node, rank);
            self.nodes.at_mut(node).prefixes[word] &= !bit;
        } else {
            let entry = self.nodes.at(node).entries + rank as u32;
            *self.entries.at_mut(entry) = value.0;
        }
    }

    /// Makes room for one more entry. The caller sets its bit.
    fn insert_entry(&mut self, node: u32, index: usize, entry: u32) {
        let node = self.nodes.at_mut(node);
        let count = node.entry_count();
        node.entries = match count {
            0 => self.entries.allocate(1),
            _ => self.entries.resize(node.entries, count, count + 1),
        };
        let block = self.entries.block_mut(node.entries, count + 1);
        block.copy_within(index..count, index + 1);
        block[index] = entry;
    }

    /// Takes one entry out. The caller clears its bit.
    fn remove_entry(&mut self, node: u32, index: usize) {
        let node = self.nodes.at_mut(node);
        let count = node.entry_count();
        let block = self.entries.block_mut(node.entries, count);
        block.copy_within(index + 1..count, index);
        if count == 1 {
            self.entries.release(node.entries, 1);
        } else {
            node.entries = self.entries.resize(node.entries, count, count - 1);
        }
    }

    /// A child without any prefix: to lookups it says what its slot said before.
    fn new_child(&mut self, parent: u32, slot: u32) -> u32 {
        let said = self.own_slots(parent)[slot as usize];
        let node = Node {
            inherited: said,
            slot: said,
            ..Node::default()
        };
        let child = self.nodes.allocate(1);
        *self.nodes.at_mut(child) = node;
        let rank = self.nodes.at(parent).child_rank(slot);
        self.insert_entry(parent, rank, child);
        self.nodes.at_mut(parent).children |= 1 << slot;
        child
    }

    /// Writes what lookups read of a node some of whose slots changed, and of children whose inheritance did.
    pub(super) fn refresh(&mut self, node: u32, key: u128, depth: u8, changed: Range<u32>) {
        let own = self.own_slots(node);
        let children = self.nodes.at(node).children;
        for slot in ones(children & bits_of(&changed)) {
            let inherited = own[slot as usize];
            if let Some(child) = self.child(node, slot)
                && self.nodes.at(child).inherited != inherited
            {
                self.nodes.at_mut(child).inherited = inherited;
                self.refresh(child, below(key, depth, slot), depth + STRIDE, ALL);
            }
        }
        self.show(node, own, key, depth, changed);
    }

    /// Writes what lookups read of a node some of whose slots changed, and whose children have been written: into the direct table where
    /// that shows it, or else into a table or leaf of its own.
    pub(super) fn show(
        &mut self,
        node: u32,
        mut slots: Slots,
        key: u128,
        depth: u8,
        changed: Range<u32>,
    ) {
        let old = self.nodes.at(node).slot;
        let is_shown = self.direct.shows(depth);
        if !is_shown && let Some(group) = self.store.sharing(old, &changed) {
            self.add_children(node, &mut slots, &group);
            if self.store.amend(old, &slots, &group) {
                return;
            }
        }
        self.add_children(node, &mut slots, &ALL);
        if is_shown {
            let prefix = first_bits(key, depth);
            self.direct.update(self.shape, prefix, depth, &slots);
        }
        self.nodes.at_mut(node).slot = if self.direct.hides(self.shape, key, depth) {
            self.store.release(old);
            match slots.iter().all(|slot| *slot == slots[0]) {
                true => slots[0],
                false => Slot::MIRRORED,
            }
        } else {
            self.store.encode(old, &slots, depth)
        };
    }

    /// Puts what children say into the place of what a node says of their slots, those within `range`.
    fn add_children(&self, node: u32, slots: &mut Slots, range: &Range<u32>) {
        let this = self.nodes.at(node);
        if this.children & bits_of(range) == 0 {
            return;
        }
        for slot in ones(this.children & bits_of(range)) {
            let child = *self.entries.at(this.entries + this.child_rank(slot) as u32);
            slots[slot as usize] = self.nodes.at(child).slot;
        }
    }

    /// What a node's slots say by its own prefixes and those above.
    pub(super) fn own_slots(&self, node: u32) -> Slots {
        let node = self.nodes.at(node);
        let mut slots = [node.inherited; SLOTS];
        let mut values = match node.entry_count() {
            0 => [].iter(),
            count => self.entries.block(node.entries, count)[node.child_count()..].iter(),
        };
        let shorter = ones(node.prefixes[0]).zip(values.by_ref());
        for (id, value) in shorter {
            let length = id.ilog2();
            let size = SLOTS >> length;
            let start = (id as usize - (1 << length)) * size;
            slots[start..start + size].fill(Slot(*value));
        }
        for (slot, value) in ones(node.prefixes[1]).zip(values) {
            slots[slot as usize] = Slot(*value);
        }
        slots
    }

    /// Tells the nodes above of one that said `before` what it says now, from the last node of the way up, as far as anything
    /// changes; takes nodes out that hold nothing any more.
    pub(super) fn carry_up(&mut self, way: &[u32], key: u128, mut before: Slot) {
        for level in (1..way.len()).rev() {
            let (parent, child) = (way[level - 1], way[level]);
            let depth = (level - 1) as u8 * STRIDE;
            let slot = slot_of(key, depth);
            let parents = self.nodes.at(parent).slot;
            if self.nodes.at(child).entry_count() == 0 {
                self.store.release(self.nodes.at(child).slot);
                self.nodes.release(child, 1);
                let rank = self.nodes.at(parent).child_rank(slot);
                self.remove_entry(parent, rank);
                self.nodes.at_mut(parent).children &= !(1 << slot);
                self.show(parent, self.own_slots(parent), key, depth, slot..slot + 1);
            } else {
                let now = self.nodes.at(child).slot;
                if now == before && (now.is_value() || now.is_table()) {
                    return;
                }
                let is_hidden = self.direct.hides(self.shape, key, depth);
                if now.is_table() && before.is_table()
                    || is_hidden && !now.is_value() && !before.is_value()
                {
                    self.store.patch(parents, slot, now);
                    if self.direct.shows(depth) {
                        let prefix = first_bits(key, depth + STRIDE);
                        self.direct.set(self.shape, prefix, depth, now);
                    }
                    return;
                }
                self.show(parent, self.own_slots(parent), key, depth, slot..slot + 1);
            }
            before = parents;
        }
        if self.nodes.at(0).entry_count() == 0 {
            // Nothing is left: what was in use once is given back.
            *self = Trie {
                default: self.default,
                ..Trie::new(self.shape)
            };
        }
    }

    /// All prefixes with their values, as `(key, length, value)`, in no order that can be relied on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u8, Slot)> {
        let default = (self.default != Slot::NONE).then_some((0, 0, self.default));
        let root = (!self.nodes.words().is_empty()).then_some((0u32, 0u128, 0u8));
        let mut ahead: Vec<(u32, u128, u8)> = root.into_iter().collect();
        let nodes = std::iter::from_fn(move || {
            let (number, key, depth) = ahead.pop()?;
            let node = self.nodes.at(number);
            for slot in ones(node.children) {
                let child = self.child(number, slot);
                ahead.extend(child.map(|child| (child, below(key, depth, slot), depth + STRIDE)));
            }
            let ids = ones(node.prefixes[0]).chain(ones(node.prefixes[1]).map(|id| id + 64));
            Some(ids.map(move |id| {
                let length = id.ilog2();
                let bits = u128::from(id - (1 << length));
                let key = key | bits << (128 - length) >> depth;
                (key, depth + length as u8, self.value(number, id))
            }))
        });
        default.into_iter().chain(nodes.flatten())
    }
}

/// The first `count` bits of a key, at most 32.
fn first_bits(key: u128, count: u8) -> u32 {
    key.checked_shr(128 - u32::from(count)).unwrap_or(0) as u32
}

/// The key that leads from a node at `depth`, whose own bits are the first of `key`, to its child in a slot.
pub(super) fn below(key: u128, depth: u8, slot: u32) -> u128 {
    key & !(u128::MAX >> depth) | u128::from(slot) << (128 - STRIDE) >> depth
}

/// A bit for each slot of a range that is not empty.
pub(super) fn bits_of(slots: &Range<u32>) -> u64 {
    u64::MAX >> (64 - (slots.end - slots.start)) << slots.start
}
