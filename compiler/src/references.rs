//! Reverse indices: who refers to what, and who lays claim to which prefix. Kept up row by row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, IpSubnets, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use rewire_packet::pref64::Pref64;
use rewire_schema::model::*;
use rewire_schema::types::{
    AddressRange, InterfaceAddress, InterfaceType, Name, Prefix, TransportProtocol,
};

use crate::MOST_FORWARDED_PORTS;
use crate::entity::Entity;
use crate::exposes::ExposeKey;
use crate::state::{addresses_of, ranges_of, sources_of};

/// What entities depend on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// That a VPC of this name is there. Its routes are not kept here: their keys in the configuration begin with it.
    Vpc(Name),
    /// That an interface of this name is there, and its addresses. Next hops are counted instead.
    Interface(Name),
    /// That a pool of this name is there, and its ranges.
    Pool(Name),
    /// That an ACL of this name is there. Its default and rules are entries of their own.
    Acl(Name),
    /// The members of an address set.
    AddressSet(Name),
    /// The entries of a service.
    Service(Name),
    /// The packets of a masquerade rule: VPC, interface, source.
    MasqueradeOf(Name, Name, Prefix),
    /// The packets of a port forward.
    PortForwardOf(Name, TransportProtocol, IpAddr, u16),
    /// The external addresses of a static translation, in their VPC.
    StaticExternal(Name, Prefix),
    /// The internal addresses of a static translation: their VPC, the one that packets leave into, and they.
    StaticInternal(Name, Name, Prefix),
    /// The packets of a masquerade of a peering: peering, VPC, source.
    PeeringMasqueradeOf(Name, Name, Prefix),
}

impl Key {
    /// Whether the key can have but one owner, so that all who want it depend on each other.
    pub(crate) fn is_exclusive(&self) -> bool {
        match self {
            Key::Vpc(_) | Key::Interface(_) | Key::Pool(_) => false,
            Key::Acl(_) | Key::AddressSet(_) | Key::Service(_) => false,
            Key::MasqueradeOf(..)
            | Key::PeeringMasqueradeOf(..)
            | Key::PortForwardOf(..)
            | Key::StaticExternal(..)
            | Key::StaticInternal(..) => true,
        }
    }

    /// The addresses that one translation alone may have, if it is such a key.
    fn addresses(&self) -> Option<Prefix> {
        match self {
            Key::StaticExternal(_, prefix) | Key::StaticInternal(.., prefix) => Some(*prefix),
            _ => None,
        }
    }

    /// The same for other addresses.
    fn with_addresses(&self, prefix: Prefix) -> Key {
        match self {
            Key::StaticExternal(vpc, _) => Key::StaticExternal(vpc.clone(), prefix),
            Key::StaticInternal(inside, outside, _) => {
                Key::StaticInternal(inside.clone(), outside.clone(), prefix)
            }
            other => other.clone(),
        }
    }

    /// Whether who has this key has the other one with it: the same one, or one for some of the addresses.
    fn holds(&self, other: &Key) -> bool {
        match (self.addresses(), other.addresses()) {
            (Some(outer), Some(inner)) => {
                outer.network().contains(&inner.network()) && self.with_addresses(inner) == *other
            }
            _ => self == other,
        }
    }
}

/// A prefix in a VPC's route table.
pub(crate) type Slot = (Name, Prefix);

/// Senders of one side of a peering: the peering's name, the VPC's, their prefix.
pub(crate) type SenderSlot = (Name, Name, Prefix);

/// Senders that are masqueraded: the VPC's name, that of the interface they leave by, their prefix.
pub(crate) type MasqueradeSlot = (Name, Name, Prefix);

/// A claim that a VPC's route table hold something for a prefix, the strongest first. A static route, which is found
/// by its own key, stands between the subnets and the peerings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// The address of an interface.
    Local(Name, InterfaceAddress),
    /// The first or last address of an IPv4 subnet.
    SubnetBroadcast(Name, InterfaceAddress),
    /// The subnet of an interface's address.
    Connected(Name, InterfaceAddress),
    /// Addresses that a peering exposes as they are. The lowest metric is the strongest.
    Peering(u32, ExposeKey),
    /// External addresses of NAT.
    NatExternal(External),
}

/// Whose external addresses they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum External {
    Pool(Name, AddressRange),
    Nat64(Name),
    PortForward(Name),
    StaticNat(Name),
    Expose(ExposeKey),
}

/// One entry of the reverse indices.
#[derive(Debug)]
pub(crate) enum Link {
    /// The entity depends on the key.
    Depends(Key, Entity),
    /// The slot is claimed.
    Claims(Slot, Claim),
    /// A next hop leads to this interface.
    NextHop(Name),
    /// Addresses are taken out of what an expose claims around the slot.
    Hole(Slot, ExposeKey),
    /// An expose of this name exposes senders, or takes them out of what it exposes.
    Sends(SenderSlot, Name, bool),
    /// A rule of this name masquerades senders.
    Masquerades(MasqueradeSlot, Name),
}

/// Several values a key, ordered. `None` is never stored: it is where the values of a key begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Multimap<K, V>(BTreeSet<(K, Option<V>)>);

impl<K, V> Default for Multimap<K, V> {
    fn default() -> Self {
        Multimap(BTreeSet::new())
    }
}

impl<K: Ord + Clone, V: Ord> Multimap<K, V> {
    fn insert(&mut self, key: K, value: V) {
        self.0.insert((key, Some(value)));
    }
    fn remove(&mut self, key: K, value: V) {
        self.0.remove(&(key, Some(value)));
    }
    /// All from this key on.
    pub(crate) fn from(&self, key: K) -> impl Iterator<Item = (&K, &V)> {
        self.0
            .range((key, None)..)
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }
    /// The last key before this one.
    fn before(&self, key: K) -> Option<&K> {
        self.0.range(..(key, None)).next_back().map(|(key, _)| key)
    }
    /// The values of a key, the least first.
    pub(crate) fn of<'a>(&'a self, key: &'a K) -> impl Iterator<Item = &'a V> {
        self.from(key.clone())
            .take_while(move |(k, _)| *k == key)
            .map(|(_, value)| value)
    }
}

/// The reverse indices of a configuration. They are a function of its rows: see [`links`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct References {
    /// The entities that depend on a key.
    pub(crate) dependents: Multimap<Key, Entity>,
    /// The claims to a slot.
    pub(crate) claims: Multimap<Slot, Claim>,
    /// What is taken out of what exposes claim. Who gets it depends on all that is claimed around it.
    pub(crate) holes: Multimap<Slot, ExposeKey>,
    /// What exposes say of senders.
    pub(crate) senders: Multimap<SenderSlot, (Name, bool)>,
    /// The rules that masquerade senders.
    pub(crate) masquerades: Multimap<MasqueradeSlot, Name>,
    /// The number of next hops that lead to an interface. A number is enough: an interface that is referred to cannot
    /// go, and that it came does not matter to routes that could not be before. With millions of routes it counts.
    next_hops: BTreeMap<Name, usize>,
}

impl References {
    /// Adds a link.
    pub(crate) fn insert(&mut self, link: Link) {
        match link {
            Link::Depends(key, entity) => self.dependents.insert(key, entity),
            Link::Claims(slot, claim) => self.claims.insert(slot, claim),
            Link::Hole(slot, expose) => self.holes.insert(slot, expose),
            Link::Sends(slot, expose, is_exposed) => {
                self.senders.insert(slot, (expose, is_exposed));
            }
            Link::Masquerades(slot, rule) => self.masquerades.insert(slot, rule),
            Link::NextHop(interface) => *self.next_hops.entry(interface).or_default() += 1,
        }
    }

    /// Takes a link out.
    pub(crate) fn remove(&mut self, link: Link) {
        match link {
            Link::Depends(key, entity) => self.dependents.remove(key, entity),
            Link::Claims(slot, claim) => self.claims.remove(slot, claim),
            Link::Hole(slot, expose) => self.holes.remove(slot, expose),
            Link::Sends(slot, expose, is_exposed) => {
                self.senders.remove(slot, (expose, is_exposed));
            }
            Link::Masquerades(slot, rule) => self.masquerades.remove(slot, rule),
            Link::NextHop(interface) => {
                if let Some(count) = self.next_hops.get_mut(&interface) {
                    *count -= 1;
                    if *count == 0 {
                        self.next_hops.remove(&interface);
                    }
                }
            }
        }
    }

    /// The entities that depend on a key, or on one that it holds.
    pub(crate) fn dependents_within<'a>(
        &'a self,
        key: &'a Key,
    ) -> impl Iterator<Item = &'a Entity> {
        // What lies within a prefix follows it.
        let from = self.dependents.from(key.clone());
        from.take_while(move |(other, _)| key.holds(other))
            .map(|(_, entity)| entity)
    }

    /// The first entity that depends on a key which holds this one and is another. Cost: a few look-ups, at most one for each
    /// bit of the prefix.
    pub(crate) fn around(&self, key: &Key) -> Option<&Entity> {
        let mut at = key.clone();
        loop {
            let before = self.dependents.before(at)?;
            if before.holds(key) {
                let before = before.clone();
                return self
                    .dependents
                    .from(before)
                    .next()
                    .map(|(_, entity)| entity);
            }
            // Whatever holds this one and comes before that one holds both.
            let (inner, other) = (key.addresses()?, before.addresses()?);
            if before.with_addresses(inner) != *key {
                return None;
            }
            let common = common(inner, other)?;
            let candidate = key.with_addresses(common);
            if let Some((found, entity)) = self.dependents.from(candidate.clone()).next()
                && *found == candidate
            {
                return Some(entity);
            }
            at = candidate;
        }
    }

    /// Adds the links of many next hops at once.
    pub(crate) fn count_next_hops<'a>(&mut self, rows: impl Iterator<Item = &'a NextHopRow>) {
        // Those that follow each other mostly lead to one interface.
        let mut last: Option<(&Name, usize)> = None;
        let mut add = |counted: Option<(&Name, usize)>| {
            if let Some((interface, count)) = counted {
                *self.next_hops.entry(interface.clone()).or_default() += count;
            }
        };
        for row in rows {
            match &mut last {
                Some((interface, count)) if **interface == row.interface => *count += 1,
                last => add(last.replace((&row.interface, 1))),
            }
        }
        add(last);
    }

    /// Whether a next hop leads to this interface.
    pub(crate) fn has_next_hop(&self, interface: &Name) -> bool {
        self.next_hops.contains_key(interface)
    }
}

/// The links that are there because of this row, and of the rows that it stands with (an interface with its addresses, a
/// pool with its ranges, a masquerade rule with its sources). A link that takes two rows is there when both are. Those of an
/// expose, which stands on many rows, are made apart: see [`Exposed::links`](crate::exposes::Exposed::links).
pub(crate) fn links(configuration: &Configuration, row: &Row) -> Vec<Link> {
    let mut links = Vec::new();
    match row {
        Row::Interface(row) => {
            let entity = Entity::Interface(row.name.clone());
            for acl in row.acl_in.iter().chain(&row.acl_out) {
                links.push(Link::Depends(Key::Acl(acl.clone()), entity.clone()));
            }
            links.push(Link::Depends(Key::Vpc(row.vpc.clone()), entity));
            for address in addresses_of(configuration, &row.name) {
                address_links(row, address, &mut links);
            }
        }
        Row::InterfaceAddress(row) => {
            if let Some(interface) = configuration.interface.get(&(row.interface.clone(),)) {
                address_links(interface, row.address, &mut links);
            }
        }
        Row::Conntrack(row) => {
            let entity = Entity::Timeouts(row.vpc.clone());
            links.push(Link::Depends(Key::Vpc(row.vpc.clone()), entity));
        }
        Row::Route(row) => {
            if let Some(to_vpc) = &row.to_vpc {
                let entity = Entity::Route(row.vpc.clone(), row.prefix);
                links.push(Link::Depends(Key::Vpc(to_vpc.clone()), entity));
            }
        }
        Row::NextHop(row) => links.push(Link::NextHop(row.interface.clone())),
        Row::Pool(row) => {
            let entity = Entity::Pool(row.name.clone());
            links.push(Link::Depends(Key::Vpc(row.vpc.clone()), entity));
            for range in ranges_of(configuration, &row.name) {
                range_links(row, range, &mut links);
            }
        }
        Row::PoolRange(row) => {
            if let Some(pool) = configuration.nat_pool.get(&(row.pool.clone(),)) {
                range_links(pool, row.range, &mut links);
            }
        }
        Row::Masquerade(row) => {
            for prefix in sources_of(configuration, &row.name) {
                source_links(row, prefix, &mut links);
            }
        }
        Row::MasqueradeSource(row) => {
            if let Some(rule) = configuration.masquerade.get(&(row.masquerade.clone(),)) {
                source_links(rule, row.prefix, &mut links);
            }
        }
        Row::Peering(row) => {
            let entity = Entity::Peering(row.name.clone());
            let acl = row.acl.clone().map(Key::Acl);
            links.extend(acl.map(|acl| Link::Depends(acl, entity)));
        }
        Row::PeeringSide(row) => {
            let entity = Entity::Peering(row.peering.clone());
            links.push(Link::Depends(Key::Vpc(row.vpc.clone()), entity));
        }
        Row::Exclusion(row) => exclusion_links(row, &mut links),
        Row::Nat64(row) => nat64_links(row, &mut links),
        Row::PortForward(row) => port_forward_links(configuration, row, &mut links),
        Row::StaticNat(row) => static_nat_links(row, &mut links),
        Row::AclRule(row) => links.extend(crate::acl::rule_links(row)),
        // Nothing else refers to them, or they are not in this dataplane.
        _ => {}
    }
    links
}

/// The longest prefix that holds two others; none where they are not of one family.
fn common(one: Prefix, other: Prefix) -> Option<Prefix> {
    let (one, other) = (one.network(), other.network());
    let same = match (one.addr(), other.addr()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return None,
    };
    let shorter = one.prefix_len().min(other.prefix_len());
    let length = (same as u8).min(shorter);
    Some(Prefix::new(IpNet::new(one.addr(), length).ok()?))
}

/// The prefix of one address alone.
pub(crate) fn host(address: IpAddr) -> Prefix {
    Prefix::new(IpNet::from(address))
}

/// The fewest prefixes that cover a range: at most two a bit of the family's addresses.
pub(crate) fn cover(range: AddressRange) -> Option<IpSubnets> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some(Ipv4Subnets::new(first, last, 0).into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => Some(Ipv6Subnets::new(first, last, 0).into()),
        // Ranges are of one family.
        _ => None,
    }
}

fn address_links(interface: &InterfaceRow, address: InterfaceAddress, links: &mut Vec<Link>) {
    // An interface that is down claims nothing.
    if interface.disabled {
        return;
    }
    let name = || interface.name.clone();
    let mut claim = |prefix, claim| {
        links.push(Link::Claims((interface.vpc.clone(), prefix), claim));
    };
    claim(host(address.address()), Claim::Local(name(), address));
    // Nothing else is on the link of a loopback.
    if interface.kind() == InterfaceType::Loopback {
        return;
    }
    let subnet = address.subnet();
    if subnet.prefix_len() < subnet.max_prefix_len() {
        claim(Prefix::new(subnet), Claim::Connected(name(), address));
    }
    // A subnet of two addresses has no broadcast (RFC 3021), and IPv6 has none at all.
    if let IpNet::V4(subnet) = subnet
        && subnet.prefix_len() <= 30
    {
        for end in [subnet.network(), subnet.broadcast()] {
            claim(host(end.into()), Claim::SubnetBroadcast(name(), address));
        }
    }
}

fn range_links(pool: &PoolRow, range: AddressRange, links: &mut Vec<Link>) {
    for prefix in cover(range).into_iter().flatten() {
        let slot = (pool.vpc.clone(), Prefix::new(prefix));
        let external = External::Pool(pool.name.clone(), range);
        links.push(Link::Claims(slot, Claim::NatExternal(external)));
    }
}

fn source_links(rule: &MasqueradeRow, source: Prefix, links: &mut Vec<Link>) {
    let keys = [
        Some(Key::Vpc(rule.vpc.clone())),
        Some(Key::Interface(rule.interface.clone())),
        rule.pool.clone().map(Key::Pool),
        Some(masquerade_key(rule, source)),
    ];
    for key in keys.into_iter().flatten() {
        links.push(Link::Depends(
            key,
            Entity::Masquerade(rule.name.clone(), source),
        ));
    }
    links.push(Link::Masquerades(
        masquerade_slot(rule, source),
        rule.name.clone(),
    ));
}

/// The links that port forwards of an interface's addresses have for one of these. They are there because of the port forwards,
/// too: so they are asked for where an address comes or goes, and not where all links are made. Cost: all port forwards.
pub(crate) fn forwards_on(configuration: &Configuration, row: &Row) -> Vec<Link> {
    let Row::InterfaceAddress(row) = row else {
        return Vec::new();
    };
    let rules = configuration.port_forward.values();
    let on = rules.filter(|rule| rule.external_interface.as_ref() == Some(&row.interface));
    let mut links = Vec::new();
    for rule in on {
        for key in port_forward_keys_of(rule, external_address(rule, row.address.address())) {
            links.push(Link::Depends(key, Entity::PortForward(rule.name.clone())));
        }
    }
    links
}

fn exclusion_links(rule: &ExclusionRow, links: &mut Vec<Link>) {
    let interface = rule.interface.clone().map(Key::Interface);
    for key in [Some(Key::Vpc(rule.vpc.clone())), interface]
        .into_iter()
        .flatten()
    {
        links.push(Link::Depends(key, Entity::Exclusion(rule.name.clone())));
    }
}

fn nat64_links(rule: &Nat64Row, links: &mut Vec<Link>) {
    for key in [Key::Vpc(rule.vpc.clone()), Key::Pool(rule.pool.clone())] {
        links.push(Link::Depends(key, Entity::Nat64(rule.name.clone())));
    }
    // What is not translated by it goes nowhere, and not by a default route.
    let slot = (rule.vpc.clone(), nat64_prefix(rule));
    let external = External::Nat64(rule.name.clone());
    links.push(Link::Claims(slot, Claim::NatExternal(external)));
}

/// The prefix that a NAT64 embeds IPv4 addresses behind.
pub(crate) fn nat64_prefix(rule: &Nat64Row) -> Prefix {
    let well_known = || {
        let prefix = Pref64::WELL_KNOWN;
        let network = Ipv6Net::new(prefix.address(), prefix.length());
        Prefix::new(network.unwrap_or_default().into())
    };
    rule.prefix.unwrap_or_else(well_known)
}

fn port_forward_links(configuration: &Configuration, rule: &PortForwardRow, links: &mut Vec<Link>) {
    let vpcs = [&rule.external_vpc, &rule.internal_vpc].map(|vpc| Key::Vpc(vpc.clone()));
    let interface = rule.external_interface.clone().map(Key::Interface);
    let named = vpcs.into_iter().chain(interface);
    for key in named.chain(port_forward_keys(configuration, rule)) {
        links.push(Link::Depends(key, Entity::PortForward(rule.name.clone())));
    }
    if let Some(address) = rule.external_address {
        let slot = (rule.external_vpc.clone(), host(address));
        let external = External::PortForward(rule.name.clone());
        links.push(Link::Claims(slot, Claim::NatExternal(external)));
    }
}

fn static_nat_links(rule: &StaticNatRow, links: &mut Vec<Link>) {
    let vpcs = [&rule.external_vpc, &rule.internal_vpc].map(|vpc| Key::Vpc(vpc.clone()));
    for key in vpcs.into_iter().chain(static_nat_keys(rule)) {
        links.push(Link::Depends(key, Entity::StaticNat(rule.name.clone())));
    }
    let slot = (rule.external_vpc.clone(), rule.external_address.prefix());
    let external = External::StaticNat(rule.name.clone());
    links.push(Link::Claims(slot, Claim::NatExternal(external)));
}

/// Where the senders of a rule are looked up.
pub(crate) fn masquerade_slot(rule: &MasqueradeRow, source: Prefix) -> MasqueradeSlot {
    (rule.vpc.clone(), rule.interface.clone(), source)
}

/// What only one masquerade source can have, of those that ask for the same.
pub(crate) fn masquerade_key(rule: &MasqueradeRow, source: Prefix) -> Key {
    Key::MasqueradeOf(rule.vpc.clone(), rule.interface.clone(), source)
}

/// The number of a port forward's external ports, each counted for either protocol.
pub(crate) fn forwarded_ports(rule: &PortForwardRow) -> u32 {
    let protocols = if rule.protocol == TransportProtocol::TcpUdp {
        2
    } else {
        1
    };
    rule.external_port.count() * protocols
}

/// The external addresses of a port forward: its own, or those of its interface that are of the internal address's family.
pub(crate) fn external_addresses<'a>(
    configuration: &'a Configuration,
    rule: &'a PortForwardRow,
) -> impl Iterator<Item = IpAddr> + 'a {
    let own = rule.external_address;
    let interface = rule.external_interface.as_ref().filter(|_| own.is_none());
    let of_interface = interface
        .into_iter()
        .flat_map(|interface| addresses_of(configuration, interface))
        .filter_map(|address| external_address(rule, address.address()));
    own.into_iter().chain(of_interface)
}

/// An address of the interface of a port forward, if it is one of the external addresses.
fn external_address(rule: &PortForwardRow, address: IpAddr) -> Option<IpAddr> {
    let is_one =
        rule.external_address.is_none() && address.is_ipv4() == rule.internal_address.is_ipv4();
    is_one.then_some(address)
}

/// What only one port forward can have: each of its ports. A rule of too many does not compile, and has none.
pub(crate) fn port_forward_keys<'a>(
    configuration: &'a Configuration,
    rule: &'a PortForwardRow,
) -> impl Iterator<Item = Key> + 'a {
    port_forward_keys_of(rule, external_addresses(configuration, rule))
}

fn port_forward_keys_of<'a>(
    rule: &'a PortForwardRow,
    addresses: impl IntoIterator<Item = IpAddr> + 'a,
) -> impl Iterator<Item = Key> + 'a {
    let is_expandable = forwarded_ports(rule) <= MOST_FORWARDED_PORTS;
    let addresses = addresses.into_iter().filter(move |_| is_expandable);
    addresses.flat_map(move |address| {
        let key = move |protocol: TransportProtocol, port| {
            Key::PortForwardOf(rule.external_vpc.clone(), protocol, address, port)
        };
        let protocols = rule.protocol.each().iter();
        protocols.flat_map(move |protocol| {
            let ports = rule.external_port.iter();
            ports.map(move |port| key(*protocol, port))
        })
    })
}

/// The addresses of a prefix, in order.
pub(crate) fn addresses_in(network: IpNet) -> impl Iterator<Item = IpAddr> {
    let (v4, v6) = match network {
        IpNet::V4(v4) => (
            Some(v4.network().to_bits()..=v4.broadcast().to_bits()),
            None,
        ),
        IpNet::V6(v6) => (
            None,
            Some(v6.network().to_bits()..=v6.broadcast().to_bits()),
        ),
    };
    let v4 = v4.into_iter().flatten().map(Ipv4Addr::from_bits);
    let v6 = v6.into_iter().flatten().map(Ipv6Addr::from_bits);
    v4.map(IpAddr::V4).chain(v6.map(IpAddr::V6))
}

/// The addresses of a range, in order.
pub(crate) fn addresses_between(range: AddressRange) -> impl Iterator<Item = IpAddr> {
    cover(range).into_iter().flatten().flat_map(addresses_in)
}

/// What only one static translation can have: its external and its internal addresses.
pub(crate) fn static_nat_keys(rule: &StaticNatRow) -> [Key; 2] {
    let (outside, inside) = (&rule.external_vpc, &rule.internal_vpc);
    let (external, internal) = (
        rule.external_address.prefix(),
        rule.internal_address.prefix(),
    );
    [
        Key::StaticExternal(outside.clone(), external),
        Key::StaticInternal(inside.clone(), outside.clone(), internal),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The oracle: as many addresses as the range has, none outside of it, and no two neighbors that make one prefix.
    fn covers_exactly(first: IpAddr, last: IpAddr) {
        let range: AddressRange = format!("{first}-{last}").parse().unwrap();
        let prefixes: Vec<IpNet> = cover(range).into_iter().flatten().collect();
        assert_eq!(prefixes.first().map(IpNet::network), Some(first));
        assert_eq!(prefixes.last().map(IpNet::broadcast), Some(last));
        for pair in prefixes.windows(2) {
            let next = |address: IpAddr| match address {
                IpAddr::V4(address) => {
                    IpAddr::from(std::net::Ipv4Addr::from_bits(address.to_bits() + 1))
                }
                IpAddr::V6(address) => {
                    IpAddr::from(std::net::Ipv6Addr::from_bits(address.to_bits() + 1))
                }
            };
            assert_eq!(next(pair[0].broadcast()), pair[1].network());
            assert!(
                pair[0].prefix_len() != pair[1].prefix_len()
                    || pair[0].supernet() != pair[1].supernet()
            );
        }
    }

    proptest! {
        #[test]
        fn ranges_are_covered_exactly(a: u32, b: u32, c: u128, d: u128, shift in 0u32..128) {
            let v4 = |bits| IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
            let v6 = |bits| IpAddr::from(std::net::Ipv6Addr::from_bits(bits));
            let (a, b) = (a >> (shift / 4), b >> (shift / 4));
            covers_exactly(v4(a.min(b)), v4(a.max(b)));
            let (c, d) = (c >> shift, d >> shift);
            covers_exactly(v6(c.min(d)), v6(c.max(d)));
            // Up to the last address there is.
            covers_exactly(v4(a), v4(u32::MAX));
            covers_exactly(v6(c), v6(u128::MAX));
        }
    }

    #[test]
    fn every_address_there_is_makes_one_prefix() {
        for text in [
            "0.0.0.0-255.255.255.255",
            "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ] {
            let prefixes: Vec<IpNet> = cover(text.parse().unwrap()).into_iter().flatten().collect();
            assert_eq!(
                prefixes.iter().map(IpNet::prefix_len).collect::<Vec<_>>(),
                [0]
            );
        }
    }
}
