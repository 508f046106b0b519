//! Packets for the tests of translation, built with every checksum computed in full.

// Each test file uses its own part.
#![allow(dead_code, unreachable_pub)]

use std::net::IpAddr;

use rewire_packet::icmpv4::{Icmpv4Error, Icmpv4Repr};
use rewire_packet::icmpv6::{Icmpv6Error, Icmpv6Repr};
use rewire_packet::ipv4::Ipv4Repr;
use rewire_packet::ipv6::Ipv6Repr;
use rewire_packet::tcp::{TcpFlags, TcpRepr};
use rewire_packet::udp::{UdpRepr, UdpView};
use rewire_packet::{Ip, IpAddress, Protocol};

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upper {
    Tcp,
    Udp,
    UdpWithoutChecksum,
    Sctp,
    EchoRequest,
    EchoReply,
    Gre,
}

/// What part of the packet it is: bytes of the upper layer from, to; and whether there are more
/// behind.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub from: usize,
    pub to: usize,
    pub more: bool,
}

pub const WHOLE: Part = Part {
    from: 0,
    to: usize::MAX,
    more: false,
};

impl Upper {
    pub fn protocol<I: Ip>(self) -> Protocol {
        match self {
            Upper::Tcp => Protocol::TCP,
            Upper::Udp | Upper::UdpWithoutChecksum => Protocol::UDP,
            Upper::Sctp => Protocol::SCTP,
            Upper::EchoRequest | Upper::EchoReply => I::ICMP,
            Upper::Gre => Protocol::GRE,
        }
    }

    pub fn build<A: IpAddress>(self, from: (A, u16), to: (A, u16), data: &[u8]) -> Vec<u8> {
        let header_len = match self {
            Upper::Tcp => 24,
            Upper::Sctp => 12,
            _ => 8,
        };
        let mut bytes = vec![0; header_len];
        bytes.extend(data);
        let (source, destination) = (from.1, to.1);
        match self {
            Upper::Tcp => {
                let repr = TcpRepr {
                    source,
                    destination,
                    sequence: 0xfffe_ffff,
                    acknowledgment: 7,
                    flags: TcpFlags::SYN | TcpFlags::ACK,
                    window: 0xffff,
                    urgent: 0,
                    max_segment_size: Some(1460),
                };
                repr.emit(from.0, to.0, &mut bytes).unwrap();
            }
            Upper::Udp | Upper::UdpWithoutChecksum => {
                UdpRepr {
                    source,
                    destination,
                }
                .emit(from.0, to.0, &mut bytes)
                .unwrap();
                if self == Upper::UdpWithoutChecksum {
                    UdpView::new_checked(&mut bytes).unwrap().set_checksum(0);
                }
            }
            Upper::Sctp => {
                bytes[..2].copy_from_slice(&source.to_be_bytes());
                bytes[2..4].copy_from_slice(&destination.to_be_bytes());
                bytes[8..12].copy_from_slice(b"CRC!");
            }
            // A request's identifier is its source port, a reply's its destination port.
            Upper::EchoRequest => emit_echo(from.0, to.0, false, source, &mut bytes),
            Upper::EchoReply => emit_echo(from.0, to.0, true, destination, &mut bytes),
            Upper::Gre => {}
        }
        bytes
    }
}

pub fn emit_echo<A: IpAddress>(from: A, to: A, reply: bool, identifier: u16, bytes: &mut [u8]) {
    let sequence = 0x1234;
    match (from.into(), to.into()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let repr = if reply {
                Icmpv6Repr::EchoReply {
                    identifier,
                    sequence,
                }
            } else {
                Icmpv6Repr::EchoRequest {
                    identifier,
                    sequence,
                }
            };
            repr.emit(from, to, bytes).unwrap();
        }
        _ => {
            let repr = if reply {
                Icmpv4Repr::EchoReply {
                    identifier,
                    sequence,
                }
            } else {
                Icmpv4Repr::EchoRequest {
                    identifier,
                    sequence,
                }
            };
            repr.emit(bytes).unwrap();
        }
    }
}

/// A packet with this payload; with IPv4 options or IPv6 extension headers if asked for, and where
/// it is a fragment.
pub fn ip_packet<A: IpAddress>(
    from: A,
    to: A,
    protocol: Protocol,
    payload: &[u8],
    part: Part,
    extended: bool,
) -> Vec<u8> {
    let end = part.to.min(payload.len());
    let payload = &payload[part.from..end];
    let fragment = part.from != 0 || part.more;
    match (from.into(), to.into()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut bytes = vec![0; 20];
            let repr = Ipv4Repr {
                identification: 99,
                dont_fragment: false,
                more_fragments: part.more,
                fragment_offset: (part.from / 8) as u16,
                ..Ipv4Repr::new(
                    from,
                    to,
                    protocol,
                    payload.len() + if extended { 4 } else { 0 },
                )
            };
            repr.emit(&mut bytes).unwrap();
            if extended {
                bytes[0] = 0x46;
                bytes.extend([148, 4, 0, 0]); // router alert
                rewire_packet::ipv4::Ipv4View::new_quoted(&mut bytes)
                    .unwrap()
                    .fill_checksum();
            }
            bytes.extend(payload);
            bytes
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut headers: Vec<(Protocol, [u8; 8])> = vec![];
            if extended {
                headers.push((Protocol::DESTINATION_OPTIONS, [0, 0, 1, 4, 0, 0, 0, 0]));
            }
            if fragment {
                let [high, low] = ((part.from as u16) | u16::from(part.more)).to_be_bytes();
                headers.push((Protocol::FRAGMENT, [0, 0, high, low, 0, 0, 0, 9]));
            }
            let mut next = protocol;
            for (kind, header) in headers.iter_mut().rev() {
                header[0] = next.0;
                next = *kind;
            }
            let mut bytes = vec![0; 40];
            let length = headers.len() * 8 + payload.len();
            Ipv6Repr::new(from, to, next, length)
                .emit(&mut bytes)
                .unwrap();
            bytes.extend(headers.iter().flat_map(|(_, header)| header));
            bytes.extend(payload);
            bytes
        }
        _ => unreachable!("both addresses are of one type"),
    }
}

pub fn build<A: IpAddress>(
    upper: Upper,
    from: (A, u16),
    to: (A, u16),
    data: &[u8],
    part: Part,
    extended: bool,
) -> Vec<u8> {
    let payload = upper.build(from, to, data);
    ip_packet(
        from.0,
        to.0,
        upper.protocol::<A::Version>(),
        &payload,
        part,
        extended,
    )
}

/// An ICMP error of a router about a packet, of which it quotes what is given.
pub fn icmp_error<A: IpAddress>(router: A, to: A, quote: &[u8]) -> Vec<u8> {
    let mut message = vec![0; 8];
    message.extend(quote);
    match (router.into(), to.into()) {
        (IpAddr::V6(router), IpAddr::V6(to)) => {
            let error = Icmpv6Repr::Error(Icmpv6Error::HopLimitExceeded);
            error.emit(router, to, &mut message).unwrap();
        }
        _ => {
            Icmpv4Repr::Error(Icmpv4Error::TtlExceeded)
                .emit(&mut message)
                .unwrap();
        }
    }
    ip_packet(router, to, A::Version::ICMP, &message, WHOLE, false)
}
