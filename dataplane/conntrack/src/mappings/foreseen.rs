//! The usual mapping, at once: a new one of an endpoint whose host has others, on the address of those.

use rewire_tables::Address;

use super::{Internal, MappingRequest, Mappings};
use crate::slab::{Id as HostId, Id as PortsId};

/// A mapping that is to be had, and where its host and the ports of its address are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Foreseen {
    /// The endpoint's own port, and the external one.
    own: u16,
    port: u16,
    host: HostId,
    ports: PortsId,
}

impl<A: Address> Mappings<A> {
    /// Whether [`acquire`](Self::acquire) would find, for a rule that asks for no more, that an endpoint has no mapping and gets this
    /// port on this address of its host's. Nothing changes. None, too, where more would have to be looked at; what is reserved is not asked.
    #[inline(always)]
    pub(crate) fn foreseen(
        &self,
        request: &MappingRequest<A>,
        (external, port): (A, u16),
    ) -> Option<Foreseen> {
        let (host, ports) = (request.host?, request.ports?);
        let Internal {
            protocol,
            port: own,
            ..
        } = request.internal;
        let is_foreseen = self.promise.is_none()
            && self.number < self.capacity
            && self.owners.is_empty()
            && self.hosts.get(host)?.external == external
            && self.ports.would_take(ports, protocol, own, port);
        is_foreseen.then_some(Foreseen {
            own,
            port,
            host,
            ports,
        })
    }

    /// Takes such a mapping, just after it was asked for, for the flow that will be the only one: that is to be listed.
    #[inline(always)]
    pub(crate) fn take_foreseen(&mut self, mapping: Foreseen) {
        self.number += 1;
        self.ports
            .take_foreseen(mapping.ports, mapping.own, mapping.port);
        if let Some(host) = self.hosts.get_mut(mapping.host) {
            host.mappings += 1;
        }
    }
}
