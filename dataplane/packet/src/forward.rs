//! What forwarding changes in a plain packet: addresses, ports, hop limit and checksums, in one go.
//!
//! A plain packet is whole, has no options or extension headers, and carries TCP or UDP: nearly all packets are. What is
//! not plain goes the long way, through [`crate::nat`]; both write the same bytes.

use crate::bytes::{put_at, u8_at, u16_at, u32_at};
use crate::checksum::{Delta, Sum};
use crate::ip::{Ip, IpAddress, IpVersion, Protocol};
use crate::udp::never_absent;

/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extension headers.
const IPV6_HEADER: usize = 40;
const UDP_CHECKSUM: usize = 6;
const TCP_CHECKSUM: usize = 16;

/// A plain packet, as far as forwarding needs to know it. Numbers in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain<A> {
    /// The source address.
    pub source: A,
    /// The destination address.
    pub destination: A,
    /// The source port.
    pub source_port: u16,
    /// The destination port.
    pub destination_port: u16,
    /// Bytes of the packet, from its IP header on. What lies behind them is Ethernet's padding.
    pub packet_len: usize,
    /// What TCP says; nothing of UDP.
    pub tcp: Option<PlainTcp>,
}

/// What the TCP header of a plain packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainTcp {
    /// The control bits.
    pub flags: u8,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// The window, not scaled.
    pub window: u16,
    /// Bytes of data.
    pub payload_len: u32,
}

impl<A: IpAddress> Plain<A> {
    /// Reads a packet, given from its IP header on. Nothing, where it is not plain, or anything is wrong with it, its hop
    /// limit used up, or its header checksum not right: whoever looks closer will say what. The checksum of TCP or UDP is
    /// not looked at.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (header_len, packet_len, protocol) = match A::Version::VERSION {
            IpVersion::V4 => {
                let header: &[u8; IPV4_HEADER] = bytes.first_chunk()?;
                // Version 4 and five words; neither an offset nor more fragments; a hop to go.
                let is_plain = header[0] == 0x45
                    && u16_at(header, 6) & 0x3fff == 0
                    && header[8] > 1
                    && Sum::ZERO.bytes(header).is_valid();
                if !is_plain {
                    return None;
                }
                (IPV4_HEADER, usize::from(u16_at(header, 2)), header[9])
            }
            IpVersion::V6 => {
                let header: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
                if header[0] >> 4 != 6 || header[7] <= 1 {
                    return None;
                }
                let payload = usize::from(u16_at(header, 4));
                (IPV6_HEADER, IPV6_HEADER + payload, header[6])
            }
        };
        let upper = bytes.get(header_len..packet_len)?;
        let tcp = match Protocol(protocol) {
            Protocol::UDP if upper.len() >= 8 && usize::from(u16_at(upper, 4)) == upper.len() => {
                None
            }
            Protocol::TCP if upper.len() >= 20 => {
                let header_len = usize::from(u8_at(upper, 12) >> 4) * 4;
                if header_len < 20 || header_len > upper.len() {
                    return None;
                }
                Some(PlainTcp {
                    flags: u8_at(upper, 13),
                    sequence: u32_at(upper, 4),
                    acknowledgment: u32_at(upper, 8),
                    window: u16_at(upper, 14),
                    payload_len: (upper.len() - header_len) as u32,
                })
            }
            _ => return None,
        };
        let at = A::Version::SOURCE_OFFSET;
        Some(Plain {
            source: A::read(bytes, at)?,
            destination: A::read(bytes, at + A::LEN)?,
            source_port: u16_at(upper, 0),
            destination_port: u16_at(upper, 2),
            packet_len,
            tcp,
        })
    }

    /// The protocol.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        match self.tcp {
            Some(_) => Protocol::TCP,
            None => Protocol::UDP,
        }
    }

    /// Writes new ends into the packet that this was read from, takes its hop limit down, and keeps its checksums up. The
    /// same ends as before are allowed. A packet that came with a wrong TCP or UDP checksum leaves with a wrong one.
    #[inline]
    pub fn forward(&self, bytes: &mut [u8], source: (A, u16), destination: (A, u16)) {
        let header_len = match A::Version::VERSION {
            IpVersion::V4 => IPV4_HEADER,
            IpVersion::V6 => IPV6_HEADER,
        };
        let at = A::Version::SOURCE_OFFSET;
        let is_translated = source != (self.source, self.source_port)
            || destination != (self.destination, self.destination_port);
        let mut addresses = Delta::NONE;
        if is_translated {
            addresses = addresses
                .address(self.source, source.0)
                .address(self.destination, destination.0);
            source.0.write(bytes, at);
            destination.0.write(bytes, at + A::LEN);
            put_at(bytes, header_len, source.1.to_be_bytes());
            put_at(bytes, header_len + 2, destination.1.to_be_bytes());
            let checksum = header_len
                + match self.tcp {
                    Some(_) => TCP_CHECKSUM,
                    None => UDP_CHECKSUM,
                };
            let old = u16_at(bytes, checksum);
            let new = addresses
                .u16(self.source_port, source.1)
                .u16(self.destination_port, destination.1)
                .apply(old);
            let new = match self.tcp {
                Some(_) => new,
                None if old == 0 => 0,
                None => never_absent(new),
            };
            put_at(bytes, checksum, new.to_be_bytes());
        }
        match A::Version::CHECKSUM_OFFSET {
            Some(checksum) => {
                // The hop limit is the high half of a word.
                let word = u16_at(bytes, 8);
                let old = u16_at(bytes, checksum);
                let new = addresses.u16(word, word.wrapping_sub(0x100)).apply(old);
                put_at(bytes, 8, word.wrapping_sub(0x100).to_be_bytes());
                put_at(bytes, checksum, new.to_be_bytes());
            }
            None => {
                let hop_limit = u8_at(bytes, 7);
                put_at(bytes, 7, [hop_limit.wrapping_sub(1)]);
            }
        }
    }
}
