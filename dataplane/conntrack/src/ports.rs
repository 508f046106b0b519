//! Which ports of external addresses are taken.
//!
//! Ports are dealt out in blocks of 64: to workers, so that each gives out only its own and a reply's destination port says
//! whose it is; and to the table here, which holds one word of bits for each block with a port in use. A search for a free
//! port looks at words, not at ports.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;
use rewire_tables::VpcIndex;

use crate::fixed_map::FixedMap;
use crate::slab::Id;

const BLOCK: u16 = 64;
const BLOCKS: u16 = 1024;
/// The first block that ports are looked for in: those below 1024 are well-known, and only preserved.
const FIRST_BLOCK: u16 = 1024 / BLOCK;

/// The worker that owns a port, of so many workers: of no other worker's translations is it the external port.
///
/// Ports are dealt in blocks of 64, in turn. Of more than 1008 workers, some own no port from 1024 on.
pub fn owner(port: u16, workers: u16) -> u16 {
    port / BLOCK % workers.max(1)
}

/// One external address, as one protocol uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct External<A> {
    pub(crate) vpc: VpcIndex,
    pub(crate) protocol: u8,
    pub(crate) address: A,
}

/// The ports in use of an external address.
#[derive(Debug)]
struct Pool {
    taken: u32,
    /// The turn of the block to look at first.
    hint: u16,
    /// A search has found nothing, and nothing was given back since.
    is_dry: bool,
}

/// All external addresses' ports.
#[derive(Debug)]
pub(crate) struct Ports<A> {
    pools: FixedMap<External<A>, Pool>,
    /// By the pool and the block's number.
    blocks: FixedMap<(Id, u16), u64>,
    worker: u16,
    workers: u16,
    hash: FixedState,
}

impl<A: Copy + Eq + Hash> Ports<A> {
    /// Room for as many ports in use as `capacity`.
    pub(crate) fn new(capacity: usize, worker: u16, workers: u16, hash: &FixedState) -> Self {
        Ports {
            pools: FixedMap::new(capacity, hash),
            blocks: FixedMap::new(capacity, hash),
            worker,
            workers: workers.max(1),
            hash: hash.clone(),
        }
    }

    /// Takes a port: `wanted` if that is free, this worker's, and one that may be preserved; otherwise a free one from
    /// 1024 on, if the protocol has ports at all. None if there is none, or no room.
    ///
    /// Costs a few look-ups; at worst, once until something is given back, one for each 64 ports of this worker's.
    pub(crate) fn take(
        &mut self,
        external: External<A>,
        wanted: u16,
        is_reserved: impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let pool = self.pools.find(&external);
        let port = self
            .preserve(pool, &external, wanted, &is_reserved)
            .or_else(|| self.search(pool, &external, &is_reserved))?;
        let hint = self.first_turn(&external);
        let id = self.pools.find_or_insert(
            external,
            Pool {
                taken: 0,
                hint,
                is_dry: false,
            },
        )?;
        let block = self.blocks.find_or_insert((id, port / BLOCK), 0)?;
        *self.blocks.get_mut(block)? |= 1 << (port % BLOCK);
        let turn = self.turn_of(port / BLOCK);
        let pool = self.pools.get_mut(id)?;
        pool.taken += 1;
        if port != wanted {
            pool.hint = turn;
        }
        Some(port)
    }

    /// Gives a taken port back.
    pub(crate) fn give_back(&mut self, external: &External<A>, port: u16) {
        let Some(id) = self.pools.find(external) else {
            return;
        };
        if let Some(block) = self.blocks.find(&(id, port / BLOCK))
            && let Some(bits) = self.blocks.get_mut(block)
        {
            *bits &= !(1 << (port % BLOCK));
            if *bits == 0 {
                self.blocks.remove(block);
            }
        }
        let turn = self.turn_of(port / BLOCK);
        let Some(pool) = self.pools.get_mut(id) else {
            return;
        };
        pool.taken = pool.taken.saturating_sub(1);
        if std::mem::take(&mut pool.is_dry) && port / BLOCK >= FIRST_BLOCK {
            // Where nothing is free but this, let the next search begin with it.
            pool.hint = turn;
        }
        if pool.taken == 0 {
            self.pools.remove(id);
        }
    }

    fn preserve(
        &self,
        pool: Option<Id>,
        external: &External<A>,
        wanted: u16,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> Option<u16> {
        // Port 0 is reserved in TCP and UDP, a valid identifier in ICMP, and what protocols without ports have.
        let may_be = wanted != 0 || !matches!(external.protocol, 6 | 17);
        let is_free = may_be
            && owner(wanted, self.workers) == self.worker
            && self.taken(pool, wanted / BLOCK) & 1 << (wanted % BLOCK) == 0
            && !is_reserved(wanted);
        is_free.then_some(wanted)
    }

    fn search(
        &mut self,
        pool: Option<Id>,
        external: &External<A>,
        is_reserved: &impl Fn(u16) -> bool,
    ) -> Option<u16> {
        let has_ports = matches!(external.protocol, 1 | 6 | 17 | 58);
        let turns = self.turns();
        let known = pool.and_then(|id| self.pools.get(id));
        if !has_ports || turns == 0 || known.is_some_and(|pool| pool.is_dry) {
            return None;
        }
        let first = known.map_or_else(|| self.first_turn(external), |pool| pool.hint);
        for turn in (first..turns).chain(0..first) {
            let block = self.block_of(turn);
            let mut free = !self.taken(pool, block);
            while free != 0 {
                let port = block * BLOCK + free.trailing_zeros() as u16;
                if !is_reserved(port) {
                    return Some(port);
                }
                free &= free - 1;
            }
        }
        if let Some(pool) = pool.and_then(|id| self.pools.get_mut(id)) {
            pool.is_dry = true;
        }
        None
    }

    /// The ports in use of a block.
    fn taken(&self, pool: Option<Id>, block: u16) -> u64 {
        let taken = || self.blocks.get(self.blocks.find(&(pool?, block))?).copied();
        taken().unwrap_or(0)
    }

    /// This worker's first block from 1024 on. May be beyond the last.
    fn first_block(&self) -> u32 {
        let [worker, workers] = [self.worker, self.workers].map(u32::from);
        let behind = u32::from(FIRST_BLOCK) % workers;
        u32::from(FIRST_BLOCK) + (worker + workers - behind) % workers
    }

    /// How many blocks from 1024 on are this worker's: none where it is not one of the workers.
    fn turns(&self) -> u16 {
        let left = u32::from(BLOCKS).saturating_sub(self.first_block());
        let is_one = self.worker < self.workers;
        if is_one {
            left.div_ceil(u32::from(self.workers)) as u16
        } else {
            0
        }
    }

    fn block_of(&self, turn: u16) -> u16 {
        (self.first_block() + u32::from(turn) * u32::from(self.workers)) as u16
    }

    fn turn_of(&self, block: u16) -> u16 {
        (u32::from(block).saturating_sub(self.first_block()) / u32::from(self.workers)) as u16
    }

    /// Where to look first on an address that has no port in use.
    fn first_turn(&self, external: &External<A>) -> u16 {
        (self.hash.hash_one(external) % u64::from(self.turns().max(1))) as u16
    }

    /// Whether nothing is taken.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.pools.len() == 0 && self.blocks.len() == 0
    }
}

#[cfg(test)]
mod tests;
