//! NAT64: whose IPv6 packets become IPv4 packets, and onto what (RFC 6146).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rewire_packet::pref64::Pref64;

use super::{Filtering, PortAllocation};
use crate::acl::AddressRanges;
use crate::index::VpcIndex;

/// A NAT64 of one VPC's IPv6 clients. The tables share it between the two halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat64 {
    /// The rule's name.
    pub name: Arc<str>,
    /// The prefix that IPv4 addresses are embedded behind.
    pub prefix: Pref64,
    /// The clients that it is for; none for all.
    pub sources: Option<Arc<AddressRanges>>,
    /// The VPC that the IPv4 packets are routed in.
    pub vpc: VpcIndex,
    /// The external addresses: ranges with both ends included, in order.
    pub external: Vec<RangeInclusive<Ipv4Addr>>,
    /// Which ports are given out.
    pub ports: PortAllocation,
    /// How long its connections live without packets; none where the VPC says it.
    pub idle_timeout: Option<Duration>,
    /// What is let in from outside.
    pub filtering: Filtering,
}

impl Nat64 {
    /// The IPv4 address that a client of this NAT64 means; none where it is not for the packet, or the prefix may not stand for
    /// that address (RFC 6052 section 3.1).
    pub fn destination(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Ipv4Addr> {
        let address = self.prefix.extract(destination)?;
        let is_for = |sources: &Arc<AddressRanges>| sources.contains(source);
        (self.sources.as_ref().is_none_or(is_for) && self.prefix.may_stand_for(address))
            .then_some(address)
    }

    /// Whether `address` is one of the external addresses.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.external.iter().any(|range| range.contains(&address))
    }

    /// The external addresses as the connections of IPv6 hold them: see [`mapped`].
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<Ipv6Addr>> + Clone + '_ {
        let ranges = self.external.iter();
        ranges.map(|range| mapped(*range.start())..=mapped(*range.end()))
    }
}

/// An IPv4 address among IPv6 ones, as the far side of a connection that NAT64 translates has it: an IPv4-mapped address (RFC 4291
/// section 2.5.5.2), which no packet on any wire has.
pub const fn mapped(address: Ipv4Addr) -> Ipv6Addr {
    address.to_ipv6_mapped()
}

impl fmt::Display for Nat64 {
    /// All but the VPC, which has a name elsewhere.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.prefix, self.external)?;
        if let Some(ports) = &self.ports.within {
            write!(f, " ports={ports}")?;
        }
        if let Some(timeout) = self.idle_timeout {
            write!(f, " idle_timeout={timeout:?}")?;
        }
        write!(f, "{}", self.filtering)?;
        match &self.sources {
            Some(sources) => write!(f, " for sources={sources}"),
            None => Ok(()),
        }
    }
}
