//! Packets of one IP version made packets of the other (RFC 7915), as stateful NAT64 asks for (RFC 6146): headers, upper-layer checksums,
//! ICMP messages, and the packets that ICMP errors quote.
//!
//! In place: the packet's bytes are moved behind the new header. Checksums of TCP, UDP and ICMP queries are updated, not
//! recomputed, so that a packet that came damaged leaves damaged. ICMP errors are made anew, and are to be checked before.
//!
//! What is lost: IPv4 options, IPv6 extension headers other than the fragment header (RFC 7915 sections 4.1 and 5.1), the flow label, and what RFC
//! 4884 appends to ICMP errors. Fragments of ICMP messages are refused: the checksum of ICMPv6 covers a length that none of them has.

mod icmp;

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::bytes::{between, between_mut, put_at, u16_at};
use crate::checksum::{Delta, checksum, pseudo_header};
use crate::error::EmitError;
use crate::icmp_error::{ICMPV4_ERROR_LIMIT, ICMPV6_ERROR_LIMIT};
use crate::ip::{Fragment, Ip, IpAddress, IpHeader, Protocol};
use crate::ipv4::{self, Ipv4Error, Ipv4Repr, Ipv4View};
pub use crate::ipv6::fragment::FRAGMENT_HEADER_LEN;
use crate::ipv6::{self, Ipv6Error, Ipv6Repr, Ipv6View};
use crate::nat::{Quoted, RewriteError};
use crate::udp::never_absent;
use crate::{Ipv4, Ipv6, tcp};

pub use icmp::{error_kind_to_ipv4, error_kind_to_ipv6};

/// Bytes that a packet grows by at most, when it becomes one of IPv6: 20 for the header and 8 for a fragment header, and as many for the
/// packet that an ICMP error quotes.
pub const MOST_GROWTH: usize = 2 * (DIFFERENCE + FRAGMENT_HEADER_LEN);

/// By how many bytes an IPv6 header is longer than an IPv4 one without options.
pub const DIFFERENCE: usize = ipv6::HEADER_LEN - ipv4::MIN_HEADER_LEN;

/// Bytes that every IPv6 link takes (RFC 8200 section 5).
pub const IPV6_LEAST_MTU: usize = 1280;

/// The largest IPv4 packet that says "may be fragmented" when it comes from an IPv6 packet without a fragment header (RFC 7915 section 5.1):
/// a sender that has been told an MTU below 1280 sends such packets.
pub const LARGEST_FRAGMENTABLE: usize = IPV6_LEAST_MTU - DIFFERENCE;

const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;
const UDP_CHECKSUM: usize = 6;
const TCP_CHECKSUM: usize = tcp::CHECKSUM;
const ICMP_CHECKSUM: usize = 2;
const ICMP_IDENTIFIER: usize = 4;

/// Source and destination of a packet, each with a port in host order. Of an ICMP query, either port is the identifier.
pub type Ends<A> = ((A, u16), (A, u16));

/// Why a packet has no equal in the other IP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TranslateError {
    /// It is no IPv4 packet.
    #[error(transparent)]
    Ipv4(#[from] Ipv4Error),
    /// It is no IPv6 packet.
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
    /// It is no ICMP error, or quotes no packet.
    #[error(transparent)]
    Quote(#[from] RewriteError),
    /// Neither TCP nor UDP nor an ICMP query (RFC 6146 section 3.4).
    #[error("{0} is not translated")]
    Protocol(Protocol),
    /// An ICMP message that the other version does not have (RFC 7915 sections 4.2 and 5.2).
    #[error("ICMP type {message_type} code {code} has no equal")]
    Icmp {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
    },
    /// A fragment of an ICMP message.
    #[error("a fragment of an ICMP message is not translated")]
    IcmpFragment,
    /// The first fragment of a UDP datagram without checksum, which IPv6 must have (RFC 7915 section 4.5).
    #[error("a UDP checksum cannot be computed of a fragment")]
    UdpWithoutChecksum,
    /// Extension headers behind the fragment header: fragments that follow cannot be told apart from them.
    #[error("extension headers behind the fragment header")]
    FragmentedExtensions,
    /// The buffer lacks room.
    #[error("the packet takes {needed} bytes, {available} are there")]
    NoRoom {
        /// Bytes that it takes.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// Longer than a header can say.
    #[error(transparent)]
    Emit(#[from] EmitError),
}

/// What the fragments of a packet have in their headers. The offset in units of 8 bytes.
#[derive(Clone, Copy)]
struct Piece {
    identification: u32,
    offset: u16,
    more: bool,
}

/// Makes an IPv6 packet one of IPv4 between these ends. `header` is that of `packet`; the hop limit is decremented.
/// `identification` is for a packet that may be fragmented and is none yet. The length of the new packet, which is shorter.
///
/// # Errors
/// See [`TranslateError`]; the packet's bytes mean nothing then.
pub fn to_ipv4(
    packet: &mut [u8],
    header: &IpHeader<Ipv6>,
    ends: Ends<Ipv4Addr>,
    identification: u16,
) -> Result<usize, TranslateError> {
    let piece = piece_of_ipv6(packet, header)?;
    let upper = header.header_len..header.packet_len;
    let length = upper.len();
    let l4 = between_mut(packet, upper.start, upper.end);
    let protocol = translate_transport(l4, header, ends, false)?;
    let start = ipv4::MIN_HEADER_LEN;
    packet.copy_within(upper, start);
    let ip = ipv4_header(header, (ends.0.0, ends.1.0), protocol, piece);
    let ip = Ipv4Repr {
        ttl: header.hop_limit.saturating_sub(1),
        identification: if ip.dont_fragment || piece.is_some() {
            ip.identification
        } else {
            identification
        },
        ..ip
    };
    ip.emit(packet)?;
    Ok(start + length)
}

/// Makes an IPv4 packet one of IPv6 between these ends. `header` is that of the packet which `packet` begins with; behind it is
/// room for [`MOST_GROWTH`] bytes. The hop limit is decremented. A fragment gets a fragment header, as does any packet where
/// `as_fragment` says so: one that is to be cut. The length of the new packet.
///
/// # Errors
/// See [`TranslateError`]; the packet's bytes mean nothing then.
pub fn to_ipv6(
    packet: &mut [u8],
    header: &IpHeader<Ipv4>,
    ends: Ends<Ipv6Addr>,
    as_fragment: bool,
) -> Result<usize, TranslateError> {
    let piece = piece_of_ipv4(packet, header)?
        .filter(|_| as_fragment || header.fragment != Fragment::Whole);
    let upper = header.header_len..header.packet_len;
    let length = upper.len();
    let l4 = between_mut(packet, upper.start, upper.end);
    let protocol = translate_transport(l4, header, ends, false)?;
    let start = ipv6::HEADER_LEN + piece.map_or(0, |_| FRAGMENT_HEADER_LEN);
    check_room(packet, start + length)?;
    packet.copy_within(upper, start);
    let addresses = (ends.0.0, ends.1.0);
    let hop_limit = header.hop_limit.saturating_sub(1);
    write_ipv6(
        packet,
        header,
        addresses,
        (protocol, hop_limit),
        piece,
        length,
    )?;
    Ok(start + length)
}

/// Makes an ICMPv6 error one of ICMP: from and to these addresses, about a packet between these ends. `header` is that of
/// `packet`; the hop limit is decremented. `mtu` is what a [packet too big](crate::icmpv6) says at most. The length of the new
/// packet, not more than 576 bytes (RFC 1812 section 4.3.2.3).
///
/// # Errors
/// See [`TranslateError`]; the packet's bytes mean nothing then.
pub fn error_to_ipv4(
    packet: &mut [u8],
    header: &IpHeader<Ipv6>,
    (source, destination): (Ipv4Addr, Ipv4Addr),
    quoted_ends: Ends<Ipv4Addr>,
    mtu: u32,
) -> Result<usize, TranslateError> {
    let quoted = Quoted::find(packet, header)?;
    let inner = quoted.header;
    let message = icmp::error_to_ipv4(between(packet, header.header_len, quoted.offset), mtu)?;
    let quote = between_mut(packet, quoted.offset, quoted.end);
    let piece = piece_of_ipv6_quoted(quote)?;
    let (head, l4) = quote.split_at_mut(inner.header_len.min(quote.len()));
    let (head, length) = (head.len(), l4.len());
    let protocol = translate_transport(l4, &inner, quoted_ends, true)?;
    let quote_at = ipv4::MIN_HEADER_LEN + icmp::HEADER_LEN;
    let upper_at = quote_at + ipv4::MIN_HEADER_LEN;
    packet.copy_within(
        quoted.offset + head..quoted.offset + head + length,
        upper_at,
    );
    let end = (upper_at + length).min(ICMPV4_ERROR_LIMIT);
    let ip = Ipv4Repr {
        ttl: inner.hop_limit,
        ..ipv4_header(&inner, (quoted_ends.0.0, quoted_ends.1.0), protocol, piece)
    };
    ip.emit(between_mut(packet, quote_at, upper_at))?;
    put_at(packet, ipv4::MIN_HEADER_LEN, message);
    let sum = checksum(between(packet, ipv4::MIN_HEADER_LEN, end));
    put_at(
        packet,
        ipv4::MIN_HEADER_LEN + ICMP_CHECKSUM,
        sum.to_be_bytes(),
    );
    let length = end - ipv4::MIN_HEADER_LEN;
    let ip = Ipv4Repr {
        ttl: header.hop_limit.saturating_sub(1),
        traffic_class: header.traffic_class,
        ..Ipv4Repr::new(source, destination, Protocol::ICMP, length)
    };
    ip.emit(packet)?;
    Ok(end)
}

/// Makes an ICMP error one of ICMPv6, as [`error_to_ipv4`] does the other way. Behind the packet is room for [`MOST_GROWTH`] bytes. The
/// new packet has not more than 1280 bytes (RFC 4443 section 2.4).
///
/// # Errors
/// See [`TranslateError`]; the packet's bytes mean nothing then.
pub fn error_to_ipv6(
    packet: &mut [u8],
    header: &IpHeader<Ipv4>,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    quoted_ends: Ends<Ipv6Addr>,
    mtu: u32,
) -> Result<usize, TranslateError> {
    let quoted = Quoted::find(packet, header)?;
    let inner = quoted.header;
    let icmp = between(packet, header.header_len, quoted.offset);
    let message = icmp::error_to_ipv6(icmp, inner.packet_len, mtu)?;
    let quote = between_mut(packet, quoted.offset, quoted.end);
    let piece = quoted_piece_of_ipv4(quote)?;
    let (head, l4) = quote.split_at_mut(inner.header_len.min(quote.len()));
    let (head, length) = (head.len(), l4.len());
    let protocol = translate_transport(l4, &inner, quoted_ends, true)?;
    let quote_at = ipv6::HEADER_LEN + icmp::HEADER_LEN;
    let upper_at = quote_at + ipv6::HEADER_LEN + piece.map_or(0, |_| FRAGMENT_HEADER_LEN);
    check_room(packet, upper_at + length)?;
    packet.copy_within(
        quoted.offset + head..quoted.offset + head + length,
        upper_at,
    );
    let end = (upper_at + length).min(ICMPV6_ERROR_LIMIT);
    let addresses = (quoted_ends.0.0, quoted_ends.1.0);
    let upper_len = inner.packet_len.saturating_sub(inner.header_len);
    let out = between_mut(packet, quote_at, upper_at);
    write_ipv6(
        out,
        &inner,
        addresses,
        (protocol, inner.hop_limit),
        piece,
        upper_len,
    )?;
    put_at(packet, ipv6::HEADER_LEN, message);
    let length = end - ipv6::HEADER_LEN;
    let sum = pseudo_header(source, destination, Protocol::ICMPV6, length)
        .bytes(between(packet, ipv6::HEADER_LEN, end))
        .checksum();
    put_at(packet, ipv6::HEADER_LEN + ICMP_CHECKSUM, sum.to_be_bytes());
    let ip = Ipv6Repr {
        hop_limit: header.hop_limit.saturating_sub(1),
        traffic_class: header.traffic_class,
        ..Ipv6Repr::new(source, destination, Protocol::ICMPV6, length)
    };
    ip.emit(packet)?;
    Ok(end)
}

fn check_room(packet: &[u8], needed: usize) -> Result<(), TranslateError> {
    let available = packet.len();
    match needed <= available {
        true => Ok(()),
        false => Err(TranslateError::NoRoom { needed, available }),
    }
}

/// What part of a packet an IPv6 packet is, where it has a fragment header.
fn piece_of_ipv6(packet: &[u8], header: &IpHeader<Ipv6>) -> Result<Option<Piece>, TranslateError> {
    let upper = Ipv6View::new_checked(packet)?.upper_layer()?;
    match upper.fragment {
        // Of a later fragment nobody knows.
        Some(fragment) if fragment.end != upper.offset => Err(TranslateError::FragmentedExtensions),
        _ if header.fragment != Fragment::Whole && header.protocol == Protocol::ICMPV6 => {
            Err(TranslateError::IcmpFragment)
        }
        fragment => Ok(fragment.map(piece_of)),
    }
}

fn piece_of_ipv6_quoted(quote: &[u8]) -> Result<Option<Piece>, TranslateError> {
    let upper = Ipv6View::new_quoted(quote)?.upper_layer()?;
    Ok(upper.fragment.map(piece_of))
}

fn piece_of(fragment: ipv6::FragmentHeader) -> Piece {
    Piece {
        identification: fragment.identification,
        offset: fragment.offset,
        more: fragment.more,
    }
}

/// What part of a packet an IPv4 packet is.
fn piece_of_ipv4(packet: &[u8], header: &IpHeader<Ipv4>) -> Result<Option<Piece>, TranslateError> {
    if header.fragment != Fragment::Whole && header.protocol == Protocol::ICMP {
        return Err(TranslateError::IcmpFragment);
    }
    Ok(Some(piece_in(&Ipv4View::new_checked(packet)?)))
}

/// As [`piece_of_ipv4`], of a quoted packet, which needs no fragment header unless it is a fragment.
fn quoted_piece_of_ipv4(quote: &[u8]) -> Result<Option<Piece>, TranslateError> {
    let view = Ipv4View::new_quoted(quote)?;
    Ok((view.fragment() != Fragment::Whole).then(|| piece_in(&view)))
}

fn piece_in<T: AsRef<[u8]>>(view: &Ipv4View<T>) -> Piece {
    Piece {
        identification: view.identification().into(),
        offset: view.fragment_offset(),
        more: view.more_fragments(),
    }
}

/// The IPv4 header for what has this IPv6 header (RFC 7915 section 5.1).
fn ipv4_header(
    header: &IpHeader<Ipv6>,
    (source, destination): (Ipv4Addr, Ipv4Addr),
    protocol: Protocol,
    piece: Option<Piece>,
) -> Ipv4Repr {
    let payload_len = header.packet_len.saturating_sub(header.header_len);
    let ip = Ipv4Repr {
        ttl: header.hop_limit,
        traffic_class: header.traffic_class,
        ..Ipv4Repr::new(source, destination, protocol, payload_len)
    };
    match piece {
        Some(piece) => Ipv4Repr {
            identification: piece.identification as u16,
            dont_fragment: false,
            more_fragments: piece.more,
            fragment_offset: piece.offset,
            ..ip
        },
        None => Ipv4Repr {
            dont_fragment: ipv4::MIN_HEADER_LEN + payload_len > LARGEST_FRAGMENTABLE,
            ..ip
        },
    }
}

/// Writes the IPv6 header, and the fragment header, for what has this IPv4 header (RFC 7915 section 4.1).
fn write_ipv6(
    out: &mut [u8],
    header: &IpHeader<Ipv4>,
    (source, destination): (Ipv6Addr, Ipv6Addr),
    (protocol, hop_limit): (Protocol, u8),
    piece: Option<Piece>,
    upper_len: usize,
) -> Result<(), TranslateError> {
    let (next_header, between) = match piece {
        Some(_) => (Protocol::FRAGMENT, FRAGMENT_HEADER_LEN),
        None => (protocol, 0),
    };
    let ip = Ipv6Repr {
        hop_limit,
        traffic_class: header.traffic_class,
        ..Ipv6Repr::new(source, destination, next_header, upper_len + between)
    };
    ip.emit(out)?;
    if let Some(piece) = piece {
        let place = piece.offset << 3 | u16::from(piece.more);
        put_at(out, ipv6::HEADER_LEN, [protocol.0, 0]);
        put_at(out, ipv6::HEADER_LEN + 2, place.to_be_bytes());
        put_at(
            out,
            ipv6::HEADER_LEN + 4,
            piece.identification.to_be_bytes(),
        );
    }
    Ok(())
}

/// Changes the header of the upper layer from one version's ends to the other's; the protocol's number there. What a quote has
/// cut off is left out.
fn translate_transport<F: Ip, T: IpAddress>(
    l4: &mut [u8],
    header: &IpHeader<F>,
    (source, destination): Ends<T>,
    is_quoted: bool,
) -> Result<Protocol, TranslateError> {
    let is_ipv4 = <T::Version as Ip>::BITS <= 32;
    let protocol = header.protocol;
    let new_protocol = match protocol {
        Protocol::TCP | Protocol::UDP => protocol,
        protocol if protocol == F::ICMP => <T::Version as Ip>::ICMP,
        protocol => return Err(TranslateError::Protocol(protocol)),
    };
    if header.fragment == Fragment::Later {
        return Ok(new_protocol);
    }
    // By the packet's own account: a quote is cut.
    let length = header.packet_len.saturating_sub(header.header_len);
    let ports = [(SOURCE_PORT, source.1), (DESTINATION_PORT, destination.1)];
    let addresses = Delta::NONE
        .u128(header.source.to_left_aligned(), source.0.to_left_aligned())
        .u128(
            header.destination.to_left_aligned(),
            destination.0.to_left_aligned(),
        );
    match protocol {
        Protocol::TCP => {
            let delta = put_words(l4, ports, addresses);
            update(l4, TCP_CHECKSUM, delta, |sum| sum);
        }
        Protocol::UDP => {
            let delta = put_words(l4, ports, addresses);
            match u16_at(l4, UDP_CHECKSUM) {
                // Over IPv4 it means that there is none.
                0 if is_ipv4 || is_quoted => {}
                0 if header.fragment != Fragment::Whole => {
                    return Err(TranslateError::UdpWithoutChecksum);
                }
                0 => {
                    let pseudo = pseudo_header(source.0, destination.0, protocol, l4.len());
                    let sum = never_absent(pseudo.bytes(l4).checksum());
                    put_at(l4, UDP_CHECKSUM, sum.to_be_bytes());
                }
                _ => update(l4, UDP_CHECKSUM, delta, never_absent),
            }
        }
        _ => {
            let of_type = icmp::query::<F>(l4)?;
            // Of ICMPv6 alone the checksum covers addresses, length and protocol.
            let pseudo = match is_ipv4 {
                true => Delta::NONE.u16(
                    pseudo_header(header.source, header.destination, protocol, length).folded(),
                    0,
                ),
                false => Delta::NONE.u16(
                    0,
                    pseudo_header(source.0, destination.0, new_protocol, length).folded(),
                ),
            };
            let words = [(0, u16::from(of_type) << 8), (ICMP_IDENTIFIER, source.1)];
            let delta = put_words(l4, words, pseudo);
            update(l4, ICMP_CHECKSUM, delta, |sum| sum);
        }
    }
    Ok(new_protocol)
}

/// Writes words; what they do to a checksum that covers them, besides `delta`.
fn put_words<const N: usize>(l4: &mut [u8], words: [(usize, u16); N], delta: Delta) -> Delta {
    words.into_iter().fold(delta, |delta, (at, word)| {
        let delta = delta.u16(u16_at(l4, at), word);
        put_at(l4, at, word.to_be_bytes());
        delta
    })
}

/// Applies a change to the checksum at `at`, where that is there.
fn update(l4: &mut [u8], at: usize, delta: Delta, seal: impl Fn(u16) -> u16) {
    let sum = seal(delta.apply(u16_at(l4, at)));
    put_at(l4, at, sum.to_be_bytes());
}

#[cfg(test)]
mod tests;
