//! One table of the classifier: the boxes that are found by the same leading bits of each field.
//!
//! A table is a hash table from those bits to a chain of entries, with a filter before it: a bit for each hash, in words
//! that stay in the first-level cache, so that a packet that finds nothing here, as it does in most tables, costs one load.

use crate::acl::Bits;
use crate::acl::bits::mix32;
use crate::acl::boxes::RuleBox;

/// Filter bits for each box, at least.
const FILTER_BITS: usize = 16;
/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// By which leading bits of each field a table finds its boxes. Lengths of addresses count in steps of
/// [`Bits::FINE`]; those of ports are 0, 8, 16 or, where also "no port" is told apart, stay 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tuple {
    pub source: u8,
    pub destination: u8,
    pub protocol: bool,
    pub source_port: u8,
    pub destination_port: u8,
}

const SOURCE_SALT: u32 = 0x9e37_79b9;
const DESTINATION_SALT: u32 = 0x3c6e_f372;

/// The kinds of hashes above IP: protocol or not, times the lengths of two ports.
pub(super) const UPPER_KINDS: usize = 18;

impl Tuple {
    /// The longest lengths that hold a whole box.
    pub(super) fn of<N: Bits>(of: &RuleBox<N>) -> Tuple {
        let port = |(first, last): (u32, u32)| match first ^ last {
            0 => 16,
            differs if differs < 256 => 8,
            _ => 0,
        };
        Tuple {
            source: of.source.0.common_length(of.source.1) / N::FINE,
            destination: of.destination.0.common_length(of.destination.1) / N::FINE,
            protocol: of.upper.protocol.0 == of.upper.protocol.1,
            source_port: port(of.upper.source_port),
            destination_port: port(of.upper.destination_port),
        }
    }

    /// Shorter lengths, for a table that is to hold more than this box.
    pub(super) fn coarse<N: Bits>(self) -> Tuple {
        let step = N::COARSE / N::FINE;
        Tuple {
            source: self.source / step * step,
            destination: self.destination / step * step,
            ..self
        }
    }

    /// Whether a table of these lengths can hold a box of those.
    pub(super) fn holds(self, other: Tuple) -> bool {
        self.source <= other.source
            && self.destination <= other.destination
            && self.protocol <= other.protocol
            && self.source_port <= other.source_port
            && self.destination_port <= other.destination_port
    }

    /// How much it tells apart: the sum of all lengths, as parts of the whole.
    pub(super) fn specificity<N: Bits>(self) -> u32 {
        let part = |length: u8| 64 * u32::from(length) * u32::from(N::FINE) / u32::from(N::WIDTH);
        part(self.source)
            + part(self.destination)
            + 8 * u32::from(self.protocol)
            + 2 * u32::from(self.source_port)
            + 2 * u32::from(self.destination_port)
    }

    /// The place of its hash above IP among all of its kind.
    pub(super) fn upper_kind(self) -> usize {
        usize::from(self.protocol)
            + 2 * usize::from(self.source_port / 8)
            + 6 * usize::from(self.destination_port / 8)
    }
}

/// The hash of a source's leading bits; the length counts in steps.
#[inline(always)]
pub(super) fn source_hash<N: Bits>(source: N, steps: u8) -> u32 {
    source.hash(steps * N::FINE, SOURCE_SALT)
}

/// The hash of a destination's leading bits; the length counts in steps.
#[inline(always)]
pub(super) fn destination_hash<N: Bits>(destination: N, steps: u8) -> u32 {
    destination.hash(steps * N::FINE, DESTINATION_SALT)
}

/// The hash of what is above IP, as a [kind](Tuple::upper_kind) of table sees it.
#[inline(always)]
pub(super) fn upper_hash(
    kind: usize,
    protocol: u8,
    source_port: u32,
    destination_port: u32,
) -> u32 {
    // By the length in steps of 8: nothing, the high byte and whether there is a port, all.
    const MASKS: [u32; 3] = [0, 0x1_ff00, 0x1_ffff];
    let source_port = source_port & MASKS[kind / 2 % 3];
    let destination_port = destination_port & MASKS[kind / 6 % 3];
    let protocol = (u32::from(protocol) + 1) * (kind as u32 & 1);
    mix32(mix32(protocol << 17 ^ source_port) ^ destination_port)
}

/// A chain of entries under one hash.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    /// The first entry, plus one; 0 where the slot is free.
    head: u32,
}

/// One table.
#[derive(Clone, Debug)]
pub(super) struct TupleTable {
    pub tuple: Tuple,
    /// The lowest sequence number that its entries ever had since it was made: what comes before needs no look here.
    pub first: u32,
    filter: Box<[u32]>,
    slots: Box<[Slot]>,
    /// Slots in use.
    used: usize,
    /// Boxes.
    pub boxes: usize,
}

impl TupleTable {
    pub(super) fn new(tuple: Tuple) -> Self {
        TupleTable {
            tuple,
            first: u32::MAX,
            filter: vec![0; 2].into(),
            slots: vec![Slot::default(); 4].into(),
            used: 0,
            boxes: 0,
        }
    }

    /// The hash of a box's leading bits.
    pub(super) fn hash<N: Bits>(&self, of: &RuleBox<N>) -> u32 {
        let Tuple {
            source,
            destination,
            ..
        } = self.tuple;
        source_hash(of.source.0, source)
            ^ destination_hash(of.destination.0, destination)
            ^ upper_hash(
                self.tuple.upper_kind(),
                of.upper.protocol.0,
                of.upper.source_port.0,
                of.upper.destination_port.0,
            )
    }

    /// The words of the filter: a power of two.
    #[inline(always)]
    pub(super) fn filter(&self) -> &[u32] {
        &self.filter
    }

    /// Whether a hash may be there.
    #[inline(always)]
    pub(super) fn may_hold(&self, hash: u32) -> bool {
        let word = (hash >> 5) as usize & (self.filter.len() - 1);
        self.filter[word] >> (hash & 31) & 1 != 0
    }

    /// The place of a hash's slot: where it is, or where it would be put.
    #[inline(always)]
    fn place(&self, hash: u32) -> usize {
        let mask = self.slots.len() - 1;
        // The filter has the low bits.
        let mut place = hash.rotate_right(16) as usize & mask;
        loop {
            let slot = self.slots[place];
            if slot.head == 0 || slot.hash == hash {
                return place;
            }
            place = (place + 1) & mask;
        }
    }

    /// The first entry under a hash, or [`NONE`].
    #[inline(always)]
    pub(super) fn head(&self, hash: u32) -> u32 {
        self.slots[self.place(hash)].head.wrapping_sub(1)
    }

    /// Puts a chain under a hash, or takes it away with [`NONE`].
    pub(super) fn set_head(&mut self, hash: u32, head: u32) {
        let place = self.place(hash);
        let slot = &mut self.slots[place];
        if head == NONE {
            if slot.head != 0 {
                self.used -= 1;
                self.close_up(place);
            }
            return;
        }
        let is_new = slot.head == 0;
        *slot = Slot {
            hash,
            head: head + 1,
        };
        if is_new {
            self.used += 1;
            self.mark(hash);
            if 2 * self.used > self.slots.len() {
                self.grow();
            }
        }
    }

    fn mark(&mut self, hash: u32) {
        let word = (hash >> 5) as usize & (self.filter.len() - 1);
        self.filter[word] |= 1 << (hash & 31);
    }

    /// Frees a slot, and moves those up that were put behind it for want of it.
    fn close_up(&mut self, mut hole: usize) {
        let mask = self.slots.len() - 1;
        let mut next = hole;
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.head == 0 {
                break;
            }
            let home = slot.hash.rotate_right(16) as usize & mask;
            // It may move if its home does not lie behind the hole.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                hole = next;
            }
        }
        self.slots[hole] = Slot::default();
    }

    /// Doubles the slots and makes the filter anew, which forgets what was taken away.
    fn grow(&mut self) {
        let slots = vec![Slot::default(); 2 * self.slots.len()].into();
        let before = std::mem::replace(&mut self.slots, slots);
        // Half of the slots may come into use.
        let bits = self.slots.len() / 2 * FILTER_BITS;
        self.filter = vec![0; (bits / 32).max(2)].into();
        for slot in before.iter().filter(|slot| slot.head != 0) {
            let place = self.place(slot.hash);
            self.slots[place] = *slot;
            self.mark(slot.hash);
        }
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.filter) + size_of_val(&*self.slots)
    }
}
