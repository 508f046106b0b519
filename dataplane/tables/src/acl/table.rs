//! One table of the classifier: the boxes that are found by the same leading bits of each field.
//!
//! A table is an array of buckets, found by a hash of those bits, each with a chain of blocks. Before it stands a Bloom filter of
//! one word a hash, so small that it stays in the first-level cache: a packet that finds nothing here, as it does in most
//! tables, costs one load.

use crate::acl::Bits;
use crate::acl::bits::mix32;
use crate::acl::block::{NONE, Row};
use crate::acl::blocks::Blocks;
use crate::acl::boxes::RuleBox;

/// Filter bits for each box, at least.
const FILTER_BITS: usize = 16;
/// Where in a hash the bits for the word of the filter begin.
pub(super) const WORD_SHIFT: u32 = 15;

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

    /// The longer of its addresses alone, for a table of most boxes.
    pub(super) fn by_one_address<N: Bits>(self) -> Tuple {
        let most = N::MOST / N::FINE;
        let coarse = self.by_addresses::<N>();
        let by_source = self.source > self.destination;
        Tuple {
            source: if by_source {
                coarse.source.min(most)
            } else {
                0
            },
            destination: if by_source {
                0
            } else {
                coarse.destination.min(most)
            },
            ..coarse
        }
    }

    /// Both addresses, coarsely.
    pub(super) fn by_addresses<N: Bits>(self) -> Tuple {
        Tuple {
            protocol: false,
            source_port: 0,
            destination_port: 0,
            ..self.coarse::<N>()
        }
    }

    /// What is above IP alone.
    pub(super) fn by_upper(self) -> Tuple {
        Tuple {
            source: 0,
            destination: 0,
            ..self
        }
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
    protocol: u32,
    source_port: u32,
    destination_port: u32,
) -> u32 {
    // By the length in steps of 8: nothing, the high byte and whether there is a port, all.
    const MASKS: [u32; 3] = [0, 0x1_ff00, 0x1_ffff];
    let source_port = source_port & MASKS[kind / 2 % 3];
    let destination_port = destination_port & MASKS[kind / 6 % 3];
    let protocol = (protocol + 1) * (kind as u32 & 1);
    if kind == 0 {
        return 0;
    }
    mix32(mix32(protocol << 17 ^ source_port) ^ destination_port)
}

/// One table.
#[derive(Clone, Debug)]
pub(super) struct TupleTable {
    pub tuple: Tuple,
    /// The lowest sequence number that its boxes had since its filter was last made: what comes before needs no look here.
    pub first: u32,
    filter: Box<[u32]>,
    /// The first block of each bucket, or [`NONE`].
    heads: Box<[u32]>,
    /// Boxes.
    pub boxes: usize,
    /// Boxes that were taken out, and are in the filter yet.
    stale: usize,
}

/// The bits that a hash has in its word of the filter: three of 32 (Putze, Sanders and Singler 2009).
#[inline(always)]
pub(super) fn filter_bits(hash: u32) -> u32 {
    1 << (hash & 31) | 1 << (hash >> 5 & 31) | 1 << (hash >> 10 & 31)
}

impl TupleTable {
    pub(super) fn new(tuple: Tuple) -> Self {
        TupleTable {
            tuple,
            first: u32::MAX,
            filter: [0].into(),
            heads: [NONE; 2].into(),
            boxes: 0,
            stale: 0,
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
                of.upper.protocol.0.into(),
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
        let bits = filter_bits(hash);
        self.filter[self.word(hash)] & bits == bits
    }

    /// The first block under a hash, or [`NONE`]. Others may lie there, too.
    #[inline(always)]
    pub(super) fn head(&self, hash: u32) -> u32 {
        self.heads[self.bucket(hash)]
    }

    /// The first blocks of all buckets, or [`NONE`]: a power of two, of which a hash has one by its low bits.
    #[inline(always)]
    pub(super) fn heads(&self) -> &[u32] {
        &self.heads
    }

    #[inline(always)]
    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    #[inline(always)]
    fn word(&self, hash: u32) -> usize {
        (hash >> WORD_SHIFT) as usize & (self.filter.len() - 1)
    }

    /// Puts a box in.
    pub(super) fn insert<N: Bits>(&mut self, blocks: &mut Blocks<N>, row: &Row<N>, hash: u32) {
        self.boxes += 1;
        self.first = self.first.min(row.sequence);
        self.link(blocks, row, hash);
        if 2 * self.boxes > self.heads.len() {
            self.rebuild(blocks);
        }
    }

    fn link<N: Bits>(&mut self, blocks: &mut Blocks<N>, row: &Row<N>, hash: u32) {
        let bucket = self.bucket(hash);
        self.heads[bucket] = blocks.insert(self.heads[bucket], row);
        let word = self.word(hash);
        self.filter[word] |= filter_bits(hash);
    }

    /// Takes all boxes of a rule out that lie under a hash; none are left of those that were taken out already.
    pub(super) fn remove<N: Bits>(&mut self, blocks: &mut Blocks<N>, sequence: u32, hash: u32) {
        let bucket = self.bucket(hash);
        let (removed, head) = blocks.remove(self.heads[bucket], sequence);
        self.heads[bucket] = head;
        self.boxes -= removed;
        self.stale += removed;
        if self.boxes == 0 {
            *self = TupleTable::new(self.tuple);
        } else if self.stale > self.boxes {
            self.rebuild(blocks);
        }
    }

    /// Makes buckets and filter anew, for as many boxes as there are. Cost: these; it comes once in so many changes.
    fn rebuild<N: Bits>(&mut self, blocks: &mut Blocks<N>) {
        let rows: Vec<Row<N>> = self
            .heads
            .iter()
            .flat_map(|&head| blocks.rows(head))
            .collect();
        for &head in &self.heads {
            blocks.clear(head);
        }
        let buckets = (4 * self.boxes).next_power_of_two();
        self.heads = vec![NONE; buckets].into();
        self.filter = vec![0; (buckets / 2 * FILTER_BITS / 32).max(1)].into();
        self.stale = 0;
        self.first = rows
            .iter()
            .map(|row| row.sequence)
            .min()
            .unwrap_or(u32::MAX);
        for row in &rows {
            self.link(blocks, row, self.hash(&row.area));
        }
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.filter) + size_of_val(&*self.heads)
    }
}
