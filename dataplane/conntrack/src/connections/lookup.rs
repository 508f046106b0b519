//! Whose packet is it? One at a time, or a burst at a time, with what each needs asked of the memory ahead.

use rewire_tables::Address;

use super::{Candidate, Connections, KeyHash};
use crate::flow::{FlowId, Known, Passage};
use crate::index::Sought;
use crate::key::{Direction, FlowKey};
use crate::records::{Id, Record, flag, slot_and_direction};
use crate::time::Instant;

impl<A: Address> Connections<A> {
    /// The hash of a key, for the calls that take one.
    #[inline(always)]
    pub fn hash(&self, key: &FlowKey<A>) -> KeyHash {
        KeyHash(self.records.spot(key))
    }

    /// Asks for the line of the index that a look-up of this key begins with. Costs next to nothing; some 100 ns later the
    /// line is there.
    #[inline]
    pub fn prefetch_index(&self, hash: KeyHash) {
        self.records.index().prefetch(hash.0);
    }

    /// As [`prefetch_index`](Self::prefetch_index), for a key that is to be inserted or removed, and nothing is asked for in between: where many
    /// entries are away from home, for the other line, too.
    #[inline(always)]
    pub fn prefetch_change(&self, hash: KeyHash) {
        match self.records.is_crowded() {
            true => self.records.index().prefetch_both(hash.0),
            false => self.records.index().prefetch(hash.0),
        }
    }

    /// Asks for the flow that a look-up will most likely find, and tells which that is. Best when the line of the index is
    /// there. Where it is not known yet, for another line of the index is asked for first, [`prefetch_later`](Self::prefetch_later) does the
    /// rest.
    #[inline(always)]
    pub fn prefetch_flow(&self, hash: KeyHash) -> Candidate {
        match self.records.index().candidate(hash.0) {
            Sought::Found(entry) => {
                self.records.prefetch(entry / 2);
                Candidate(entry)
            }
            Sought::Nothing => Candidate::NONE,
            Sought::Away => Candidate::AWAY,
        }
    }

    /// What [`prefetch_flow`](Self::prefetch_flow) has left to do. Best some time behind it.
    #[inline(always)]
    pub fn prefetch_later(&self, hash: KeyHash, candidate: &mut Candidate) {
        if candidate.0 == Candidate::AWAY.0 {
            *candidate = Candidate::NONE;
            if let Some(entry) = self.records.index().candidate_away(hash.0) {
                self.records.prefetch(entry / 2);
                *candidate = Candidate(entry);
            }
        }
    }

    /// Asks for what a packet changes of a flow that was found, and that goes this way. `is_tcp` tells whether the packet is one of TCP,
    /// which changes more.
    #[inline(always)]
    pub fn prefetch_account(&self, FlowId(id): FlowId, direction: Direction, is_tcp: bool) {
        self.records.prefetch_account(id.slot, direction, is_tcp);
    }

    /// The flow that a packet belongs to, and which way it goes. One whose time is up is not found. Where both keys of a
    /// flow are equal, it goes the original way.
    #[inline]
    pub fn lookup(&self, key: &FlowKey<A>, now: Instant) -> Option<(FlowId, Direction)> {
        self.lookup_hashed(self.hash(key), key, now)
    }

    /// As [`lookup`](Self::lookup), for a key whose hash is known.
    #[inline]
    pub fn lookup_hashed(
        &self,
        hash: KeyHash,
        key: &FlowKey<A>,
        now: Instant,
    ) -> Option<(FlowId, Direction)> {
        let (slot, direction) = self.find(hash, key)?;
        let record = self.records.used(slot);
        let id = Id {
            slot,
            reuse: record.reuse,
        };
        (!record.expires.is_over(now)).then_some((FlowId(id), direction))
    }

    /// As [`lookup`](Self::lookup), but whose time is up is found as long as it is there.
    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: &FlowKey<A>) -> Option<(u32, Direction)> {
        let is_it = |entry| {
            let (slot, direction) = slot_and_direction(entry);
            self.records.used(slot).key(direction) == key
        };
        self.records
            .index()
            .find(hash.0, is_it)
            .map(slot_and_direction)
    }

    /// What is known of a packet: where it goes, if the policy of `generation` has let its connection in as a whole. Looks at
    /// no connection but the likely one, which was found since one was added last; where that is another's, the answer is [`Known::Perhaps`].
    #[inline(always)]
    pub fn passage(
        &self,
        candidate: Candidate,
        key: &FlowKey<A>,
        generation: u64,
        now: Instant,
    ) -> Known<A> {
        // There is no such slot where there is no candidate.
        let (slot, direction) = slot_and_direction(candidate.0);
        match self.records.get_used(slot) {
            Some(record) if record.key(direction) == key => {
                self.passage_of(slot, record, direction, generation, now)
            }
            // One that is away is not known.
            _ if candidate.0 == Candidate::NONE.0 => Known::Nothing,
            _ => Known::Perhaps,
        }
    }

    /// As [`passage`](Self::passage), of whatever connection the packet has.
    pub fn any_passage(
        &self,
        hash: KeyHash,
        key: &FlowKey<A>,
        generation: u64,
        now: Instant,
    ) -> Known<A> {
        match self.find(hash, key) {
            Some((slot, direction)) => {
                let record = self.records.used(slot);
                self.passage_of(slot, record, direction, generation, now)
            }
            None => Known::Nothing,
        }
    }

    /// From now on, [`has_begun`](Self::has_begun) tells of connections that begin.
    #[inline]
    pub fn watch_beginnings(&mut self) {
        self.newcomers.forget();
    }

    /// Whether a connection with a key of this hash may have begun since [`watch_beginnings`](Self::watch_beginnings); false, if none has.
    #[inline(always)]
    pub fn has_begun(&self, hash: KeyHash) -> bool {
        self.newcomers.may_have(hash)
    }

    #[inline(always)]
    fn passage_of(
        &self,
        slot: u32,
        record: &Record<A>,
        direction: Direction,
        generation: u64,
        now: Instant,
    ) -> Known<A> {
        let passes = (record.policy_generation == generation as u32)
            & record.has(flag::WHOLE)
            // Never of IPv4, and known when it is compiled.
            & !record.changes_family()
            & !record.expires.is_over(now);
        if !passes {
            return Known::Unresolved;
        }
        let (destination, vpc) = match direction {
            Direction::Original => (record.reply.source, record.route_vpc),
            Direction::Reply => (record.original.source, record.original.vpc),
        };
        Known::Passes(Passage {
            flow: FlowId(Id {
                slot,
                reuse: record.reuse,
            }),
            direction,
            destination,
            vpc,
            peering: record
                .has(flag::PEERING)
                .then(|| self.records.peering(slot)),
        })
    }
}
