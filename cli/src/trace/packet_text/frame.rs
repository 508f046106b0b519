//! From a packet's text to a frame, and back.

use std::net::IpAddr;

use rewire_packet::ethernet::{self, EthernetRepr, EthernetView};
use rewire_packet::icmpv4::Icmpv4Repr;
use rewire_packet::icmpv6::Icmpv6Repr;
use rewire_packet::ipv4::{self, Ipv4Repr, Ipv4View};
use rewire_packet::ipv6::{self, Ipv6Repr, Ipv6View};
use rewire_packet::tcp::{TcpFlags, TcpRepr};
use rewire_packet::udp::UdpRepr;
use rewire_packet::{EtherType, MacAddress, Protocol};

use super::{PacketText, SENDER, Upper, icmp};

/// Bytes of an IPv6 fragment header (RFC 8200, section 4.5).
const FRAGMENT_HEADER_LEN: usize = 8;

impl PacketText {
    /// The bytes of its headers, from the IP header on.
    pub(super) fn headers_len(&self) -> usize {
        self.ip_len() + self.upper.header_len()
    }

    /// Its length in bytes, from the IP header on.
    pub(crate) fn total_len(&self) -> usize {
        self.length.map_or(self.headers_len(), usize::from)
    }

    /// The bytes of its IP headers.
    fn ip_len(&self) -> usize {
        match (self.source, self.fragment) {
            (IpAddr::V4(_), _) => ipv4::MIN_HEADER_LEN,
            (IpAddr::V6(_), None) => ipv6::HEADER_LEN,
            (IpAddr::V6(_), Some(_)) => ipv6::HEADER_LEN + FRAGMENT_HEADER_LEN,
        }
    }

    /// The frame, for an interface that has this MAC address.
    pub(crate) fn frame(&self, own: MacAddress) -> Vec<u8> {
        let ethernet = EthernetRepr {
            source: self.link_source.unwrap_or(SENDER),
            destination: self.link_destination.unwrap_or(own),
            ether_type: match self.source {
                IpAddr::V4(_) => EtherType::IPV4,
                IpAddr::V6(_) => EtherType::IPV6,
            },
        };
        let mut frame = vec![0; ethernet::HEADER_LEN + self.total_len()];
        let (link, packet) = frame.split_at_mut(ethernet::HEADER_LEN);
        let (ip, upper) = packet.split_at_mut(self.ip_len());
        self.emit_upper(upper);
        self.emit_ip(ip, upper.len());
        // There is room: the frame was made for it.
        let _ = ethernet.emit(link);
        frame
    }

    fn emit_ip(&self, out: &mut [u8], payload_len: usize) {
        let protocol = self.upper.protocol(self.source);
        let (offset, more) = self.fragment.unwrap_or((0, false));
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let repr = Ipv4Repr {
                    ttl: self.hop_limit,
                    traffic_class: self.traffic_class,
                    identification: self.identification,
                    dont_fragment: !self.may_fragment && self.fragment.is_none(),
                    more_fragments: more,
                    fragment_offset: offset / 8,
                    ..Ipv4Repr::new(source, destination, protocol, payload_len)
                };
                let _ = repr.emit(out);
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let mut repr = Ipv6Repr {
                    hop_limit: self.hop_limit,
                    traffic_class: self.traffic_class,
                    ..Ipv6Repr::new(source, destination, protocol, payload_len)
                };
                if let Some(header) = out.get_mut(ipv6::HEADER_LEN..)
                    && let [next, _, high, low, rest @ ..] = header
                {
                    *next = protocol.0;
                    [*high, *low] = (offset | u16::from(more)).to_be_bytes();
                    rest.copy_from_slice(&u32::from(self.identification).to_be_bytes());
                    repr.next_header = Protocol::FRAGMENT;
                    repr.payload_len += FRAGMENT_HEADER_LEN;
                }
                let _ = repr.emit(out);
            }
            // Both ends are of one family.
            _ => {}
        }
    }

    /// Writes the upper layer's header. The checksum is that of a whole packet.
    fn emit_upper(&self, out: &mut [u8]) {
        match self.upper {
            Upper::Tcp {
                ports: (source, destination),
                flags,
                sequence,
                acknowledgment,
            } => {
                let repr = TcpRepr {
                    source,
                    destination,
                    sequence,
                    acknowledgment,
                    flags,
                    window: u16::MAX,
                    urgent: 0,
                    max_segment_size: None,
                };
                let _ = match (self.source, self.destination) {
                    (IpAddr::V4(from), IpAddr::V4(to)) => repr.emit(from, to, out),
                    (IpAddr::V6(from), IpAddr::V6(to)) => repr.emit(from, to, out),
                    _ => Ok(0),
                };
            }
            Upper::Udp((source, destination)) => {
                let repr = UdpRepr {
                    source,
                    destination,
                };
                let _ = match (self.source, self.destination) {
                    (IpAddr::V4(from), IpAddr::V4(to)) => repr.emit(from, to, out),
                    (IpAddr::V6(from), IpAddr::V6(to)) => repr.emit(from, to, out),
                    _ => Ok(0),
                };
            }
            Upper::Sctp((source, destination)) => {
                if let [a, b, c, d, ..] = out {
                    [*a, *b] = source.to_be_bytes();
                    [*c, *d] = destination.to_be_bytes();
                }
            }
            Upper::Icmp {
                message_type,
                code,
                identifier,
                sequence,
            } => {
                let [a, b] = identifier.to_be_bytes();
                let [c, d] = sequence.to_be_bytes();
                let rest = [a, b, c, d];
                let _ = match (self.source, self.destination) {
                    (IpAddr::V6(from), IpAddr::V6(to)) => Icmpv6Repr::Other {
                        message_type,
                        code,
                        rest: u32::from_be_bytes(rest),
                    }
                    .emit(from, to, out),
                    _ => Icmpv4Repr::Other {
                        message_type,
                        code,
                        rest,
                    }
                    .emit(out),
                };
            }
            Upper::Other(_) => {}
        }
    }

    /// What a frame holds, for an interface that has this MAC address; none where it is no packet that can be written. Options and
    /// contents are left out.
    pub(crate) fn of_frame(frame: &[u8], own: MacAddress) -> Option<PacketText> {
        let link = EthernetView::new_checked(frame).ok()?;
        let bytes = frame.get(ethernet::HEADER_LEN..)?;
        let mut packet = match link.ether_type() {
            EtherType::IPV4 => of_ipv4(bytes)?,
            EtherType::IPV6 => of_ipv6(bytes)?,
            _ => return None,
        };
        packet.link_source = Some(link.source()).filter(|mac| *mac != SENDER);
        packet.link_destination = Some(link.destination()).filter(|mac| *mac != own);
        Some(packet)
    }
}

fn of_ipv4(bytes: &[u8]) -> Option<PacketText> {
    let view = Ipv4View::new_checked(bytes).ok()?;
    let is_fragment = view.more_fragments() || view.fragment_offset() != 0;
    let packet = PacketText {
        interface: None,
        source: view.source().into(),
        destination: view.destination().into(),
        upper: Upper::Other(view.protocol()),
        hop_limit: view.ttl(),
        length: u16::try_from(view.total_len()).ok(),
        traffic_class: view.traffic_class(),
        may_fragment: !view.dont_fragment() && !is_fragment,
        fragment: is_fragment.then(|| (view.fragment_offset() * 8, view.more_fragments())),
        identification: view.identification(),
        link_source: None,
        link_destination: None,
    };
    Some(packet.with_upper(view.protocol(), view.payload()))
}

fn of_ipv6(bytes: &[u8]) -> Option<PacketText> {
    let view = Ipv6View::new_checked(bytes).ok()?;
    let header = view.ip_header().ok()?;
    let upper = view.upper_layer().ok()?;
    let fragment = upper.fragment;
    let payload = header.upper_layer(bytes);
    let packet = PacketText {
        interface: None,
        source: view.source().into(),
        destination: view.destination().into(),
        upper: Upper::Other(header.protocol),
        hop_limit: view.hop_limit(),
        length: u16::try_from(view.total_len()).ok(),
        traffic_class: view.traffic_class(),
        may_fragment: false,
        fragment: fragment.map(|fragment| (fragment.offset * 8, fragment.more)),
        identification: fragment.map_or(0, |fragment| fragment.identification as u16),
        link_source: None,
        link_destination: None,
    };
    Some(packet.with_upper(header.protocol, payload))
}

impl PacketText {
    fn with_upper(mut self, protocol: Protocol, payload: &[u8]) -> PacketText {
        if !matches!(self.fragment, Some((1.., _))) {
            self.upper = upper(self.source, protocol, payload);
        }
        let headers = self.headers_len();
        self.length = self.length.filter(|length| usize::from(*length) != headers);
        self
    }
}

/// What a packet carries whose upper layer has these bytes.
fn upper(source: IpAddr, protocol: Protocol, bytes: &[u8]) -> Upper {
    let word = |at: usize| match bytes.get(at..at + 2) {
        Some(&[high, low]) => u16::from_be_bytes([high, low]),
        _ => 0,
    };
    let double = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
    let ports = (word(0), word(2));
    match protocol {
        Protocol::TCP if bytes.len() >= 20 => Upper::Tcp {
            ports,
            sequence: double(4),
            acknowledgment: double(8),
            flags: TcpFlags(bytes[13]),
        },
        Protocol::UDP if bytes.len() >= 8 => Upper::Udp(ports),
        Protocol::SCTP if bytes.len() >= 12 => Upper::Sctp(ports),
        protocol if protocol == icmp(source) && bytes.len() >= 8 => Upper::Icmp {
            message_type: bytes[0],
            code: bytes[1],
            identifier: word(4),
            sequence: word(6),
        },
        protocol => Upper::Other(protocol),
    }
}
