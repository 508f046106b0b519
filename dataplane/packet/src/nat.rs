//! Address and port translation in place, and of the packet that an ICMP error quotes (RFC 3022,
//! RFC 5508).
//!
//! Written once for both families. Checksums are updated, not recomputed: the cost does not depend
//! on the length of the packet, and a packet that came damaged leaves damaged. Everything is looked
//! at before anything is changed, so an error leaves the packet as it was.

use thiserror::Error;

use crate::bytes::{put_at, u8_at, u16_at};
use crate::checksum::Delta;
use crate::ip::{Fragment, Ip, IpAddress, IpError, IpHeader, Protocol};
use crate::udp::never_absent;
use crate::{icmpv4, icmpv6, tcp, udp};

const SOURCE_PORT: usize = 0;
const DESTINATION_PORT: usize = 2;
const ICMP_CHECKSUM: usize = 2;
const ICMP_IDENTIFIER: usize = 4;

/// What one end of a packet becomes: an address, and a port (or ICMP identifier) if that changes,
/// too. `None` leaves the end as it is.
pub type NewEndpoint<A> = Option<(A, Option<u16>)>;

/// Why a packet cannot be translated. It is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RewriteError {
    /// The packet, or the quoted one, is none.
    #[error(transparent)]
    Ip(#[from] IpError),
    /// A field of the upper layer that must change is not there.
    #[error("{protocol} needs {needed} bytes to be translated, {available} are there")]
    Truncated {
        /// The upper layer.
        protocol: Protocol,
        /// Bytes that reach to the end of the field.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// A new port for something that has none.
    #[error("{protocol} has no port that could change")]
    NoPort {
        /// The upper layer.
        protocol: Protocol,
    },
    /// A new port for SCTP, whose CRC32c covers the ports and would have to be computed over the
    /// whole packet.
    #[error("the port {old} of SCTP cannot become {new}: its checksum covers it")]
    SctpPort {
        /// The port.
        old: u16,
        /// What it should have become.
        new: u16,
    },
    /// Two different new identifiers for an ICMP query, which has one.
    #[error("the ICMP identifier cannot become both {source_port} and {destination_port}")]
    TwoIdentifiers {
        /// From the new source.
        source_port: u16,
        /// From the new destination.
        destination_port: u16,
    },
    /// The packet is no ICMP error, so it quotes nothing.
    #[error("not an ICMP error message")]
    NotAnIcmpError,
}

/// Translates an IPv4 packet. See [`nat_rewrite`].
///
/// # Errors
/// See [`RewriteError`].
pub fn nat_rewrite_ipv4(
    packet: &mut [u8],
    new_source: NewEndpoint<std::net::Ipv4Addr>,
    new_destination: NewEndpoint<std::net::Ipv4Addr>,
) -> Result<(), RewriteError> {
    nat_rewrite(packet, new_source, new_destination)
}

/// Translates an IPv6 packet. See [`nat_rewrite`].
///
/// # Errors
/// See [`RewriteError`].
pub fn nat_rewrite_ipv6(
    packet: &mut [u8],
    new_source: NewEndpoint<std::net::Ipv6Addr>,
    new_destination: NewEndpoint<std::net::Ipv6Addr>,
) -> Result<(), RewriteError> {
    nat_rewrite(packet, new_source, new_destination)
}

/// Translates a packet, given from its IP header on: changes addresses and ports and updates the
/// IPv4 header checksum and that of TCP, UDP or ICMPv6.
///
/// - Of an ICMP query, either port means the identifier. Other ICMP, and other protocols, have
///   addresses only.
/// - SCTP keeps its ports; its checksum does not cover the addresses.
/// - A UDP checksum of 0, none, stays 0, over IPv6 too (RFC 6935); one that comes out as 0 is sent
///   as 0xffff.
/// - A later fragment has addresses only; ports are ignored. A first fragment that is too short for
///   the checksum is left without the update.
/// - The checksum is taken to cover the addresses of the IP header. Behind an IPv6 routing header
///   with segments left it covers the last one's instead (RFC 8200 section 8.1): such a packet
///   should not be translated.
///
/// # Errors
/// See [`RewriteError`].
pub fn nat_rewrite<A: IpAddress>(
    packet: &mut [u8],
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> Result<(), RewriteError> {
    let mut header = A::Version::parse(packet)?;
    nat_rewrite_parsed(packet, &mut header, new_source, new_destination)
}

/// As [`nat_rewrite`], for a packet that was parsed already: `header` is that of `packet`, and is
/// kept up to date.
///
/// # Errors
/// See [`RewriteError`].
#[inline]
pub fn nat_rewrite_parsed<A: IpAddress>(
    packet: &mut [u8],
    header: &mut IpHeader<A::Version>,
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> Result<(), RewriteError> {
    let _ = rewrite(packet, header, false, new_source, new_destination)?;
    header.source = new_source.map_or(header.source, |(address, _)| address);
    header.destination = new_destination.map_or(header.destination, |(address, _)| address);
    Ok(())
}

/// The packet that an ICMP error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quoted<I: Ip> {
    /// Its header. The lengths are by its own account; it is mostly cut.
    pub header: IpHeader<I>,
    /// What is known of its upper layer.
    pub transport: QuotedTransport,
    /// Where it begins, from the start of the packet that quotes it.
    pub(crate) offset: usize,
    /// Where the quote ends.
    pub(crate) end: usize,
}

/// What eight quoted bytes, which is all that RFC 792 promises, tell of the upper layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuotedTransport {
    /// TCP, UDP or SCTP.
    Ports {
        /// From which port.
        source: u16,
        /// To which port.
        destination: u16,
    },
    /// An ICMP query.
    IcmpQuery {
        /// The type.
        message_type: u8,
        /// It answers.
        is_reply: bool,
        /// Who asks: like a port.
        identifier: u16,
    },
    /// Something without ports, or they are cut off, or it is a later fragment.
    Other,
}

impl<I: Ip> Quoted<I> {
    /// Finds the packet that the ICMP error in `packet` quotes. `header` is that of `packet`.
    ///
    /// # Errors
    /// `NotAnIcmpError`, or `Ip`, about the header in the quote.
    pub fn find(packet: &[u8], header: &IpHeader<I>) -> Result<Self, RewriteError> {
        if header.protocol != I::ICMP || header.fragment == Fragment::Later {
            return Err(RewriteError::NotAnIcmpError);
        }
        let quote =
            I::icmp_quote(header.upper_layer(packet)).ok_or(RewriteError::NotAnIcmpError)?;
        let inner = I::parse_quoted(quote)?;
        let l4 = inner.upper_layer(quote);
        let transport = match inner.protocol {
            _ if inner.fragment == Fragment::Later => QuotedTransport::Other,
            Protocol::TCP | Protocol::UDP | Protocol::SCTP if l4.len() >= 4 => {
                QuotedTransport::Ports {
                    source: u16_at(l4, SOURCE_PORT),
                    destination: u16_at(l4, DESTINATION_PORT),
                }
            }
            protocol if protocol == I::ICMP && l4.len() >= ICMP_IDENTIFIER + 2 => {
                let message_type = u8_at(l4, 0);
                match I::icmp_query_is_reply(message_type) {
                    None => QuotedTransport::Other,
                    Some(is_reply) => QuotedTransport::IcmpQuery {
                        message_type,
                        is_reply,
                        identifier: u16_at(l4, ICMP_IDENTIFIER),
                    },
                }
            }
            _ => QuotedTransport::Other,
        };
        let offset = header.header_len + ICMP_HEADER_LEN;
        Ok(Quoted {
            header: inner,
            transport,
            offset,
            end: offset + quote.len(),
        })
    }
}

const ICMP_HEADER_LEN: usize = icmpv4::HEADER_LEN;
const _: () = assert!(icmpv4::HEADER_LEN == icmpv6::HEADER_LEN);

/// Translates the packet that the ICMP error in `packet` quotes, and updates the checksum of the
/// ICMP message. The addresses of `packet` itself are not touched: [`nat_rewrite`] does that.
///
/// What is updated inside: the IPv4 header checksum, and the upper layer's where the quote reaches
/// that far.
///
/// # Errors
/// See [`RewriteError`].
pub fn nat_rewrite_quoted<A: IpAddress>(
    packet: &mut [u8],
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> Result<(), RewriteError> {
    let header = A::Version::parse(packet)?;
    let quoted = Quoted::find(packet, &header)?;
    nat_rewrite_quoted_parsed(packet, &header, &quoted, new_source, new_destination)
}

/// As [`nat_rewrite_quoted`], for a packet that was parsed already: `header` and `quoted` are those
/// of `packet`.
///
/// # Errors
/// See [`RewriteError`].
pub fn nat_rewrite_quoted_parsed<A: IpAddress>(
    packet: &mut [u8],
    header: &IpHeader<A::Version>,
    quoted: &Quoted<A::Version>,
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> Result<(), RewriteError> {
    let inner = crate::bytes::between_mut(packet, quoted.offset, quoted.end);
    let delta = rewrite(inner, &quoted.header, true, new_source, new_destination)?;
    // An error's type is never 0, so the message is not all zeroes, and the zero of the update the
    // right one.
    let at = header.header_len + ICMP_CHECKSUM;
    let checksum = delta.apply(u16_at(packet, at));
    put_at(packet, at, checksum.to_be_bytes());
    Ok(())
}

/// The upper layer's fields that a translation concerns, as offsets from its start.
struct Fields {
    /// New values of 16-bit fields.
    edits: [Option<(usize, u16)>; 2],
    /// The checksum, if there is one.
    checksum: Option<usize>,
    /// The checksum covers the addresses.
    pseudo_header: bool,
}

impl Fields {
    const NONE: Fields = Fields {
        edits: [None, None],
        checksum: None,
        pseudo_header: false,
    };

    fn find<I: Ip>(
        header: &IpHeader<I>,
        l4: &[u8],
        source_port: Option<u16>,
        destination_port: Option<u16>,
    ) -> Result<Fields, RewriteError> {
        if header.fragment == Fragment::Later {
            return Ok(Fields::NONE);
        }
        let protocol = header.protocol;
        let available = l4.len();
        let ports = [
            source_port.map(|port| (SOURCE_PORT, port)),
            destination_port.map(|port| (DESTINATION_PORT, port)),
        ];
        let fields = match protocol {
            Protocol::TCP => Fields {
                edits: ports,
                checksum: Some(tcp::CHECKSUM),
                pseudo_header: true,
            },
            Protocol::UDP => Fields {
                edits: ports,
                checksum: Some(udp::CHECKSUM),
                pseudo_header: true,
            },
            Protocol::SCTP => {
                for (at, new) in ports.into_iter().flatten() {
                    if available < at + 2 {
                        return Err(RewriteError::Truncated {
                            protocol,
                            needed: at + 2,
                            available,
                        });
                    }
                    let old = u16_at(l4, at);
                    if old != new {
                        return Err(RewriteError::SctpPort { old, new });
                    }
                }
                Fields::NONE
            }
            protocol if protocol == I::ICMP => {
                let identifier = match (source_port, destination_port) {
                    (Some(source_port), Some(destination_port))
                        if source_port != destination_port =>
                    {
                        return Err(RewriteError::TwoIdentifiers {
                            source_port,
                            destination_port,
                        });
                    }
                    (one, other) => one.or(other),
                };
                if identifier.is_some()
                    && (l4.is_empty() || I::icmp_query_is_reply(u8_at(l4, 0)).is_none())
                {
                    return Err(RewriteError::NoPort { protocol });
                }
                Fields {
                    edits: [identifier.map(|new| (ICMP_IDENTIFIER, new)), None],
                    checksum: Some(ICMP_CHECKSUM),
                    pseudo_header: I::ICMP_PSEUDO_HEADER,
                }
            }
            protocol if source_port.or(destination_port).is_some() => {
                return Err(RewriteError::NoPort { protocol });
            }
            _ => Fields::NONE,
        };
        for (at, _) in fields.edits.into_iter().flatten() {
            if available < at + 2 {
                return Err(RewriteError::Truncated {
                    protocol,
                    needed: at + 2,
                    available,
                });
            }
        }
        Ok(fields)
    }
}

/// Translates the packet that `header` was read from. Answers what that does to a checksum that
/// covers all of `packet`, from its IP header on.
///
/// In a quote, and in a first fragment, the upper layer's checksum may be cut off.
#[inline]
fn rewrite<A: IpAddress>(
    packet: &mut [u8],
    header: &IpHeader<A::Version>,
    is_quote: bool,
    new_source: NewEndpoint<A>,
    new_destination: NewEndpoint<A>,
) -> Result<Delta, RewriteError> {
    let l4 = header.upper_layer(packet);
    let available = l4.len();
    let port = |end: NewEndpoint<A>| end.and_then(|(_, port)| port);
    let mut fields = Fields::find(header, l4, port(new_source), port(new_destination))?;
    if let Some(at) = fields.checksum
        && available < at + 2
    {
        if !is_quote && header.fragment == Fragment::Whole {
            let protocol = header.protocol;
            return Err(RewriteError::Truncated {
                protocol,
                needed: at + 2,
                available,
            });
        }
        fields.checksum = None;
    }

    // From here on nothing fails.
    let source_at = A::Version::SOURCE_OFFSET;
    let mut addresses = Delta::NONE;
    for (end, old, at) in [
        (new_source, header.source, source_at),
        (new_destination, header.destination, source_at + A::LEN),
    ] {
        if let Some((new, _)) = end {
            addresses = addresses.address(old, new);
            new.write(packet, at);
        }
    }
    let mut total = addresses;
    if let Some(at) = A::Version::CHECKSUM_OFFSET {
        let old = u16_at(packet, at);
        let new = addresses.apply(old);
        put_at(packet, at, new.to_be_bytes());
        total = total.u16(old, new);
    }

    let mut ports = Delta::NONE;
    for (at, new) in fields.edits.into_iter().flatten() {
        let at = header.header_len + at;
        ports = ports.u16(u16_at(packet, at), new);
        put_at(packet, at, new.to_be_bytes());
    }
    total = total.and(ports);
    if let Some(at) = fields.checksum {
        let at = header.header_len + at;
        let old = u16_at(packet, at);
        let delta = if fields.pseudo_header {
            ports.and(addresses)
        } else {
            ports
        };
        let new = match header.protocol {
            Protocol::UDP if old == 0 => 0,
            Protocol::UDP => never_absent(delta.apply(old)),
            Protocol::ICMP => icmpv4_zero(delta.apply(old), header, packet),
            _ => delta.apply(old),
        };
        put_at(packet, at, new.to_be_bytes());
        total = total.u16(old, new);
    }
    Ok(total)
}

/// The right zero for an ICMPv4 checksum: an echo reply with identifier 0, sequence number 0 and no
/// data but zeroes sums to 0, so its checksum is 0xffff, which an update cannot know. In a cut
/// packet neither can we.
#[inline]
fn icmpv4_zero<I: Ip>(updated: u16, header: &IpHeader<I>, packet: &[u8]) -> u16 {
    if updated != 0 || header.fragment != Fragment::Whole || packet.len() < header.packet_len {
        return updated;
    }
    let message = header.upper_layer(packet);
    let zero = |bytes: Option<&[u8]>| bytes.is_some_and(|bytes| bytes.iter().all(|b| *b == 0));
    let all = zero(message.get(..ICMP_CHECKSUM)) && zero(message.get(ICMP_CHECKSUM + 2..));
    if all { 0xffff } else { 0 }
}
