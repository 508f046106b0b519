//! The table of connections.

mod expiry;
mod filtering;
mod life;
mod limits;
mod lookup;
mod newcomers;
mod offload;
mod record;
mod saved;
mod walk;

pub use limits::Room;
pub use saved::{CopiedFlow, Renumber, SavedFlow, in_order};

pub use life::{NewForeseen, Removal};

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use rewire_tables::acl::RuleCounters;
use rewire_tables::growing::Ahead;
use rewire_tables::{Address, PortAllocation, VpcIndex, VpcTimeouts};

use self::newcomers::Newcomers;
use crate::error::{Exhausted, Invalid};
use crate::fixed_map::FixedMap;
use crate::flow::{Admission, Ends, Flow, FlowId};
use crate::flow_counters::FlowCounters;
use crate::index::Spot;
use crate::key::{Direction, FlowKey};
use crate::mappings::{Internal, Mapping, MappingRequest, Mappings};
use crate::offload::{Leaving, Offloads};
use crate::recording::Recorder;
use crate::records::{Account, Record, Records, flag};
use crate::segment::Segment;
use crate::state::{Exchange, State, StateCounts};
use crate::sweep::Sweep;
use crate::tcp::{self, Effect, TcpState};
use crate::time::{Deadline, Instant};
use crate::timeout_classes::{TimeoutClass, TimeoutClasses};
use crate::timeouts::Timeouts;
use crate::vpc_counts::VpcCounts;

/// The most connections that one [`Connections`] holds.
pub const MAX_CAPACITY: usize = 1 << 30;

/// How exact [`Connections::expire`] is: a connection whose time is up is removed, given the budget, by the calls of a
/// later tick, if not before.
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

/// A key's hash under one table's seed: what its memory is fetched by before it is looked up. Of no use to another table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyHash(Spot);

/// What [`Connections::prefetch_flow`] has asked for.
#[derive(Clone, Copy, Debug)]
pub struct Candidate(u32);

impl Candidate {
    /// There is no connection with the key's hash. No slot has this number.
    const NONE: Candidate = Candidate(u32::MAX);
    /// A connection with the key's hash may be away from home in the index. No slot has this number, either.
    const AWAY: Candidate = Candidate(u32::MAX - 1);
}

impl Default for Candidate {
    /// None.
    fn default() -> Self {
        Candidate::NONE
    }
}

/// The connections of one worker, of one address family, and their NAT mappings.
///
/// A look-up costs one hash, and in a large table two cache misses, which [`prefetch_index`](Self::prefetch_index) and
/// [`prefetch_flow`](Self::prefetch_flow) take away from whoever looks up many keys at once. Memory is reserved at
/// construction, and touched as it is first used, but for the indices that every packet is looked up in: 128 bytes a connection
/// of IPv4, 176 of IPv6, mapping and timer included.
#[derive(Debug)]
pub struct Connections<A> {
    records: Records<A>,
    counters: FlowCounters,
    sweep: Sweep,
    mappings: Mappings<A>,
    counts: StateCounts,
    vpc_counts: Arc<VpcCounts>,
    /// Connections from each address of a VPC with such a limit.
    sources: FixedMap<(VpcIndex, A), u32>,
    /// The place that was looked at last to make room.
    hand: limits::Hand,
    timeouts: TimeoutClasses,
    tcp_pickup: bool,
    newcomers: Newcomers,
    /// The last moment that a change was told.
    latest: Instant,
    /// Those that are handed to a card, where there is one.
    offloads: Option<Box<Offloads>>,
    /// Whether connections are offered to the card now.
    is_offloading: bool,
    /// Who is told of them, where somebody wants to know.
    recorder: Option<Box<Recorder>>,
}

/// The ends of packets that packets with this key answer.
#[inline(always)]
fn ends_of<A: Copy>(answer: &FlowKey<A>) -> Ends<A> {
    (
        (answer.destination, answer.destination_port),
        (answer.source, answer.source_port),
    )
}

/// What a segment does to a connection that may remember something.
#[inline(never)]
fn step(
    state: State,
    account: &mut Account,
    direction: Direction,
    segment: &Segment,
) -> Result<Effect<State>, Invalid> {
    let mut memory = account.tcp();
    let effect = state.step(&mut memory, direction, segment)?;
    if let State::Tcp(_) = state {
        account.set_tcp(&memory);
    }
    Ok(effect)
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
        let seed = FixedState::with_seed(hash_seed);
        Connections {
            records: Records::new(capacity, &seed),
            counters: FlowCounters::new(capacity),
            sweep: Sweep::new(capacity),
            mappings: Mappings::new(capacity, worker, workers, &seed),
            counts: StateCounts::default(),
            vpc_counts: Arc::default(),
            sources: FixedMap::new(capacity.div_ceil(4), &seed),
            hand: limits::Hand::new(capacity as u32),
            timeouts: TimeoutClasses::new(timeouts),
            tcp_pickup,
            newcomers: Newcomers::default(),
            latest: Instant(0),
            offloads: None,
            is_offloading: false,
            recorder: None,
        }
    }

    /// A flow, if it is there still; its time may be up.
    // Always, so that whoever asks for one field does not pay for all.
    #[inline(always)]
    pub fn flow(&self, id: FlowId) -> Option<Flow<A>> {
        let record = self.records.get(id.0)?;
        Some(self.view(record, id.0.slot))
    }

    #[inline(always)]
    fn view(&self, record: &Record<A>, slot: u32) -> Flow<A> {
        let account = self.records.account(slot);
        let ports = record.has(flag::PORTS).then(|| match record.state {
            State::Tcp(_) => (
                record.original.source_port,
                record.original.destination_port,
            ),
            _ => account.ports(),
        });
        Flow {
            original: record.original,
            reply: record.reply,
            route_vpc: record.route_vpc,
            policy_generation: record.policy_generation,
            admission: Admission {
                ingress: record.ingress,
                ports,
                peering: record
                    .has(flag::PEERING)
                    .then(|| self.records.peering(slot)),
                whole: record.has(flag::WHOLE),
                timeouts: record.timeouts,
            },
            is_mapped: record.has(flag::MAPPED),
            is_joined: record.has(flag::OPEN) && account.is_joined(),
            state: record.state,
            created: record.created.instant(self.latest),
            expires: record.expires.instant(self.latest),
            traffic: account.traffic(),
        }
    }

    /// The class of connections whose VPC, and whose rule of NAT, say how long they live without packets. It is to be used at once, in the
    /// [`Admission`] of a connection. There is room for 255 combinations at a time that connections have: where there are more, it is
    /// the default class.
    ///
    /// Costs next to nothing where neither says anything, otherwise a look at each combination.
    #[inline]
    pub fn timeout_class(
        &mut self,
        vpc: Option<&VpcTimeouts>,
        idle: Option<Duration>,
    ) -> TimeoutClass {
        self.timeouts.find(vpc, idle)
    }

    /// Notes which generation of the policy has allowed a flow, and how. A flow that is gone is left alone. One that lives
    /// less long now ends no later than if its last packet had come now.
    pub fn set_policy_generation(&mut self, id: FlowId, generation: u64, admission: Admission) {
        let now = self.latest;
        if let Some((record, _)) = self.records.get_mut(id.0) {
            if record.timeouts != admission.timeouts {
                self.timeouts.release(record.timeouts);
                self.timeouts.hold(admission.timeouts);
                record.timeouts = admission.timeouts;
                let timeout = self.timeouts.of(admission.timeouts, record.state);
                let expires = Deadline::after(now, timeout);
                if expires.is_before(record.expires) {
                    record.expires = expires;
                    self.sweep.hasten(id.0.slot, tick(expires.instant(now)));
                }
            }
            record.policy_generation = generation as u32;
            record.set(flag::WHOLE, admission.whole);
            record.set(flag::PEERING, admission.peering.is_some());
            self.records.set_peering(id.0.slot, admission.peering);
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

    /// Lets a packet of `bytes` bytes take its flow to the next state, and prolongs the flow. Of TCP, a segment outside of
    /// the windows passes without either, if its end may have an answer to it.
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
        self.pass(id, direction, segment, bytes, now)?;
        self.flow(id).map(|flow| flow.state).ok_or(Invalid::NoFlow)
    }

    /// As [`update`](Self::update), and tells what the packet's source and destination become.
    ///
    /// # Errors
    /// Why the packet does not fit: nothing has changed then.
    #[inline(always)]
    pub fn pass(
        &mut self,
        id: FlowId,
        direction: Direction,
        segment: &Segment,
        bytes: u32,
        now: Instant,
    ) -> Result<Ends<A>, Invalid> {
        self.latest = self.latest.max(now);
        if let Segment::Udp = segment
            && let Some(ends) = self.pass_datagram(id, direction, bytes, now)
        {
            return Ok(ends);
        }
        let found = self.records.get_mut(id.0);
        let (record, account) = found
            .filter(|(record, _)| !record.expires.is_over(now))
            .ok_or(Invalid::NoFlow)?;
        let before = record.state;
        let ends = ends_of(record.key(direction.other()));
        let effect = step(before, account, direction, segment)?;
        account.count(direction, bytes);
        let (state, expires) = match effect {
            Effect::To(state) => (
                state,
                Deadline::after(now, self.timeouts.of(record.timeouts, state)),
            ),
            Effect::Doubt => {
                let closed = State::Tcp(TcpState::Closed);
                let reset = self.timeouts.of(record.timeouts, closed);
                let expires = Deadline::after(now, reset);
                (before, record.expires.earlier(expires))
            }
            Effect::None => return Ok(ends),
        };
        let is_open = record.has(flag::OPEN);
        let expires = match is_open && filtering::keeps_its_deadline(account, direction, state) {
            true => record.expires.earlier(expires),
            false => expires,
        };
        let is_sooner = expires.is_before(record.expires);
        record.expires = expires;
        if is_sooner | (state != before) {
            record.state = state;
            let is_doubt = matches!(effect, Effect::Doubt);
            let is_taken_back = record.has(flag::OFFLOADED) & (is_doubt | (state != before));
            self.counts.subtract(before);
            self.counts.add(state);
            if is_sooner {
                self.sweep.hasten(id.0.slot, tick(expires.instant(now)));
            }
            if is_taken_back {
                self.release(id.0.slot, Leaving::Stays, Some(now), now);
            }
        }
        if is_open && direction == Direction::Reply {
            self.mappings.answer(&mut self.records, id.0.slot);
        }
        Ok(ends)
    }

    /// As [`pass`](Self::pass), of a datagram of UDP after which nothing has changed but when its flow ends: of most of them. Where more
    /// would change, or anything is wrong, the answer is none, and nothing has changed. `now` is what [`expire`](Self::expire) was told last.
    #[inline(always)]
    pub fn pass_datagram(
        &mut self,
        id: FlowId,
        direction: Direction,
        bytes: u32,
        now: Instant,
    ) -> Option<Ends<A>> {
        let (record, account) = self.records.get_mut(id.0)?;
        let State::Udp(exchange) = record.state else {
            return None;
        };
        let changes_more = (direction == Direction::Reply) & (exchange == Exchange::Unreplied)
            | record.has(flag::OPEN);
        let timeout = self.timeouts.of_udp(record.timeouts, exchange);
        let expires = Deadline::after(now, timeout);
        if changes_more | record.expires.is_over(now) | expires.is_before(record.expires) {
            return None;
        }
        record.expires = expires;
        account.count(direction, bytes);
        Some(ends_of(record.key(direction.other())))
    }

    /// What a flow's packets of a direction become: their ends.
    pub fn ends(&self, id: FlowId, direction: Direction) -> Option<Ends<A>> {
        let answered = self.records.get(id.0)?.key(direction.other());
        Some(ends_of(answered))
    }

    /// Counts a packet, of `bytes` bytes, that says nothing of its connection, as a later fragment does: neither the state nor
    /// the time-out changes.
    pub fn count(&mut self, id: FlowId, direction: Direction, bytes: u32) {
        if let Some((_, account)) = self.records.get_mut(id.0) {
            account.count(direction, bytes);
        }
    }

    /// A mapping for an internal endpoint whose packets leave into `external_vpc`: the one that it has, if it has one
    /// (endpoint-independent mapping, RFC 4787 REQ-1), otherwise a new one on one of the addresses of `ranges`.
    /// Workers do not know each other's mappings: REQ-1 holds where all packets of an internal endpoint reach one worker.
    ///
    /// The address is the one that the same internal address got first, while it has any mapping, where that has ports left
    /// (paired pooling, REQ-2). The port is the internal one, where that is free there and in this worker's share (see
    /// [`owner`](crate::owner)); otherwise a free one of the share, from 1024 on. Ports below 1024 are only preserved. Where
    /// `allocation` says which ports, it is one of these that is in the share, the internal one if that is among them. Where it asks for
    /// parity or for pairs, it is such a port, if one is free. Where it says that only addresses are translated, it is the internal one, and the address is nobody else's.
    /// Protocols without ports have the one port 0, so one internal address at a time for each external one, and only with
    /// worker 0. A mapping's port is in use for its external VPC, address and protocol. `reserved` says which external
    /// endpoints are not to be had, as port forwards are.
    ///
    /// Where policy has changed, and the endpoint's mapping is outside of `ranges` or `allocation`, or reserved now, the endpoint gets
    /// another; the old one lives on for the flows that use it.
    ///
    /// The mapping lives until the last flow that was inserted with it is removed. A new one is the caller's until the next
    /// call: it ends with that, or with [`release_unused_mapping`](Self::release_unused_mapping), if no flow was inserted
    /// with it.
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
        allocation: &PortAllocation,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let request = self.request_mapping(internal, external_vpc);
        self.acquire_requested(&request, ranges, allocation, reserved)
    }

    /// As [`acquire_mapping`](Self::acquire_mapping), where it was asked for before.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn acquire_requested(
        &mut self,
        request: &MappingRequest<A>,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        allocation: &PortAllocation,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let records = &self.records;
        self.mappings
            .acquire(records, request, ranges, allocation, reserved)
    }

    /// Asks for a mapping of an internal endpoint whose packets leave into `external_vpc`.
    #[inline(always)]
    pub fn request_mapping(
        &self,
        internal: Internal<A>,
        external_vpc: VpcIndex,
    ) -> MappingRequest<A> {
        self.mappings.request(&self.records, internal, external_vpc)
    }

    /// As [`request_mapping`](Self::request_mapping), for a connection that begins with a key, whose hash this is. Cheaper.
    #[inline(always)]
    pub fn request_mapping_for(
        &self,
        original: &FlowKey<A>,
        hash: KeyHash,
        external_vpc: VpcIndex,
    ) -> MappingRequest<A> {
        self.mappings
            .request_for(&self.records, (original, hash.0), external_vpc)
    }

    /// A connection that uses the mapping which an internal endpoint has into a VPC, if it has one. It may be over already. Cost: a
    /// look-up.
    pub fn connection_of_mapping(
        &self,
        internal: &Internal<A>,
        external_vpc: VpcIndex,
    ) -> Option<FlowId> {
        let slot = self.mappings.first(&self.records, internal, external_vpc)?;
        self.records.id(slot).map(FlowId)
    }

    /// Asks for the lines that [`acquire_requested`](Self::acquire_requested) begins with. `before` is what was asked for before, if anything was: mostly
    /// of the same host.
    #[inline(always)]
    pub fn prefetch_mapping(
        &self,
        request: &MappingRequest<A>,
        before: Option<&MappingRequest<A>>,
    ) {
        self.mappings.prefetch(&self.records, request, before);
    }

    /// The external address that a new mapping will most likely have: that of its host. Nothing for a host without one. Asks for the
    /// line that says whether the endpoint's own port is free there. Best when what [`prefetch_mapping`](Self::prefetch_mapping) asked
    /// for is there. `before` is the one before, as there.
    #[inline(always)]
    pub fn expect_mapping(
        &mut self,
        request: &mut MappingRequest<A>,
        before: Option<&MappingRequest<A>>,
    ) -> Option<A> {
        self.mappings.expect(request, before)
    }

    /// The port that a mapping will most likely have whose own one [`expect_mapping`](Self::expect_mapping) has asked for, where that is taken. None
    /// where it is free. Best when the line that says so is there; shortly before the mapping is used, since others take ports, too: `behind`
    /// is what was foreseen for the one before, where that is on the same address.
    #[inline(always)]
    pub fn foresee_port(
        &self,
        request: &MappingRequest<A>,
        behind: impl FnOnce() -> Option<u16>,
    ) -> Option<u16> {
        self.mappings.foresee_port(request, behind)
    }

    /// Ends the mapping that was acquired last, if no flow was inserted with it; for when [`insert`](Self::insert) has
    /// failed, or was never tried. Any other is left alone.
    pub fn release_unused_mapping(&mut self) {
        self.mappings.release_unused();
    }

    /// How many connections there are, with those whose time is up and that [`expire`](Self::expire) has not come to.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there is room for.
    pub fn capacity(&self) -> usize {
        self.records.capacity()
    }

    /// All connections that [`len`](Self::len) counts, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (FlowId, Flow<A>)> {
        let ids = self.records.ids();
        ids.filter_map(|id| Some((FlowId(id), self.flow(FlowId(id))?)))
    }

    /// Of all connections that [`len`](Self::len) counts, the keys of both directions; in the order of their places. Costs a line of memory
    /// for each.
    pub fn keys(&self) -> impl Iterator<Item = (FlowId, [&FlowKey<A>; 2])> {
        self.records.ids().map(|id| {
            let record = self.records.used(id.slot);
            (FlowId(id), [&record.original, &record.reply])
        })
    }

    /// How many connections are in which state. Kept up by every change, so asking costs next to nothing.
    pub fn counts(&self) -> &StateCounts {
        &self.counts
    }

    /// By which another thread takes memory for connections, ahead of what is used.
    pub fn ahead(&self) -> Arc<Ahead> {
        self.records.ahead()
    }

    /// How many mappings there are.
    pub fn mappings_in_use(&self) -> usize {
        self.mappings.len()
    }

    /// The memory that is reserved for connections, in bytes: their records, index, timers and mappings, without what the
    /// ports of external addresses take.
    pub fn memory(&self) -> usize {
        self.records.memory() + self.sweep.memory() + self.mappings.index_memory()
    }
}

#[cfg(test)]
mod tests;
