//! Mappings: the external addresses and ports that internal endpoints hold.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;
use rewire_tables::{Address, VpcIndex};

use crate::error::{Exhausted, Resource};
use crate::fixed_map::FixedMap;
use crate::ports::{External, Ports};
use crate::slab::Id;

/// How many external addresses are tried for one mapping, at most.
const MAX_TRIES: u128 = 1024;

/// An endpoint behind the NAT. Port in host order; an identifier, for ICMP queries; 0 for protocols without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// A mapping's place, with a count of how often the place was used: a stale id is never taken for another mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappingId(Id);

/// What an internal endpoint is on the outside. Port in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<A> {
    /// The external address.
    pub address: A,
    /// The external port.
    pub port: u16,
    /// To hold it by.
    pub id: MappingId,
}

#[derive(Debug)]
struct Held<A> {
    external: External<A>,
    port: u16,
    host: Id,
    flows: u32,
}

/// An internal address with mappings: it keeps to one external address (RFC 4787 REQ-2).
#[derive(Debug)]
struct Host<A> {
    external: A,
    mappings: u32,
}

/// An internal address, and the VPC it is translated into.
type HostKey<A> = (VpcIndex, A, VpcIndex);

#[derive(Debug)]
pub(crate) struct Mappings<A> {
    mappings: FixedMap<(Internal<A>, VpcIndex), Held<A>>,
    hosts: FixedMap<HostKey<A>, Host<A>>,
    ports: Ports<A>,
    hash: FixedState,
}

impl<A: Address> Mappings<A> {
    pub(crate) fn new(capacity: usize, worker: u16, workers: u16, hash: &FixedState) -> Self {
        Mappings {
            mappings: FixedMap::new(capacity, hash),
            hosts: FixedMap::new(capacity, hash),
            ports: Ports::new(capacity, worker, workers, hash),
            hash: hash.clone(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.mappings.len()
    }

    /// See [`crate::Connections::acquire_mapping`].
    pub(crate) fn acquire(
        &mut self,
        internal: Internal<A>,
        external_vpc: VpcIndex,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let key = (internal, external_vpc);
        let old = self.mappings.find(&key);
        if let Some(id) = old
            && let Some(held) = self.mappings.get(id)
            && place_of(ranges.clone(), held.external.address).is_some()
            && !reserved(held.external.address, held.port)
        {
            return Ok(Mapping {
                address: held.external.address,
                port: held.port,
                id: MappingId(id),
            });
        }
        let protocol = internal.protocol;
        let exhausted = |resource| Exhausted {
            resource,
            external_vpc,
            protocol,
        };
        if self.mappings.is_full() {
            return Err(exhausted(Resource::Mappings));
        }
        let total = ranges
            .clone()
            .map(|range| size(&range))
            .fold(0, u128::saturating_add);
        if total == 0 {
            return Err(exhausted(Resource::Addresses));
        }
        let host_key = (internal.vpc, internal.address, external_vpc);
        let first = self.first_place(&host_key, ranges.clone(), total);
        let (external, port) = (0..total.min(MAX_TRIES))
            .find_map(|offset| {
                let place = if offset < total - first {
                    first + offset
                } else {
                    offset - (total - first)
                };
                let address = nth(ranges.clone(), place)?;
                let external = External {
                    vpc: external_vpc,
                    protocol,
                    address,
                };
                let port = self
                    .ports
                    .take(external, internal.port, |port| reserved(address, port))?;
                Some((external, port))
            })
            .ok_or(exhausted(Resource::Ports))?;
        if let Some(id) = old {
            // Policy has taken its external endpoint away: what flows use it still do, no new one does.
            self.mappings.unlist(id);
        }
        // There are never more hosts than mappings, and there is room for one of those.
        let host = self.hosts.find_or_insert(
            host_key,
            Host {
                external: external.address,
                mappings: 0,
            },
        );
        let id = host.and_then(|host| {
            let mapping = Held {
                external,
                port,
                host,
                flows: 0,
            };
            let id = self.mappings.insert(key, mapping)?;
            let host = self.hosts.get_mut(host)?;
            host.mappings += 1;
            if place_of(ranges, host.external).is_none() {
                host.external = external.address;
            }
            Some(MappingId(id))
        });
        let id = id.ok_or(exhausted(Resource::Mappings))?;
        Ok(Mapping {
            address: external.address,
            port,
            id,
        })
    }

    /// Which of the external addresses to try first: the one that the host has, or else the one that its hash chooses, so
    /// that hosts spread over the addresses, and one host has one address with all workers that share a seed.
    fn first_place(
        &self,
        host: &HostKey<A>,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        total: u128,
    ) -> u128 {
        let known = self.hosts.find(host).and_then(|id| self.hosts.get(id));
        known
            .and_then(|known| place_of(ranges, known.external))
            .unwrap_or_else(|| u128::from(self.hash.hash_one(host)) % total)
            .min(total - 1)
    }

    /// Takes a reference. Answers whether the mapping is there.
    pub(crate) fn hold(&mut self, id: MappingId) -> bool {
        match self.mappings.get_mut(id.0) {
            Some(held) => {
                held.flows += 1;
                true
            }
            None => false,
        }
    }

    /// Gives a reference back, and keeps the mapping even if that was the last.
    pub(crate) fn let_go(&mut self, id: MappingId) {
        if let Some(held) = self.mappings.get_mut(id.0) {
            held.flows = held.flows.saturating_sub(1);
        }
    }

    /// Ends a mapping that no flow refers to.
    pub(crate) fn release_if_unused(&mut self, id: MappingId) {
        if self.mappings.get(id.0).is_none_or(|held| held.flows > 0) {
            return;
        }
        let Some((_, held)) = self.mappings.remove(id.0) else {
            return;
        };
        self.ports.give_back(&held.external, held.port);
        if let Some(host) = self.hosts.get_mut(held.host) {
            host.mappings -= 1;
            if host.mappings == 0 {
                self.hosts.remove(held.host);
            }
        }
    }

    /// Whether nothing is left of any mapping.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.mappings.len() == 0 && self.hosts.len() == 0 && self.ports.is_empty()
    }
}

/// How many addresses a range has; none if it ends before it begins.
fn size<A: Address>(range: &RangeInclusive<A>) -> u128 {
    let (start, end) = (range.start().to_number(), range.end().to_number());
    end.checked_sub(start)
        .map_or(0, |size| size.saturating_add(1))
}

/// The address at a place, counted through all ranges.
fn nth<A: Address>(ranges: impl Iterator<Item = RangeInclusive<A>>, mut place: u128) -> Option<A> {
    for range in ranges {
        match place.checked_sub(size(&range)) {
            None => return Some(A::from_number(range.start().to_number() + place)),
            Some(beyond) => place = beyond,
        }
    }
    None
}

/// The first place of an address, counted through all ranges.
fn place_of<A: Address>(
    ranges: impl Iterator<Item = RangeInclusive<A>>,
    address: A,
) -> Option<u128> {
    let mut before = 0_u128;
    for range in ranges {
        if range.contains(&address) {
            return Some(before.saturating_add(address.to_number() - range.start().to_number()));
        }
        before = before.saturating_add(size(&range));
    }
    None
}

#[cfg(test)]
mod tests;
