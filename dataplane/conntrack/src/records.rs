//! How connections lie in memory: a record of 64 bytes (for IPv4) with what a packet is translated by, and an account
//! of 40 behind it with what is only counted or rarely looked at.

mod keys;

use std::hint::select_unpredictable;
use std::sync::Arc;

use foldhash::fast::FixedState;
use rewire_tables::growing::{Ahead, GrowingArray};
use rewire_tables::memory::{prefetch, prefetch_within};
use rewire_tables::{Address, InterfaceIndex, PeeringIndex, VpcIndex};

use self::keys::Keys;
pub(crate) use self::keys::{entry, slot_and_direction};
use crate::flow::Traffic;
use crate::key::{Direction, FlowKey};
use crate::state::State;
use crate::tcp::{Fins, Memory, Scales, Window};
use crate::time::{Deadline, Instant, Second};
use crate::timeout_classes::TimeoutClass;

/// Of a hundred connections that there is room for, those from which on the second line of the index is worth asking for before the first one is
/// looked at: a seventh of what begins is away from home, or may be.
const CROWDED_PERCENT: usize = 72;

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// A slot, and how often it was used before: an id that outlives its value is never taken for another's. (After 2^31
/// uses of one slot it could be; at a million a second that is half an hour of nothing but that.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) slot: u32,
    pub(crate) reuse: u32,
}

/// Bits of [`Record::flags`].
pub(crate) mod flag {
    /// The connection was let through as a whole.
    pub(crate) const WHOLE: u8 = 1;
    /// The account has the ports of the first packet.
    pub(crate) const PORTS: u8 = 2;
    /// Its source is translated by a mapping.
    pub(crate) const MAPPED: u8 = 4;
    /// It is the first of its mapping's flows, and the one that the mapping is found by.
    pub(crate) const LISTED: u8 = 8;
    /// It crosses a peering, which the account has.
    pub(crate) const PEERING: u8 = 16;
    /// It is counted with those from its source.
    pub(crate) const COUNTED: u8 = 64;
    /// It has a place among the offloaded ones, and perhaps rules in the card.
    pub(crate) const OFFLOADED: u8 = 32;
    /// Its mapping may let in connections from outside: it may stand in the index of external endpoints, and may be such a
    /// connection itself, which the account says.
    pub(crate) const OPEN: u8 = 128;

    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [u8; 8] = [
        WHOLE, PORTS, MAPPED, LISTED, PEERING, COUNTED, OFFLOADED, OPEN,
    ];
}

/// What every packet of a connection looks at. 64 bytes for IPv4, 112 for IPv6.
#[derive(Clone, Debug)]
pub(crate) struct Record<A> {
    pub(crate) original: FlowKey<A>,
    pub(crate) reply: FlowKey<A>,
    /// The low bits of the generation.
    pub(crate) policy_generation: u32,
    pub(crate) expires: Deadline,
    pub(crate) created: Second,
    /// The flows of one mapping are a ring. Of a free slot, `next` is the next free one.
    pub(crate) next: u32,
    pub(crate) previous: u32,
    /// Odd while the slot is used.
    pub(crate) reuse: u32,
    pub(crate) route_vpc: VpcIndex,
    pub(crate) ingress: InterfaceIndex,
    pub(crate) state: State,
    pub(crate) flags: u8,
    pub(crate) timeouts: TimeoutClass,
}

impl<A: Address> Record<A> {
    /// See [`Flow::changes_family`](crate::Flow::changes_family).
    #[inline(always)]
    pub(crate) fn changes_family(&self) -> bool {
        self.reply.is_of_other_family() | self.original.is_of_other_family()
    }
}

#[cfg(test)]
impl<A> Record<A> {
    /// A datagram's, of which nothing matters but its keys and these flags.
    pub(crate) fn with_keys([original, reply]: [FlowKey<A>; 2], flags: u8) -> Self {
        Record {
            policy_generation: 0,
            expires: Deadline::past(Instant(0)),
            created: Second::of(Instant(0)),
            next: NONE,
            previous: NONE,
            reuse: 0,
            route_vpc: reply.vpc,
            ingress: InterfaceIndex::default(),
            state: State::Udp(crate::state::Exchange::Unreplied),
            flags,
            timeouts: TimeoutClass::default(),
            original,
            reply,
        }
    }
}

impl<A> Record<A> {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn set(&mut self, flag: u8, on: bool) {
        self.flags = self.flags & !flag | if on { flag } else { 0 };
    }

    /// The key of packets of a direction.
    // Nobody can foresee which way a packet goes.
    #[inline(always)]
    pub(crate) fn key(&self, direction: Direction) -> &FlowKey<A> {
        let is_original = direction == Direction::Original;
        select_unpredictable(is_original, &self.original, &self.reply)
    }
}

/// What is kept of a connection besides. 40 bytes.
///
/// Of each direction, packets and bytes in 11 bytes: 2^40 packets, and 2^48 bytes (281 TB), before they begin anew. The low halves, which
/// every packet changes, are apart from the rest, which changes once in 4 GiB.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(crate) struct Account {
    /// The low bits of packets and of bytes.
    low: [[u32; 2]; 2],
    bytes_high: [u16; 2],
    packets_high: [u8; 2],
    scales: Scales,
    /// The bits of [`Fins`], and those of [`mark`].
    marks: u8,
    /// Of TCP, what [`Memory`] says; of others, the first has the ports of the first packet.
    windows: [Window; 2],
}

/// Bits of [`Account::marks`], beside those of [`Fins`].
mod mark {
    pub(super) const FINS: u8 = 0x0f;
    /// [`Memory::is_asked_anew`](crate::tcp::Memory).
    pub(super) const ASKED_ANEW: u8 = 0x10;
    /// [`Memory::is_bypassed`](crate::tcp::Memory).
    pub(super) const BYPASSED: u8 = 0x20;
    /// The connection began outside, at a mapping that it has joined.
    pub(super) const JOINED: u8 = 0x40;
    /// It stands with those of its mapping that have to do with the same remote address.
    pub(super) const GROUPED: u8 = 0x80;
}

impl Account {
    /// Counts a packet.
    #[inline(always)]
    pub(crate) fn count(&mut self, direction: Direction, bytes: u32) {
        let [packets, sum] = &mut self.low[direction as usize];
        *packets = packets.wrapping_add(1);
        let is_over;
        (*sum, is_over) = sum.overflowing_add(bytes);
        let packets_are_over = *packets == 0;
        if is_over | packets_are_over {
            self.carry(direction, packets_are_over, is_over);
        }
    }

    /// Once in 2^32 packets, or in 2^32 bytes.
    #[cold]
    #[inline(never)]
    fn carry(&mut self, direction: Direction, packets: bool, bytes: bool) {
        let way = direction as usize;
        self.packets_high[way] = self.packets_high[way].wrapping_add(packets.into());
        self.bytes_high[way] = self.bytes_high[way].wrapping_add(bytes.into());
    }

    /// Counts what a card has forwarded.
    pub(crate) fn count_all(&mut self, direction: Direction, packets: u64, bytes: u64) {
        let sum = self.of(direction);
        self.set(
            direction,
            Traffic {
                packets: sum.packets.wrapping_add(packets),
                bytes: sum.bytes.wrapping_add(bytes),
            },
        );
    }

    /// The packets of a direction.
    #[inline]
    pub(crate) fn packets(&self, direction: Direction) -> u64 {
        self.of(direction).packets
    }

    /// From now on, segments may pass that are not seen here.
    pub(crate) fn set_bypassed(&mut self) {
        self.marks |= mark::BYPASSED;
    }

    /// Whether the connection has joined a mapping from outside. Only where its record is [`flag::OPEN`].
    pub(crate) fn is_joined(&self) -> bool {
        self.marks & mark::JOINED != 0
    }

    /// The connection has joined a mapping.
    pub(crate) fn set_joined(&mut self) {
        self.marks |= mark::JOINED;
    }

    /// Whether a packet of the reply direction was seen.
    pub(crate) fn is_answered(&self) -> bool {
        self.packets(Direction::Reply) > 0
    }

    /// Whether it stands with those of its mapping that have to do with the same remote address.
    pub(crate) fn is_grouped(&self) -> bool {
        self.marks & mark::GROUPED != 0
    }

    /// It stands there.
    pub(crate) fn set_grouped(&mut self) {
        self.marks |= mark::GROUPED;
    }

    /// What is remembered of a TCP connection.
    #[inline]
    pub(crate) fn tcp(&self) -> Memory {
        Memory {
            windows: self.windows,
            scales: self.scales,
            fins: Fins(self.marks & mark::FINS),
            is_asked_anew: self.marks & mark::ASKED_ANEW != 0,
            is_bypassed: self.marks & mark::BYPASSED != 0,
        }
    }

    /// Remembers it.
    #[inline]
    pub(crate) fn set_tcp(&mut self, memory: &Memory) {
        self.windows = memory.windows;
        self.scales = memory.scales;
        let marked = |is, mark| if is { mark } else { 0 };
        self.marks = self.marks & (mark::JOINED | mark::GROUPED)
            | memory.fins.0
            | marked(memory.is_asked_anew, mark::ASKED_ANEW)
            | marked(memory.is_bypassed, mark::BYPASSED);
    }

    /// The ports of the first packet, of what is not TCP.
    pub(crate) fn ports(&self) -> (u16, u16) {
        let word = self.windows[0].end;
        ((word >> 16) as u16, word as u16)
    }

    /// Notes the ports of the first packet, of what is not TCP.
    pub(crate) fn set_ports(&mut self, (source, destination): (u16, u16)) {
        self.windows[0].end = u32::from(source) << 16 | u32::from(destination);
    }

    pub(crate) fn set_traffic(&mut self, traffic: [Traffic; 2]) {
        let [original, reply] = traffic;
        self.set(Direction::Original, original);
        self.set(Direction::Reply, reply);
    }

    #[inline]
    pub(crate) fn traffic(&self) -> [Traffic; 2] {
        [Direction::Original, Direction::Reply].map(|direction| self.of(direction))
    }

    fn set(&mut self, direction: Direction, Traffic { packets, bytes }: Traffic) {
        let way = direction as usize;
        self.low[way] = [packets as u32, bytes as u32];
        self.packets_high[way] = (packets >> 32) as u8;
        self.bytes_high[way] = (bytes >> 32) as u16;
    }

    #[inline]
    fn of(&self, direction: Direction) -> Traffic {
        let way = direction as usize;
        let [packets, bytes] = self.low[way];
        Traffic {
            packets: u64::from(self.packets_high[way]) << 32 | u64::from(packets),
            bytes: u64::from(self.bytes_high[way]) << 32 | u64::from(bytes),
        }
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// What is in a slot: 104 bytes for IPv4, 152 for IPv6. Not padded to whole lines: they are two or three lines in a row, mostly of one page,
/// which the processor has to look up once. What a packet of UDP has to do with comes first.
#[derive(Debug)]
#[repr(C)]
struct Place<A> {
    record: Record<A>,
    account: Account,
}

/// A fixed number of slots, reused last-freed first, so that what is in the cache is used again.
#[derive(Debug)]
pub(crate) struct Records<A> {
    places: GrowingArray<Place<A>>,
    keys: Keys,
    /// The index of the peering that a connection crosses, where its record's flag says that it does. All zero at first, so that the system
    /// gives memory for what is written alone: mostly none.
    peerings: Vec<u16>,
    /// The slot that was freed last.
    free: u32,
    used: usize,
    capacity: usize,
    /// Connections from which on many entries of the index are away from home.
    crowd: usize,
}

impl<A: Address> Records<A> {
    /// Reserves room. The memory is first touched when it is first used.
    pub(crate) fn new(capacity: usize, seed: &FixedState) -> Self {
        Records {
            places: GrowingArray::with_room(capacity),
            keys: Keys::new(capacity, seed),
            peerings: vec![0; capacity],
            free: NONE,
            used: 0,
            capacity,
            crowd: capacity / 100 * CROWDED_PERCENT,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    /// Whether many keys are away from home.
    #[inline(always)]
    pub(crate) fn is_crowded(&self) -> bool {
        self.used > self.crowd
    }

    pub(crate) fn is_full(&self) -> bool {
        self.free == NONE && self.places.len() >= self.capacity
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many slots were ever used.
    pub(crate) fn slots(&self) -> u32 {
        self.places.len() as u32
    }

    /// The slot that the next insertion will take.
    pub(crate) fn next_slot(&self) -> u32 {
        match self.free {
            NONE => self.places.len() as u32,
            slot => slot,
        }
    }

    /// Stores a connection, unless all slots are taken. Its `reuse` is set here. Its account, in which nothing is counted yet, is for the caller to
    /// write where it is.
    #[inline(always)]
    pub(crate) fn insert(&mut self, record: Record<A>) -> Option<(Id, &mut Account)> {
        // No slot has the number that says that none is free.
        let slot = self.free;
        let (slot, reuse) = match self.places.get_mut(slot as usize) {
            Some(place) => {
                self.free = place.record.next;
                let reuse = place.record.reuse.wrapping_add(1);
                place.record = Record { reuse, ..record };
                place.account = Account::default();
                // Where the next one goes: what is written of it would wait for its line otherwise, and with it all behind that is
                // read soon after it was written.
                self.prefetch_all(self.free);
                (slot, reuse)
            }
            None => {
                let slot = self.places.len() as u32;
                let record = Record { reuse: 1, ..record };
                let account = Account::default();
                self.places.push(Place { record, account }).ok()?;
                (slot, 1)
            }
        };
        self.used += 1;
        let place = self.places.get_mut(slot as usize)?;
        Some((Id { slot, reuse }, &mut place.account))
    }

    /// Frees a slot that is used.
    pub(crate) fn free(&mut self, slot: u32) {
        let record = &mut self.places[slot as usize].record;
        record.reuse = record.reuse.wrapping_add(1);
        record.next = self.free;
        self.free = slot;
        self.used -= 1;
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&Record<A>> {
        let record = &self.places.get(id.slot as usize)?.record;
        (record.reuse == id.reuse).then_some(record)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<(&mut Record<A>, &mut Account)> {
        let Place { record, account } = self.places.get_mut(id.slot as usize)?;
        (record.reuse == id.reuse).then_some((record, account))
    }

    /// The connection in a slot, if it is used.
    #[inline(always)]
    pub(crate) fn get_used(&self, slot: u32) -> Option<&Record<A>> {
        let record = &self.places.get(slot as usize)?.record;
        (record.reuse & 1 == 1).then_some(record)
    }

    /// The connection in a slot that is used.
    #[inline]
    pub(crate) fn used(&self, slot: u32) -> &Record<A> {
        &self.places[slot as usize].record
    }

    #[inline]
    pub(crate) fn used_mut(&mut self, slot: u32) -> &mut Record<A> {
        &mut self.places[slot as usize].record
    }

    pub(crate) fn account(&self, slot: u32) -> &Account {
        &self.places[slot as usize].account
    }

    pub(crate) fn account_mut(&mut self, slot: u32) -> &mut Account {
        &mut self.places[slot as usize].account
    }

    /// The peering that the connection in a slot crosses, if its record's flag says that it crosses one.
    #[inline]
    pub(crate) fn peering(&self, slot: u32) -> PeeringIndex {
        PeeringIndex(self.peerings[slot as usize])
    }

    /// Notes the peering that it crosses, if it does; the flag of its record is the caller's.
    #[inline(always)]
    pub(crate) fn set_peering(&mut self, slot: u32, peering: Option<PeeringIndex>) {
        if let Some(PeeringIndex(index)) = peering {
            self.peerings[slot as usize] = index;
        }
    }

    /// Whether the connection in a slot that is used has joined a mapping from outside.
    #[inline]
    pub(crate) fn is_joined(&self, slot: u32) -> bool {
        self.leaving(slot) == Direction::Reply
    }

    /// The id of what is in a slot; none where it is free.
    #[inline]
    pub(crate) fn id(&self, slot: u32) -> Option<Id> {
        let reuse = self.places.get(slot as usize)?.record.reuse;
        (reuse & 1 == 1).then_some(Id { slot, reuse })
    }

    /// Lets the time of every connection be over. Looks at every slot.
    pub(crate) fn end_all(&mut self, now: Instant) {
        for place in self.places.iter_mut() {
            place.record.expires = Deadline::past(now);
        }
    }

    /// Asks for a record.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: u32) {
        self.prefetch_bytes(slot, size_of::<Record<A>>());
    }

    /// Asks for what a packet of a direction changes of an account; of TCP, also for what is remembered of its windows, which may lie in
    /// two lines.
    #[inline(always)]
    pub(crate) fn prefetch_account(&self, slot: u32, direction: Direction, is_tcp: bool) {
        let Some(Place { account, .. }) = self.places.get(slot as usize) else {
            return;
        };
        prefetch(&account.low[direction as usize]);
        if is_tcp {
            prefetch(&account.marks);
            prefetch(&account.windows[1].end);
        }
    }

    /// Asks for a record and its account, which are about to be written.
    #[inline(always)]
    pub(crate) fn prefetch_all(&self, slot: u32) {
        self.prefetch_bytes(slot, size_of::<Place<A>>());
    }

    /// Asks for the lines of the first so many bytes of a place.
    #[inline(always)]
    fn prefetch_bytes(&self, slot: u32, bytes: usize) {
        for line in 0..bytes.div_ceil(LINE) {
            prefetch_within(&self.places, slot as usize, line * LINE);
        }
        prefetch_within(&self.places, slot as usize, bytes - 1);
    }

    /// By which another thread takes memory ahead of what is used.
    pub(crate) fn ahead(&self) -> Arc<Ahead> {
        self.places.ahead()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        (0..self.places.len() as u32).filter_map(|slot| self.id(slot))
    }

    /// The memory that is reserved, in bytes, with that of the index of keys.
    pub(crate) fn memory(&self) -> usize {
        self.places.room() * size_of::<Place<A>>() + self.index().memory()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_place_has_no_holes() {
        assert_eq!(size_of::<Record<Ipv4Addr>>(), 64);
        assert_eq!(size_of::<Account>(), 40);
        assert_eq!(size_of::<Place<Ipv4Addr>>(), 104);
        assert_eq!(size_of::<Place<Ipv6Addr>>(), 152);
    }

    /// Two of them were one bit once: connections of open mappings were taken for those of NAT64.
    #[test]
    fn each_flag_is_a_bit_of_its_own() {
        let union = flag::ALL.iter().fold(0, |union, flag| union | flag);
        assert_eq!(union.count_ones() as usize, flag::ALL.len());
        assert!(flag::ALL.iter().all(|flag| flag.is_power_of_two()));
    }

    #[test]
    fn counts_are_exact_and_apart() {
        for direction in [Direction::Original, Direction::Reply] {
            let mut account = Account::default();
            let mut expected = Traffic::default();
            for bytes in [0, 1, 1500, u32::MAX, u32::MAX, 65_535] {
                for _ in 0..3000 {
                    account.count(direction, bytes);
                    expected.packets += 1;
                    expected.bytes += u64::from(bytes);
                }
                assert_eq!(account.of(direction), expected);
            }
            assert_eq!(account.of(direction.other()), Traffic::default());
            // All at once is one after the other.
            for most in [0, 3, u64::from(u32::MAX), 1 << 39, (1 << 40) - 1] {
                let mut all = account.clone();
                all.count_all(direction, most, 2 * most + 5);
                let sum = Traffic {
                    packets: (expected.packets + most) % (1 << 40),
                    bytes: (expected.bytes + 2 * most + 5) % (1 << 48),
                };
                assert_eq!(all.of(direction), sum);
            }
            // Bytes that begin anew leave the packets alone, and packets the bytes.
            let behind = |packets, bytes| {
                let mut account = Account::default();
                account.set(direction, Traffic { packets, bytes });
                account.count(direction, 2);
                let Traffic { packets, bytes } = account.of(direction);
                (packets, bytes)
            };
            assert_eq!(behind(7, (1 << 48) - 1), (8, 1));
            assert_eq!(behind((1 << 32) - 1, 5), (1 << 32, 7));
            assert_eq!(behind((1 << 40) - 1, 5), (0, 7));
            let both = (1 << 32) - 1;
            assert_eq!(behind(both, both), (1 << 32, (1 << 32) + 1));
        }
    }
}
