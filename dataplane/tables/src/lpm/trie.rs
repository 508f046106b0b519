//! The trie: which prefixes there are, and the chunks that lookups read, kept true in place.
//!
//! Each node decides on six bits. What it holds is written twice, for two readers. For updates: which of its 126
//! prefixes are there (of one to six bits behind those that lead to the node), their values, and its children, as in a tree bitmap
//! (Eatherton, Varghese and Dittia, 2004). For lookups: a [chunk](super::chunk) that says for each of the 64 slots what the
//! longest prefix is, those of shorter prefixes above included, or which chunk goes on. A lookup thus never looks back,
//! and an update rewrites one chunk, and those below whose inheritance it changes.

use super::arena::Arena;
use super::chunk::{self, SLOTS, STRIDE, Slot, Slots};
use super::direct::Direct;
use super::key::Shape;

/// The most nodes on a way: those of an IPv6 address.
const LEVELS: usize = 128usize.div_ceil(STRIDE as usize);

/// One node.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Which prefixes are there: bit 2ˡ + *b* is that of length *l* (1–6) with the bits *b*. Ascending bits are ascending lengths.
    prefixes: [u64; 2],
    /// Which slots have a child.
    children: u64,
    /// The value of the longest prefix above the node.
    inherited: Slot,
    /// What leads to the node's chunk; a value where all its slots are equal.
    slot: Slot,
    /// The block of its values, in the order of `prefixes`, and its children, in the order of `children`.
    entries: u32,
}

impl Node {
    fn prefix_count(&self) -> usize {
        (self.prefixes[0].count_ones() + self.prefixes[1].count_ones()) as usize
    }

    fn entry_count(&self) -> usize {
        self.prefix_count() + self.children.count_ones() as usize
    }

    fn has_prefix(&self, id: u32) -> bool {
        self.prefixes[id as usize / 64] >> (id % 64) & 1 != 0
    }

    /// How many prefixes there are before this one.
    fn prefix_rank(&self, id: u32) -> usize {
        let below = self.prefixes[id as usize / 64] & ((1 << (id % 64)) - 1);
        let first = if id < 64 {
            0
        } else {
            self.prefixes[0].count_ones()
        };
        (first + below.count_ones()) as usize
    }

    /// Where among the entries the child of a slot is, or would be.
    fn child_rank(&self, slot: u32) -> usize {
        let below = self.children & ((1 << slot) - 1);
        self.prefix_count() + below.count_ones() as usize
    }
}

/// The positions of the bits that are set, ascending.
fn ones(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let next = bits.trailing_zeros();
        (bits != 0).then(|| bits &= bits - 1)?;
        Some(next)
    })
}

/// The six bits of a key from `depth` on.
fn slot_of(key: u128, depth: u8) -> u32 {
    ((key << depth) >> (128 - u32::from(STRIDE))) as u32
}

/// The number of a prefix within its node: `length` (1–6) bits of `slot`.
fn prefix_id(slot: u32, length: u8) -> u32 {
    1 << length | slot >> (STRIDE - length)
}

/// Prefixes of one family with their values. Keys have their first bit highest, whatever the family.
#[derive(Clone, Debug)]
pub(super) struct Trie {
    shape: &'static Shape,
    chunks: Arena,
    entries: Arena,
    /// The first is the root, which is there when any prefix but that of length 0 is.
    nodes: Vec<Node>,
    /// Nodes that are not in use.
    spare: Vec<u32>,
    direct: Direct,
    /// The value of the prefix of length 0. Apart, so that a default route that comes and goes is one word.
    default: Slot,
    /// Prefixes but that of length 0.
    count: usize,
}

impl Trie {
    pub(super) fn new(shape: &'static Shape) -> Trie {
        Trie {
            shape,
            chunks: Arena::default(),
            entries: Arena::default(),
            nodes: Vec::new(),
            spare: Vec::new(),
            direct: Direct::default(),
            default: Slot::NONE,
            count: 0,
        }
    }

    /// The number of prefixes.
    pub(super) fn len(&self) -> usize {
        self.count + usize::from(self.default != Slot::NONE)
    }

    /// What lookups read: the words of all chunks.
    #[inline(always)]
    pub(super) fn words(&self) -> &[u32] {
        self.chunks.words()
    }

    /// What lookups begin with.
    #[inline(always)]
    pub(super) fn direct(&self) -> &Direct {
        &self.direct
    }

    /// What addresses begin with that the direct table has no cell for.
    #[inline(always)]
    pub(super) fn root(&self) -> Slot {
        self.nodes.first().map_or(Slot::NONE, |root| root.slot)
    }

    /// What an address has that no prefix matches.
    #[inline(always)]
    pub(super) fn default(&self) -> Slot {
        self.default
    }

    /// The memory in use, in bytes, everything included.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.bytes()
            + self.entries.bytes()
            + self.direct.bytes()
            + size_of::<Node>() * self.nodes.capacity()
            + size_of::<u32>() * self.spare.capacity()
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
        match self.nodes.get(node as usize) {
            Some(node) if node.has_prefix(id) => {
                Slot(self.entries.block(node.entries, node.entry_count())[node.prefix_rank(id)])
            }
            _ => Slot::NONE,
        }
    }

    fn child(&self, node: u32, slot: u32) -> Option<u32> {
        let node = self.nodes.get(node as usize)?;
        (node.children >> slot & 1 != 0)
            .then(|| self.entries.block(node.entries, node.entry_count())[node.child_rank(slot)])
    }

    /// Gives a prefix a value, or takes it out, with [`Slot::NONE`]. Says the value that it had. Bits of `key` behind
    /// `length` are ignored. Cost: one node, and where the prefix is shorter than others those that inherit from it.
    pub(super) fn set(&mut self, key: u128, length: u8, value: Slot) -> Slot {
        let Some(last) = length.checked_sub(1) else {
            return std::mem::replace(&mut self.default, value);
        };
        let old = self.get(key, length);
        if old == value {
            return old;
        }
        self.count = self.count + usize::from(old == Slot::NONE) - usize::from(value == Slot::NONE);
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let level = usize::from(last / STRIDE);
        let mut way = [0; LEVELS];
        for above in 0..level {
            let slot = slot_of(key, above as u8 * STRIDE);
            way[above + 1] = match self.child(way[above], slot) {
                Some(child) => child,
                None => self.new_child(way[above], slot),
            };
        }
        let depth = level as u8 * STRIDE;
        let id = prefix_id(slot_of(key, depth), length - depth);
        self.set_value(way[level], id, old, value);
        self.refresh(way[level], key, depth);
        self.carry_up(&way[..=level], key);
        self.fit_direct();
        old
    }

    fn set_value(&mut self, node: u32, id: u32, old: Slot, value: Slot) {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        let rank = self.nodes[node as usize].prefix_rank(id);
        if old == Slot::NONE {
            self.insert_entry(node, rank, value.0);
            self.nodes[node as usize].prefixes[word] |= bit;
        } else if value == Slot::NONE {
            self.remove_entry(node, rank);
            self.nodes[node as usize].prefixes[word] &= !bit;
        } else {
            let node = &self.nodes[node as usize];
            self.entries.block_mut(node.entries, rank + 1)[rank] = value.0;
        }
    }

    /// Makes room for one more entry. The caller sets its bit.
    fn insert_entry(&mut self, node: u32, index: usize, entry: u32) {
        let node = &mut self.nodes[node as usize];
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
        let node = &mut self.nodes[node as usize];
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
        let parents = self.nodes[parent as usize].slot;
        let said = match parents.chunk() {
            Some(at) => chunk::read(self.chunks.words(), at, slot),
            None => parents,
        };
        let node = Node {
            inherited: said,
            slot: said,
            ..Node::default()
        };
        let child = match self.spare.pop() {
            Some(spare) => {
                self.nodes[spare as usize] = node;
                spare
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        let rank = self.nodes[parent as usize].child_rank(slot);
        self.insert_entry(parent, rank, child);
        self.nodes[parent as usize].children |= 1 << slot;
        child
    }

    /// Writes a node's chunk, and those of children whose inheritance changed.
    fn refresh(&mut self, node: u32, key: u128, depth: u8) {
        let mut slots = self.own_slots(node);
        let this = &self.nodes[node as usize];
        let (children, mut rank, old) = (this.children, this.prefix_count(), this.slot);
        let entries = this.entries;
        for slot in ones(children) {
            let child = self.entries.block(entries, rank + 1)[rank];
            rank += 1;
            let inherited = slots[slot as usize];
            if self.nodes[child as usize].inherited != inherited {
                self.nodes[child as usize].inherited = inherited;
                // The bits before this node's own are the key's.
                let before = key & !(u128::MAX >> depth);
                let key = before | u128::from(slot) << (128 - STRIDE) >> depth;
                self.refresh(child, key, depth + STRIDE);
            }
            slots[slot as usize] = self.nodes[child as usize].slot;
        }
        if self.direct.shows(depth) {
            let before = chunk::decode(&self.chunks, old);
            let prefix = first_bits(key, depth);
            self.direct
                .update(self.shape, prefix, depth, &before, &slots);
        }
        self.nodes[node as usize].slot = chunk::encode(&mut self.chunks, old, &slots);
    }

    /// What a node's slots say by its own prefixes and those above.
    fn own_slots(&self, node: u32) -> Slots {
        let node = &self.nodes[node as usize];
        let mut slots = [node.inherited; SLOTS];
        let mut values = match node.entry_count() {
            0 => [].iter(),
            count => self.entries.block(node.entries, count).iter(),
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

    /// Tells the nodes above of a chunk that moved, from the last node of the way up, as far as anything changes; takes
    /// nodes out that hold nothing any more.
    fn carry_up(&mut self, way: &[u32], key: u128) {
        for level in (1..way.len()).rev() {
            let (parent, child) = (way[level - 1], way[level]);
            let depth = (level - 1) as u8 * STRIDE;
            let slot = slot_of(key, depth);
            if self.nodes[child as usize].entry_count() == 0 {
                chunk::release(&mut self.chunks, self.nodes[child as usize].slot);
                self.spare.push(child);
                let rank = self.nodes[parent as usize].child_rank(slot);
                self.remove_entry(parent, rank);
                self.nodes[parent as usize].children &= !(1 << slot);
                self.refresh(parent, key, depth);
                continue;
            }
            let new = self.nodes[child as usize].slot;
            let parents = self.nodes[parent as usize].slot;
            let old = match parents.chunk() {
                Some(at) => chunk::read(self.chunks.words(), at, slot),
                None => parents,
            };
            if old == new {
                return;
            }
            match (parents.chunk(), old.chunk(), new.chunk()) {
                (Some(at), Some(_), Some(_)) => {
                    chunk::patch(&mut self.chunks, at, slot, new);
                    if self.direct.shows(depth) {
                        let prefix = first_bits(key, depth + STRIDE);
                        self.direct.set(self.shape, prefix, depth, new);
                    }
                    return;
                }
                _ => self.refresh(parent, key, depth),
            }
        }
        if self.nodes[0].entry_count() == 0 {
            // Nothing is left: what was in use once is given back.
            *self = Trie {
                default: self.default,
                ..Trie::new(self.shape)
            };
        }
    }

    /// Makes the direct table as fine as the number of prefixes asks for. It shrinks later than it grows, so that a
    /// number that swings does not build it again and again.
    fn fit_direct(&mut self) {
        let bits_for = |count: usize| {
            let steps = self.shape.steps.iter().rev();
            let mut steps = steps.skip_while(|(from, _)| *from > count);
            steps.next().map_or(0, |(_, bits)| *bits)
        };
        let bits = self.direct.bits();
        if bits_for(self.count) > bits {
            self.build_direct(bits_for(self.count));
        } else if bits_for(self.count.saturating_mul(4)) < bits {
            self.build_direct(bits_for(self.count));
        }
    }

    fn build_direct(&mut self, bits: u8) {
        self.direct = match bits {
            0 => Direct::default(),
            bits => Direct::new(self.shape, bits),
        };
        if bits > 0 && !self.nodes.is_empty() {
            self.spread(0, 0, 0);
        }
    }

    /// Fills the direct table from a node whose addresses begin with `prefix`, and from those below.
    fn spread(&mut self, node: u32, prefix: u32, depth: u8) {
        let slots = chunk::decode(&self.chunks, self.nodes[node as usize].slot);
        self.direct
            .update(self.shape, prefix, depth, &[Slot::NONE; SLOTS], &slots);
        if self.direct.shows(depth + STRIDE) {
            for slot in ones(self.nodes[node as usize].children) {
                if let Some(child) = self.child(node, slot) {
                    self.spread(child, prefix << STRIDE | slot, depth + STRIDE);
                }
            }
        }
    }

    /// All prefixes with their values, as `(key, length, value)`, in no order that can be relied on.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u8, Slot)> {
        let default = (self.default != Slot::NONE).then_some((0, 0, self.default));
        let root = (!self.nodes.is_empty()).then_some((0u32, 0u128, 0u8));
        let mut ahead: Vec<(u32, u128, u8)> = root.into_iter().collect();
        let nodes = std::iter::from_fn(move || {
            let (number, key, depth) = ahead.pop()?;
            let node = &self.nodes[number as usize];
            for slot in ones(node.children) {
                let below = key | u128::from(slot) << (128 - STRIDE) >> depth;
                ahead.extend(
                    self.child(number, slot)
                        .map(|child| (child, below, depth + STRIDE)),
                );
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
