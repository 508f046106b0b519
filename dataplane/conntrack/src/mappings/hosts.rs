//! What is remembered of internal addresses with mappings, so that each keeps to one external address (RFC 4787 REQ-2), or has one for
//! itself.

use rewire_tables::{Address, PortAllocation, VpcIndex};

use super::{Internal, Mappings};
use crate::key_hash::{KeyHasher, MapKey};
use crate::slab::Id as HostId;

/// An internal address with mappings: it keeps to one external address (RFC 4787 REQ-2).
#[derive(Debug)]
pub(super) struct Host<A> {
    pub(super) external: A,
    pub(super) mappings: u32,
}

/// An internal address, and the VPC it is translated into.
#[derive(Clone, Copy, Debug, Eq)]
pub(super) struct HostKey<A> {
    pub(super) vpc: VpcIndex,
    pub(super) address: A,
    pub(super) external_vpc: VpcIndex,
}

impl<A: PartialEq> PartialEq for HostKey<A> {
    /// All fields, and one branch: two that are compared are mostly equal.
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        (self.address == other.address)
            & (self.vpc == other.vpc)
            & (self.external_vpc == other.external_vpc)
    }
}

impl<A: Address> HostKey<A> {
    /// Where it is remembered.
    #[inline(always)]
    pub(super) fn number(&self) -> u32 {
        self.address.to_number() as u32
    }
}

impl<A: Address> MapKey for HostKey<A> {
    #[inline(always)]
    fn hash(&self, hasher: &KeyHasher) -> u64 {
        let vpcs = u32::from(self.vpc.0) << 16 | u32::from(self.external_vpc.0);
        hasher.hash_address(vpcs, self.address)
    }
}

/// Who has an external address for itself, and by how many mappings.
#[derive(Debug)]
pub(super) struct Owner<A> {
    pub(super) host: HostKey<A>,
    pub(super) mappings: u32,
}

/// The host of an internal endpoint.
pub(super) fn host_of<A: Copy>(internal: &Internal<A>, external_vpc: VpcIndex) -> HostKey<A> {
    HostKey {
        vpc: internal.vpc,
        address: internal.address,
        external_vpc,
    }
}

impl<A: Address> Mappings<A> {
    #[inline]
    pub(super) fn find_host(&mut self, key: &HostKey<A>) -> Option<HostId> {
        self.recent_hosts.find(&self.hosts, key, key.number())
    }

    /// Where a host is, if that is remembered.
    #[inline]
    pub(super) fn peek_host(&self, key: &HostKey<A>) -> Option<HostId> {
        self.recent_hosts.peek(&self.hosts, key, key.number())
    }

    /// Notes that a host has one more mapping. Its external address is this one now, unless it keeps another.
    #[inline]
    pub(super) fn remember_host(
        &mut self,
        key: HostKey<A>,
        known: Option<HostId>,
        external: A,
        keeps: bool,
    ) {
        let host = Host {
            external,
            mappings: 0,
        };
        let id = known.or_else(|| self.hosts.insert(key, host));
        if let Some(host) = id.and_then(|id| self.hosts.get_mut(id)) {
            host.mappings += 1;
            if !keeps {
                host.external = external;
            }
        }
    }

    /// Whether a host has an external address for itself.
    pub(super) fn has_for_itself(&self, host: &HostKey<A>, external: A) -> bool {
        let owner = self.owners.find(&(host.external_vpc, external));
        let owner = owner.and_then(|id| self.owners.get(id));
        owner.is_some_and(|owner| owner.host == *host)
    }

    /// Whether a host may be given a port of an external address: not where another has that for itself.
    #[inline]
    pub(super) fn is_open_to(&self, host: &HostKey<A>, external: A) -> bool {
        self.owners.is_empty()
            || self.owners.find(&(host.external_vpc, external)).is_none()
            || self.has_for_itself(host, external)
    }

    /// Notes that a host has one more mapping on an external address, if that is its own, or is to be.
    #[inline]
    pub(super) fn remember_owner(
        &mut self,
        host: HostKey<A>,
        external: A,
        allocation: &PortAllocation,
    ) {
        if !allocation.address_only && self.owners.is_empty() {
            return;
        }
        let key = (host.external_vpc, external);
        let id = match self.owners.find(&key) {
            None if allocation.address_only => self.owners.insert(key, Owner { host, mappings: 0 }),
            known => known,
        };
        if let Some(owner) = id.and_then(|id| self.owners.get_mut(id)) {
            owner.mappings += 1;
        }
    }

    /// Notes that a host has one mapping less on an external address.
    pub(super) fn forget_owner(&mut self, host: &HostKey<A>, external: A) {
        if !self.owners.is_empty()
            && let Some(id) = self.owners.find(&(host.external_vpc, external))
            && let Some(owner) = self.owners.get_mut(id)
            && owner.host == *host
        {
            owner.mappings = owner.mappings.saturating_sub(1);
            if owner.mappings == 0 {
                self.owners.remove(id);
            }
        }
    }
}
