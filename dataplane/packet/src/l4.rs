//! The one look that the dataplane takes at a packet's upper layer: which connection it belongs to.

use thiserror::Error;

use crate::bytes::{u8_at, u16_at};
use crate::ip::{Fragment, Protocol};
use crate::tcp::{self, TcpError, TcpFlags};
use crate::udp::{self, UdpError};
use crate::{icmpv4, icmpv6};

/// Length of SCTP's common header (RFC 9260 section 3.1), in bytes.
pub const SCTP_HEADER_LEN: usize = 12;

/// What the upper layer begins with. Ports and identifiers are in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A TCP segment.
    Tcp {
        /// From which port.
        source: u16,
        /// To which port.
        destination: u16,
        /// The control bits.
        flags: TcpFlags,
        /// Bytes of the header. In a first fragment, options may lie in the next one.
        header_len: usize,
    },
    /// A UDP datagram.
    Udp {
        /// From which port.
        source: u16,
        /// To which port.
        destination: u16,
    },
    /// An SCTP packet.
    Sctp {
        /// From which port.
        source: u16,
        /// To which port.
        destination: u16,
    },
    /// An ICMP message that asks or answers: echo, and for IPv4 timestamp, information, address
    /// mask.
    IcmpQuery {
        /// The type.
        message_type: u8,
        /// It answers.
        is_reply: bool,
        /// Who asks: like a port.
        identifier: u16,
    },
    /// An ICMP message about another packet, that it quotes: see [`crate::nat::Quoted`].
    IcmpError {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
    },
    /// Another ICMP message: neighbour discovery, say.
    IcmpOther {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
    },
    /// A later fragment, that begins in the middle of the packet.
    LaterFragment {
        /// What the packet carries.
        protocol: Protocol,
    },
    /// Another protocol.
    Other {
        /// Which.
        protocol: Protocol,
    },
}

impl Transport {
    /// Source and destination port, of TCP, UDP and SCTP.
    #[inline]
    pub const fn ports(&self) -> Option<(u16, u16)> {
        match *self {
            Transport::Tcp {
                source,
                destination,
                ..
            }
            | Transport::Udp {
                source,
                destination,
            }
            | Transport::Sctp {
                source,
                destination,
            } => Some((source, destination)),
            _ => None,
        }
    }
}

/// Why an upper-layer header is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TransportError {
    /// TCP.
    #[error(transparent)]
    Tcp(#[from] TcpError),
    /// UDP.
    #[error(transparent)]
    Udp(#[from] UdpError),
    /// SCTP, ICMP or ICMPv6: fewer bytes than the header has.
    #[error("a header of {protocol} has {needed} bytes, {available} are there")]
    TooShort {
        /// Which protocol.
        protocol: Protocol,
        /// Bytes that the header takes.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
}

/// Parses the header that the upper layer begins with; costs no look at what follows it.
///
/// `l4` is the upper layer and nothing else: no Ethernet padding. See
/// [`crate::ip::IpHeader::transport`].
///
/// In a first fragment the header must be there, but for TCP options: a smaller one is an attack on
/// filters (RFC 1858, RFC 3128), and refused. Checks that concern the end of the packet are left
/// out. No checksum is verified.
///
/// # Errors
/// See [`TransportError`]. Unknown protocols are no error.
#[inline]
pub fn parse_transport(
    protocol: Protocol,
    l4: &[u8],
    fragment: Fragment,
) -> Result<Transport, TransportError> {
    if fragment == Fragment::Later {
        return Ok(Transport::LaterFragment { protocol });
    }
    let whole = fragment == Fragment::Whole;
    let available = l4.len();
    let need = |needed| match available {
        available if available < needed => Err(TransportError::TooShort {
            protocol,
            needed,
            available,
        }),
        _ => Ok(()),
    };
    let (source, destination) = (u16_at(l4, 0), u16_at(l4, 2));
    match protocol {
        Protocol::TCP => {
            if available < tcp::MIN_HEADER_LEN {
                return Err(TcpError::TooShort { available }.into());
            }
            let header_len = usize::from(u8_at(l4, 12) >> 4) * 4;
            if header_len < tcp::MIN_HEADER_LEN || (whole && header_len > available) {
                return Err(TcpError::BadDataOffset {
                    header_len,
                    available,
                }
                .into());
            }
            Ok(Transport::Tcp {
                source,
                destination,
                flags: TcpFlags(u8_at(l4, 13)),
                header_len,
            })
        }
        Protocol::UDP => {
            if available < udp::HEADER_LEN {
                return Err(UdpError::TooShort { available }.into());
            }
            let length = usize::from(u16_at(l4, udp::LENGTH));
            if length < udp::HEADER_LEN || (whole && length > available) {
                return Err(UdpError::BadLength { length, available }.into());
            }
            Ok(Transport::Udp {
                source,
                destination,
            })
        }
        Protocol::SCTP => {
            need(SCTP_HEADER_LEN)?;
            Ok(Transport::Sctp {
                source,
                destination,
            })
        }
        Protocol::ICMP => {
            need(icmpv4::HEADER_LEN)?;
            let message_type = u8_at(l4, 0);
            Ok(icmp(
                l4,
                icmpv4::query_is_reply(message_type),
                icmpv4::is_error(message_type),
            ))
        }
        Protocol::ICMPV6 => {
            need(icmpv6::HEADER_LEN)?;
            let message_type = u8_at(l4, 0);
            Ok(icmp(
                l4,
                icmpv6::query_is_reply(message_type),
                icmpv6::is_error(message_type),
            ))
        }
        protocol => Ok(Transport::Other { protocol }),
    }
}

fn icmp(l4: &[u8], query: Option<bool>, is_error: bool) -> Transport {
    let (message_type, code) = (u8_at(l4, 0), u8_at(l4, 1));
    match query {
        Some(is_reply) => Transport::IcmpQuery {
            message_type,
            is_reply,
            identifier: u16_at(l4, 4),
        },
        None if is_error => Transport::IcmpError { message_type, code },
        None => Transport::IcmpOther { message_type, code },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PORTS: [u8; 4] = [0x12, 0x34, 0x00, 0x50];

    fn l4(length: usize, change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut bytes = vec![0; length];
        bytes[..4].copy_from_slice(&PORTS);
        change(&mut bytes);
        bytes
    }

    #[test]
    fn tcp() {
        let segment = l4(24, |b| (b[12], b[13]) = (0x60, 0x12));
        let expected = Transport::Tcp {
            source: 0x1234,
            destination: 80,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            header_len: 24,
        };
        assert_eq!(
            parse_transport(Protocol::TCP, &segment, Fragment::Whole),
            Ok(expected)
        );
        assert_eq!(expected.ports(), Some((0x1234, 80)));
        // Options in the next fragment are fine, a tiny fragment is not.
        let cut = &segment[..20];
        assert_eq!(
            parse_transport(Protocol::TCP, cut, Fragment::First),
            Ok(expected)
        );
        assert_eq!(
            parse_transport(Protocol::TCP, cut, Fragment::Whole),
            Err(TcpError::BadDataOffset {
                header_len: 24,
                available: 20
            }
            .into())
        );
        assert_eq!(
            parse_transport(Protocol::TCP, &segment[..8], Fragment::First),
            Err(TcpError::TooShort { available: 8 }.into())
        );
    }

    #[test]
    fn udp() {
        let datagram = l4(12, |b| b[5] = 12);
        let expected = Transport::Udp {
            source: 0x1234,
            destination: 80,
        };
        assert_eq!(
            parse_transport(Protocol::UDP, &datagram, Fragment::Whole),
            Ok(expected)
        );
        assert_eq!(
            parse_transport(Protocol::UDP, &datagram[..8], Fragment::First),
            Ok(expected)
        );
        assert_eq!(
            parse_transport(Protocol::UDP, &datagram[..8], Fragment::Whole),
            Err(UdpError::BadLength {
                length: 12,
                available: 8
            }
            .into())
        );
    }

    #[test]
    fn icmp_of_both_versions() {
        let parse = |protocol, message_type| {
            parse_transport(
                protocol,
                &[message_type, 4, 0, 0, 0xab, 0xcd, 0, 0],
                Fragment::Whole,
            )
            .unwrap()
        };
        let query = |message_type, is_reply| Transport::IcmpQuery {
            message_type,
            is_reply,
            identifier: 0xabcd,
        };
        assert_eq!(parse(Protocol::ICMP, 8), query(8, false));
        assert_eq!(parse(Protocol::ICMP, 0), query(0, true));
        assert_eq!(parse(Protocol::ICMP, 14), query(14, true));
        assert_eq!(parse(Protocol::ICMPV6, 128), query(128, false));
        assert_eq!(parse(Protocol::ICMPV6, 129), query(129, true));
        assert_eq!(
            parse(Protocol::ICMP, 3),
            Transport::IcmpError {
                message_type: 3,
                code: 4
            }
        );
        assert_eq!(
            parse(Protocol::ICMPV6, 2),
            Transport::IcmpError {
                message_type: 2,
                code: 4
            }
        );
        assert_eq!(
            parse(Protocol::ICMPV6, 135),
            Transport::IcmpOther {
                message_type: 135,
                code: 4
            }
        );
        assert_eq!(
            parse(Protocol::ICMP, 9),
            Transport::IcmpOther {
                message_type: 9,
                code: 4
            }
        );
    }

    #[test]
    fn what_has_no_ports() {
        let gre = Protocol::GRE;
        assert_eq!(
            parse_transport(gre, &[], Fragment::Whole),
            Ok(Transport::Other { protocol: gre })
        );
        assert_eq!(
            parse_transport(Protocol::TCP, &[], Fragment::Later),
            Ok(Transport::LaterFragment {
                protocol: Protocol::TCP
            })
        );
        assert_eq!(
            parse_transport(Protocol::SCTP, &[0; 11], Fragment::Whole),
            Err(TransportError::TooShort {
                protocol: Protocol::SCTP,
                needed: 12,
                available: 11
            })
        );
    }

    proptest! {
        /// The quick parse and the views agree on what is a header, and on what it says.
        #[test]
        fn agrees_with_the_views(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            plausible: bool,
        ) {
            let mut bytes = bytes;
            if plausible && bytes.len() > 12 {
                (bytes[4], bytes[12]) = (0, 0x50);
            }
            let parsed = parse_transport(Protocol::TCP, &bytes, Fragment::Whole);
            match tcp::TcpView::new_checked(&bytes) {
                Err(error) => prop_assert_eq!(parsed, Err(error.into())),
                Ok(view) => prop_assert_eq!(parsed, Ok(Transport::Tcp {
                    source: view.source(),
                    destination: view.destination(),
                    flags: view.flags(),
                    header_len: view.header_len(),
                })),
            }
            let parsed = parse_transport(Protocol::UDP, &bytes, Fragment::Whole);
            match udp::UdpView::new_checked(&bytes) {
                Err(error) => prop_assert_eq!(parsed, Err(error.into())),
                Ok(view) => prop_assert_eq!(parsed, Ok(Transport::Udp {
                    source: view.source(),
                    destination: view.destination(),
                })),
            }
        }

        #[test]
        fn arbitrary_bytes(
            protocol: u8,
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            fragment in prop::sample::select(
                &[Fragment::Whole, Fragment::First, Fragment::Later][..],
            ),
        ) {
            for protocol in [protocol, 1, 6, 17, 58, 132] {
                let _ = parse_transport(Protocol(protocol), &bytes, fragment);
            }
        }
    }
}
