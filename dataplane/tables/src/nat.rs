//! The NAT policy that workers read: which packets are translated, and onto what. Which translations are in use is
//! state, not policy, and lives with the connections.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::address::Address;
use crate::index::{InterfaceIndex, PeeringIndex, VpcIndex};
use crate::lpm::Lpm;

/// What a port forward matches. Port in host order, protocol as in the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortForwardKey {
    /// The VPC that packets come from.
    pub vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
    /// The destination address.
    pub address: IpAddr,
    /// The destination port.
    pub port: u16,
}

/// Where a port forward leads. Port in host order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// The rule's name.
    pub name: Arc<str>,
    /// The VPC that packets are led into.
    pub vpc: VpcIndex,
    /// The new destination address.
    pub address: IpAddr,
    /// The new destination port.
    pub port: u16,
    /// The peering that packets cross by it, where a peering made it.
    pub peering: Option<PeeringIndex>,
}

/// A static translation: one external address is one internal address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNat {
    /// The rule's name.
    pub name: Arc<str>,
    /// The VPC of the external address.
    pub external_vpc: VpcIndex,
    /// The external address.
    pub external: IpAddr,
    /// The VPC of the internal address.
    pub internal_vpc: VpcIndex,
    /// The internal address.
    pub internal: IpAddr,
    /// The peering that packets cross by it, where a peering made it.
    pub peering: Option<PeeringIndex>,
}

/// A masquerade rule: whoever it applies to shares these external addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Masquerade {
    /// The rule's name.
    pub name: Arc<str>,
    /// The external addresses: ranges with both ends included, in order, each of one family.
    pub external: Vec<RangeInclusive<IpAddr>>,
}

impl Masquerade {
    /// The external ranges of one family.
    pub fn ranges<A: Address>(&self) -> impl Iterator<Item = RangeInclusive<A>> + Clone + '_ {
        self.external
            .iter()
            .filter_map(|range| Some(A::from_ip(*range.start())?..=A::from_ip(*range.end())?))
    }

    /// Whether `address` is one of the rule's external addresses.
    pub fn owns<A: Address>(&self, address: A) -> bool {
        self.ranges::<A>().any(|range| range.contains(&address))
    }
}

/// A masquerade rule as the tables hold it: shared between senders' prefixes and between the two halves.
pub type MasqueradeRule = Arc<Masquerade>;

/// The masquerade rules of one VPC's packets that leave by one interface, by the sender's prefix.
#[derive(Clone, Debug, Default)]
pub struct MasqueradeRules {
    /// IPv4 senders.
    pub(crate) rules4: Lpm<Ipv4Addr, MasqueradeRule>,
    /// IPv6 senders.
    pub(crate) rules6: Lpm<Ipv6Addr, MasqueradeRule>,
}

impl MasqueradeRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules4.is_empty() && self.rules6.is_empty()
    }
}

/// All NAT policy of one generation.
#[derive(Clone, Debug, Default)]
pub struct NatPolicy {
    pub(crate) port_forwards: HashMap<PortForwardKey, PortForward>,
    pub(crate) static_by_external: HashMap<(VpcIndex, IpAddr), Arc<StaticNat>>,
    pub(crate) static_by_internal: HashMap<(VpcIndex, IpAddr, VpcIndex), Arc<StaticNat>>,
    pub(crate) masquerades: HashMap<(VpcIndex, InterfaceIndex), MasqueradeRules>,
}

impl NatPolicy {
    /// The port forward that a packet from `key.vpc` meets.
    pub fn port_forward(&self, key: &PortForwardKey) -> Option<&PortForward> {
        self.port_forwards.get(key)
    }

    /// The static translation that owns an external address.
    pub fn static_by_external(&self, vpc: VpcIndex, address: IpAddr) -> Option<&StaticNat> {
        self.static_by_external
            .get(&(vpc, address))
            .map(Arc::as_ref)
    }

    /// The static translation of an internal sender whose packet leaves into `external_vpc`.
    pub fn static_by_internal(
        &self,
        vpc: VpcIndex,
        address: IpAddr,
        external_vpc: VpcIndex,
    ) -> Option<&StaticNat> {
        self.static_by_internal
            .get(&(vpc, address, external_vpc))
            .map(Arc::as_ref)
    }

    /// The interfaces by which masqueraded packets leave; one may come several times.
    pub fn masquerading_interfaces(&self) -> impl Iterator<Item = InterfaceIndex> + '_ {
        self.masquerades.keys().map(|(_, interface)| *interface)
    }

    /// The masquerade rule of a sender in `vpc` whose packet leaves by `interface`.
    pub fn masquerade<A: Address>(
        &self,
        vpc: VpcIndex,
        interface: InterfaceIndex,
        source: A,
    ) -> Option<&Masquerade> {
        let rules = self.masquerades.get(&(vpc, interface))?;
        A::masquerades(rules).lookup(source).map(Arc::as_ref)
    }
}
