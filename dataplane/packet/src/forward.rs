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
    pub packet_len: u32,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Of TCP, the control bits; like all that follows, 0 for UDP.
    pub flags: u8,
    /// Of TCP, the window, not scaled.
    pub window: u16,
    /// Of TCP, the sequence number.
    pub sequence: u32,
    /// Of TCP, the acknowledgment number.
    pub acknowledgment: u32,
    /// Of TCP, bytes of data.
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
        let at = A::Version::SOURCE_OFFSET;
        let mut plain = Plain {
            source: A::read(bytes, at)?,
            destination: A::read(bytes, at + A::LEN)?,
            source_port: u16_at(upper, 0),
            destination_port: u16_at(upper, 2),
            packet_len: packet_len as u32,
            protocol: Protocol(protocol),
            flags: 0,
            window: 0,
            sequence: 0,
            acknowledgment: 0,
            payload_len: 0,
        };
        match plain.protocol {
            Protocol::UDP if upper.len() >= 8 && usize::from(u16_at(upper, 4)) == upper.len() => {}
            Protocol::TCP => {
                let tcp: &[u8; 20] = upper.first_chunk()?;
                let header_len = usize::from(tcp[12] >> 4) * 4;
                if header_len < 20 || header_len > upper.len() {
                    return None;
                }
                plain.flags = tcp[13];
                plain.sequence = u32_at(tcp, 4);
                plain.acknowledgment = u32_at(tcp, 8);
                plain.window = u16_at(tcp, 14);
                plain.payload_len = (upper.len() - header_len) as u32;
            }
            _ => return None,
        }
        Some(plain)
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
                + if self.protocol == Protocol::TCP {
                    TCP_CHECKSUM
                } else {
                    UDP_CHECKSUM
                };
            let old = u16_at(bytes, checksum);
            let new = addresses
                .u16(self.source_port, source.1)
                .u16(self.destination_port, destination.1)
                .apply(old);
            let new = match self.protocol {
                Protocol::TCP => new,
                _ if old == 0 => 0,
                _ => never_absent(new),
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
