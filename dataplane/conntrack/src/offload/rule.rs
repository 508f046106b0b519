//! Rules: what a card does with the packets of one direction of a flow, without asking a core.

use std::net::IpAddr;
use std::time::Duration;

use rewire_packet::MacAddress;
use rewire_tables::InterfaceIndex;

use crate::time::Instant;

/// A rule of a card: packets that match the pattern are rewritten and sent by the card, and never reach a core. Like
/// rte_flow's, it has a pattern and actions; unlike those, it always means the same:
///
/// A packet matches if it came in by [`Pattern::ingress`], is addressed to [`Pattern::mac`], has no VLAN tag, and is IPv4
/// with a header of 20 bytes and a right checksum, or IPv6 without extension headers; is whole (no fragment), has a TTL or
/// hop limit of 2 or more, has at most [`Pattern::longest`] bytes behind its Ethernet header, padding included, has the pattern's addresses,
/// protocol and ports, and, of TCP, ACK and none of SYN, FIN and RST. Everything else is for a core.
///
/// What matches gets the addresses and ports of [`Actions`], a TTL one lower, checksums kept up (a UDP checksum of 0 stays),
/// and the Ethernet addresses of [`Actions`]; Ethernet's padding is cut off or stays, as the card does; it is counted, and
/// leaves by [`Actions::egress`]. What the sender got wrong in a TCP or UDP checksum stays wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which packets it takes.
    pub pattern: Pattern,
    /// What becomes of them.
    pub actions: Actions,
    /// A card that can (rte_flow: AGE) reports [`Event::Idle`](super::Event::Idle) when nothing has matched for so long.
    pub idle_after: Duration,
}

/// Which packets a rule takes. Both addresses are of one family; ports in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The interface that they came in by; it alone says which VPC they are of.
    pub ingress: InterfaceIndex,
    /// Their Ethernet destination: the MAC address of that interface.
    pub mac: MacAddress,
    /// TCP (6) or UDP (17).
    pub protocol: u8,
    /// Their source address and port.
    pub source: (IpAddr, u16),
    /// Their destination address and port.
    pub destination: (IpAddr, u16),
    /// The longest that they may be, in bytes behind the Ethernet header, padding included: the smaller MTU of both interfaces. A card that cannot
    /// compare lengths refuses rules for which this is less than the MTU of the ingress port.
    pub longest: u16,
}

/// What becomes of the packets of a rule. Addresses are of the pattern's family; ports in host order. What is as in the
/// pattern stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Actions {
    /// Their new source address and port.
    pub source: (IpAddr, u16),
    /// Their new destination address and port.
    pub destination: (IpAddr, u16),
    /// Their new Ethernet source: the MAC address of the egress interface.
    pub source_mac: MacAddress,
    /// Their new Ethernet destination: that of the next hop.
    pub destination_mac: MacAddress,
    /// The interface that they leave by.
    pub egress: InterfaceIndex,
}

/// Names a rule towards a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId {
    /// Which of its places the rule has. Places are dense, below the number that [`Card::reserve`](super::Card::reserve) was
    /// told, and no two rules have one at a time: what a card keeps of a rule (a handle) can be in an array. A place is used
    /// again only after the card has confirmed that its rule is gone.
    pub place: u32,
    /// How often the place was used before: what comes late is never taken for another rule's.
    pub serial: u32,
}

/// What a rule has done since it was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Packets that it took; 2^64 before they begin anew.
    pub packets: u64,
    /// Their bytes, from the IP header on, without Ethernet's padding. A card that counts frames takes 14 bytes off each; the
    /// padding of short ones is counted then.
    pub bytes: u64,
    /// When it took the last one, where the card knows.
    pub last: Option<Instant>,
}
