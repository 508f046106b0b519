//! How a connection begins and ends.

use rewire_tables::{Address, InterfaceIndex, VpcIndex};

use super::{Candidate, Connections, KeyHash, tick};
use crate::error::InsertError;
use crate::flow::{Flow, FlowId, NewFlow};
use crate::index::Claim;
use crate::key::{Direction, FlowKey};
use crate::mappings::{Ending, MappingRequest};
use crate::records::{Account, Id, NONE, Record, entry, flag, slot_and_direction};
use crate::segment::Segment;
use crate::state::State;
use crate::tcp::Memory;
use crate::time::{Deadline, Instant, Second};
use crate::timeout_classes::TimeoutClass;

/// A connection that is to end, and the hashes of its keys.
#[derive(Clone, Copy, Debug)]
pub struct Removal {
    id: FlowId,
    hashes: [KeyHash; 2],
}

/// A connection that is to begin with a new mapping, which has the endpoint's own port, or the next one that is free, on an address that its
/// host has already. Its destination stays.
#[derive(Clone, Copy, Debug)]
pub struct NewForeseen<'r, A> {
    /// The key of its first packet.
    pub original: &'r FlowKey<A>,
    /// The hashes of that, and of the key of its replies.
    pub hashes: [KeyHash; 2],
    /// The mapping, as it was asked for: where its host is was found with [`Connections::expect_mapping`].
    pub request: &'r MappingRequest<A>,
    /// What was found then, and the own port or what [`Connections::foresee_port`] has said.
    pub external: (A, u16),
    /// The VPC of that address.
    pub external_vpc: VpcIndex,
    /// The generation of the policy that lets it begin.
    pub policy_generation: u64,
    /// The interface that its first packet came in by.
    pub ingress: InterfaceIndex,
}

/// Notes what is kept of the first packet of a connection, which has this state now.
#[inline(always)]
fn keep_first(
    account: &mut Account,
    (state, memory): (State, &Memory),
    ports: Option<(u16, u16)>,
    bytes: u32,
) {
    account.count(Direction::Original, bytes);
    match (state, ports) {
        (State::Tcp(_), _) => account.set_tcp(memory),
        (_, Some(ports)) => account.set_ports(ports),
        _ => {}
    }
}

impl<A: Address> Connections<A> {
    /// Begins a connection with its first packet, of `bytes` bytes. Whether it may is not asked again: see
    /// [`admits_new`](Self::admits_new). Connections whose time is up and that have one of its keys make way.
    ///
    /// # Errors
    /// [`InsertError::Clash`] before [`InsertError::TableFull`]. If there is a new mapping, the caller still has it, and
    /// should [release](Self::release_unused_mapping) it.
    pub fn insert(
        &mut self,
        new: NewFlow<A>,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<FlowId, InsertError> {
        let hashes = [&new.original, &new.reply].map(|key| self.hash(key));
        self.insert_hashed(new, hashes, segment, bytes, now)
    }

    /// As [`insert`](Self::insert), with the hashes of both keys.
    ///
    /// # Errors
    /// As there.
    // Always inline, and all others get copies of the keys: then the fields go from where they were computed into the record, one by one.
    // A key that is written in parts and then copied as a whole waits until all stores before it are done.
    #[inline(always)]
    pub fn insert_hashed(
        &mut self,
        new: NewFlow<A>,
        hashes: [KeyHash; 2],
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<FlowId, InsertError> {
        let NewFlow {
            original,
            reply,
            route_vpc,
            policy_generation,
            admission,
            mapping,
        } = new;
        self.latest = self.latest.max(now);
        // Promised first, lest it end with the last of the flows that make way.
        if let Some(mapping) = &mapping
            && !self
                .mappings
                .promise(&self.records, original, reply.vpc, mapping)
        {
            return Err(InsertError::Clash);
        }
        if !self.claim([original, reply], hashes) {
            self.claim_after_others([original, reply], hashes, now)?;
        }
        let (state, memory) = State::begin(segment);
        let timeout = self.timeouts.of(admission.timeouts, state);
        let expires = Deadline::after(now, timeout);
        let bit = |flag, on| if on { flag } else { 0 };
        let record = Record {
            original,
            reply,
            policy_generation: policy_generation as u32,
            expires,
            created: Second::of(now),
            next: NONE,
            previous: NONE,
            reuse: 0,
            route_vpc,
            ingress: admission.ingress,
            state,
            flags: bit(flag::WHOLE, admission.whole)
                | bit(flag::PORTS, admission.ports.is_some())
                | bit(flag::MAPPED, mapping.is_some())
                | bit(flag::PEERING, admission.peering.is_some()),
            timeouts: admission.timeouts,
        };
        let inserted = self.records.insert(record);
        let (id, account) = inserted.ok_or(InsertError::TableFull)?;
        keep_first(account, (state, &memory), admission.ports, bytes);
        self.records.set_peering(id.slot, admission.peering);
        if mapping.is_some() {
            let spots = hashes.map(|hash| hash.0);
            self.mappings.attach(&mut self.records, id.slot, spots);
        }
        self.sweep.schedule(id.slot, tick(timeout.end(now)));
        self.note_beginning(hashes, state, original.vpc, admission.timeouts);
        Ok(FlowId(id))
    }

    /// Begins a connection as [`acquire_requested`](Self::acquire_requested) and [`insert_hashed`](Self::insert_hashed) would, at once, where all
    /// is as it mostly is: its endpoint has no mapping, and gets that port on the address that its host has; nobody has one of its keys, and
    /// there is room. None in any other case, and no change.
    ///
    /// The address has to be the rule's, and the port not reserved; the rule asks for nothing else.
    #[inline(never)]
    pub fn begin_foreseen(
        &mut self,
        new: &NewForeseen<'_, A>,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Option<FlowId> {
        let NewForeseen {
            original,
            hashes,
            request,
            external,
            external_vpc,
            policy_generation,
            ingress,
        } = *new;
        let slot = self.records.next_slot();
        let has_room = (slot as usize) < self.records.capacity();
        if !has_room | self.recorder.is_some() | !request.has_host() {
            return None;
        }
        let home = self.records.index().look_at_home(hashes[0].0);
        let is_from_client = original.is_from_client();
        // Where a client's key is alone, nothing else of its endpoint is there.
        let is_first =
            home.is_alone & is_from_client || self.records.index().has_nothing_near(request.spot());
        if !is_first {
            return None;
        }
        let entries = [Direction::Original, Direction::Reply].map(|way| entry(slot, way));
        let records = &mut self.records;
        let original_place = records.claim_where_looked((hashes[0].0, home), entries[0]);
        if original_place == Claim::Refused {
            return None;
        }
        if records.claim_alone(hashes[1].0, entries[1]) == Claim::Refused {
            records.unclaim(hashes[0].0, entries[0]);
            return None;
        }
        if !self.mappings.take_foreseen(request, external) {
            records.unclaim(hashes[0].0, entries[0]);
            records.unclaim(hashes[1].0, entries[1]);
            return None;
        }
        self.latest = self.latest.max(now);
        let is_near = (original_place == Claim::Home) & is_from_client;
        let ports = (original.source_port, original.destination_port);
        let (state, memory) = State::begin(segment);
        let timeouts = TimeoutClass::default();
        let timeout = self.timeouts.of(timeouts, state);
        let record = Record {
            original: *original,
            reply: FlowKey {
                vpc: external_vpc,
                protocol: original.protocol,
                source: original.destination,
                destination: external.0,
                source_port: original.destination_port,
                destination_port: external.1,
            },
            policy_generation: policy_generation as u32,
            expires: Deadline::after(now, timeout),
            created: Second::of(now),
            next: slot,
            previous: slot,
            reuse: 0,
            route_vpc: original.vpc,
            ingress,
            state,
            flags: flag::WHOLE
                | flag::PORTS
                | flag::MAPPED
                | if is_near { flag::LISTED } else { 0 },
            timeouts,
        };
        let (id, account) = self.records.insert(record)?;
        debug_assert_eq!(id.slot, slot);
        keep_first(account, (state, &memory), Some(ports), bytes);
        if !is_near {
            self.mappings.list_aside(&mut self.records, slot);
        }
        self.sweep.schedule(slot, tick(timeout.end(now)));
        self.note_beginning(hashes, state, original.vpc, timeouts);
        Some(FlowId(id))
    }

    /// Counts a connection that has begun.
    #[inline(always)]
    fn note_beginning(
        &mut self,
        hashes: [KeyHash; 2],
        state: State,
        vpc: VpcIndex,
        timeouts: TimeoutClass,
    ) {
        hashes.iter().for_each(|hash| self.newcomers.add(*hash));
        self.counts.add(state);
        self.vpc_counts.add(vpc);
        self.timeouts.hold(timeouts);
    }

    /// Puts both keys of a connection into the index, for the slot that it will have. False, and no change, where another has one
    /// of them, or there is no room.
    // Inline, so that nobody copies the keys where two lines of the index say all.
    #[inline(always)]
    pub(super) fn claim(&mut self, keys: [FlowKey<A>; 2], hashes: [KeyHash; 2]) -> bool {
        let own = self.records.next_slot();
        if own as usize >= self.records.capacity() {
            return false;
        }
        let [original, reply] = hashes;
        let records = &mut self.records;
        let is_in =
            records.claim_alone(original.0, entry(own, Direction::Original)) != Claim::Refused;
        let are_in = is_in
            && original != reply
            && records.claim_alone(reply.0, entry(own, Direction::Reply)) != Claim::Refused;
        are_in || self.claim_among_others(keys, hashes, own, is_in)
    }

    /// As [`claim`](Self::claim), where others have such hashes. Whether the original key is in already.
    #[inline(never)]
    fn claim_among_others(
        &mut self,
        [original, reply]: [FlowKey<A>; 2],
        [original_hash, reply_hash]: [KeyHash; 2],
        own: u32,
        is_in: bool,
    ) -> bool {
        let records = &mut self.records;
        let entries = [Direction::Original, Direction::Reply].map(|way| entry(own, way));
        if !is_in && !records.claim(original_hash.0, entries[0], &original) {
            return false;
        }
        if reply == original || records.claim(reply_hash.0, entries[1], &reply) {
            return true;
        }
        records.unclaim(original_hash.0, entries[0]);
        false
    }

    /// As [`claim`](Self::claim), once what has one of the keys, and whose time is up, has made way.
    ///
    /// # Errors
    /// [`InsertError::Clash`], if its time is not up.
    #[cold]
    #[inline(never)]
    fn claim_after_others(
        &mut self,
        keys: [FlowKey<A>; 2],
        hashes: [KeyHash; 2],
        now: Instant,
    ) -> Result<(), InsertError> {
        for (hash, key) in hashes.into_iter().zip(&keys) {
            if let Some((slot, _)) = self.find(hash, key) {
                let record = self.records.used(slot);
                // What is still in the card is not over.
                if !record.expires.is_over(now) || record.has(flag::OFFLOADED) {
                    return Err(InsertError::Clash);
                }
                self.remove_slot(slot);
            }
        }
        match self.claim(keys, hashes) {
            true => Ok(()),
            false => Err(InsertError::TableFull),
        }
    }

    /// Asks for what it takes to find that no connection has a key, and to begin one. Best when what [`prefetch_index`](Self::prefetch_index)
    /// asked for is there.
    #[inline(always)]
    pub fn prefetch_insertion(&self, hash: KeyHash) {
        self.records.index().prefetch_insertion(hash.0);
    }

    /// Finds a packet's flow, which is to end, and asks for the lines of the index that its end changes; also a flow whose time is
    /// up. Best when what [`prefetch_flow`](Self::prefetch_flow) asked for is there.
    #[inline]
    pub fn prefetch_removal(
        &self,
        (hash, candidate): (KeyHash, Candidate),
        key: &FlowKey<A>,
    ) -> Option<Removal> {
        let likely = slot_and_direction(candidate.0);
        let ((slot, direction), record) = match self.records.get_used(likely.0) {
            Some(record) if record.key(likely.1) == key => (likely, record),
            _ => {
                let found = self.find(hash, key)?;
                (found, self.records.used(found.0))
            }
        };
        let other = self.hash(record.key(direction.other()));
        self.prefetch_index(other);
        self.sweep.prefetch(slot);
        // Whoever begins next has this slot.
        self.records.prefetch_all(slot);
        let reuse = record.reuse;
        Some(Removal {
            id: FlowId(Id { slot, reuse }),
            hashes: match direction {
                Direction::Original => [hash, other],
                Direction::Reply => [other, hash],
            },
        })
    }

    /// Ends a connection that was found, as [`remove`](Self::remove) does. False where it has ended since.
    #[inline]
    pub fn remove_found(&mut self, Removal { id, hashes }: Removal) -> bool {
        let Some(record) = self.records.get(id.0) else {
            return false;
        };
        match record.has(flag::OFFLOADED) {
            true => self.end_offloaded(id.0.slot),
            false => self.remove_hashed(id.0.slot, hashes, None),
        }
        true
    }

    /// Ends a connection, and its mapping if no other flow refers to that. One that is offloaded is not found any more, but has its
    /// slot, its keys and its mapping until the card has confirmed that its rules are gone.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow<A>> {
        let flow = self.flow(id)?;
        match self.is_offloaded(id) {
            true => self.end_offloaded(id.0.slot),
            false => self.remove_slot(id.0.slot),
        }
        Some(flow)
    }

    pub(super) fn remove_slot(&mut self, slot: u32) {
        let record = self.records.used(slot);
        let hashes = [&record.original, &record.reply].map(|key| self.hash(key));
        self.remove_hashed(slot, hashes, None);
    }

    /// Ends a connection, with the hashes of its keys, and what was found of its mapping ahead, if anything was.
    #[inline(always)]
    pub(super) fn remove_hashed(
        &mut self,
        slot: u32,
        [original, reply]: [KeyHash; 2],
        mapping: Option<&Ending>,
    ) {
        // Before anything of it is undone.
        if self.is_recording() {
            self.record_end(slot);
        }
        let record = self.records.used(slot);
        let has_two_keys = original != reply || record.reply != record.original;
        self.counts.subtract(record.state);
        self.timeouts.release(record.timeouts);
        self.vpc_counts.subtract(record.original.vpc);
        if record.has(flag::COUNTED) {
            let source = (record.original.vpc, record.original.source);
            self.forget_source(source);
        }
        let is_mapped = self.records.used(slot).has(flag::MAPPED);
        let records = &mut self.records;
        let original_at_home = records.unclaim(original.0, entry(slot, Direction::Original));
        let reply_at_home = has_two_keys && records.unclaim(reply.0, entry(slot, Direction::Reply));
        if is_mapped {
            let at_home = [original_at_home, reply_at_home];
            self.mappings.detach(records, slot, at_home, mapping);
        }
        self.records.free(slot);
        self.sweep.forget(slot);
    }
}
