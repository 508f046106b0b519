//! Mappings: the external addresses and ports that internal endpoints hold.

mod acquire;
mod ending;
mod external;
mod foreseen;
mod hosts;
mod listing;
mod request;

use foldhash::fast::FixedState;
use rewire_tables::{Address, PortAllocation, VpcIndex};

pub(crate) use self::ending::Ending;
pub(crate) use self::external::Endpoint;
use self::hosts::{Host, HostKey, Owner, host_of};
pub use self::request::MappingRequest;
use crate::fixed_map::{FixedMap, Recent};
use crate::index::{Index, Spot};
use crate::key::FlowKey;
use crate::key_hash::KeyHasher;
use crate::port_use::Exhaustions;
use crate::ports::{External, Ports};
use crate::records::{Record, Records};

/// How many external addresses are tried for one mapping, at most.
const MAX_TRIES: u128 = 1024;
/// Hosts whose place is remembered: some more than there are in a burst.
const RECENT_HOSTS: usize = 256;

/// An endpoint behind the NAT. Port in host order; an identifier, for ICMP queries; 0 for protocols without ports.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Internal<A> {
    /// The VPC that its packets arrive in.
    pub vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
    /// Its address.
    pub address: A,
    /// Its port.
    pub port: u16,
}

impl<A: PartialEq> PartialEq for Internal<A> {
    /// All fields, and one branch: two endpoints that are compared are mostly equal.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.address == other.address)
            & (self.port == other.port)
            & (self.vpc == other.vpc)
            & (self.protocol == other.protocol)
    }
}

/// What an internal endpoint is on the outside. Port in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<A> {
    /// The external address.
    pub address: A,
    /// The external port.
    pub port: u16,
}

/// A mapping that somebody is about to insert a flow with.
#[derive(Clone, Copy, Debug)]
struct Promise<A> {
    internal: Internal<A>,
    external_vpc: VpcIndex,
    mapping: Mapping<A>,
    /// Whether its port is in use for this promise alone: no flow has it.
    is_alone: bool,
    /// Whether the endpoint has no other mapping, either.
    is_first: bool,
}

/// All mappings of one worker. A mapping is nothing by itself: it is the ring of the flows that use it, whose keys say both
/// of its endpoints, and the first of which is found by the internal one.
#[derive(Debug)]
pub(crate) struct Mappings<A> {
    /// By their internal endpoints, those whose first flow is not found by that where its key is: see [`listing`].
    aside: Index,
    /// By their external endpoints, those that let connections from outside in. See [`external`].
    externals: Index,
    number: usize,
    capacity: usize,
    promise: Option<Promise<A>>,
    /// Of an eighth as many hosts as there may be mappings: one that finds no room keeps to its address as long as its hash
    /// leads there, which it does while the rule's addresses are the same.
    hosts: FixedMap<HostKey<A>, Host<A>>,
    recent_hosts: Recent<RECENT_HOSTS>,
    /// The external addresses, with their VPC, that a host has for itself.
    owners: FixedMap<(VpcIndex, A), Owner<A>>,
    pub(crate) ports: Ports<A>,
    pub(crate) exhaustions: Exhaustions<A>,
    hash: KeyHasher,
}

impl<A: Address> Mappings<A> {
    pub(crate) fn new(capacity: usize, worker: u16, workers: u16, seed: &FixedState) -> Self {
        let hosts = capacity.div_ceil(8).max(capacity.min(64));
        Mappings {
            aside: Index::new(capacity).touched(),
            externals: Index::new(2 * capacity),
            number: 0,
            capacity,
            promise: None,
            hosts: FixedMap::new(hosts, seed),
            recent_hosts: Recent::default(),
            owners: FixedMap::new(hosts, seed),
            ports: Ports::new(capacity, worker, workers, seed),
            exhaustions: Exhaustions::new(seed),
            hash: KeyHasher::new(seed),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.number
    }

    pub(crate) fn index_memory(&self) -> usize {
        self.aside.memory()
    }

    /// Holds a mapping for a flow that begins with this key, and leaves into this VPC. Answers whether the mapping is there.
    #[inline(always)]
    pub(crate) fn promise(
        &mut self,
        records: &Records<A>,
        original: FlowKey<A>,
        external_vpc: VpcIndex,
        mapping: &Mapping<A>,
    ) -> bool {
        self.promise_use(
            records,
            &Use {
                internal: internal_of(&original),
                external_vpc,
                mapping: *mapping,
            },
        )
    }

    /// As [`promise`](Self::promise), for a flow whose first packet may come from either side.
    #[inline(always)]
    fn promise_use(&mut self, records: &Records<A>, of: &Use<A>) -> bool {
        // Not a closure, so that what is in registers is not written to memory for it, and waited for there.
        let is_promised = match &self.promise {
            Some(promise) => {
                (promise.internal == of.internal)
                    & (promise.external_vpc == of.external_vpc)
                    & (promise.mapping.address == of.mapping.address)
                    & (promise.mapping.port == of.mapping.port)
            }
            None => false,
        };
        is_promised || self.promise_existing(records, *of)
    }

    /// Holds the mapping of other flows for one more.
    #[inline(never)]
    fn promise_existing(&mut self, records: &Records<A>, of: Use<A>) -> bool {
        let Use {
            internal,
            external_vpc,
            mapping,
        } = of;
        let spot = records.spot_near(&internal);
        let first = self.first_at(records, spot, &internal, external_vpc);
        if first.is_none_or(|first| Use::of(records, first).mapping != mapping) {
            return false;
        }
        self.release_unused();
        self.promise = Some(Promise {
            internal,
            external_vpc,
            mapping,
            is_alone: false,
            is_first: false,
        });
        true
    }

    /// Promises a flow just the mapping that its keys say, which it has or had, with the external address for its
    /// host alone, or not; false where it is another's.
    pub(crate) fn restore(&mut self, records: &Records<A>, of: &Use<A>, is_owner: bool) -> bool {
        if self.promise_use(records, of) {
            return true;
        }
        let Use {
            internal,
            external_vpc,
            mapping,
        } = *of;
        self.release_unused();
        let external = External {
            vpc: external_vpc,
            protocol: internal.protocol,
            address: mapping.address,
        };
        let host = host_of(&internal, external_vpc);
        if self.number >= self.capacity
            || !self.is_open_to(&host, mapping.address)
            || !self.ports.take_exactly(external, mapping.port)
        {
            return false;
        }
        let spot = records.spot_near(&internal);
        let old = self.first_at(records, spot, &internal, external_vpc);
        self.number += 1;
        let allocation = PortAllocation {
            address_only: is_owner,
            ..PortAllocation::default()
        };
        self.remember_owner(host, mapping.address, &allocation);
        let known = self.find_host(&host);
        self.remember_host(host, known, mapping.address, true);
        self.promise = Some(Promise {
            internal,
            external_vpc,
            mapping,
            is_alone: true,
            is_first: old.is_none(),
        });
        true
    }

    /// Whether the external address of a flow's mapping is its host's alone.
    pub(crate) fn is_owned(&self, records: &Records<A>, slot: u32) -> bool {
        let of = Use::of(records, slot);
        self.has_for_itself(&host_of(&of.internal, of.external_vpc), of.mapping.address)
    }

    /// Adds a flow to the mapping that was promised it, once it has its slot. `spots` are those of its keys.
    #[inline(always)]
    pub(crate) fn attach(&mut self, records: &mut Records<A>, slot: u32, spots: [Spot; 2]) {
        let is_only_one = match &self.promise {
            Some(promise) => promise.is_alone && promise.is_first,
            None => false,
        };
        self.promise = None;
        match is_only_one {
            // Of its endpoint, too: nobody else has to be looked for.
            true => {
                begin_ring(records, slot);
                self.list(records, slot, Some(spots));
            }
            false => self.attach_beside(records, slot, spots),
        }
    }

    /// As [`attach`](Self::attach), where the endpoint may have other flows.
    #[inline(never)]
    fn attach_beside(&mut self, records: &mut Records<A>, slot: u32, spots: [Spot; 2]) {
        let Use {
            internal,
            external_vpc,
            mapping,
        } = Use::of(records, slot);
        let spot = records.spot_near(&internal);
        match self.first_at(records, spot, &internal, external_vpc) {
            Some(first) if Use::of(records, first).mapping == mapping => {
                let next = self.boundary(records, first);
                link_before(records, slot, next);
            }
            old => {
                // Policy has taken its external endpoint away: what flows use it still do, no new one does.
                if let Some(old) = old {
                    self.unlist_staying(records, old);
                }
                begin_ring(records, slot);
                self.list(records, slot, Some(spots));
            }
        }
    }

    /// How many hosts have mappings.
    #[cfg(test)]
    pub(crate) fn hosts_in_use(&self) -> usize {
        self.hosts.len()
    }

    /// Whether nothing is left of any mapping.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.number == 0
            && self.aside.is_empty()
            && self.externals.is_empty()
            && self.hosts.is_empty()
            && self.owners.is_empty()
            && self.ports.is_empty()
    }
}

/// The internal endpoint of a flow that begins with this key.
pub(crate) fn internal_of<A: Copy>(original: &FlowKey<A>) -> Internal<A> {
    Internal {
        vpc: original.vpc,
        protocol: original.protocol,
        address: original.source,
        port: original.source_port,
    }
}

/// Both ends of the mapping that a flow uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use<A> {
    pub(crate) internal: Internal<A>,
    pub(crate) external_vpc: VpcIndex,
    pub(crate) mapping: Mapping<A>,
}

impl<A: Address> Use<A> {
    /// Of a flow with these keys, which has joined the mapping from outside or not. Its replies go to the external
    /// endpoint; those of one that has joined come from the internal one.
    #[inline]
    pub(crate) fn between(original: &FlowKey<A>, reply: &FlowKey<A>, is_joined: bool) -> Self {
        let (leaving, returning) = match is_joined {
            false => (original, reply),
            true => (reply, original),
        };
        Use {
            internal: internal_of(leaving),
            external_vpc: returning.vpc,
            mapping: Mapping {
                address: returning.destination,
                port: returning.destination_port,
            },
        }
    }

    #[inline(always)]
    fn of(records: &Records<A>, slot: u32) -> Self {
        let record: &Record<A> = records.used(slot);
        Use::between(&record.original, &record.reply, records.is_joined(slot))
    }

    #[inline(always)]
    fn host(&self) -> HostKey<A> {
        host_of(&self.internal, self.external_vpc)
    }

    #[inline(always)]
    fn external(&self) -> External<A> {
        External {
            vpc: self.external_vpc,
            protocol: self.internal.protocol,
            address: self.mapping.address,
        }
    }
}

/// Lets a flow be the only one of its ring.
fn begin_ring<A: Address>(records: &mut Records<A>, slot: u32) {
    let record = records.used_mut(slot);
    (record.previous, record.next) = (slot, slot);
}

/// Puts a flow into a ring, ahead of one that is in it.
fn link_before<A: Address>(records: &mut Records<A>, slot: u32, next: u32) {
    let previous = std::mem::replace(&mut records.used_mut(next).previous, slot);
    records.used_mut(previous).next = slot;
    let record = records.used_mut(slot);
    (record.previous, record.next) = (previous, next);
}

/// Takes a flow out of its ring, which has others.
fn unlink<A: Address>(records: &mut Records<A>, slot: u32) {
    let record = records.used(slot);
    let (previous, next) = (record.previous, record.next);
    records.used_mut(previous).next = next;
    records.used_mut(next).previous = previous;
}

#[cfg(test)]
mod tests;
