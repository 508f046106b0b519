//! The NAT policy that workers read: which packets are translated, and onto what. Which translations are in use is
//! state, not policy, and lives with the connections.

mod condition;
mod masquerade;
mod nat64;
mod nptv6;
mod port_set;
mod static_nat;
mod tally;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;

pub use self::condition::{Condition, Exclusion};
pub use self::masquerade::{
    Filtering, Masquerade, MasqueradeList, MasqueradeRules, PortAllocation, PortParity, first_for,
    has_translated_ports, is_first_for_all,
};
pub use self::nat64::{Nat64, mapped};
pub use self::nptv6::LONGEST_NPTV6_PREFIX;
pub use self::port_set::PortSet;
use self::static_nat::ByPrefix;
pub use self::static_nat::StaticNat;
use self::tally::Tally;
use crate::acl::{AclFamily, AclKey, AddressRanges};
use crate::index::{InterfaceIndex, PeeringIndex, VpcIndex};

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
    /// The senders that it is for; none for all.
    pub sources: Option<Arc<AddressRanges>>,
    /// How long its connections live without packets; none where the VPC says it.
    pub idle_timeout: Option<Duration>,
    /// The peering that packets cross by it, where a peering made it.
    pub peering: Option<PeeringIndex>,
}

/// All NAT policy of one generation.
#[derive(Clone, Debug, Default)]
pub struct NatPolicy {
    pub(crate) port_forwards: HashMap<PortForwardKey, PortForward>,
    /// Of the VPCs that packets come from.
    forwarding: Tally<VpcIndex>,
    pub(crate) static_by_external: ByPrefix<VpcIndex>,
    /// By the VPC of the internal addresses, and that of the external ones.
    pub(crate) static_by_internal: ByPrefix<(VpcIndex, VpcIndex)>,
    pub(crate) masquerades: HashMap<(VpcIndex, InterfaceIndex), MasqueradeRules>,
    pub(crate) exclusions: HashMap<VpcIndex, Arc<[Exclusion]>>,
    pub(crate) nat64: HashMap<VpcIndex, Arc<[Nat64]>>,
}

impl NatPolicy {
    pub(crate) fn set_port_forward(&mut self, key: PortForwardKey, value: PortForward) {
        if self.port_forwards.insert(key, value).is_none() {
            self.forwarding.add(key.vpc);
        }
    }

    pub(crate) fn remove_port_forward(&mut self, key: &PortForwardKey) {
        if self.port_forwards.remove(key).is_some() {
            self.forwarding.remove(key.vpc);
        }
    }

    /// Whether any rule may translate the destination of a packet that comes from a VPC.
    pub fn may_lead(&self, vpc: VpcIndex) -> bool {
        self.forwarding.has(vpc) || self.static_by_external.has(vpc)
    }

    /// Whether anything may be asked about a packet of a VPC that leaves into another, ahead of its masquerades: an exclusion, or a
    /// static translation.
    pub fn asks_before_masquerades(&self, vpc: VpcIndex, external_vpc: VpcIndex) -> bool {
        !self.exclusions_of(vpc).is_empty() || self.static_by_internal.has((vpc, external_vpc))
    }

    /// The masquerade rules of packets of a VPC that leave by an interface, by their sender.
    pub fn masquerade_rules(
        &self,
        vpc: VpcIndex,
        interface: InterfaceIndex,
    ) -> Option<&MasqueradeRules> {
        self.masquerades.get(&(vpc, interface))
    }

    /// Whether there is any port forward.
    #[inline]
    pub fn has_port_forwards(&self) -> bool {
        !self.port_forwards.is_empty()
    }

    /// The port forward of an address and port of `key.vpc`, for whichever senders.
    pub fn port_forward(&self, key: &PortForwardKey) -> Option<&PortForward> {
        self.port_forwards.get(key)
    }

    /// The port forward that a packet from `source` meets.
    pub fn port_forward_from<A: AclFamily>(
        &self,
        key: &PortForwardKey,
        source: A,
    ) -> Option<&PortForward> {
        let is_for = |sources: &Arc<AddressRanges>| sources.contains(source);
        self.port_forward(key)
            .filter(|rule| rule.sources.as_ref().is_none_or(is_for))
    }

    /// The static translation that owns an external address.
    pub fn static_by_external(&self, vpc: VpcIndex, address: IpAddr) -> Option<&StaticNat> {
        self.static_by_external.of(vpc, address)
    }

    /// The static translation of an internal sender whose packet leaves into `external_vpc`.
    pub fn static_by_internal(
        &self,
        vpc: VpcIndex,
        address: IpAddr,
        external_vpc: VpcIndex,
    ) -> Option<&StaticNat> {
        self.static_by_internal.of((vpc, external_vpc), address)
    }

    /// Whether there are no rules at all, but for those of peerings.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.port_forwards.is_empty()
            && self.static_by_external.is_empty()
            && self.masquerades.is_empty()
            && self.nat64.is_empty()
    }

    /// Whether a masquerade may be for packets of a VPC that leave by an interface.
    pub fn has_masquerade(&self, vpc: VpcIndex, interface: InterfaceIndex) -> bool {
        self.masquerades.contains_key(&(vpc, interface))
    }

    /// All masquerade rules, by the interface that packets leave by, in no order; one may come several times. Cost: all of them.
    pub fn masquerades(&self) -> impl Iterator<Item = (InterfaceIndex, &Arc<Masquerade>)> {
        let by_interface = self.masquerades.iter();
        by_interface.flat_map(|((_, interface), rules)| rules.all().map(|rule| (*interface, rule)))
    }

    /// The interfaces by which masqueraded packets leave; one may come several times.
    pub fn masquerading_interfaces(&self) -> impl Iterator<Item = InterfaceIndex> + '_ {
        self.masquerades.keys().map(|(_, interface)| *interface)
    }

    /// The interfaces by which masqueraded packets of a VPC leave, in no order. Cost: a look at those of all VPCs.
    pub fn masquerading_interfaces_of(
        &self,
        vpc: VpcIndex,
    ) -> impl Iterator<Item = InterfaceIndex> + '_ {
        let keys = self.masquerades.keys().filter(move |(of, _)| *of == vpc);
        keys.map(|(_, interface)| *interface)
    }

    /// The masquerade rule of a packet of VPC `key.from` that leaves by `interface`.
    #[inline]
    pub fn masquerade<A: AclFamily>(
        &self,
        interface: InterfaceIndex,
        key: &AclKey<A>,
    ) -> Option<&Masquerade> {
        self.masquerade_rules(key.from, interface)?.find(key)
    }

    /// Whether any VPC has NAT64.
    #[inline]
    pub fn has_nat64(&self) -> bool {
        !self.nat64.is_empty()
    }

    /// The NAT64 that a packet of a VPC meets, and the IPv4 address that it is for. Cost: a look at each of the VPC's.
    pub fn nat64(
        &self,
        vpc: VpcIndex,
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Option<(&Nat64, Ipv4Addr)> {
        let rules = self.nat64.get(&vpc)?;
        let met = |rule| Some((rule, Nat64::destination(rule, source, destination)?));
        rules.iter().find_map(met)
    }

    /// The NAT64s of a VPC's clients, in the order in which they are asked.
    pub fn nat64s(&self, vpc: VpcIndex) -> &[Nat64] {
        self.nat64.get(&vpc).map_or(&[], |rules| rules)
    }

    /// The NAT64s of a VPC's clients whose prefix an address begins with, whoever they are for, in the order in which they are asked.
    pub fn nat64s_at(&self, vpc: VpcIndex, address: Ipv6Addr) -> impl Iterator<Item = &Nat64> {
        let at = move |rule: &&Nat64| rule.prefix.contains(address);
        self.nat64s(vpc).iter().filter(at)
    }

    /// Whether an IPv4 address is an external one of NAT64, in the VPC that its IPv4 packets are routed in. Cost: a look at each of all
    /// VPCs.
    pub fn is_external_of_nat64(&self, vpc: VpcIndex, address: Ipv4Addr) -> bool {
        let rules = self.nat64.values().flat_map(|rules| rules.iter());
        let mut there = rules.filter(|rule| rule.vpc == vpc);
        there.any(|rule| rule.owns(address))
    }

    /// Whether neither end of a packet that comes from VPC `key.from` is translated, whichever interface it leaves by. Cost: a look
    /// at each exclusion of the VPC.
    pub fn is_excluded_on_arrival<A: AclFamily>(&self, key: &AclKey<A>) -> bool {
        self.exclusions_of(key.from)
            .iter()
            .any(|exclusion| exclusion.interface.is_none() && exclusion.condition.matches(key))
    }

    /// Whether any VPC has exclusions.
    #[inline]
    pub fn has_exclusions(&self) -> bool {
        !self.exclusions.is_empty()
    }

    #[inline]
    fn exclusions_of(&self, vpc: VpcIndex) -> &[Exclusion] {
        match self.exclusions.is_empty() {
            true => &[],
            false => self.exclusions.get(&vpc).map_or(&[], |rules| rules),
        }
    }

    /// Whether the source of a packet of VPC `key.from` that leaves by `interface` stays as it is, whatever other rules say. Cost:
    /// a look at each exclusion of the VPC.
    pub fn is_excluded<A: AclFamily>(&self, interface: InterfaceIndex, key: &AclKey<A>) -> bool {
        let is_for = |exclusion: &Exclusion| {
            exclusion.interface.is_none_or(|of| of == interface) && exclusion.condition.matches(key)
        };
        self.exclusions_of(key.from).iter().any(is_for)
    }
}
