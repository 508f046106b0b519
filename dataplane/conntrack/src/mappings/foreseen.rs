//! The usual mapping, at once: a new one of an endpoint whose host has others, on the address of those.

use rewire_tables::Address;

use super::{Internal, MappingRequest, Mappings};

impl<A: Address> Mappings<A> {
    /// Takes this port on this address of its host's for the first flow of an endpoint that has no mapping, where [`acquire`](Self::acquire) would,
    /// for a rule that asks for no more. The flow is to be listed then. False, and no change, in any other case, and where more would have to be
    /// looked at; what is reserved is not asked.
    #[inline(always)]
    pub(crate) fn take_foreseen(
        &mut self,
        request: &MappingRequest<A>,
        (external, port): (A, u16),
    ) -> bool {
        let (Some(host), Some(ports)) = (request.host, request.ports) else {
            return false;
        };
        let Internal {
            protocol,
            port: own,
            ..
        } = request.internal;
        let Some(host) = self.hosts.get_mut(host) else {
            return false;
        };
        let may_be = self.promise.is_none()
            && self.number < self.capacity
            && self.owners.is_empty()
            && host.external == external;
        if !may_be || !self.ports.take_foreseen(ports, protocol, own, port) {
            return false;
        }
        host.mappings += 1;
        self.number += 1;
        true
    }
}
