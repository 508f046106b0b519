//! IPv6 as the graph sees it: RFC 8200, with neighbor discovery on the link.

use std::net::Ipv6Addr;

use rewire_conntrack::{Flow, FlowKey};
use rewire_packet::ethernet::{self, EthernetRepr};
use rewire_packet::icmpv6::{self, Icmpv6Error, Icmpv6View};
use rewire_packet::ipv6::fragment::Fragmentation;
use rewire_packet::ipv6::{HEADER_LEN, Ipv6Error, Ipv6Repr, Ipv6View};
use rewire_packet::ndp::{NdpRepr, solicited_node};
use rewire_packet::{EtherType, IpHeader, Ipv6, MacAddress, Protocol, Transport};
use rewire_tables::{Interface, Tables};

use super::family::{DEFAULT_HOP_LIMIT, Family};
use super::nat64;
use super::virtual_reassembly::Part;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// What shows that a packet has crossed no router (RFC 4861, section 3.1).
const LINK_HOP_LIMIT: u8 = 255;
/// Where a routing header has its type, and the number of segments left (RFC 8200, section 4.4).
const ROUTING_TYPE: usize = 2;
const SEGMENTS_LEFT: usize = 3;
/// The type of the routing header that names every hop, which nobody follows any more (RFC 5095).
const SOURCE_ROUTE: u8 = 0;

impl Family for Ipv6Addr {
    const ECHO_REQUEST: u8 = icmpv6::message_type::ECHO_REQUEST;

    fn check(packet: &[u8]) -> Result<IpHeader<Ipv6>, DropReason> {
        let reason = |error| match error {
            Ipv6Error::TooShort { .. } => DropReason::IpTooShort,
            Ipv6Error::BadVersion { .. } => DropReason::IpBadVersion,
            Ipv6Error::BadPayloadLength { .. } => DropReason::IpBadTotalLength,
            Ipv6Error::TruncatedExtension { .. }
            | Ipv6Error::TooManyExtensions
            | Ipv6Error::MisplacedHopByHop => DropReason::IpBadExtension,
        };
        let view = Ipv6View::new_checked(packet).map_err(reason)?;
        let header = view.ip_header().map_err(reason)?;
        let routed = extensions(packet, &header).any(|(kind, at)| {
            kind == Protocol::ROUTING && packet.get(at + ROUTING_TYPE) == Some(&SOURCE_ROUTE)
        });
        if routed {
            return Err(DropReason::IpSourceRoute);
        }
        Ok(header)
    }

    fn is_martian_source(self) -> bool {
        self.is_multicast() || self.is_martian_destination()
    }

    fn is_martian_destination(self) -> bool {
        // IPv4-mapped addresses stand for IPv4 inside a host, and are on no wire.
        self.is_unspecified() || self.is_loopback() || self.to_ipv4_mapped().is_some()
    }

    fn is_link_local(self) -> bool {
        self.is_unicast_link_local()
    }

    /// Multicast listeners (RFC 2710, RFC 3810), neighbor discovery (RFC 4861) forward, inverse and secured, multicast
    /// routers (RFC 4286).
    fn is_link_control(transport: &Transport) -> bool {
        let Transport::IcmpOther { message_type, .. } = transport else {
            return false;
        };
        matches!(message_type, 130..=137 | 141..=143 | 148..=149 | 151..=153)
    }

    fn is_own(self, interface: &Interface) -> bool {
        interface.owns(self.into()) || self == link_local(interface.mac)
    }

    fn source_for(interface: &Interface, peer: Self) -> Option<Self> {
        if peer.is_link_local() {
            return Some(link_local(interface.mac));
        }
        let source: Option<Self> = interface.source_for(peer);
        source.filter(|source| !source.is_link_local())
    }

    /// Whom the packet was for, where that is the gateway here (RFC 4443, section 2.2).
    fn error_source(interface: &Interface, about: &IpHeader<Ipv6>) -> Option<Self> {
        if about.destination.is_own(interface) {
            Some(about.destination)
        } else {
            Self::source_for(interface, about.source)
        }
    }

    /// A neighbor solicitation to the group that the target listens on (RFC 4861, section 7.2.2). On its link, every
    /// interface has an address to ask from.
    fn write_question<B: PacketBuffer>(
        buffer: &mut B,
        interface: &Interface,
        target: Self,
    ) -> bool {
        let source = Self::source_for(interface, target);
        let source = source.unwrap_or(link_local(interface.mac));
        let group = solicited_node(target);
        let solicitation = NdpRepr::Solicitation {
            target,
            source_link_address: Some(interface.mac),
        };
        let link = (interface.mac, MacAddress::from_ipv6_multicast(group));
        write_ndp(buffer, link, (source, group), &solicitation)
    }

    /// Behind a routing header with segments left, the checksum covers the last of them (RFC 8200, section 8.1).
    fn has_both_ends(packet: &[u8], header: &IpHeader<Ipv6>) -> bool {
        extensions(packet, header).all(|(kind, at)| {
            kind != Protocol::ROUTING || packet.get(at + SEGMENTS_LEFT) == Some(&0)
        })
    }

    /// A quoted header has no checksum. One with another end than it shows is left to the translation, which refuses it.
    fn is_error_intact(packet: &[u8], header: &IpHeader<Ipv6>) -> bool {
        let message = Icmpv6View::new_checked(header.upper_layer(packet));
        !Self::has_both_ends(packet, header)
            || message.is_ok_and(|error| error.verify_checksum(header.source, header.destination))
    }

    /// RFC 8200, section 4.5.
    const PROTOCOL_NAMES_DATAGRAM: bool = false;

    /// What counts is what follows the fragment header, and in a first fragment other extension headers may.
    fn part(packet: &[u8], _: &IpHeader<Ipv6>) -> Option<(Part, u32)> {
        let view = Ipv6View::new_checked(packet).ok()?;
        let header = view.upper_layer().ok()?.fragment?;
        let part = Part {
            offset: usize::from(header.offset) * 8,
            length: packet.get(header.end..view.total_len())?.len(),
            more: header.more,
        };
        Some((part, header.identification))
    }

    /// Only who sends a packet fragments it (RFC 8200, section 5).
    fn may_be_cut(_: &[u8], _: usize) -> bool {
        false
    }

    type Fragmentation = Fragmentation;

    /// What was one of IPv4, and might be cut there.
    fn fragmentation(packet: &[u8], mtu: usize) -> Option<Fragmentation> {
        Fragmentation::new(packet, mtu)
    }

    /// The answer has no extension header: those were for the way here.
    fn answer_echo(packet: &mut [u8], header: &IpHeader<Ipv6>) -> Option<IpHeader<Ipv6>> {
        let message = header.header_len..header.packet_len;
        let length = message.len();
        let request = Icmpv6View::new_checked(packet.get(message.clone())?).ok()?;
        if !request.verify_checksum(header.source, header.destination) {
            return None;
        }
        packet.copy_within(message, HEADER_LEN);
        let (source, destination) = (header.destination, header.source);
        let ip = Ipv6Repr {
            hop_limit: DEFAULT_HOP_LIMIT,
            traffic_class: header.traffic_class,
            ..Ipv6Repr::new(source, destination, Protocol::ICMPV6, length)
        };
        ip.emit(packet).ok()?;
        let answer = packet.get_mut(HEADER_LEN..HEADER_LEN + length)?;
        let mut icmp = Icmpv6View::new_checked(answer).ok()?;
        icmp.set_message_type(icmpv6::message_type::ECHO_REPLY);
        icmp.fill_checksum(source, destination);
        Ipv6View::new_checked(packet).ok()?.ip_header().ok()
    }

    fn is_for_nat64(tables: &Tables, key: &FlowKey<Self>) -> bool {
        nat64::rule(tables, key).is_some()
    }

    fn nat64_flow(flow: &Flow<Self>) -> Option<&Flow<Self>> {
        flow.changes_family().then_some(flow)
    }

    /// A parameter problem that points at the field that names the protocol (RFC 8200, section 4).
    fn write_header(
        out: &mut [u8],
        (source, destination): (Self, Self),
        protocol: Protocol,
        payload_len: usize,
    ) -> Option<usize> {
        Ipv6Repr::new(source, destination, protocol, payload_len)
            .emit(out)
            .ok()
    }

    fn unknown_protocol(packet: &[u8], header: &IpHeader<Ipv6>) -> Icmpv6Error {
        const NEXT_HEADER: usize = 6;
        let last = extensions(packet, header).last();
        Icmpv6Error::ParameterProblem {
            code: 1,
            pointer: last.map_or(NEXT_HEADER, |(_, at)| at) as u32,
        }
    }
}

/// The extension headers of a packet whose header was read, each with its kind and where it begins.
fn extensions<'a>(
    packet: &'a [u8],
    header: &IpHeader<Ipv6>,
) -> impl Iterator<Item = (Protocol, usize)> + 'a {
    let byte = move |at: usize| packet.get(at).copied().unwrap_or(0);
    let end = header.header_len;
    let (mut kind, mut at) = (Protocol(byte(6)), HEADER_LEN);
    std::iter::from_fn(move || {
        let this = (kind, at);
        // All have their length in units of 8 bytes without the first, but the fragment header.
        let length = match kind {
            Protocol::FRAGMENT => 8,
            _ => 8 * (1 + usize::from(byte(at + 1))),
        };
        (kind, at) = (Protocol(byte(at)), at + length);
        (this.1 < end).then_some(this)
    })
}

/// The address that an interface has by its MAC address, on its link alone (RFC 4291, sections 2.5.6 and appendix A).
pub(super) const fn link_local(mac: MacAddress) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    // The bit that tells universal addresses from local ones is turned round.
    let id = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from_bits(0xfe80 << 112 | id as u128)
}

/// Writes a frame with a message of neighbor discovery into a buffer. Addresses are source, then destination.
pub(super) fn write_ndp<B: PacketBuffer>(
    buffer: &mut B,
    link: (MacAddress, MacAddress),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    message: &NdpRepr,
) -> bool {
    let ethernet = EthernetRepr {
        source: link.0,
        destination: link.1,
        ether_type: EtherType::IPV6,
    };
    let length = message.buffer_len();
    let ip = Ipv6Repr {
        hop_limit: LINK_HOP_LIMIT,
        ..Ipv6Repr::new(source, destination, Protocol::ICMPV6, length)
    };
    if !buffer.resize(ethernet::HEADER_LEN + HEADER_LEN + length) {
        return false;
    }
    let frame = buffer.bytes_mut();
    let (head, rest) = frame.split_at_mut(ethernet::HEADER_LEN);
    let (ip_header, body) = rest.split_at_mut(HEADER_LEN);
    ethernet.emit(head).is_ok()
        && ip.emit(ip_header).is_ok()
        && message.emit(source, destination, body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_has_the_link_local_address_of_its_mac() {
        // The example of RFC 4291, appendix A, made a full address.
        let mac = MacAddress([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
        assert_eq!(
            link_local(mac),
            "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap()
        );
    }

    #[test]
    fn martians() {
        for (address, source, destination) in [
            ("::", true, true),
            ("::1", true, true),
            ("::ffff:192.0.2.1", true, true),
            ("ff02::1", true, false),
            ("2001:db8::1", false, false),
            ("fe80::1", false, false),
        ] {
            let address: Ipv6Addr = address.parse().unwrap();
            assert_eq!(address.is_martian_source(), source, "{address}");
            assert_eq!(address.is_martian_destination(), destination, "{address}");
        }
    }
}
