//! The classifier of one address family: which rule is the first that a packet matches?
//!
//! Tuple space search (Srinivasan, Suri and Varghese 1999) with tables that hold more than one tuple (TupleMerge: Daly et
//! al. 2019), searched for sixteen packets at once. Each rule is taken apart into boxes, products of one range a field.
//! A box goes into a table whose lengths are no longer than the leading bits that all of the box shares, under the hash of
//! those bits. A packet is looked up in each table by the same bits of its own, in the order of the tables' lowest sequence
//! numbers, until no table can hold a rule before the best one found.
//!
//! Tables are few, and boxes that a packet is compared with cost little, three at a time. So a box goes into the table of its
//! longer address alone; only where `CROWD` boxes lie under its hash already, into that of both addresses, of what is above IP
//! alone, of all; and at last into one of its own lengths.
//!
//! Changed in place: a rule that comes or goes costs its own boxes. What comes out depends on the rules alone; how the
//! tables lie depends on the order in which they came, and is the same on both halves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acl::block::{BOXES, Block, NONE, Packet, Row};
use crate::acl::blocks::Blocks;
use crate::acl::boxes::{RuleBox, boxes};
use crate::acl::code_path::CodePath;
use crate::acl::key::AclKey;
use crate::acl::rule::{AclDecision, AclRule};
use crate::acl::search::{NO_RANK, positions};
use crate::acl::table::{Tuple, TupleTable};
use crate::acl::{AclFamily, Bits};

/// Boxes under one hash from which on another table is looked for.
const CROWD: usize = 3 * BOXES;
/// Boxes of a classifier up to which packets are compared with all of them.
const FEW: usize = 16;

/// Where boxes of a rule lie: a table, and the hash there.
type Place = (u16, u32);

/// A rule that is in the tables.
#[derive(Clone, Debug)]
struct Held {
    rule: Arc<AclRule>,
    places: Box<[Place]>,
    boxes: u32,
}

/// The rules of one ACL for one address family.
#[derive(Clone, Debug)]
pub struct Classifier<N> {
    pub(super) tables: Vec<TupleTable>,
    /// The tables that hold anything, in the order of the lowest sequence numbers in them.
    pub(super) order: Vec<u16>,
    pub(super) blocks: Blocks<N>,
    rules: BTreeMap<u32, Held>,
    boxes: usize,
    /// Lengths of source prefixes that tables have, as bits by the number of steps; then of destinations; then kinds above
    /// IP.
    pub(super) sources: u32,
    pub(super) destinations: u32,
    pub(super) uppers: u32,
}

impl<N> Default for Classifier<N> {
    fn default() -> Self {
        Classifier {
            tables: Vec::new(),
            order: Vec::new(),
            blocks: Blocks::default(),
            rules: BTreeMap::new(),
            boxes: 0,
            sources: 0,
            destinations: 0,
            uppers: 0,
        }
    }
}

impl<N: Bits> Classifier<N> {
    /// Puts a rule in, under a sequence number that no rule has.
    pub(super) fn insert<A: AclFamily<Bits = N>>(&mut self, sequence: u32, rule: &Arc<AclRule>) {
        let found = boxes::<A>(rule);
        let count = found.boxes.len();
        let mut places = Vec::with_capacity(count);
        for area in found.boxes {
            let (index, hash) = self.table_for(&area);
            let row = Row {
                area,
                from: rule.from,
                to: rule.to,
                sequence,
                decision: rule.decision,
                exact: found.exact,
            };
            let table = &mut self.tables[usize::from(index)];
            let first = table.first;
            table.insert(&mut self.blocks, &row, hash);
            if table.first != first {
                self.sort();
            }
            places.push((index, hash));
        }
        if count > 0 {
            places.sort_unstable();
            places.dedup();
            let held = Held {
                rule: Arc::clone(rule),
                places: places.into(),
                boxes: count as u32,
            };
            self.rules.insert(sequence, held);
            self.boxes += count;
        }
    }

    /// Takes a rule out, where it is there.
    pub(super) fn remove(&mut self, sequence: u32) {
        let Some(held) = self.rules.remove(&sequence) else {
            return;
        };
        if self.rules.is_empty() {
            // Nothing is left that a table could be for.
            *self = Classifier::default();
            return;
        }
        self.boxes -= held.boxes as usize;
        for &(index, hash) in &held.places {
            let table = &mut self.tables[usize::from(index)];
            let first = table.first;
            table.remove(&mut self.blocks, sequence, hash);
            if table.first != first {
                self.sort();
            }
        }
    }

    /// The number of boxes that the rules became.
    pub(super) fn boxes(&self) -> usize {
        self.boxes
    }

    /// Whether packets are best compared with every box there is.
    #[inline(always)]
    pub(super) fn is_small(&self) -> bool {
        // Where there were many boxes once, most blocks are empty.
        self.boxes <= FEW && self.blocks.len() <= FEW
    }

    /// The table that a box goes into, with its hash there.
    fn table_for(&mut self, area: &RuleBox<N>) -> Place {
        let exact = Tuple::of(area);
        for tuple in [
            exact.by_one_address::<N>(),
            exact.by_addresses::<N>(),
            exact.by_upper(),
            exact.coarse::<N>(),
        ] {
            let known = self.tables.iter().position(|table| table.tuple == tuple);
            let Some(index) = known else {
                let index = self.make(tuple);
                return (index, self.tables[usize::from(index)].hash(area));
            };
            let table = &self.tables[index];
            let hash = table.hash(area);
            if !table.may_hold(hash) || self.blocks.count(table.head(hash), CROWD) < CROWD {
                return (index as u16, hash);
            }
        }
        // More boxes than that cannot be told apart by their leading bits.
        let known = self.tables.iter().position(|table| table.tuple == exact);
        let index = known.map_or_else(|| self.make(exact), |index| index as u16);
        (index, self.tables[usize::from(index)].hash(area))
    }

    fn make(&mut self, tuple: Tuple) -> u16 {
        self.sources |= 1 << tuple.source;
        self.destinations |= 1 << tuple.destination;
        self.uppers |= 1 << tuple.upper_kind();
        self.tables.push(TupleTable::new(tuple));
        (self.tables.len() - 1) as u16
    }

    fn sort(&mut self) {
        let tables = 0..self.tables.len() as u16;
        self.order = tables
            .filter(|&table| self.tables[usize::from(table)].boxes > 0)
            .collect();
        self.order
            .sort_by_key(|&table| (self.tables[usize::from(table)].first, table));
    }

    /// The first rule that a packet matches, with what it decides.
    pub(super) fn find<A: AclFamily<Bits = N>>(
        &self,
        key: &AclKey<A>,
    ) -> Option<(u32, AclDecision)> {
        self.outcome(self.search(key))
    }

    /// The rule that a rank stands for, with what it decides.
    #[inline(always)]
    pub(super) fn outcome(&self, rank: u64) -> Option<(u32, AclDecision)> {
        let (index, place) = Block::<N>::places(rank);
        let block = self.blocks.get(index)?;
        (rank != NO_RANK).then(|| block.outcome(place))
    }

    /// The rank of the first box of a block that a packet matches, or [`NO_RANK`]; and the block behind.
    #[inline(always)]
    pub(super) fn rank_in<A: AclFamily<Bits = N>, C: CodePath>(
        &self,
        index: u32,
        packet: &Packet<N>,
        key: &AclKey<A>,
    ) -> (u64, u32) {
        let Some(block) = self.blocks.get(index) else {
            return (NO_RANK, NONE);
        };
        let (mut found, hints) = block.matching::<C>(packet);
        if hints != 0 {
            found = self.asks_rules(block, found, hints, key);
        }
        (block.rank(found, index), block.next)
    }

    /// The rank of the first box of a chain that a packet matches, or [`NO_RANK`].
    #[inline(always)]
    pub(super) fn rank_in_chain<A: AclFamily<Bits = N>, C: CodePath>(
        &self,
        mut index: u32,
        packet: &Packet<N>,
        key: &AclKey<A>,
    ) -> u64 {
        let mut rank = NO_RANK;
        while index != NONE && rank == NO_RANK {
            (rank, index) = self.rank_in::<A, C>(index, packet, key);
        }
        rank
    }

    /// Of the boxes that were found, those whose rules the packet matches.
    #[cold]
    fn asks_rules<A: AclFamily<Bits = N>>(
        &self,
        block: &Block<N>,
        found: u32,
        hints: u32,
        key: &AclKey<A>,
    ) -> u32 {
        let fails = |place: &usize| !self.asks_rule(block.sequence(*place), key);
        let wrong = positions(hints).filter(fails);
        wrong.fold(found, |found, place| found & !(1 << place))
    }

    /// Whether a packet in one of a rule's boxes matches the rule.
    #[cold]
    pub(super) fn asks_rule<A: AclFamily<Bits = N>>(&self, sequence: u32, key: &AclKey<A>) -> bool {
        let held = self.rules.get(&sequence);
        held.is_some_and(|held| held.rule.matches(key))
    }

    /// The number of tables that a packet may have to be looked up in.
    pub fn table_count(&self) -> usize {
        self.order.len()
    }

    /// The bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        let tables: usize = self.tables.iter().map(TupleTable::memory).sum();
        let held: usize = self.rules.values().map(|h| size_of_val(&*h.places)).sum();
        tables + held + self.blocks.memory() + self.rules.len() * size_of::<(u32, Held)>()
    }
}

#[cfg(test)]
mod tests;
