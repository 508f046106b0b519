//! The table of connections.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;
use std::time::Duration;

use foldhash::fast::FixedState;
use rewire_tables::acl::RuleCounters;
use rewire_tables::{Address, VpcIndex};

use crate::error::{Exhausted, InsertError, Invalid};
use crate::flow::{Admission, Flow, FlowId, NewFlow, Traffic};
use crate::flow_counters::FlowCounters;
use crate::index::Index;
use crate::key::{Direction, FlowKey};
use crate::mappings::{Internal, Mapping, MappingId, Mappings};
use crate::segment::Segment;
use crate::slab::Slab;
use crate::state::{State, StateCounts};
use crate::tcp;
use crate::time::Instant;
use crate::timeouts::Timeouts;
use crate::wheel::Wheel;

/// The most connections that one [`Connections`] holds.
pub const MAX_CAPACITY: usize = 1 << 30;

/// How exact [`Connections::expire`] is: a connection whose time is up is removed, given the budget, by the first call in
/// a later tick, if not before.
pub const EXPIRY_TICK: Duration = Duration::from_nanos(1 << TICK_BITS);

/// A tick is 2^30 ns, a little more than a second.
const TICK_BITS: u32 = 30;

fn tick(at: Instant) -> u64 {
    at.0 >> TICK_BITS
}

/// What a worker's connections are set up with.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many connections there is room for, and how many mappings; at most [`MAX_CAPACITY`].
    pub capacity: usize,
    /// How long connections live without packets.
    pub timeouts: Timeouts,
    /// Which of the workers this is, from 0. One that is not below `workers` owns no port.
    pub worker: u16,
    /// How many workers share the ports of external addresses.
    pub workers: u16,
    /// Whether a TCP connection may begin in its middle, as those do that are older than the gateway.
    pub tcp_pickup: bool,
    /// What hashes are seeded with. Nobody outside should know it: whoever does can make all look-ups slow. Workers that
    /// share it translate one internal address to one external address.
    pub hash_seed: u64,
}

/// The connections of one worker, of one address family, and their NAT mappings.
///
/// A look-up costs one hash, and about three cache misses in a large table. Memory is reserved at construction, and touched as
/// it is first used: about 200 bytes a connection of IPv4, 250 of IPv6, and up to as much again for its mapping.
#[derive(Debug)]
pub struct Connections<A> {
    flows: Slab<Flow<A>>,
    counters: FlowCounters,
    /// Of both keys of each flow: the flow's slot, times two, plus the direction.
    index: Index,
    wheel: Wheel,
    mappings: Mappings<A>,
    counts: StateCounts,
    timeouts: Timeouts,
    tcp_pickup: bool,
    hash: FixedState,
}

fn entry(slot: u32, direction: Direction) -> u32 {
    slot * 2 + direction as u32
}

fn slot_and_direction(entry: u32) -> (u32, Direction) {
    let direction = if entry & 1 == 0 {
        Direction::Original
    } else {
        Direction::Reply
    };
    (entry / 2, direction)
}

impl<A: Address> Connections<A> {
    /// An empty table, with all the room that it will ever have.
    pub fn new(config: Config) -> Self {
        let Config {
            capacity,
            timeouts,
            worker,
            workers,
            tcp_pickup,
            hash_seed,
        } = config;
        let capacity = capacity.min(MAX_CAPACITY);
        let hash = FixedState::with_seed(hash_seed);
        Connections {
            flows: Slab::new(capacity),
            counters: FlowCounters::new(capacity),
            index: Index::new(2 * capacity),
            wheel: Wheel::new(capacity),
            mappings: Mappings::new(capacity, worker, workers, &hash),
            counts: StateCounts::default(),
            timeouts,
            tcp_pickup,
            hash,
        }
    }

    /// The flow that a packet belongs to, and which way it goes. One whose time is up is not found. Where both keys of a
    /// flow are equal, it goes the original way.
    #[inline]
    pub fn lookup(&self, key: &FlowKey<A>, now: Instant) -> Option<(FlowId, Direction)> {
        let (id, direction) = self.find(key)?;
        let flow = self.flow(id)?;
        (!flow.is_expired(now)).then_some((id, direction))
    }

    /// As [`lookup`](Self::lookup), but whose time is up is found as long as it is there.
    fn find(&self, key: &FlowKey<A>) -> Option<(FlowId, Direction)> {
        let is_it = |entry| {
            let (slot, direction) = slot_and_direction(entry);
            self.flows
                .at(slot)
                .is_some_and(|(_, flow)| flow.key(direction) == key)
        };
        let entry = self.index.find(self.hash.hash_one(key), is_it)?;
        let (slot, direction) = slot_and_direction(entry);
        let (id, _) = self.flows.at(slot)?;
        Some((FlowId(id), direction))
    }

    /// A flow, if it is there still; its time may be up.
    #[inline]
    pub fn flow(&self, id: FlowId) -> Option<&Flow<A>> {
        self.flows.get(id.0)
    }

    /// Notes which generation of the policy has allowed a flow, and how. A flow that is gone is left alone.
    pub fn set_policy_generation(&mut self, id: FlowId, generation: u64, admission: Admission) {
        if let Some(flow) = self.flows.get_mut(id.0) {
            flow.policy_generation = generation;
            flow.admission = admission;
        }
    }

    /// Where the packets of a flow that is there are counted, as was noted last. Of one that nothing was noted of, what was
    /// noted of another may stand here.
    #[inline]
    pub fn counters(&self, id: FlowId) -> RuleCounters {
        self.counters.get(id.0.slot)
    }

    /// Notes where the packets of a flow that is there are counted.
    pub fn set_counters(&mut self, id: FlowId, counters: RuleCounters) {
        self.counters.set(id.0.slot, counters);
    }

    /// Whether a packet may begin a connection: for TCP, a SYN, and with pick-up also what comes in the middle; for ICMP,
    /// a query.
    ///
    /// # Errors
    /// Why not.
    pub fn admits_new(&self, segment: &Segment) -> Result<(), Invalid> {
        match segment {
            Segment::Tcp(segment) => tcp::admits_new(segment, self.tcp_pickup),
            Segment::IcmpQuery { reply: true } => Err(Invalid::IcmpReply),
            Segment::IcmpQuery { reply: false } | Segment::Udp | Segment::Other => Ok(()),
        }
    }

    /// Lets a packet of `bytes` bytes take its flow to the next state, and prolongs the flow.
    ///
    /// # Errors
    /// Why the packet does not fit: nothing has changed then.
    pub fn update(
        &mut self,
        id: FlowId,
        direction: Direction,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<State, Invalid> {
        let flow = self
            .flows
            .get_mut(id.0)
            .filter(|flow| !flow.is_expired(now));
        let flow = flow.ok_or(Invalid::NoFlow)?;
        let state = flow.state.step(&mut flow.fins, direction, segment)?;
        if state != flow.state {
            self.counts.subtract(flow.state);
            self.counts.add(state);
            flow.state = state;
        }
        flow.count(direction, bytes);
        let before = flow.expires;
        flow.expires = now.saturating_add(self.timeouts.of(state));
        if flow.expires < before {
            self.wheel.hasten(id.0.slot, tick(flow.expires));
        }
        Ok(state)
    }

    /// A mapping for an internal endpoint whose packets leave into `external_vpc`: the one that it has, if it has one
    /// (endpoint-independent mapping, RFC 4787 REQ-1), otherwise a new one on one of the addresses of `ranges`.
    /// Workers do not know each other's mappings: REQ-1 holds where all packets of an internal endpoint reach one worker.
    ///
    /// The address is the one that the same internal address got first, while it has any mapping, where that has ports left
    /// (paired pooling, REQ-2). The port is the internal one, where that is free there and in this worker's share (see
    /// [`owner`](crate::owner)); otherwise a free one of the share, from 1024 on. Ports below 1024 are only preserved.
    /// Protocols without ports have the one port 0, so one internal address at a time for each external one, and only with
    /// worker 0. A mapping's port is in use for its external VPC, address and protocol. `reserved` says which external
    /// endpoints are not to be had, as port forwards are.
    ///
    /// Where policy has changed, and the endpoint's mapping is outside of `ranges` or reserved now, the endpoint gets
    /// another; the old one lives on for the flows that use it.
    ///
    /// The mapping lives until the last flow that was inserted with it is removed. One that no flow was inserted with
    /// lives until [`release_mapping_if_unused`](Self::release_mapping_if_unused).
    ///
    /// Tries 1,024 addresses at most. An address on which nothing was found counts as full until one of its ports is given
    /// back, so a port that merely stops being reserved may be missed until then.
    ///
    /// # Errors
    /// What ran out.
    pub fn acquire_mapping(
        &mut self,
        internal: Internal<A>,
        external_vpc: VpcIndex,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        self.mappings
            .acquire(internal, external_vpc, ranges, reserved)
    }

    /// Ends a mapping that no flow refers to; for when [`insert`](Self::insert) has failed, or was never tried. Any other
    /// is left alone.
    pub fn release_mapping_if_unused(&mut self, id: MappingId) {
        self.mappings.release_if_unused(id);
    }

    /// Begins a connection with its first packet, of `bytes` bytes. Whether it may is not asked again: see
    /// [`admits_new`](Self::admits_new). Connections whose time is up and that have one of its keys make way.
    ///
    /// # Errors
    /// [`InsertError::Clash`] before [`InsertError::TableFull`]. If there is a mapping, the caller still has it, and
    /// should [release](Self::release_mapping_if_unused) it.
    pub fn insert(
        &mut self,
        new: NewFlow<A>,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<FlowId, InsertError> {
        // Held first, lest it end with the last of those that make way.
        if let Some(mapping) = new.mapping
            && !self.mappings.hold(mapping)
        {
            return Err(InsertError::Clash);
        }
        let result = self.insert_held(new, segment, bytes, now);
        if let (Err(_), Some(mapping)) = (&result, new.mapping) {
            self.mappings.let_go(mapping);
        }
        result
    }

    fn insert_held(
        &mut self,
        new: NewFlow<A>,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<FlowId, InsertError> {
        for key in [&new.original, &new.reply] {
            if let Some((id, _)) = self.find(key) {
                if self.flow(id).is_some_and(|flow| !flow.is_expired(now)) {
                    return Err(InsertError::Clash);
                }
                self.remove(id);
            }
        }
        let NewFlow {
            original,
            reply,
            route_vpc,
            policy_generation,
            admission,
            mapping,
        } = new;
        let (state, fins) = State::begin(segment);
        let expires = now.saturating_add(self.timeouts.of(state));
        let mut flow = Flow {
            original,
            reply,
            route_vpc,
            policy_generation,
            admission,
            mapping,
            state,
            created: now,
            expires,
            traffic: [Traffic::default(); 2],
            fins,
        };
        flow.count(Direction::Original, bytes);
        let id = self.flows.insert(flow).ok_or(InsertError::TableFull)?;
        self.index.insert(
            self.hash.hash_one(original),
            entry(id.slot, Direction::Original),
        );
        if reply != original {
            self.index
                .insert(self.hash.hash_one(reply), entry(id.slot, Direction::Reply));
        }
        self.wheel.schedule(id.slot, tick(expires));
        self.counts.add(state);
        Ok(FlowId(id))
    }

    /// Ends a connection, and its mapping if no other flow refers to that.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow<A>> {
        self.flow(id)?;
        self.wheel.cancel(id.0.slot);
        self.remove_unscheduled(id)
    }

    fn remove_unscheduled(&mut self, id: FlowId) -> Option<Flow<A>> {
        let flow = self.flows.remove(id.0)?;
        let slot = id.0.slot;
        self.index.remove(
            self.hash.hash_one(flow.original),
            entry(slot, Direction::Original),
        );
        if flow.reply != flow.original {
            self.index.remove(
                self.hash.hash_one(flow.reply),
                entry(slot, Direction::Reply),
            );
        }
        self.counts.subtract(flow.state);
        if let Some(mapping) = flow.mapping {
            self.mappings.let_go(mapping);
            self.mappings.release_if_unused(mapping);
        }
        Some(flow)
    }

    /// Removes connections whose time is up, and answers how many. Call it once a burst.
    ///
    /// Looks at `budget` connections at most, also at such that were prolonged since they were last looked at; what is
    /// left over comes first the next time. Besides, costs a look at one word for each [`EXPIRY_TICK`] since the last time,
    /// at most 8,192.
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        let mut removed = 0;
        for _ in 0..budget {
            let Some(slot) = self.wheel.pop_due(tick(now)) else {
                break;
            };
            let Some((id, flow)) = self.flows.at(slot) else {
                continue;
            };
            if flow.is_expired(now) {
                self.remove_unscheduled(FlowId(id));
                removed += 1;
            } else {
                self.wheel.schedule(slot, tick(flow.expires));
            }
        }
        removed
    }

    /// How many connections there are, with those whose time is up and that [`expire`](Self::expire) has not come to.
    pub fn len(&self) -> usize {
        self.flows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there is room for.
    pub fn capacity(&self) -> usize {
        self.flows.capacity()
    }

    /// All connections that [`len`](Self::len) counts, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, &Flow<A>)> {
        self.flows.iter().map(|(id, flow)| (FlowId(id), flow))
    }

    /// How many connections are in which state. Kept up by every change, so asking costs next to nothing.
    pub fn counts(&self) -> &StateCounts {
        &self.counts
    }

    /// How many mappings there are.
    pub fn mappings_in_use(&self) -> usize {
        self.mappings.len()
    }
}

#[cfg(test)]
mod tests;
