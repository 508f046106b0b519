//! Who gets which external address and port.

use std::ops::RangeInclusive;

use rewire_tables::nat::PortParity;
use rewire_tables::{Address, PortAllocation, VpcIndex};

use super::hosts::{HostKey, host_of};
use super::{Internal, MAX_TRIES, Mapping, MappingRequest, Mappings, Promise, Use};
use crate::error::{Exhausted, Resource};
use crate::key_hash::MapKey;
use crate::ports::External;
use crate::records::Records;
use crate::slab::Id as HostId;

impl<A: Address> Mappings<A> {
    /// See [`crate::Connections::acquire_mapping`].
    #[inline]
    pub(crate) fn acquire(
        &mut self,
        records: &Records<A>,
        request: &MappingRequest<A>,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        allocation: &PortAllocation,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Exhausted> {
        let MappingRequest {
            internal,
            external_vpc,
            spot,
            host,
            ..
        } = *request;
        self.release_unused();
        let old = self.first_at(records, spot, &internal, external_vpc);
        if let Some(first) = old {
            let mapping = Use::of(records, first).mapping;
            if is_within(ranges.clone(), mapping.address)
                && allocation.allows(internal.protocol, internal.port, mapping.port)
                && (!allocation.address_only
                    || self.has_for_itself(&host_of(&internal, external_vpc), mapping.address))
                && !reserved(mapping.address, mapping.port)
            {
                return Ok(mapping);
            }
        }
        let protocol = internal.protocol;
        if self.number >= self.capacity {
            return Err(Exhausted {
                resource: Resource::Mappings,
                external_vpc,
                protocol,
            });
        }
        let host_key = host_of(&internal, external_vpc);
        let host = host.filter(|host| self.hosts.get(*host).is_some());
        let host = host.or_else(|| self.find_host(&host_key));
        let known = host.and_then(|host| Some(self.hosts.get(host)?.external));
        let known = known.filter(|known| is_within(ranges.clone(), *known));
        // Mostly its own port is free where the host has others, and nothing else is asked for.
        let is_preserved = known.is_some_and(|known| {
            let external = External {
                vpc: external_vpc,
                protocol,
                address: known,
            };
            allocation.is_plain()
                && self.is_open_to(&host_key, known)
                && self
                    .ports
                    .preserve(&external, internal.port, |port| reserved(known, port))
        });
        let mapping = match known {
            Some(address) if is_preserved => Mapping {
                address,
                port: internal.port,
            },
            _ => self
                .choose(
                    (records, &internal, external_vpc),
                    (host, known),
                    ranges,
                    allocation,
                    &reserved,
                )
                .map_err(|resource| Exhausted {
                    resource,
                    external_vpc,
                    protocol,
                })?,
        };
        self.number += 1;
        self.remember_owner(host_key, mapping.address, allocation);
        let keeps = !allocation.address_only && known.is_some();
        self.remember_host(host_key, host, mapping.address, keeps);
        self.promise = Some(Promise {
            internal,
            external_vpc,
            mapping,
            is_alone: true,
            is_first: old.is_none(),
        });
        Ok(mapping)
    }

    /// The mapping of the other port of a pair.
    fn partner(
        &self,
        records: &Records<A>,
        internal: &Internal<A>,
        external_vpc: VpcIndex,
    ) -> Option<Mapping<A>> {
        if !matches!(internal.protocol, 6 | 17) {
            return None;
        }
        let partner = Internal {
            port: internal.port ^ 1,
            ..*internal
        };
        let first = self.first(records, &partner, external_vpc)?;
        Some(Use::of(records, first).mapping)
    }

    /// Takes a port for a host, whose address is known or not: of that, or else of the first address that has one.
    #[inline(never)]
    fn choose(
        &mut self,
        (records, internal, external_vpc): (&Records<A>, &Internal<A>, VpcIndex),
        (host, known): (Option<HostId>, Option<A>),
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        allocation: &PortAllocation,
        reserved: &impl Fn(A, u16) -> bool,
    ) -> Result<Mapping<A>, Resource> {
        let host_key = &host_of(internal, external_vpc);
        let protocol = internal.protocol;
        let partner = match allocation.parity {
            PortParity::Pairs => self.partner(records, internal, external_vpc),
            PortParity::Any | PortParity::Preserved => None,
        };
        let wanted = (internal.port, partner);
        if let Some(known) = known
            && let Some(found) = self.take(host_key, protocol, known, wanted, allocation, reserved)
        {
            return Ok(found);
        }
        if let Some(known) = known
            && allocation.address_only
            && self.has_for_itself(host_key, known)
        {
            return Err(Resource::Ports);
        }
        let total = ranges
            .clone()
            .map(|range| size(&range))
            .fold(0, u128::saturating_add);
        if total == 0 {
            return Err(Resource::Addresses);
        }
        if allocation.address_only && host.is_none() && self.hosts.is_full() {
            return Err(Resource::Mappings);
        }
        let first = self.first_place(host_key, known, ranges.clone(), total);
        let found = (0..total.min(MAX_TRIES)).find_map(|offset| {
            let place = if offset < total - first {
                first + offset
            } else {
                offset - (total - first)
            };
            let address = nth(ranges.clone(), place)?;
            self.take(host_key, protocol, address, wanted, allocation, reserved)
        });
        found.ok_or(Resource::Ports)
    }

    /// Takes a port of an external address for a host: `wanted` if it can be, beside its partner's, if that is there.
    #[inline]
    fn take(
        &mut self,
        host: &HostKey<A>,
        protocol: u8,
        address: A,
        (wanted, partner): (u16, Option<Mapping<A>>),
        allocation: &PortAllocation,
        reserved: impl Fn(A, u16) -> bool,
    ) -> Option<Mapping<A>> {
        if !self.is_open_to(host, address) {
            return None;
        }
        let external = External {
            vpc: host.external_vpc,
            protocol,
            address,
        };
        let next_to = partner.filter(|partner| partner.address == address);
        let next_to = next_to.map(|partner| partner.port);
        let reserved = |port| reserved(address, port);
        let port = self
            .ports
            .take(external, wanted, next_to, allocation, reserved)?;
        Some(Mapping { address, port })
    }

    /// Which of the external addresses to try first: the one that the host has, or else the one that its hash chooses, so
    /// that hosts spread over the addresses, and one host has one address with all workers that share a seed.
    fn first_place(
        &self,
        host: &HostKey<A>,
        known: Option<A>,
        ranges: impl Iterator<Item = RangeInclusive<A>> + Clone,
        total: u128,
    ) -> u128 {
        if total == 1 {
            return 0;
        }
        known
            .and_then(|known| place_of(ranges, known))
            .unwrap_or_else(|| u128::from(host.hash(&self.hash)) % total)
            .min(total - 1)
    }
}

/// How many addresses a range has; none if it ends before it begins.
fn size<A: Address>(range: &RangeInclusive<A>) -> u128 {
    let (start, end) = (range.start().to_number(), range.end().to_number());
    end.checked_sub(start)
        .map_or(0, |size| size.saturating_add(1))
}

/// The address at a place, counted through all ranges.
pub(super) fn nth<A: Address>(
    ranges: impl Iterator<Item = RangeInclusive<A>>,
    mut place: u128,
) -> Option<A> {
    for range in ranges {
        match place.checked_sub(size(&range)) {
            None => return Some(A::from_number(range.start().to_number() + place)),
            Some(beyond) => place = beyond,
        }
    }
    None
}

/// Whether an address is in one of the ranges.
#[inline(always)]
fn is_within<A: Address>(mut ranges: impl Iterator<Item = RangeInclusive<A>>, address: A) -> bool {
    ranges.any(|range| range.contains(&address))
}

/// The first place of an address, counted through all ranges.
pub(super) fn place_of<A: Address>(
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
