//! What differs between the address families on the way through the graph. Everything else is written once.

use std::net::Ipv6Addr;

use rewire_conntrack::{Flow, FlowKey};
use rewire_packet::{IpHeader, Protocol, Transport};
use rewire_tables::{AclFamily, Interface, Tables};

use super::burst::IcmpErrorOf;
use super::fragment::Fragmentation;
use super::virtual_reassembly::Part;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// An address family, by its addresses: the checks of its headers, and how it speaks to the hosts on a link.
pub(super) trait Family: AclFamily {
    /// The ICMP type of an echo request.
    const ECHO_REQUEST: u8;

    /// Reads and checks the header of a packet (RFC 1812, section 5.2.2; RFC 8200, section 3).
    fn check(packet: &[u8]) -> Result<IpHeader<Self::Version>, DropReason>;

    /// Whether no sender can have this address (RFC 1812, section 5.3.7; RFC 4291, section 2.5).
    fn is_martian_source(self) -> bool;

    /// Whether no packet that is routed can be for this address (RFC 1812, section 5.3.7; RFC 4291, section 2.5).
    fn is_martian_destination(self) -> bool;

    /// Whether the address means something on its link alone, so that packets with it are never forwarded.
    fn is_link_local(self) -> bool;

    /// Whether a packet is the link's own business, like neighbor discovery, and goes to a node of its own.
    fn is_link_control(transport: &Transport) -> bool;

    /// Whether the gateway has this address on an interface.
    fn is_own(self, interface: &Interface) -> bool;

    /// The gateway's address on an interface to speak from to `peer`.
    fn source_for(interface: &Interface, peer: Self) -> Option<Self>;

    /// The source of an ICMP error about a packet that an interface received.
    fn error_source(interface: &Interface, about: &IpHeader<Self::Version>) -> Option<Self>;

    /// Writes the frame that asks the link for the MAC address of a neighbor; false where that cannot be.
    fn write_question<B: PacketBuffer>(buffer: &mut B, interface: &Interface, target: Self)
    -> bool;

    /// Whether the addresses in a packet's header are those of its ends, so that its checksum can be kept up when NAT
    /// changes them.
    fn has_both_ends(packet: &[u8], header: &IpHeader<Self::Version>) -> bool;

    /// Whether the checksums of an ICMP error that came whole are right: its own, and that of the header that it quotes (RFC
    /// 5508, REQ-3). What follows that header is not looked at.
    fn is_error_intact(packet: &[u8], header: &IpHeader<Self::Version>) -> bool;

    /// Whether the protocol is a part of what tells datagrams apart that come in fragments.
    const PROTOCOL_NAMES_DATAGRAM: bool;

    /// The place of a fragment in its datagram, and the datagram's identification.
    fn part(packet: &[u8], header: &IpHeader<Self::Version>) -> Option<(Part, u32)>;

    /// How a packet is cut.
    type Fragmentation: Fragmentation;

    /// Whether the gateway may cut a packet of others for a link that takes `mtu` bytes.
    fn may_be_cut(packet: &[u8], mtu: usize) -> bool;

    /// How the gateway cuts a packet that may be cut for a link that takes `mtu` bytes.
    fn fragmentation(packet: &[u8], mtu: usize) -> Option<Self::Fragmentation>;

    /// Turns an echo request into its answer, in place; the header of the answer. Nothing, where its checksum is wrong.
    fn answer_echo(
        packet: &mut [u8],
        header: &IpHeader<Self::Version>,
    ) -> Option<IpHeader<Self::Version>>;

    /// Writes the header of a packet of the gateway's own; its length.
    fn write_header(
        out: &mut [u8],
        ends: (Self, Self),
        protocol: Protocol,
        payload_len: usize,
    ) -> Option<usize>;

    /// Whether NAT64 takes a packet that belongs to no connection of its own family, by its key.
    fn is_for_nat64(tables: &Tables, key: &FlowKey<Self>) -> bool;

    /// The connection, where NAT64 translates it.
    fn nat64_flow(flow: &Flow<Self>) -> Option<&Flow<Ipv6Addr>>;

    /// What the sender of a packet for the gateway is told, whose protocol the gateway does not speak.
    fn unknown_protocol(packet: &[u8], header: &IpHeader<Self::Version>) -> IcmpErrorOf<Self>;
}

/// The hop limit of packets that the gateway makes (RFC 1700).
pub(super) const DEFAULT_HOP_LIMIT: u8 = 64;
