//! Connections that outlive their table: taken out of one, written down, and put into another, as they were.

use std::collections::HashSet;

use rewire_tables::{Address, InterfaceIndex, PeeringIndex, VpcIndex};

use super::{Connections, tick};
use crate::byte_reader::ByteReader;
use crate::error::InsertError;
use crate::flow::{Admission, Flow, FlowId, Traffic};
use crate::key::{Direction, FlowKey};
use crate::mappings::Use;
use crate::records::{Account, NONE, Record, flag};
use crate::state::State;
use crate::tcp::{Fins, Memory, Scales, TcpState, Window};
use crate::time::{Deadline, Instant, Second};
use crate::timeout_classes::TimeoutClass;

/// All that a table knows of one connection, but for the policy that allowed it: whoever puts it into a table lets it be
/// resolved again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedFlow<A> {
    original: FlowKey<A>,
    reply: FlowKey<A>,
    route_vpc: VpcIndex,
    ingress: InterfaceIndex,
    peering: Option<PeeringIndex>,
    state: State,
    /// Bits of [`flag`], those that last.
    flags: u8,
    created: Instant,
    expires: Instant,
    traffic: [Traffic; 2],
    memory: Memory,
    /// Whether the external address of its mapping is its host's alone.
    is_owner: bool,
    /// Whether it has joined that mapping from outside.
    is_joined: bool,
}

/// A copy of a connection of a table that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedFlow<A> {
    saved: SavedFlow<A>,
    /// Whether new connections of its endpoint get its mapping, and it is the one that stands for that.
    is_listed: bool,
}

/// What tells a mapping from any other at one time: its external end and its internal one.
type MappingName = [(u16, u8, u128, u16); 2];

impl<A: Address> SavedFlow<A> {
    fn mapping(&self) -> Option<MappingName> {
        let Use {
            internal,
            external_vpc,
            mapping,
        } = Use::between(&self.original, &self.reply, self.is_joined);
        let end =
            |vpc: VpcIndex, address: A, port| (vpc.0, internal.protocol, address.to_number(), port);
        self.has(flag::MAPPED).then(|| {
            [
                end(external_vpc, mapping.address, mapping.port),
                end(internal.vpc, internal.address, internal.port),
            ]
        })
    }
}

/// Connections that were all in one table at one time, copied then or a little later, in an order in which
/// [`restore`](Connections::restore) brings their mappings back, as [`Connections::saved`] gives them. Cost: sorts them.
pub fn in_order<A: Address>(copied: Vec<CopiedFlow<A>>) -> impl Iterator<Item = SavedFlow<A>> {
    let listed = copied.iter().filter(|copied| copied.is_listed);
    let listed: HashSet<MappingName> = listed.filter_map(|copied| copied.saved.mapping()).collect();
    let keyed = copied.into_iter().map(|copied| {
        let mapping = copied.saved.mapping();
        let is_last = mapping.is_none_or(|mapping| listed.contains(&mapping));
        ((is_last, mapping), copied.saved)
    });
    let mut keyed: Vec<_> = keyed.collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed.into_iter().map(|(_, saved)| saved)
}

/// Bits of a record that last: not where it is in its mapping, nor that it was counted.
const LASTING: u8 = flag::WHOLE | flag::PORTS | flag::MAPPED | flag::OPEN;

/// What indices of one gateway are in another; none where there is no such thing.
pub trait Renumber {
    /// A VPC.
    fn vpc(&self, index: VpcIndex) -> Option<VpcIndex>;
    /// An interface.
    fn interface(&self, index: InterfaceIndex) -> Option<InterfaceIndex>;
    /// A peering.
    fn peering(&self, index: PeeringIndex) -> Option<PeeringIndex>;
}

impl<A: Copy> SavedFlow<A> {
    /// The same in another gateway; none where it is of something that is not there.
    pub fn renumbered(self, names: &impl Renumber) -> Option<Self> {
        let key = |key: FlowKey<A>| {
            Some(FlowKey {
                vpc: names.vpc(key.vpc)?,
                ..key
            })
        };
        Some(SavedFlow {
            original: key(self.original)?,
            reply: key(self.reply)?,
            route_vpc: names.vpc(self.route_vpc)?,
            ingress: names.interface(self.ingress)?,
            peering: match self.peering {
                Some(peering) => Some(names.peering(peering)?),
                None => None,
            },
            ..self
        })
    }

    /// The same on a clock that is ahead by so many nanoseconds, or behind.
    pub fn shifted(self, nanoseconds: i64) -> Self {
        let shift = |at: Instant| Instant(at.0.saturating_add_signed(nanoseconds));
        SavedFlow {
            created: shift(self.created),
            expires: shift(self.expires),
            ..self
        }
    }

    /// Whether its time is up.
    pub fn is_over(&self, now: Instant) -> bool {
        self.expires <= now
    }

    /// As a table would show it that it is put into: resolved under no policy.
    pub fn flow(&self) -> Flow<A> {
        let account = self.account();
        let ports = match self.state {
            State::Tcp(_) => (self.original.source_port, self.original.destination_port),
            _ => account.ports(),
        };
        Flow {
            original: self.original,
            reply: self.reply,
            route_vpc: self.route_vpc,
            policy_generation: 0,
            admission: Admission {
                ingress: self.ingress,
                ports: self.has(flag::PORTS).then_some(ports),
                peering: self.peering,
                whole: self.has(flag::WHOLE),
                timeouts: TimeoutClass::default(),
            },
            is_mapped: self.has(flag::MAPPED),
            is_joined: self.is_joined,
            state: self.state,
            created: self.created,
            expires: self.expires,
            traffic: self.traffic,
        }
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn account(&self) -> Account {
        let mut account = Account::default();
        account.set_traffic(self.traffic);
        account.set_tcp(&self.memory);
        if self.is_joined {
            account.set_joined();
        }
        account
    }
}

impl<A: Address> SavedFlow<A> {
    /// Bytes that one is written in.
    pub const LENGTH: usize =
        2 * (9 + 2 * (A::BITS as usize / 8)) + 2 + 2 + 3 + 4 + 16 + 32 + 16 + 2;

    /// Writes it behind what is there. Numbers are little-endian.
    pub fn write(&self, out: &mut Vec<u8>) {
        for key in [&self.original, &self.reply] {
            out.extend(key.vpc.0.to_le_bytes());
            out.push(key.protocol);
            for address in [key.source, key.destination] {
                out.extend(&address.to_number().to_le_bytes()[..A::BITS as usize / 8]);
            }
            out.extend(key.source_port.to_le_bytes());
            out.extend(key.destination_port.to_le_bytes());
            out.extend([0; 2]);
        }
        out.extend(self.route_vpc.0.to_le_bytes());
        out.extend(self.ingress.0.to_le_bytes());
        out.push(u8::from(self.peering.is_some()));
        out.extend(self.peering.map_or(0, |peering| peering.0).to_le_bytes());
        let waits_for_reply = matches!(
            self.state,
            State::Tcp(TcpState::SynReceived {
                waiting_for: Direction::Reply
            })
        );
        out.push(self.state.position() as u8);
        out.push(u8::from(waits_for_reply));
        out.push(self.flags);
        out.push(u8::from(self.is_owner) | u8::from(self.is_joined) << 1);
        for at in [self.created, self.expires] {
            out.extend(at.0.to_le_bytes());
        }
        for traffic in self.traffic {
            out.extend(traffic.packets.to_le_bytes());
            out.extend(traffic.bytes.to_le_bytes());
        }
        for window in self.memory.windows {
            out.extend(window.end.to_le_bytes());
            out.extend(window.limit.to_le_bytes());
        }
        out.push(self.memory.scales.0);
        let asked = u8::from(self.memory.is_asked_anew) << 7;
        let bypassed = u8::from(self.memory.is_bypassed) << 6;
        out.push(self.memory.fins.0 | asked | bypassed);
    }

    /// Reads what [`write`](Self::write) has written; none where it was not that.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        let [original, reply] = [key(&mut reader)?, key(&mut reader)?];
        let route_vpc = VpcIndex(reader.u16()?);
        let ingress = InterfaceIndex(reader.u16()?);
        let has_peering = reader.u8()? != 0;
        let peering = PeeringIndex(reader.u16()?);
        let state = *State::ALL.get(usize::from(reader.u8()?))?;
        let waits_for_reply = reader.u8()? != 0;
        let state = match state {
            State::Tcp(TcpState::SynReceived { .. }) if waits_for_reply => {
                State::Tcp(TcpState::SynReceived {
                    waiting_for: Direction::Reply,
                })
            }
            state => state,
        };
        let mut flags = reader.u8()? & LASTING;
        if flags & flag::MAPPED == 0 {
            flags &= !flag::OPEN;
        }
        let of_mapping = reader.u8()?;
        let (created, expires) = (Instant(reader.u64()?), Instant(reader.u64()?));
        let mut traffic = [Traffic::default(); 2];
        for traffic in &mut traffic {
            (traffic.packets, traffic.bytes) = (reader.u64()?, reader.u64()?);
        }
        let mut windows = [Window::default(); 2];
        for window in &mut windows {
            (window.end, window.limit) = (reader.u32()?, reader.u32()?);
        }
        let scales = Scales(reader.u8()?);
        let fins = reader.u8()?;
        Some(SavedFlow {
            original,
            reply,
            route_vpc,
            ingress,
            peering: has_peering.then_some(peering),
            state,
            flags,
            created,
            expires,
            traffic,
            memory: Memory {
                windows,
                scales,
                fins: Fins(fins & 0x3f),
                is_asked_anew: fins & 0x80 != 0,
                is_bypassed: fins & 0x40 != 0,
            },
            is_owner: of_mapping & 1 != 0,
            is_joined: flags & flag::OPEN != 0 && of_mapping & 2 != 0,
        })
    }
}

fn address<A: Address>(reader: &mut ByteReader<'_>) -> Option<A> {
    let number = match A::BITS {
        32 => reader.u32()?.into(),
        _ => u128::from_le_bytes(reader.array()?),
    };
    Some(A::from_number(number))
}

fn key<A: Address>(reader: &mut ByteReader<'_>) -> Option<FlowKey<A>> {
    let key = FlowKey {
        vpc: VpcIndex(reader.u16()?),
        protocol: reader.u8()?,
        source: address(reader)?,
        destination: address(reader)?,
        source_port: reader.u16()?,
        destination_port: reader.u16()?,
    };
    reader.u16()?;
    Some(key)
}

impl<A: Address> Connections<A> {
    /// All connections whose time is not up, in an order in which [`restore`](Self::restore) brings their mappings back: those of
    /// one mapping follow each other, and the mapping that new connections of an endpoint get comes behind its others.
    pub fn saved(&self, now: Instant) -> impl Iterator<Item = SavedFlow<A>> + '_ {
        let slots = self.slots();
        let mut seen = vec![false; slots as usize];
        let (mut first, mut last) = (Vec::new(), Vec::new());
        for slot in (0..slots).filter(|slot| self.records.id(*slot).is_some()) {
            if std::mem::replace(&mut seen[slot as usize], true) {
                continue;
            }
            let record = self.records.used(slot);
            if !record.has(flag::MAPPED) {
                last.push(slot);
                continue;
            }
            let mut ring = vec![slot];
            let mut next = record.next;
            while next != slot {
                seen[next as usize] = true;
                ring.push(next);
                next = self.records.used(next).next;
            }
            let is_listed = ring
                .iter()
                .any(|slot| self.records.used(*slot).has(flag::LISTED));
            match is_listed {
                true => last.extend(ring),
                false => first.extend(ring),
            }
        }
        let slots = first.into_iter().chain(last);
        let live = slots.filter(move |slot| !self.records.used(*slot).expires.is_over(now));
        live.map(move |slot| self.save(slot, now))
    }

    /// A copy of one connection, if it is there still, with what [`in_order`] needs to know: for copies that are made a few at a time,
    /// while packets come.
    pub fn copied_flow(&self, id: FlowId, now: Instant) -> Option<CopiedFlow<A>> {
        let saved = self.saved_flow(id, now)?;
        let is_listed = self.records.used(id.0.slot).has(flag::LISTED);
        Some(CopiedFlow { saved, is_listed })
    }

    /// A copy of one connection, if it is there still: see [`saved`](Self::saved).
    pub fn saved_flow(&self, id: FlowId, now: Instant) -> Option<SavedFlow<A>> {
        self.records.get(id.0)?;
        Some(self.save(id.0.slot, now))
    }

    fn save(&self, slot: u32, now: Instant) -> SavedFlow<A> {
        let (record, account) = (self.records.used(slot), self.records.account(slot));
        SavedFlow {
            original: record.original,
            reply: record.reply,
            route_vpc: record.route_vpc,
            ingress: record.ingress,
            peering: record
                .has(flag::PEERING)
                .then(|| self.records.peering(slot)),
            state: record.state,
            flags: record.flags & LASTING,
            created: record.created.instant(now),
            expires: record.expires.instant(now),
            traffic: account.traffic(),
            memory: account.tcp(),
            is_owner: record.has(flag::MAPPED) && self.mappings.is_owned(&self.records, slot),
            is_joined: self.records.is_joined(slot),
        }
    }

    /// Puts a connection back, with the very mapping that it had. It counts as resolved under no generation of the policy.
    ///
    /// # Errors
    /// [`InsertError::Clash`] where another has one of its keys, or its port; [`InsertError::TableFull`].
    pub fn restore(&mut self, saved: &SavedFlow<A>, now: Instant) -> Result<FlowId, InsertError> {
        self.latest = self.latest.max(now);
        let keys = [saved.original, saved.reply];
        let hashes = keys.map(|key| self.hash(&key));
        for (hash, key) in hashes.into_iter().zip(&keys) {
            if self.find(hash, key).is_some() {
                return Err(InsertError::Clash);
            }
        }
        if self.records.is_full() {
            return Err(InsertError::TableFull);
        }
        let is_mapped = saved.has(flag::MAPPED);
        let of = Use::between(&saved.original, &saved.reply, saved.is_joined);
        if is_mapped && !self.mappings.restore(&self.records, &of, saved.is_owner) {
            return Err(InsertError::Clash);
        }
        if !self.claim(keys, hashes) {
            self.mappings.release_unused();
            return Err(InsertError::TableFull);
        }
        let crosses = if saved.peering.is_some() {
            flag::PEERING
        } else {
            0
        };
        let expires = Deadline::at(saved.expires);
        let record = Record {
            original: saved.original,
            reply: saved.reply,
            policy_generation: 0,
            expires,
            created: Second::of(saved.created),
            next: NONE,
            previous: NONE,
            reuse: 0,
            route_vpc: saved.route_vpc,
            ingress: saved.ingress,
            state: saved.state,
            // Until it is resolved again.
            timeouts: TimeoutClass::default(),
            flags: saved.flags & LASTING | crosses,
        };
        let inserted = self.records.insert(record);
        let (id, account) = inserted.ok_or(InsertError::TableFull)?;
        *account = saved.account();
        self.records.set_peering(id.slot, saved.peering);
        if is_mapped {
            let spots = hashes.map(|hash| hash.0);
            self.mappings.attach(&mut self.records, id.slot, spots);
            if saved.flags & flag::OPEN != 0 {
                self.mappings.open(&mut self.records, id.slot);
            }
        }
        self.sweep.schedule(id.slot, tick(expires.instant(now)));
        self.counts.add(saved.state);
        self.vpc_counts.add(saved.original.vpc);
        Ok(FlowId(id))
    }
}
