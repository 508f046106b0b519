//! The classifier of one address family: which rule is the first that a packet matches?
//!
//! Tuple space search (Srinivasan, Suri and Varghese 1999) with tables that hold more than one tuple (TupleMerge: Daly et
//! al. 2019), searched for sixteen packets at once. Each rule is taken apart into boxes, products of one range a field.
//! A box goes into a table whose lengths are no longer than the leading bits that all of the box shares, under the hash of
//! those bits. A packet is looked up in each table by the same bits of its own, in the order of the tables' lowest sequence
//! numbers, until no table can hold a rule before the best one found.
//!
//! A box is put into the most specific table that has room for it: fewer than `CROWD` boxes under its hash. Where none
//! has, a table of its lengths rounded down is made, and at last one of its own lengths. So tables are few, and chains
//! short.
//!
//! Changed in place: a rule that comes or goes costs its own boxes. What comes out depends on the rules alone; how the
//! tables lie depends on the order in which they came, and is the same on both halves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::acl::boxes::{RuleBox, boxes};
use crate::acl::key::AclKey;
use crate::acl::rule::{AclDecision, AclRule};
use crate::acl::table::{NONE, Tuple, TupleTable};
use crate::acl::{AclFamily, Bits};
use crate::index::VpcIndex;

/// Boxes under one hash from which on another table is looked for.
const CROWD: usize = 4;
/// In place of a VPC, where a rule names none.
pub(super) const ANY_VPC: u16 = u16::MAX;

/// A box in a table, with what is decided about packets in it: one cache line for IPv4, two for IPv6.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Entry<N> {
    pub area: RuleBox<N>,
    pub from: u16,
    pub to: u16,
    pub sequence: u32,
    /// The next entry under the same hash, in the order of sequence numbers; or [`NONE`].
    pub next: u32,
    pub hash: u32,
    pub table: u16,
    pub exact: bool,
    pub decision: AclDecision,
}

/// A rule that is in the tables.
#[derive(Clone, Debug)]
struct Held {
    rule: Arc<AclRule>,
    entries: Box<[u32]>,
}

/// The rules of one ACL for one address family.
#[derive(Clone, Debug)]
pub struct Classifier<N> {
    pub(super) tables: Vec<TupleTable>,
    /// The tables that hold anything, in the order of the lowest sequence numbers in them.
    pub(super) order: Vec<u16>,
    pub(super) entries: Vec<Entry<N>>,
    free: Vec<u32>,
    rules: BTreeMap<u32, Held>,
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
            entries: Vec::new(),
            free: Vec::new(),
            rules: BTreeMap::new(),
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
        let vpc = |vpc: Option<VpcIndex>| vpc.map_or(ANY_VPC, |vpc| vpc.0);
        let mut entries = Vec::with_capacity(found.boxes.len());
        for area in found.boxes {
            let (table, hash) = self.table_for(&area);
            let entry = Entry {
                area,
                from: vpc(rule.from),
                to: vpc(rule.to),
                sequence,
                next: NONE,
                hash,
                table,
                exact: found.exact,
                decision: rule.decision,
            };
            entries.push(self.link(entry));
        }
        if !entries.is_empty() {
            let rule = Arc::clone(rule);
            let entries = entries.into();
            self.rules.insert(sequence, Held { rule, entries });
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
        for &index in &held.entries {
            self.unlink(index);
        }
    }

    /// The table that a box goes into, with its hash there.
    fn table_for(&mut self, area: &RuleBox<N>) -> (u16, u32) {
        let tuple = Tuple::of(area);
        let candidates = self.tables.iter().enumerate();
        let roomy = candidates
            .filter(|(_, table)| table.tuple.holds(tuple))
            .filter_map(|(index, table)| {
                let hash = table.hash(area);
                let crowded = table.may_hold(hash) && self.chain(table.head(hash)) >= CROWD;
                (!crowded).then_some((table.tuple.specificity::<N>(), index, hash))
            })
            .max();
        if let Some((_, index, hash)) = roomy {
            return (index as u16, hash);
        }
        let coarse = tuple.coarse::<N>();
        let known = |tuple| self.tables.iter().position(|table| table.tuple == tuple);
        let index = match (known(coarse), known(tuple)) {
            (None, _) => self.make(coarse),
            (_, None) => self.make(tuple),
            // More boxes than that cannot be told apart by their leading bits.
            (_, Some(index)) => index as u16,
        };
        (index, self.tables[usize::from(index)].hash(area))
    }

    fn make(&mut self, tuple: Tuple) -> u16 {
        self.sources |= 1 << tuple.source;
        self.destinations |= 1 << tuple.destination;
        self.uppers |= 1 << tuple.upper_kind();
        self.tables.push(TupleTable::new(tuple));
        (self.tables.len() - 1) as u16
    }

    /// The number of entries of a chain, up to the crowd.
    fn chain(&self, mut index: u32) -> usize {
        let mut length = 0;
        while index != NONE && length < CROWD {
            index = self.entries[index as usize].next;
            length += 1;
        }
        length
    }

    /// Puts an entry into its chain, behind those of lower or equal sequence numbers.
    fn link(&mut self, mut entry: Entry<N>) -> u32 {
        let (sequence, hash, table) = (entry.sequence, entry.hash, usize::from(entry.table));
        let head = self.tables[table].head(hash);
        let (mut before, mut after) = (NONE, head);
        while after != NONE && self.entries[after as usize].sequence <= sequence {
            before = after;
            after = self.entries[after as usize].next;
        }
        entry.next = after;
        let index = match self.free.pop() {
            Some(index) => {
                self.entries[index as usize] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        };
        let owner = &mut self.tables[table];
        owner.boxes += 1;
        let was_empty = owner.boxes == 1;
        if before == NONE {
            owner.set_head(hash, index);
        } else {
            self.entries[before as usize].next = index;
        }
        if was_empty || sequence < owner.first {
            owner.first = sequence;
            self.sort();
        }
        index
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            next, hash, table, ..
        } = self.entries[index as usize];
        let owner = &mut self.tables[usize::from(table)];
        let mut before = owner.head(hash);
        if before == index {
            owner.set_head(hash, next);
        } else {
            while self.entries[before as usize].next != index {
                before = self.entries[before as usize].next;
            }
            self.entries[before as usize].next = next;
        }
        self.free.push(index);
        owner.boxes -= 1;
        if owner.boxes == 0 {
            owner.first = u32::MAX;
            self.sort();
        }
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
        self.search(key)
            .map(|entry| (entry.sequence, entry.decision))
    }

    /// The first entry of a chain that a packet lies in and that comes before `limit`.
    #[inline(always)]
    pub(super) fn first_in_chain<A: AclFamily<Bits = N>>(
        &self,
        mut index: u32,
        key: &AclKey<A>,
        limit: Option<u32>,
    ) -> Option<&Entry<N>> {
        while let Some(entry) = self.entries.get(index as usize) {
            if limit.is_some_and(|limit| entry.sequence >= limit) {
                return None;
            }
            if entry.holds(key) && (entry.exact || self.asks_rule(entry.sequence, key)) {
                return Some(entry);
            }
            index = entry.next;
        }
        None
    }

    #[cold]
    fn asks_rule<A: AclFamily<Bits = N>>(&self, sequence: u32, key: &AclKey<A>) -> bool {
        self.rules
            .get(&sequence)
            .is_some_and(|held| held.rule.matches(key))
    }

    /// The number of tables that a packet may have to be looked up in.
    pub fn table_count(&self) -> usize {
        self.order.len()
    }

    /// The bytes that it takes.
    pub(super) fn memory(&self) -> usize {
        let tables: usize = self.tables.iter().map(TupleTable::memory).sum();
        let held: usize = self.rules.values().map(|h| size_of_val(&*h.entries)).sum();
        tables
            + held
            + self.entries.capacity() * size_of::<Entry<N>>()
            + self.rules.len() * size_of::<(u32, Held)>()
            + self.free.capacity() * size_of::<u32>()
    }
}

impl<N: Bits> Entry<N> {
    /// Whether a packet lies in the box.
    #[inline(always)]
    fn holds<A: AclFamily<Bits = N>>(&self, key: &AclKey<A>) -> bool {
        fn is_in<T: PartialOrd>(value: T, (first, last): &(T, T)) -> bool {
            (*first <= value) & (value <= *last)
        }
        let RuleBox {
            source,
            destination,
            upper,
        } = &self.area;
        let to = key.to.map_or(ANY_VPC, |to| to.0);
        // Without branches: which of them fails cannot be foretold.
        is_in(key.source.bits(), source)
            & is_in(key.destination.bits(), destination)
            & is_in(key.protocol, &upper.protocol)
            & is_in(key.source_port, &upper.source_port)
            & is_in(key.destination_port, &upper.destination_port)
            & ((self.from == ANY_VPC) | (self.from == key.from.0))
            & ((self.to == ANY_VPC) | (self.to == to))
    }
}

#[cfg(test)]
mod tests;
