//! Which ports of external addresses are taken.
//!
//! Ports are dealt out in blocks of 64: to workers, so that each gives out only its own and a reply's destination port says
//! whose it is. The table here holds one page of bits for each external address with a port in use, a word for each block. A
//! search for a free port looks at words, not at ports.

use foldhash::fast::FixedState;
use rewire_tables::memory::prefetch_at;
use rewire_tables::nat::{PortParity, PortSet, has_translated_ports};
use rewire_tables::{Address, PortAllocation, VpcIndex};

use crate::fixed_map::{FixedMap, Recent};
use crate::key_hash::{KeyHasher, MapKey};
use crate::slab::Id;

const BLOCK: u16 = 64;
const BLOCKS: u16 = 1024;
/// The first block that ports are looked for in: those below 1024 are well-known, and only preserved.
const FIRST_BLOCK: u16 = 1024 / BLOCK;

/// The worker that owns a port, of so many workers: of no other worker's translations is it the external port.
///
/// Ports are dealt in blocks of 64, in turn. Of more than 1008 workers, some own no port from 1024 on.
#[inline]
pub fn owner(port: u16, workers: u16) -> u16 {
    match workers {
        // Without the division.
        0 | 1 => 0,
        _ => port / BLOCK % workers,
    }
}

/// The worker that shall have a mapping of a sender's port, of so many workers, where only ports of a set are given out: the owner of
/// that port, if any of the set are its own; else one who has some. Every worker comes to the same answer. Cost: a look at a block of the
/// set for each worker, mostly.
pub fn owner_within(set: &PortSet, source_port: u16, workers: u16) -> u16 {
    let own = owner(source_port, workers);
    let blocks = set.blocks();
    let owner_of = |(block, _): &(u16, u64)| owner(block * BLOCK, workers);
    if blocks.iter().any(|block| owner_of(block) == own) {
        return own;
    }
    let turn = usize::from(source_port / BLOCK).checked_rem(blocks.len());
    turn.map_or(own, |turn| owner_of(&blocks[turn]))
}

/// One external address, as one protocol uses it.
#[derive(Clone, Copy, Debug, Eq)]
pub(crate) struct External<A> {
    pub(crate) vpc: VpcIndex,
    pub(crate) protocol: u8,
    pub(crate) address: A,
}

impl<A: PartialEq> PartialEq for External<A> {
    /// All fields, and one branch: two that are compared are mostly equal.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.address == other.address)
            & (self.vpc == other.vpc)
            & (self.protocol == other.protocol)
    }
}

impl<A: Address> External<A> {
    /// Where it is remembered: protocols of one address apart.
    #[inline(always)]
    fn number(&self) -> u32 {
        self.address.to_number() as u32 ^ u32::from(self.protocol) << 2
    }
}

impl<A: Address> MapKey for External<A> {
    #[inline(always)]
    fn hash(&self, hasher: &KeyHasher) -> u64 {
        let place = u32::from(self.vpc.0) << 8 | u32::from(self.protocol);
        hasher.hash_address(place, self.address)
    }
}

/// The ports in use of an external address.
#[derive(Debug)]
struct Pool {
    /// Where its bits are.
    page: u32,
    taken: u32,
    /// The turn of the block to look at first.
    hint: u16,
    /// The ports (even ones, odd ones) among which a search has found nothing, where none of them was given back since.
    dry: Parities,
    /// The block where a search within a set of ports begins.
    next_block: u16,
    /// The fingerprint of the set within which a search has found nothing, where nothing was given back since.
    dry_set: Option<u64>,
}

/// Even ports, odd ones, or both: a bit for each port of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parities(u64);

impl Parities {
    const NONE: Parities = Parities(0);
    const EVEN: Parities = Parities(0x5555_5555_5555_5555);
    const ODD: Parities = Parities(!Parities::EVEN.0);
    const BOTH: Parities = Parities(u64::MAX);

    fn of(port: u16) -> Self {
        match port % 2 {
            0 => Parities::EVEN,
            _ => Parities::ODD,
        }
    }

    fn holds(self, other: Parities) -> bool {
        other.0 & !self.0 == 0
    }
}

/// Which free ports a search takes: of these parities, and only those whose neighbor is free as well, or any.
#[derive(Clone, Copy, Debug)]
struct Choice {
    parities: Parities,
    in_pairs: bool,
}

impl Choice {
    /// What is looked for, the best first, in place of `wanted`.
    fn all(wanted: u16, allocation: &PortAllocation) -> impl Iterator<Item = Choice> {
        let choice = |parities, in_pairs| Choice { parities, in_pairs };
        let own = Parities::of(wanted);
        let pairs = choice(own, true);
        let preserved = choice(own, false);
        let any = choice(Parities::BOTH, false);
        let [first, count] = match allocation.parity {
            PortParity::Any => [2, 1],
            PortParity::Preserved => [1, 2],
            PortParity::Pairs => [0, 3],
        };
        [pairs, preserved, any].into_iter().skip(first).take(count)
    }

    /// Those of a block's free ports.
    fn among(self, free: u64) -> u64 {
        let neighbors = (free >> 1 & Parities::EVEN.0) | (free << 1 & Parities::ODD.0);
        let in_pairs = if self.in_pairs { neighbors } else { u64::MAX };
        free & self.parities.0 & in_pairs
    }
}

/// Where the word of a block is, in a page.
fn place(page: u32, block: u16) -> usize {
    page as usize * usize::from(BLOCKS) + usize::from(block)
}

/// A worker's first block from 1024 on. May be beyond the last.
fn first_block(worker: u16, workers: u16) -> u32 {
    let [worker, workers] = [worker, workers].map(u32::from);
    let behind = u32::from(FIRST_BLOCK) % workers;
    u32::from(FIRST_BLOCK) + (worker + workers - behind) % workers
}

/// External addresses whose place is remembered.
const RECENT: usize = 256;

/// All external addresses' ports.
#[derive(Debug)]
pub(crate) struct Ports<A> {
    pools: FixedMap<External<A>, Pool>,
    recent: Recent<RECENT>,
    /// Pages of a word for each block, a bit for each port in use.
    words: Vec<u64>,
    free_pages: Vec<u32>,
    /// The pages that were in use at some time.
    pages: u32,
    worker: u16,
    workers: u16,
    /// This worker's first block from 1024 on.
    first_block: u32,
    /// How many blocks from there on are this worker's: none where it is not one of the workers.
    turns: u16,
    hash: KeyHasher,
}

impl<A: Address> Ports<A> {
    /// Room for as many external addresses in use as 64 ports of each need, out of `capacity`. The memory is touched as it
    /// is used: 8 KiB for each address and protocol.
    pub(crate) fn new(capacity: usize, worker: u16, workers: u16, hash: &FixedState) -> Self {
        let pools = capacity.div_ceil(64).max(capacity.min(64));
        let workers = workers.max(1);
        let first_block = first_block(worker, workers);
        let left = u32::from(BLOCKS).saturating_sub(first_block);
        let turns = match worker < workers {
            true => left.div_ceil(u32::from(workers)) as u16,
            false => 0,
        };
        Ports {
            pools: FixedMap::new(pools, hash),
            recent: Recent::default(),
            words: vec![0; pools * usize::from(BLOCKS)],
            free_pages: Vec::with_capacity(pools),
            pages: 0,
            worker,
            workers,
            first_block,
            turns,
            hash: KeyHasher::new(hash),
        }
    }

    /// Takes a port: `wanted` if that is free, this worker's, and one that may be preserved; otherwise a free one from
    /// 1024 on, or within the set that is said, if the protocol has ports at all. None if there is none, or no room. Where
    /// only addresses are translated, `wanted` or none.
    ///
    /// Addresses alone are the first worker's, whoever's the port is.
    ///
    /// `next_to` is the external port that this one shall stand beside, where pairs are kept: that of the other port of the sender's
    /// pair. Without it, a port whose neighbor is free is better than `wanted`.
    ///
    /// Costs one look-up; at worst, once until something is given back, a look at a word for each 64 ports of this worker's, and
    /// once more for each kind of port that is better than others.
    pub(crate) fn take(
        &mut self,
        external: External<A>,
        wanted: u16,
        next_to: Option<u16>,
        allocation: &PortAllocation,
        is_reserved: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let known = self.find(&external);
        let id = match known {
            Some(id) => id,
            None => self.begin(external)?,
        };
        let Pool { page, .. } = *self.pools.get(id)?;
        let set = allocation
            .within
            .as_deref()
            .filter(|_| has_translated_ports(external.protocol));
        let preserved = match (allocation.address_only, set) {
            (true, _) => self.is_first() && self.is_free(page, wanted) && !is_reserved(wanted),
            (false, Some(set)) => self.may_take(page, set, wanted, &is_reserved),
            (false, None) => self.may_preserve(page, external.protocol, wanted, &is_reserved),
        };
        // The port beside the other one of the pair, or one that may have such a neighbor, is better than the sender's own.
        let neighbor = next_to.map(|port| port ^ 1).filter(|port| {
            let has_parity = port % 2 == wanted % 2;
            has_parity
                && match set {
                    Some(set) => self.may_take(page, set, *port, &is_reserved),
                    None => self.may_preserve(page, external.protocol, *port, &is_reserved),
                }
        });
        let is_best = match (allocation.parity, next_to) {
            (PortParity::Pairs, None) => self.is_free(page, wanted ^ 1),
            _ => true,
        };
        let port = match (neighbor, preserved) {
            (Some(neighbor), _) => Some(neighbor),
            (None, true) if allocation.address_only || is_best => Some(wanted),
            _ if allocation.address_only => None,
            _ => Choice::all(wanted, allocation).find_map(|choice| match set {
                // Rather than give up on pairs, it keeps the sender's own.
                _ if preserved && !choice.in_pairs => Some(wanted),
                Some(set) => self.search_within(id, set, choice, &is_reserved),
                None => self.search(id, &external, choice, &is_reserved),
            }),
        };
        let Some(port) = port else {
            self.end_if_unused(id);
            return None;
        };
        self.words[place(page, port / BLOCK)] |= 1 << (port % BLOCK);
        let turn = self.turn_of(port / BLOCK);
        let pool = self.pools.get_mut(id)?;
        pool.taken += 1;
        match set {
            _ if port == wanted => {}
            Some(_) => pool.next_block = port / BLOCK,
            None => pool.hint = turn,
        }
        Some(port)
    }

    /// Takes the sender's own port, where nothing else is asked for; false where that cannot be, or the address has no port in use.
    #[inline]
    pub(crate) fn preserve(
        &mut self,
        external: &External<A>,
        wanted: u16,
        is_reserved: impl Fn(u16) -> bool,
    ) -> bool {
        let Some(id) = self.find(external) else {
            return false;
        };
        !is_reserved(wanted) && self.take_foreseen(id, external.protocol, wanted, wanted)
    }

    /// Takes just this port, whoever's it is among workers; false where it is taken, or there is no room.
    pub(crate) fn take_exactly(&mut self, external: External<A>, port: u16) -> bool {
        let known = self.find(&external);
        let Some(id) = known.or_else(|| self.begin(external)) else {
            return false;
        };
        let page = self.pools.get(id).map(|pool| pool.page);
        let Some(page) = page.filter(|page| self.is_free(*page, port)) else {
            self.end_if_unused(id);
            return false;
        };
        self.words[place(page, port / BLOCK)] |= 1 << (port % BLOCK);
        if let Some(pool) = self.pools.get_mut(id) {
            pool.taken += 1;
        }
        true
    }

    /// Gives a taken port back.
    pub(crate) fn give_back(&mut self, external: &External<A>, port: u16) {
        if let Some(id) = self.find(external) {
            self.give_back_at(id, port);
        }
    }

    /// As [`give_back`](Self::give_back), of the address that is there; false where there is none.
    #[inline(always)]
    pub(crate) fn give_back_at(&mut self, id: Id, port: u16) -> bool {
        let Some(pool) = self.pools.get_mut(id) else {
            return false;
        };
        self.words[place(pool.page, port / BLOCK)] &= !(1 << (port % BLOCK));
        pool.taken = pool.taken.saturating_sub(1);
        let is_unused = pool.taken == 0;
        if pool.dry != Parities::NONE || pool.dry_set.is_some() {
            self.no_longer_dry(id, port);
        }
        if is_unused {
            self.end_if_unused(id);
        }
        true
    }

    /// A port was given back to a pool in which a search has found nothing.
    #[inline(never)]
    fn no_longer_dry(&mut self, id: Id, port: u16) {
        let turn = self.turn_of(port / BLOCK);
        let Some(pool) = self.pools.get_mut(id) else {
            return;
        };
        // Where nothing is free but this, let the next search begin with it.
        let own = Parities::of(port);
        if pool.dry.holds(own) && port / BLOCK >= FIRST_BLOCK {
            pool.hint = turn;
        }
        pool.dry = Parities(pool.dry.0 & !own.0);
        if pool.dry_set.take().is_some() {
            pool.next_block = port / BLOCK;
        }
    }

    /// How many places external addresses with ports in use were ever at.
    pub(crate) fn places(&self) -> u32 {
        self.pools.places()
    }

    /// The external address at a place, and how many of its ports are in use.
    pub(crate) fn in_use(&self, place: u32) -> Option<(&External<A>, u32)> {
        let (external, pool) = self.pools.at(place)?;
        Some((external, pool.taken))
    }

    #[inline]
    fn find(&mut self, external: &External<A>) -> Option<Id> {
        self.recent.find(&self.pools, external, external.number())
    }

    /// Asks for the line that says whether a port is in use, if it is remembered where that is; and tells where the ports of the address
    /// are then.
    #[inline(always)]
    pub(crate) fn prefetch(&self, external: &External<A>, port: u16) -> Id {
        let known = self.recent.peek(&self.pools, external, external.number());
        if let Some(known) = known {
            self.prefetch_at(known, port);
        }
        known.unwrap_or(Id::NOWHERE)
    }

    /// Asks for the line that says whether a port of an address that was found is in use; false where the address is gone.
    #[inline(always)]
    pub(crate) fn prefetch_at(&self, id: Id, port: u16) -> bool {
        let pool = self.pools.get(id);
        if let Some(pool) = pool {
            prefetch_at(&self.words, place(pool.page, port / BLOCK));
        }
        pool.is_some()
    }

    /// Finds an external address with ports in use, and asks for the line that says whether a port is.
    #[inline(always)]
    pub(crate) fn expect(&mut self, external: &External<A>, port: u16) -> Option<Id> {
        let known = self.find(external)?;
        self.prefetch_at(known, port).then_some(known)
    }

    /// Takes just this port of an address that was found, where [`take`](Self::take) would, for a sender that asks for nothing else: its own, or the
    /// next one that is free. What is reserved is not asked. False, and no change, where it is another, the address is gone, or more would have to be
    /// looked at.
    #[inline(always)]
    pub(crate) fn take_foreseen(&mut self, id: Id, protocol: u8, wanted: u16, port: u16) -> bool {
        let hint = match port == wanted {
            true if self.is_own(protocol, wanted) => None,
            false if self.foresee(id, protocol, wanted, || None) == Some(port) => {
                Some(self.turn_of(port / BLOCK))
            }
            _ => return false,
        };
        let Some(pool) = self.pools.get_mut(id) else {
            return false;
        };
        let word = &mut self.words[place(pool.page, port / BLOCK)];
        let bit = 1 << (port % BLOCK);
        let is_free = *word & bit == 0;
        if is_free {
            *word |= bit;
            pool.taken += 1;
            pool.hint = hint.unwrap_or(pool.hint);
        }
        is_free
    }

    /// The port that a sender will have of an address that was found, where it asks for nothing else and another has its own: the next one that
    /// is free, behind the one that somebody else will have before it. None where its own is free, or more than two words would have to be
    /// looked at.
    #[inline(always)]
    pub(crate) fn foresee(
        &self,
        id: Id,
        protocol: u8,
        wanted: u16,
        behind: impl FnOnce() -> Option<u16>,
    ) -> Option<u16> {
        let pool = self.pools.get(id)?;
        match self.is_free(pool.page, wanted) {
            true => None,
            false => self.foresee_other(pool, protocol, behind()),
        }
    }

    #[inline(never)]
    fn foresee_other(&self, pool: &Pool, protocol: u8, behind: Option<u16>) -> Option<u16> {
        if pool.dry != Parities::NONE || !has_translated_ports(protocol) {
            return None;
        }
        let turn = behind.map_or(pool.hint, |port| self.turn_of(port / BLOCK));
        let beyond = behind.map_or(0, |port| (2_u64 << (port % BLOCK)).wrapping_sub(1));
        [(turn, beyond), (turn + 1, 0)]
            .into_iter()
            .filter(|(turn, _)| *turn < self.turns)
            .find_map(|(turn, taken)| {
                let block = self.block_of(turn);
                let free = !(self.words[place(pool.page, block)] | taken);
                (free != 0).then(|| block * BLOCK + free.trailing_zeros() as u16)
            })
    }

    /// A pool for an address of which no port is in use, if there is room.
    fn begin(&mut self, external: External<A>) -> Option<Id> {
        let page = match self.free_pages.pop() {
            Some(page) => page,
            None if place(self.pages, 0) < self.words.len() => {
                self.pages += 1;
                self.pages - 1
            }
            None => return None,
        };
        let pool = Pool {
            page,
            taken: 0,
            hint: self.first_turn(&external),
            dry: Parities::NONE,
            next_block: 0,
            dry_set: None,
        };
        let id = self.pools.insert(external, pool);
        if id.is_none() {
            self.free_pages.push(page);
        }
        id
    }

    fn end_if_unused(&mut self, id: Id) {
        if self.pools.get(id).is_some_and(|pool| pool.taken == 0)
            && let Some((_, pool)) = self.pools.remove(id)
        {
            self.free_pages.push(pool.page);
        }
    }

    #[inline]
    fn is_free(&self, page: u32, port: u16) -> bool {
        self.words[place(page, port / BLOCK)] & 1 << (port % BLOCK) == 0
    }

    /// Whether this is the worker whose the ports are that are not dealt out.
    pub(crate) fn is_first(&self) -> bool {
        self.worker == 0
    }

    #[inline(always)]
    fn may_preserve(
        &self,
        page: u32,
        protocol: u8,
        wanted: u16,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> bool {
        self.is_own(protocol, wanted) && self.is_free(page, wanted) && !is_reserved(wanted)
    }

    /// Whether a sender's port is this worker's, and one that may be preserved.
    #[inline(always)]
    fn is_own(&self, protocol: u8, wanted: u16) -> bool {
        // Port 0 is reserved in TCP and UDP, a valid identifier in ICMP, and what protocols without ports have.
        let may_be = wanted != 0 || !matches!(protocol, 6 | 17);
        may_be && owner(wanted, self.workers) == self.worker
    }

    /// Whether a port of a set is this worker's, and free.
    fn may_take(
        &self,
        page: u32,
        set: &PortSet,
        port: u16,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> bool {
        set.contains(port)
            && owner(port, self.workers) == self.worker
            && self.is_free(page, port)
            && !is_reserved(port)
    }

    /// A free port of a set.
    fn search_within(
        &mut self,
        id: Id,
        set: &PortSet,
        choice: Choice,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let Pool {
            page,
            next_block,
            dry_set,
            ..
        } = *self.pools.get(id)?;
        if dry_set == Some(set.fingerprint()) {
            return None;
        }
        let blocks = set.blocks();
        let (before, after) = blocks.split_at(blocks.partition_point(|(n, _)| *n < next_block));
        for &(block, ports) in after.iter().chain(before) {
            if owner(block * BLOCK, self.workers) != self.worker {
                continue;
            }
            let mut free = choice.among(ports & !self.words[place(page, block)]);
            while free != 0 {
                let port = block * BLOCK + free.trailing_zeros() as u16;
                if !is_reserved(port) {
                    return Some(port);
                }
                free &= free - 1;
            }
        }
        if choice.parities == Parities::BOTH {
            self.pools.get_mut(id)?.dry_set = Some(set.fingerprint());
        }
        None
    }

    fn search(
        &mut self,
        id: Id,
        external: &External<A>,
        choice: Choice,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let has_ports = has_translated_ports(external.protocol);
        let turns = self.turns;
        let Pool {
            page, hint, dry, ..
        } = *self.pools.get(id)?;
        if !has_ports || turns == 0 || dry.holds(choice.parities) {
            return None;
        }
        for turn in (hint..turns).chain(0..hint) {
            let block = self.block_of(turn);
            let mut free = choice.among(!self.words[place(page, block)]);
            while free != 0 {
                let port = block * BLOCK + free.trailing_zeros() as u16;
                if !is_reserved(port) {
                    return Some(port);
                }
                free &= free - 1;
            }
        }
        if !choice.in_pairs {
            let pool = self.pools.get_mut(id)?;
            pool.dry = Parities(pool.dry.0 | choice.parities.0);
        }
        None
    }

    fn block_of(&self, turn: u16) -> u16 {
        (self.first_block + u32::from(turn) * u32::from(self.workers)) as u16
    }

    fn turn_of(&self, block: u16) -> u16 {
        (u32::from(block).saturating_sub(self.first_block) / u32::from(self.workers)) as u16
    }

    /// Where to look first on an address that has no port in use.
    fn first_turn(&self, external: &External<A>) -> u16 {
        (external.hash(&self.hash) % u64::from(self.turns.max(1))) as u16
    }

    /// Whether nothing is taken.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.pools.len() == 0 && self.words.iter().all(|word| *word == 0)
    }
}

#[cfg(test)]
mod tests;
