//! IPv4 as the graph sees it: RFC 791 and what RFC 1812 asks of a router, with ARP on the link.

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Flow, FlowKey};
use rewire_packet::arp::ArpRepr;
use rewire_packet::icmpv4::{self, Icmpv4Error, Icmpv4View};
use rewire_packet::ipv4::fragment::Fragmentation;
use rewire_packet::ipv4::{Ipv4Error, Ipv4Repr, Ipv4View};
use rewire_packet::{IpHeader, Ipv4, MacAddress, Protocol, Transport};
use rewire_tables::{Interface, Tables};

use super::arp::write_arp;
use super::family::{DEFAULT_HOP_LIMIT, Family};
use super::nat64;
use super::virtual_reassembly::Part;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// Loose source and record route (RFC 791, section 3.1).
const LOOSE_SOURCE_ROUTE: u8 = 131;
/// Strict source and record route (RFC 791, section 3.1).
const STRICT_SOURCE_ROUTE: u8 = 137;

impl Family for Ipv4Addr {
    const ECHO_REQUEST: u8 = icmpv4::message_type::ECHO_REQUEST;

    fn check(packet: &[u8]) -> Result<IpHeader<Ipv4>, DropReason> {
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

    /// 169.254/16 (RFC 3927) is taken for an address like others: some networks route it.
    fn is_link_local(self) -> bool {
        false
    }

    /// ARP has an EtherType of its own.
    fn is_link_control(_: &Transport) -> bool {
        false
    }

    fn is_own(self, interface: &Interface) -> bool {
        interface.owns(self.into())
    }

    fn source_for(interface: &Interface, peer: Self) -> Option<Self> {
        interface.source_for(peer)
    }

    fn error_source(interface: &Interface, about: &IpHeader<Ipv4>) -> Option<Self> {
        interface.source_for(about.source)
    }

    /// An ARP request (RFC 826) to everybody.
    fn write_question<B: PacketBuffer>(
        buffer: &mut B,
        interface: &Interface,
        target: Self,
    ) -> bool {
        let Some(source) = interface.source_for(target) else {
            return false;
        };
        let request = ArpRepr::request(interface.mac, source, target);
        write_arp(buffer, interface.mac, MacAddress::BROADCAST, &request)
    }

    /// Packets with a source route are dropped.
    fn has_both_ends(_: &[u8], _: &IpHeader<Ipv4>) -> bool {
        true
    }

    fn is_error_intact(packet: &[u8], header: &IpHeader<Ipv4>) -> bool {
        Icmpv4View::new_checked(header.upper_layer(packet)).is_ok_and(|error| {
            let quoted = error.quoted_packet().map(Ipv4View::new_quoted);
            let is_quote_intact =
                matches!(quoted, Some(Ok(quoted)) if quoted.check_checksum().is_ok());
            is_quote_intact && error.verify_checksum()
        })
    }

    /// RFC 791, section 3.2.
    const PROTOCOL_NAMES_DATAGRAM: bool = true;

    fn part(packet: &[u8], header: &IpHeader<Ipv4>) -> Option<(Part, u32)> {
        let view = Ipv4View::new_checked(packet).ok()?;
        let part = Part {
            offset: usize::from(view.fragment_offset()) * 8,
            length: header.upper_layer(packet).len(),
            more: view.more_fragments(),
        };
        Some((part, view.identification().into()))
    }

    type Fragmentation = Fragmentation;

    fn may_be_cut(packet: &[u8], mtu: usize) -> bool {
        Self::fragmentation(packet, mtu).is_some()
    }

    /// What its sender allows. A fragment that reaches beyond the end of any datagram is not helped on its way.
    fn fragmentation(packet: &[u8], mtu: usize) -> Option<Fragmentation> {
        Fragmentation::new(&Ipv4View::new_checked(packet).ok()?, mtu).ok()
    }

    fn answer_echo(packet: &mut [u8], header: &IpHeader<Ipv4>) -> Option<IpHeader<Ipv4>> {
        let mut icmp = Icmpv4View::new_checked(packet.get_mut(header.header_len..)?).ok()?;
        if !icmp.verify_checksum() {
            return None;
        }
        icmp.set_message_type(icmpv4::message_type::ECHO_REPLY);
        icmp.fill_checksum();
        let mut ip = Ipv4View::new_checked(packet).ok()?;
        ip.set_source(header.destination);
        ip.set_destination(header.source);
        ip.set_ttl(DEFAULT_HOP_LIMIT);
        ip.fill_checksum();
        Some(ip.ip_header())
    }

    fn write_header(
        out: &mut [u8],
        (source, destination): (Self, Self),
        protocol: Protocol,
        payload_len: usize,
    ) -> Option<usize> {
        Ipv4Repr::new(source, destination, protocol, payload_len)
            .emit(out)
            .ok()
    }

    /// One for an external address of NAT64, or for a port forward to a host of IPv6.
    fn is_for_nat64(tables: &Tables, key: &FlowKey<Self>) -> bool {
        let nat = tables.nat();
        nat.has_nat64()
            && (nat.is_external_of_nat64(key.vpc, key.destination)
                || nat64::forward(tables, key).is_some())
    }

    fn nat64_flow(_: &Flow<Self>) -> Option<&Flow<Ipv6Addr>> {
        None
    }

    fn unknown_protocol(_: &[u8], _: &IpHeader<Ipv4>) -> Icmpv4Error {
        Icmpv4Error::ProtocolUnreachable
    }
}
