//! The root: everything that a worker reads, in one value.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rewire_packet::ethernet::MacAddress;

use crate::acl::Acl;
use crate::address::Address;
use crate::index::{AclIndex, InterfaceIndex, PeeringIndex, VpcIndex};
use crate::limits::ConnectionLimits;
use crate::lpm::Lpm;
use crate::nat::NatPolicy;
use crate::peering::Peering;
use crate::route::Route;
use crate::timeouts::VpcTimeouts;

/// One VPC: its name and its routes.
#[derive(Clone, Debug, Default)]
pub struct Vpc {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) routes4: Lpm<Ipv4Addr, Route>,
    pub(crate) routes6: Lpm<Ipv6Addr, Route>,
    /// Of the configuration's routes that say one. No packet asks for it; whoever merges learned routes does.
    pub(crate) distances: HashMap<IpNet, u8>,
    pub(crate) limits: Option<ConnectionLimits>,
    pub(crate) timeouts: Option<Arc<VpcTimeouts>>,
}

impl Vpc {
    /// The VPC's name; empty where no VPC has this index.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The name, shared: none where no VPC has this index.
    pub fn shared_name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The longest prefix that the destination matches, with its route. Cost: a look at every length of a prefix; for whoever
    /// explains, not for packets.
    pub fn longest_match<A: Address>(&self, destination: A) -> Option<(IpNet, &Route)> {
        let table = A::routes(self);
        let host = IpNet::from(destination.into());
        (0..=host.max_prefix_len()).rev().find_map(|length| {
            let prefix = IpNet::new(host.addr(), length).ok()?.trunc();
            let route = table.get(A::from_ip(prefix.addr())?, length)?;
            Some((prefix, route))
        })
    }

    /// The limits of the connections that begin in it, if there are any.
    #[inline]
    pub fn connection_limits(&self) -> Option<ConnectionLimits> {
        self.limits
    }

    /// The time-outs of connections that begin in it, where it has any of its own.
    #[inline]
    pub fn timeouts(&self) -> Option<&VpcTimeouts> {
        self.timeouts.as_deref()
    }

    /// The route of the longest prefix that the destination matches.
    pub fn route<A: Address>(&self, destination: A) -> Option<&Route> {
        A::routes(self).lookup(destination)
    }

    /// Records what is written into the routes from now on.
    pub(crate) fn record(&mut self) {
        self.routes4.record();
        self.routes6.record();
    }

    /// Takes over the routes of the other half's VPC: see [`Lpm::catch_up`].
    pub(crate) fn catch_up(&mut self, other: &Vpc) {
        self.routes4.catch_up(&other.routes4);
        self.routes6.catch_up(&other.routes6);
    }

    /// Whether nothing was ever said of it.
    pub(crate) fn is_unused(&self) -> bool {
        self.name.is_none()
            && self.route_count() == 0
            && self.distances.is_empty()
            && self.limits.is_none()
            && self.timeouts.is_none()
    }

    /// All routes, in no order that can be relied on.
    pub fn routes(&self) -> impl Iterator<Item = (IpNet, &Route)> {
        let four = self.routes4.iter().map(|(network, length, route)| {
            (IpNet::V4(Ipv4Net::new_assert(network, length)), route)
        });
        let six = self.routes6.iter().map(|(network, length, route)| {
            (IpNet::V6(Ipv6Net::new_assert(network, length)), route)
        });
        four.chain(six)
    }

    /// How far the configuration's routes stand behind learned ones, of those that say it.
    pub fn distances(&self) -> impl Iterator<Item = (IpNet, u8)> {
        self.distances
            .iter()
            .map(|(prefix, distance)| (*prefix, *distance))
    }

    /// Looks a batch of destinations up: `routes[i]` becomes the route of `destinations[i]`. What one of them has more than
    /// the other is left as it was.
    pub fn route_batch<'a, A: Address>(
        &'a self,
        destinations: &[A::Key],
        routes: &mut [Option<&'a Route>],
    ) {
        A::routes(self).lookup_values(destinations, routes);
    }

    /// The memory that the VPC takes in one half of the tables, in bytes: everything but the next hops, which both halves
    /// share.
    pub fn memory(&self) -> usize {
        size_of::<Vpc>()
            + self.table_memory().iter().sum::<usize>()
            + self.distances.allocation_size()
    }

    /// The part of it that the IPv4 and the IPv6 routes take.
    pub fn table_memory(&self) -> [usize; 2] {
        [self.routes4.memory(), self.routes6.memory()]
    }

    /// The number of routes of both families.
    pub fn route_count(&self) -> usize {
        self.route_counts().iter().sum()
    }

    /// The number of IPv4 routes, and of IPv6 routes.
    pub fn route_counts(&self) -> [usize; 2] {
        [self.routes4.len(), self.routes6.len()]
    }
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Arc<str>,
    /// The VPC that frames received here belong to.
    pub vpc: VpcIndex,
    /// The gateway's MAC address here.
    pub mac: MacAddress,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// The gateway's addresses here with their subnets' lengths, in order.
    pub addresses: Vec<IpNet>,
    /// The ACL for packets that come in here.
    pub acl_in: Option<AclIndex>,
    /// The ACL for packets that leave here.
    pub acl_out: Option<AclIndex>,
    /// Whether flows that come in and leave by such interfaces are handed to the card behind them.
    pub offload: bool,
}

impl Interface {
    /// The gateway's own address to speak from to `peer`: the first one whose subnet holds the peer, or else the first
    /// of the family.
    pub fn source_for<A: Address>(&self, peer: A) -> Option<A> {
        let peer: IpAddr = peer.into();
        let near = self.addresses.iter().find(|net| net.contains(&peer));
        let own = || {
            self.addresses
                .iter()
                .filter_map(|net| A::from_ip(net.addr()))
        };
        near.and_then(|net| A::from_ip(net.addr()))
            .or_else(|| own().next())
    }

    /// Whether `address` is one of the interface's own.
    pub fn owns(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.addr() == address)
    }

    /// Whether `address` lies in one of the interface's subnets.
    pub fn on_link(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }
}

/// Everything that a worker reads: one generation. Built by [`TableOperation`](crate::TableOperation)s alone.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    pub(crate) policy_generation: u64,
    pub(crate) vpcs: Vec<Vpc>,
    pub(crate) interfaces: Vec<Option<Arc<Interface>>>,
    /// How many of them hand flows to a card.
    pub(crate) offloading: usize,
    pub(crate) no_vpc: Vpc,
    pub(crate) peerings: Vec<Peering>,
    pub(crate) no_peering: Peering,
    /// Set by hand: these win.
    pub(crate) static_neighbors: HashMap<(InterfaceIndex, IpAddr), MacAddress>,
    /// Learned: not part of any revision.
    pub(crate) learned_neighbors: HashMap<(InterfaceIndex, IpAddr), MacAddress>,
    pub(crate) nat: NatPolicy,
    pub(crate) acls: Vec<Acl>,
    pub(crate) no_acl: Acl,
}

impl Tables {
    /// The revision of the configuration that these tables were compiled from.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The number of this publication: one more at each.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The generation that last changed policy, as against what was merely learned. Connections that were resolved
    /// under an older one are resolved again.
    pub fn policy_generation(&self) -> u64 {
        self.policy_generation
    }

    /// The interface of this index.
    pub fn interface(&self, index: InterfaceIndex) -> Option<&Interface> {
        self.interfaces.get(index.position())?.as_deref()
    }

    /// All interfaces with their indices.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceIndex, &Interface)> {
        let interfaces = self.interfaces.iter().enumerate();
        interfaces.filter_map(|(i, entry)| Some((InterfaceIndex(i as u16), entry.as_deref()?)))
    }

    /// Whether flows are handed to a card anywhere.
    pub fn has_offload(&self) -> bool {
        self.offloading > 0
    }

    /// The VPC of this index. There always is one: where none was made, it has no name and no route.
    pub fn vpc(&self, index: VpcIndex) -> &Vpc {
        self.vpcs.get(index.position()).unwrap_or(&self.no_vpc)
    }

    /// All VPCs that have a name, with their indices.
    pub fn vpcs(&self) -> impl Iterator<Item = (VpcIndex, &Vpc)> {
        let vpcs = self.vpcs.iter().enumerate();
        vpcs.filter(|(_, vpc)| vpc.name.is_some())
            .map(|(i, vpc)| (VpcIndex(i as u16), vpc))
    }

    /// The peering of this index. There always is one: where none was made, it has no name and admits nobody.
    pub fn peering(&self, index: PeeringIndex) -> &Peering {
        let peering = self.peerings.get(index.position());
        peering.unwrap_or(&self.no_peering)
    }

    /// All peerings that have a name, with their indices.
    pub fn peerings(&self) -> impl Iterator<Item = (PeeringIndex, &Peering)> {
        let peerings = self.peerings.iter().enumerate();
        peerings
            .filter(|(_, peering)| !peering.name().is_empty())
            .map(|(i, peering)| (PeeringIndex(i as u16), peering))
    }

    /// The MAC address of a neighbor: the one set by hand, or else the one that was learned.
    pub fn neighbor(&self, interface: InterfaceIndex, address: IpAddr) -> Option<MacAddress> {
        let key = (interface, address);
        self.static_neighbors
            .get(&key)
            .or_else(|| self.learned_neighbors.get(&key))
            .copied()
    }

    /// The neighbors that were learned, in no order.
    pub fn learned_neighbors(
        &self,
    ) -> impl Iterator<Item = (InterfaceIndex, IpAddr, MacAddress)> + '_ {
        let learned = self.learned_neighbors.iter();
        learned.map(|((interface, address), mac)| (*interface, *address, *mac))
    }

    /// The number of neighbors set by hand, and of those learned.
    pub fn neighbor_counts(&self) -> (usize, usize) {
        (self.static_neighbors.len(), self.learned_neighbors.len())
    }

    /// The ACL of this index. There always is one: where none was made, it has no name, and everything passes.
    pub fn acl(&self, index: AclIndex) -> &Acl {
        self.acls.get(index.position()).unwrap_or(&self.no_acl)
    }

    /// Whether there is any ACL.
    pub fn has_acls(&self) -> bool {
        !self.acls.is_empty()
    }

    /// All ACLs that have a name, with their indices.
    pub fn acls(&self) -> impl Iterator<Item = (AclIndex, &Acl)> {
        let acls = self.acls.iter().enumerate();
        acls.filter(|(_, acl)| acl.name.is_some())
            .map(|(i, acl)| (AclIndex(i as u16), acl))
    }

    /// The NAT policy.
    pub fn nat(&self) -> &NatPolicy {
        &self.nat
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vpc_without_routes_is_small() {
        let vpc = Vpc::default();
        assert!(vpc.memory() <= 4096, "{} bytes", vpc.memory());
    }
}
