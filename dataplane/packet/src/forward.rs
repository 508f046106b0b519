//! What forwarding changes in a plain packet: addresses, ports, hop limit and checksums, in one go.
//!
//! A plain packet is whole, has no options or extension headers, and carries TCP or UDP: nearly all packets are. What is
//! not plain goes the long way, through [`crate::nat`]; both write the same bytes.

use crate::bytes::{array_at, put_at, u16_at, u32_at};
use crate::checksum::MemorySum;
use crate::ip::{Ip, IpAddress, IpVersion, Protocol};
use crate::tcp::{TcpFlags, TcpView};
use crate::udp::never_absent;

/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header without extension headers.
const IPV6_HEADER: usize = 40;
const UDP_HEADER: usize = 8;
const UDP_CHECKSUM: usize = 6;
/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;
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
    /// Of TCP, the control bits; 0 for UDP.
    pub flags: u8,
}

/// What a plain TCP segment says besides. Numbers in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainTcp {
    /// The window, not scaled.
    pub window: u16,
    /// With SYN, how far its sender shifts the windows that it tells, if it says so.
    pub window_scale: Option<u8>,
    /// The sequence number.
    pub sequence: u32,
    /// The acknowledgment number.
    pub acknowledgment: u32,
    /// Bytes of data.
    pub payload_len: u32,
}

/// The window scale option of a TCP segment.
#[cold]
fn window_scale(segment: &[u8]) -> Option<u8> {
    TcpView::new_checked(segment).ok()?.window_scale()
}

/// Bytes of a TCP header, as it says itself.
fn tcp_header_len(offset: u8) -> u32 {
    u32::from(offset >> 4) * 4
}

impl<A: IpAddress> Plain<A> {
    /// Bytes of its IP header.
    const HEADER: usize = match A::Version::VERSION {
        IpVersion::V4 => IPV4_HEADER,
        IpVersion::V6 => IPV6_HEADER,
    };

    /// Reads a packet, given from its IP header on. Nothing, where it is not plain, or anything is wrong with it, its hop
    /// limit used up, or its header checksum not right: whoever looks closer will say what. The checksum of TCP or UDP is
    /// not looked at.
    #[inline(always)]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        match A::Version::VERSION {
            IpVersion::V4 => {
                let (header, behind) = bytes.split_first_chunk::<IPV4_HEADER>()?;
                // Version 4 and five words; neither an offset nor more fragments; a hop to go.
                let is_plain = header[0] == 0x45
                    && header[6] & 0x3f | header[7] == 0
                    && header[8] > 1
                    && header_sum(header).is_valid();
                let length = usize::from(u16_at(header, 2)).checked_sub(IPV4_HEADER)?;
                is_plain.then_some(())?;
                Self::read_upper(header, Protocol(header[9]), behind.get(..length)?)
            }
            IpVersion::V6 => {
                let (header, behind) = bytes.split_first_chunk::<IPV6_HEADER>()?;
                if header[0] >> 4 != 6 || header[7] <= 1 {
                    return None;
                }
                let length = usize::from(u16_at(header, 4));
                Self::read_upper(header, Protocol(header[6]), behind.get(..length)?)
            }
        }
    }

    /// Reads what is behind an IP header that is plain.
    #[inline(always)]
    fn read_upper<const HEADER: usize>(
        header: &[u8; HEADER],
        protocol: Protocol,
        upper: &[u8],
    ) -> Option<Self> {
        let udp: &[u8; UDP_HEADER] = upper.first_chunk()?;
        let flags = match protocol {
            Protocol::UDP if usize::from(u16_at(udp, 4)) == upper.len() => 0,
            Protocol::TCP => {
                let tcp: &[u8; TCP_HEADER] = upper.first_chunk()?;
                let header_len = tcp_header_len(tcp[12]) as usize;
                if header_len < TCP_HEADER || header_len > upper.len() {
                    return None;
                }
                tcp[13]
            }
            _ => return None,
        };
        let at = A::Version::SOURCE_OFFSET;
        Some(Plain {
            source: A::read(header, at)?,
            destination: A::read(header, at + A::LEN)?,
            source_port: u16_at(udp, 0),
            destination_port: u16_at(udp, 2),
            packet_len: (HEADER + upper.len()) as u32,
            protocol,
            flags,
        })
    }

    /// What the segment says that this was read from; zeros, where it is none of TCP.
    #[inline]
    pub fn tcp(&self, bytes: &[u8]) -> PlainTcp {
        let upper = bytes.get(Self::HEADER..self.packet_len as usize);
        let upper = upper.unwrap_or_default();
        let tcp: &[u8; TCP_HEADER] = upper.first_chunk().unwrap_or(&[0; TCP_HEADER]);
        PlainTcp {
            window: u16_at(tcp, 14),
            window_scale: match self.flags & TcpFlags::SYN.0 {
                0 => None,
                _ => window_scale(upper),
            },
            sequence: u32_at(tcp, 4),
            acknowledgment: u32_at(tcp, 8),
            payload_len: (upper.len() as u32).saturating_sub(tcp_header_len(tcp[12])),
        }
    }

    /// Writes new ends into the packet that this was read from, takes its hop limit down, and keeps its checksums up. The
    /// same ends as before are allowed. A packet that came with a wrong TCP or UDP checksum leaves with a wrong one.
    #[inline(always)]
    pub fn forward(&self, bytes: &mut [u8], source: (A, u16), destination: (A, u16)) {
        match A::Version::VERSION {
            IpVersion::V4 => {
                if let Some((header, upper)) = bytes.split_first_chunk_mut::<IPV4_HEADER>() {
                    self.forward_behind(header, upper, source, destination);
                }
            }
            IpVersion::V6 => {
                if let Some((header, upper)) = bytes.split_first_chunk_mut::<IPV6_HEADER>() {
                    self.forward_behind(header, upper, source, destination);
                }
            }
        }
    }

    #[inline(always)]
    fn forward_behind<const HEADER: usize>(
        &self,
        header: &mut [u8; HEADER],
        upper: &mut [u8],
        source: (A, u16),
        destination: (A, u16),
    ) {
        // Both addresses lie in a row, four words at a time, and so do both ports.
        let mut addresses = [0; 2 * 16];
        source.0.write(&mut addresses, 0);
        destination.0.write(&mut addresses, A::LEN);
        let mut change = MemorySum::ZERO;
        let mut differs = 0;
        for word in 0..A::LEN / 4 {
            let at = A::Version::SOURCE_OFFSET + 8 * word;
            let old = u64::from_ne_bytes(array_at(header, at));
            let new = array_at(&addresses, 8 * word);
            put_at(header, at, new);
            let new = u64::from_ne_bytes(new);
            change = change.u64(!old).u64(new);
            differs |= old ^ new;
        }
        if let Some(at) = A::Version::CHECKSUM_OFFSET {
            let old = u16::from_ne_bytes(array_at(header, at));
            let new = change.and(MemorySum::HOP).apply(old);
            put_at(header, at, new.to_ne_bytes());
            header[8] = header[8].wrapping_sub(1);
        } else {
            header[7] = header[7].wrapping_sub(1);
        }
        let Some(ports) = upper.first_chunk_mut::<4>() else {
            return;
        };
        let old = u32::from_ne_bytes(*ports);
        let new = (u32::from(source.1) << 16 | u32::from(destination.1)).to_be();
        if (differs | u64::from(old ^ new)) == 0 {
            return;
        }
        *ports = new.to_ne_bytes();
        let change = change.u32(!old).u32(new);
        if self.protocol == Protocol::TCP {
            let Some(tcp) = upper.first_chunk_mut::<TCP_HEADER>() else {
                return;
            };
            let old = u16::from_ne_bytes(array_at(tcp, TCP_CHECKSUM));
            put_at(tcp, TCP_CHECKSUM, change.apply(old).to_ne_bytes());
        } else {
            let Some(udp) = upper.first_chunk_mut::<UDP_HEADER>() else {
                return;
            };
            let old = u16::from_ne_bytes(array_at(udp, UDP_CHECKSUM));
            if old != 0 {
                let new = never_absent(change.apply(old));
                put_at(udp, UDP_CHECKSUM, new.to_ne_bytes());
            }
        }
    }
}

/// The sum of an IPv4 header without options.
#[inline(always)]
fn header_sum(header: &[u8; IPV4_HEADER]) -> MemorySum {
    MemorySum::ZERO
        .u64(u64::from_ne_bytes(array_at(header, 0)))
        .u64(u64::from_ne_bytes(array_at(header, 8)))
        .u32(u32::from_ne_bytes(array_at(header, 16)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::nat::nat_rewrite;

    /// A packet of TCP or UDP with these bytes behind its ports, right in all that is looked at.
    fn packet<A: IpAddress>(tcp: bool, ends: [(A, u16); 2], hops: u8, data: &[u8]) -> Vec<u8> {
        let mut upper = vec![0; if tcp { 20 } else { 8 }];
        put_at(&mut upper, 0, ends[0].1.to_be_bytes());
        put_at(&mut upper, 2, ends[1].1.to_be_bytes());
        let fill = upper.len() - 4;
        upper[4..].copy_from_slice(&data[..fill]);
        upper.extend_from_slice(&data[fill..]);
        let length = upper.len() as u16;
        match tcp {
            true => upper[12] = 0x50 | upper[12] & 0x0f,
            false => put_at(&mut upper, 4, length.to_be_bytes()),
        }
        let protocol = if tcp { Protocol::TCP } else { Protocol::UDP };
        let mut header = match A::Version::VERSION {
            IpVersion::V4 => {
                let mut header = vec![0; IPV4_HEADER];
                (header[0], header[8], header[9]) = (0x45, hops, protocol.0);
                put_at(&mut header, 2, (20 + length).to_be_bytes());
                header
            }
            IpVersion::V6 => {
                let mut header = vec![0; IPV6_HEADER];
                (header[0], header[6], header[7]) = (0x60, protocol.0, hops);
                put_at(&mut header, 4, length.to_be_bytes());
                header
            }
        };
        let at = A::Version::SOURCE_OFFSET;
        ends[0].0.write(&mut header, at);
        ends[1].0.write(&mut header, at + A::LEN);
        if let Some(at) = A::Version::CHECKSUM_OFFSET {
            let checksum = crate::checksum::checksum(&header);
            put_at(&mut header, at, checksum.to_be_bytes());
        }
        [header, upper].concat()
    }

    fn compare<A: IpAddress>(tcp: bool, ends: [(A, u16); 4], hops: u8, data: &[u8]) {
        let [from, to, source, destination] = ends;
        let before = packet(tcp, [from, to], hops, data);
        // Ethernet's padding is not the packet's.
        let padded = [&before[..], &[0xee; 3]].concat();
        let plain = Plain::<A>::read(&padded);
        assert_eq!(plain.is_some(), hops > 1);
        let Some(plain) = plain else { return };
        assert_eq!((plain.source, plain.source_port), from);
        assert_eq!((plain.destination, plain.destination_port), to);
        assert_eq!(plain.packet_len as usize, before.len());
        let mut expected = before.clone();
        let new = |(address, port)| Some((address, Some(port)));
        if (from, to) != (source, destination) {
            nat_rewrite(&mut expected, new(source), new(destination))
                .expect("it can be translated");
        }
        A::Version::decrement_hop_limit(&mut expected).expect("it has hops left");
        let mut forwarded = before;
        plain.forward(&mut forwarded, source, destination);
        assert_eq!(forwarded, expected);
    }

    /// Two ends before and two after, some of them the same.
    fn ends<A: Copy>(
        address: impl Fn(u32) -> A,
        addresses: [u32; 4],
        ports: [u16; 4],
        same: [bool; 2],
    ) -> [(A, u16); 4] {
        let mut ends = [0, 1, 2, 3].map(|end| (address(addresses[end]), ports[end]));
        for end in 0..2 {
            if same[end] {
                ends[end + 2] = ends[end];
            }
        }
        ends
    }

    #[test]
    fn a_syn_says_its_window_scale() {
        // No-operation, window scale; behind a header of six words.
        for (flags, options, expected) in [
            (TcpFlags::SYN, [1, 3, 3, 7], Some(7)),
            (TcpFlags::SYN | TcpFlags::ACK, [3, 3, 14, 0], Some(14)),
            (TcpFlags::SYN, [2, 4, 5, 180], None),
            (TcpFlags::SYN, [3, 9, 9, 9], None),
            // Meant nowhere else.
            (TcpFlags::ACK, [1, 3, 3, 7], None),
        ] {
            let ends = [(Ipv4Addr::LOCALHOST, 1), (Ipv4Addr::BROADCAST, 2)];
            let data = [&[0; 16][..], &options].concat();
            let mut bytes = packet::<Ipv4Addr>(true, ends, 9, &data);
            bytes[IPV4_HEADER + 12] = 0x60;
            bytes[IPV4_HEADER + 13] = flags.0;
            let plain = Plain::<Ipv4Addr>::read(&bytes).expect("it is plain");
            let tcp = plain.tcp(&bytes);
            assert_eq!(tcp.window_scale, expected, "{flags} {options:?}");
            assert_eq!((plain.flags, tcp.payload_len), (flags.0, 0));
        }
    }

    proptest! {
        /// What is written is what the long way writes: translation, and then a hop less. Some checksums are none, or zero.
        #[test]
        fn as_the_long_way(
            tcp: bool, addresses: [u32; 4], ports: [u16; 4], same: [bool; 2], hops in 0..4_u8,
            mut data in prop::collection::vec(any::<u8>(), 16..60), zero: bool,
        ) {
            if zero {
                data[..16].fill(0);
            }
            compare(tcp, ends(Ipv4Addr::from_bits, addresses, ports, same), hops, &data);
            let six = |bits| Ipv6Addr::from_bits(u128::from(bits) << 90 | u128::from(bits));
            compare(tcp, ends(six, addresses, ports, same), hops, &data);
        }

        /// Nothing that is not a packet is one, and nothing panics.
        #[test]
        fn bytes_are_read_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..80), six: bool) {
            if let Some(first) = bytes.first_mut() {
                *first = if six { 0x60 } else { 0x45 };
            }
            let length = bytes.len();
            let ends = ((Ipv4Addr::BROADCAST, 1), (Ipv4Addr::LOCALHOST, 2));
            if let Some(plain) = Plain::<Ipv4Addr>::read(&bytes) {
                prop_assert!(plain.packet_len as usize <= length);
                plain.forward(&mut bytes, ends.0, ends.1);
            }
            let ends = ((Ipv6Addr::LOCALHOST, 1), (Ipv6Addr::UNSPECIFIED, 2));
            if let Some(plain) = Plain::<Ipv6Addr>::read(&bytes) {
                prop_assert!(plain.packet_len as usize <= length);
                plain.forward(&mut bytes, ends.0, ends.1);
            }
        }
    }
}
