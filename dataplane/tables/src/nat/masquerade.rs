//! Masquerade: whom it is for, and onto what.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::acl::{AclFamily, AclKey};
use crate::address::Address;
use crate::lpm::Lpm;
use crate::nat::{Condition, PortSet};

/// A masquerade rule: whoever it applies to shares these external addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Masquerade {
    /// The rule's name.
    pub name: Arc<str>,
    /// The pool that has the external addresses; none where they are the interface's own, or those that a peering shows.
    pub pool: Option<Arc<str>>,
    /// The external addresses: ranges with both ends included, in order, each of one family.
    pub external: Vec<RangeInclusive<IpAddr>>,
    /// What it asks of packets, besides their sender; none where it is for all of them.
    pub condition: Option<Condition>,
    /// Which ports are given out.
    pub ports: PortAllocation,
    /// How long its connections live without packets; none where the VPC says it.
    pub idle_timeout: Option<Duration>,
    /// What is let in from outside.
    pub filtering: Filtering,
}

/// Which packets from outside are let in to an external address and port that a rule has given out (RFC 4787, section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Filtering {
    /// Those that answer: from the addresses and ports that the internal endpoint has sent to.
    #[default]
    AddressAndPortDependent,
    /// Those from the addresses that it has sent to, whatever their port.
    AddressDependent,
    /// All.
    EndpointIndependent,
}

impl fmt::Display for Filtering {
    /// With a space before it; nothing, where it is the strictest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filtering::AddressAndPortDependent => Ok(()),
            Filtering::AddressDependent => f.write_str(" filtering=address_dependent"),
            Filtering::EndpointIndependent => f.write_str(" filtering=endpoint_independent"),
        }
    }
}

/// Which external ports a rule gives out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PortAllocation {
    /// These; none for all from 1024 on, and lower ones to who has them already.
    pub within: Option<Arc<PortSet>>,
    /// None at all: a sender keeps its ports, and has an external address of its own for as long as it has connections
    /// (RFC 2663 section 4.1.1, basic NAT).
    pub address_only: bool,
    /// What a port keeps of the sender's.
    pub parity: PortParity,
}

/// What an external port has in common with the internal one, as long as such a port is free; else it is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PortParity {
    /// Nothing.
    #[default]
    Any,
    /// Even ports become even ones, odd ports odd ones (RFC 4787 section 4.2.2).
    Preserved,
    /// The same, and an even port and the next one become an even port and the next one (RFC 4787 section 4.2.3): those of RTP and RTCP.
    Pairs,
}

impl PortAllocation {
    /// Whether nothing is asked for but a port.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.within.is_none() & !self.address_only & (self.parity == PortParity::Any)
    }

    /// Whether the rule could have translated one port of a protocol (by its number in the IP header) into another.
    pub fn allows(&self, protocol: u8, internal: u16, external: u16) -> bool {
        if self.address_only {
            return external == internal;
        }
        match &self.within {
            Some(set) if has_translated_ports(protocol) => set.contains(external),
            _ => true,
        }
    }
}

/// Whether packets of a protocol have ports, or identifiers in place of them, that are translated: ICMP, TCP, UDP, ICMPv6.
pub fn has_translated_ports(protocol: u8) -> bool {
    matches!(protocol, 1 | 6 | 17 | 58)
}

impl Masquerade {
    /// A rule for all packets, without limits on the ports that it gives out.
    pub fn new(name: impl Into<Arc<str>>, external: Vec<RangeInclusive<IpAddr>>) -> Self {
        Masquerade {
            name: name.into(),
            pool: None,
            external,
            condition: None,
            ports: PortAllocation::default(),
            idle_timeout: None,
            filtering: Filtering::default(),
        }
    }

    /// Whether it asks for nothing but an address and a port, for connections like all others.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.ports.is_plain()
            & self.idle_timeout.is_none()
            & (self.filtering == Filtering::default())
    }

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

/// The masquerade rules of senders, in the order in which they are asked: those of the longest prefix first. The tables share them between
/// senders' prefixes, and between the two halves.
pub type MasqueradeList = Arc<[Arc<Masquerade>]>;

/// The masquerade rules of one VPC's packets that leave by one interface, by the sender's prefix.
#[derive(Clone, Debug, Default)]
pub struct MasqueradeRules {
    /// IPv4 senders.
    pub(crate) rules4: Lpm<Ipv4Addr, MasqueradeList>,
    /// IPv6 senders.
    pub(crate) rules6: Lpm<Ipv6Addr, MasqueradeList>,
}

impl MasqueradeRules {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules4.is_empty() && self.rules6.is_empty()
    }

    /// All rules; one may come several times.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Masquerade>> {
        let four = self.rules4.iter().map(|(_, _, rules)| rules);
        let six = self.rules6.iter().map(|(_, _, rules)| rules);
        four.chain(six).flat_map(|rules| rules.iter())
    }

    /// The rule of a packet. Cost: a look-up, and a look at each rule of the sender that asks for more than its packets have.
    pub(crate) fn find<A: AclFamily>(&self, key: &AclKey<A>) -> Option<&Masquerade> {
        let rules = A::masquerades(self).lookup(key.source)?;
        first_for(rules, || *key)
    }

    /// Looks up a batch of senders: `rules[i]` becomes the rules of `sources[i]`, of which [`first_for`] tells the one. What one of
    /// them has more than the other is left as it was.
    pub fn find_batch<'a, A: Address>(
        &'a self,
        sources: &[A::Key],
        rules: &mut [Option<&'a MasqueradeList>],
    ) {
        A::masquerades(self).lookup_values(sources, rules);
    }
}

/// Whether the first of a sender's rules is for all its packets.
#[inline]
pub fn is_first_for_all(rules: &MasqueradeList) -> bool {
    rules.first().is_some_and(|rule| rule.condition.is_none())
}

/// The first of a sender's rules that is for a packet, whose key is asked for if one has a condition.
#[inline]
pub fn first_for<A: AclFamily>(
    rules: &MasqueradeList,
    key: impl Fn() -> AclKey<A>,
) -> Option<&Masquerade> {
    let is_for = |rule: &&Arc<Masquerade>| match &rule.condition {
        Some(condition) => condition.matches(&key()),
        None => true,
    };
    rules.iter().find(is_for).map(Arc::as_ref)
}
