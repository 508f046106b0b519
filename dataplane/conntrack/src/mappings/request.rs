//! How a mapping is asked for ahead of its use.

use rewire_tables::{Address, VpcIndex};

use super::hosts::host_of;
use super::{Internal, Mappings, internal_of};
use crate::index::Spot;
use crate::key::FlowKey;
use crate::ports::External;
use crate::records::Records;
use crate::slab::{Id as HostId, Id as PortsId};

/// A mapping that is asked for, and what was found on the way to it: the packets of a burst ask in turns, so that the memory that one
/// of them needs is fetched meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct MappingRequest<A> {
    pub(super) internal: Internal<A>,
    pub(super) external_vpc: VpcIndex,
    /// Where the index has the keys of the endpoint's flows.
    pub(super) spot: Spot,
    /// Whether its first flow is not one of a client, so that its mapping is looked for aside.
    is_aside: bool,
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

    pub(crate) fn spot(&self) -> Spot {
        self.spot
    }

    /// Whether its host was found.
    #[inline(always)]
    pub(crate) fn has_host(&self) -> bool {
        self.host.is_some()
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
        records: &Records<A>,
        internal: Internal<A>,
        external_vpc: VpcIndex,
    ) -> MappingRequest<A> {
        MappingRequest {
            internal,
            external_vpc,
            spot: records.spot_near(&internal),
            is_aside: false,
            host: None,
            ports: None,
            external: A::from_number(0),
        }
    }

    /// The same for a flow that begins with a key, which is at this spot.
    #[inline(always)]
    pub(crate) fn request_for(
        &self,
        records: &Records<A>,
        (original, spot): (&FlowKey<A>, Spot),
        external_vpc: VpcIndex,
    ) -> MappingRequest<A> {
        let internal = internal_of(original);
        let is_aside = !original.is_from_client();
        MappingRequest {
            internal,
            external_vpc,
            spot: match is_aside {
                false => spot,
                true => records.spot_near(&internal),
            },
            is_aside,
            host: None,
            ports: None,
            external: A::from_number(0),
        }
    }

    /// Asks for the lines that the mapping of an internal endpoint and its host are found by, but for that of the flow's own key.
    #[inline(always)]
    pub(crate) fn prefetch(
        &self,
        records: &Records<A>,
        request: &MappingRequest<A>,
        before: Option<&MappingRequest<A>>,
    ) {
        if request.is_aside | records.is_crowded() {
            self.prefetch_aside(records, request.internal);
        }
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
