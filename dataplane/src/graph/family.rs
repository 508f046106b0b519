//! What differs between the address families on the way through the graph.

use std::net::Ipv4Addr;

use rewire_packet::ipv4::{Ipv4Error, Ipv4View};
use rewire_packet::{Fragment, IpHeader};
use rewire_tables::Address;

use crate::drop_reason::DropReason;

/// The checks of one address family. IPv4 alone implements it: IPv6 has its headers, routes and connections, and waits
/// here for neighbor discovery.
pub(super) trait Family: Address {
    /// Reads and checks the header of a packet (RFC 1812, section 5.2.2).
    fn check(packet: &[u8]) -> Result<IpHeader<Self::Version>, DropReason>;
    /// Whether no sender can have this address (RFC 1812, section 5.3.7).
    fn is_martian_source(self) -> bool;
    /// Whether no packet that is routed can be for this address (RFC 1812, section 5.3.7).
    fn is_martian_destination(self) -> bool;
}

/// Loose source and record route (RFC 791, section 3.1).
const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict source and record route (RFC 791, section 3.1).
const STRICT_SOURCE_ROUTE: u8 = 137;

impl Family for Ipv4Addr {
    fn check(packet: &[u8]) -> Result<IpHeader<Self::Version>, DropReason> {
        let reason = |error| match error {
            Ipv4Error::TooShort { .. } => DropReason::IpTooShort,
            Ipv4Error::BadVersion { .. } => DropReason::IpBadVersion,
            Ipv4Error::BadHeaderLength { .. } => DropReason::IpBadHeaderLength,
            Ipv4Error::BadTotalLength { .. } => DropReason::IpBadTotalLength,
            Ipv4Error::BadChecksum { .. } => DropReason::IpBadChecksum,
        };
        let view = Ipv4View::new_checked(packet).map_err(reason)?;
        view.check_checksum().map_err(reason)?;
        // A malformed option does not stop the packet: it is the hosts' business. A source route is ours.
        let routed = |kind| matches!(kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE);
        if view.header_len() > 20 && view.options().flatten().any(|option| routed(option.kind)) {
            return Err(DropReason::IpSourceRoute);
        }
        Ok(view.ip_header())
    }

    fn is_martian_source(self) -> bool {
        // 0/8 "this network", 127/8 loopback, 224/4 multicast, 240/4 reserved with the limited broadcast.
        matches!(self.octets()[0], 0 | 127 | 224..)
    }

    fn is_martian_destination(self) -> bool {
        matches!(self.octets()[0], 0 | 127 | 240..)
    }
}

/// Whether a packet is whole, so that the ports in it are those of all its bytes.
pub(super) fn has_ports(fragment: Fragment) -> bool {
    fragment == Fragment::Whole
}
