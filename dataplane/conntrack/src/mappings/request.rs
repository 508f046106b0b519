//! How a mapping is asked for ahead of its use.

use rewire_tables::{Address, VpcIndex};

use super::hosts::host_of;
use super::{Internal, Mappings};
use crate::index::Spot;
use crate::ports::External;
use crate::slab::{Id as HostId, Id as PortsId};

/// A mapping that is asked for, and what was found on the way to it: the packets of a burst ask in turns, so that the memory that one
/// of them needs is fetched meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct MappingRequest<A> {
    pub(super) internal: Internal<A>,
    pub(super) external_vpc: VpcIndex,
    /// Where the index has the endpoint's mapping.
    pub(super) spot: Spot,
    /// Where its host was found; none, where it was not, or was not looked for. It may be gone again.
    pub(super) host: Option<HostId>,
    /// Where the ports of its host's external address were found, likewise.
    pub(super) ports: Option<PortsId>,
    /// That address, where they were found.
    external: A,
}

impl<A> MappingRequest<A> {
    /// The VPC of the internal endpoint.
    #[inline(always)]
    pub fn vpc(&self) -> VpcIndex {
        self.internal.vpc
    }
}

impl<A: Address> MappingRequest<A> {
    /// Whether another is of the same host, and its ports are those of the same external address.
    #[inline(always)]
    fn has_pool_of(&self, other: &Self) -> bool {
        (self.internal.address == other.internal.address)
            & (self.internal.vpc == other.internal.vpc)
            & (self.internal.protocol == other.internal.protocol)
            & (self.external_vpc == other.external_vpc)
    }
}

impl<A: Address> Mappings<A> {
    /// See [`crate::Connections::request_mapping`].
    #[inline(always)]
    pub(crate) fn request(
        &self,
        internal: Internal<A>,
        external_vpc: VpcIndex,
    ) -> MappingRequest<A> {
        MappingRequest {
            internal,
            external_vpc,
            spot: self.spot(&internal, external_vpc),
            host: None,
            ports: None,
            external: A::from_number(0),
        }
    }

    /// Asks for the lines that the mapping of an internal endpoint and its host are found by.
    #[inline(always)]
    pub(crate) fn prefetch(&self, request: &MappingRequest<A>, before: Option<&MappingRequest<A>>) {
        self.index.prefetch(request.spot);
        if before.is_some_and(|before| before.has_pool_of(request)) {
            return;
        }
        let host = host_of(&request.internal, request.external_vpc);
        if self.peek_host(&host).is_none() && !self.hosts.is_empty() {
            self.hosts.prefetch(&host);
        }
    }

    /// See [`crate::Connections::expect_mapping`].
    #[inline(always)]
    pub(crate) fn expect(
        &mut self,
        request: &mut MappingRequest<A>,
        before: Option<&MappingRequest<A>>,
    ) -> Option<A> {
        let (internal, external_vpc) = (&request.internal, request.external_vpc);
        if let Some(before) = before
            && before.has_pool_of(request)
            && let (Some(host), Some(ports)) = (before.host, before.ports)
            // It may have another address since.
            && self.hosts.get(host)?.external == before.external
            && self.ports.prefetch_at(ports, internal.port)
        {
            (request.host, request.ports) = (before.host, before.ports);
            request.external = before.external;
            return Some(before.external);
        }
        if self.hosts.is_empty() {
            return None;
        }
        request.host = self.find_host(&host_of(internal, external_vpc));
        let address = self.hosts.get(request.host?)?.external;
        let external = External {
            vpc: external_vpc,
            protocol: internal.protocol,
            address,
        };
        request.ports = self.ports.expect(&external, internal.port);
        request.external = address;
        Some(address)
    }

    /// See [`crate::Connections::foresee_port`].
    #[inline(always)]
    pub(crate) fn foresee_port(
        &self,
        request: &MappingRequest<A>,
        behind: impl FnOnce() -> Option<u16>,
    ) -> Option<u16> {
        let Internal { protocol, port, .. } = request.internal;
        self.ports.foresee(request.ports?, protocol, port, behind)
    }
}
