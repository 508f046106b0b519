//! What IPv4 and IPv6 have in common, so that code for both is written once.
//!
//! [`Ipv4`] and [`Ipv6`] are types without values: they only choose, at compile time, what `I: Ip`
//! stands for.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::bytes::between;
use crate::ethernet::EtherType;
use crate::icmp_error::IcmpErrorKind;
use crate::icmpv4::Icmpv4Error;
use crate::icmpv6::Icmpv6Error;
use crate::ipv4::{Ipv4Error, Ipv4View};
use crate::ipv6::{Ipv6Error, Ipv6View};
use crate::l4::{self, Transport, TransportError};

/// A version of the Internet Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Display for IpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IpVersion::V4 => "IPv4",
            IpVersion::V6 => "IPv6",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Ipv4 {}
    impl Sealed for super::Ipv6 {}
    impl Sealed for std::net::Ipv4Addr {}
    impl Sealed for std::net::Ipv6Addr {}
}

/// The version of IP that generic code works with: [`Ipv4`] or [`Ipv6`], never another.
pub trait Ip:
    sealed::Sealed + Copy + Eq + Ord + Hash + Debug + Default + Send + Sync + 'static
{
    /// Its addresses.
    type Address: IpAddress<Version = Self>;

    /// What an ICMP error of this version can say.
    type IcmpError: Copy + Eq + Debug + From<IcmpErrorKind> + Send + Sync + 'static;

    /// Which one it is.
    const VERSION: IpVersion;
    /// Bits of an address: 32 or 128.
    const BITS: u8;
    /// What an Ethernet frame calls it.
    const ETHER_TYPE: EtherType;
    /// Its control protocol: ICMP or ICMPv6.
    const ICMP: Protocol;
    /// Every link carries packets of this many bytes: 68 (RFC 791) or 1280 (RFC 8200 section 5).
    const MINIMUM_MTU: u16;
    /// Where the source address begins in the header; the destination address follows it.
    const SOURCE_OFFSET: usize;
    /// Where the header has a checksum, if it has one.
    const CHECKSUM_OFFSET: Option<usize>;
    /// Whether its ICMP puts a pseudo header before the message in the checksum.
    const ICMP_PSEUDO_HEADER: bool;

    /// Checks the headers before the upper layer and reads what forwarding needs. Not the header
    /// checksum: see [`Ipv4View::check_checksum`].
    ///
    /// `bytes` begins with the IP header and may go on behind the packet (Ethernet padding).
    ///
    /// # Errors
    /// See [`Ipv4Error`] and [`Ipv6Error`].
    fn parse(bytes: &[u8]) -> Result<IpHeader<Self>, IpError>;

    /// As [`parse`](Self::parse) for the packet that an ICMP error quotes, the end of which may be
    /// missing.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), but never because the packet says to be longer than it is.
    fn parse_quoted(bytes: &[u8]) -> Result<IpHeader<Self>, IpError>;

    /// Takes one off the time to live or hop limit and keeps the header checksum right. Answers
    /// what is left; does nothing and answers `None` when it was 0 already or there is no header.
    fn decrement_hop_limit(bytes: &mut [u8]) -> Option<u8>;

    /// For an ICMP message of this version that asks or answers and has an identifier: whether it
    /// answers.
    fn icmp_query_is_reply(message_type: u8) -> Option<bool>;

    /// The packet that an ICMP message of this version quotes, if it reports an error.
    fn icmp_quote(message: &[u8]) -> Option<&[u8]>;

    /// As [`crate::icmp_error::may_answer_with_icmpv4_error`] and its twin.
    ///
    /// # Errors
    /// The rule that forbids it.
    fn may_answer_with_icmp_error(
        offending: &[u8],
        link_destination: crate::MacAddress,
        error: Self::IcmpError,
    ) -> Result<(), crate::icmp_error::Unanswerable>;

    /// As [`crate::icmp_error::build_icmpv4_error`] and its twin.
    fn build_icmp_error(
        offending: &[u8],
        source: Self::Address,
        error: Self::IcmpError,
        out: &mut [u8],
    ) -> Option<usize>;
}

/// IPv4 (RFC 791).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ipv4;

/// IPv6 (RFC 8200).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Ipv6;

/// An address of one version: [`Ipv4Addr`] or [`Ipv6Addr`].
pub trait IpAddress:
    sealed::Sealed + Copy + Eq + Ord + Hash + Debug + Display + Into<IpAddr> + Send + Sync + 'static
{
    /// The version that it belongs to.
    type Version: Ip<Address = Self>;

    /// Bytes of an address.
    const LEN: usize;

    /// `0.0.0.0` or `::`.
    const UNSPECIFIED: Self;

    /// The address left-aligned in 128 bits: its first bit is the top bit, and what an IPv4 address
    /// lacks is zero. So prefixes and tries work alike for both.
    fn to_left_aligned(self) -> u128;

    /// The address whose left-aligned bits these are; those beyond [`Ip::BITS`] are ignored.
    fn from_left_aligned(bits: u128) -> Self;

    /// The address at offset `at` of a packet, if it is there.
    fn read(bytes: &[u8], at: usize) -> Option<Self>;

    /// Stores the address at offset `at`, if there is room.
    fn write(self, bytes: &mut [u8], at: usize);

    /// The address, if `address` is of this version. An IPv4-mapped IPv6 address is an IPv6
    /// address.
    fn from_ip(address: IpAddr) -> Option<Self>;

    /// Whether it is a multicast address.
    fn is_multicast(self) -> bool;
}

impl IpAddress for Ipv4Addr {
    type Version = Ipv4;
    const LEN: usize = 4;
    const UNSPECIFIED: Self = Ipv4Addr::UNSPECIFIED;

    #[inline]
    fn to_left_aligned(self) -> u128 {
        u128::from(u32::from(self)) << 96
    }

    #[inline]
    fn from_left_aligned(bits: u128) -> Self {
        Ipv4Addr::from((bits >> 96) as u32)
    }

    #[inline]
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        bytes
            .get(at..)?
            .first_chunk::<4>()
            .map(|octets| Ipv4Addr::from(*octets))
    }

    #[inline]
    fn write(self, bytes: &mut [u8], at: usize) {
        crate::bytes::put_at(bytes, at, self.octets());
    }

    #[inline]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }
    }

    fn is_multicast(self) -> bool {
        Ipv4Addr::is_multicast(&self)
    }
}

impl IpAddress for Ipv6Addr {
    type Version = Ipv6;
    const LEN: usize = 16;
    const UNSPECIFIED: Self = Ipv6Addr::UNSPECIFIED;

    #[inline]
    fn to_left_aligned(self) -> u128 {
        u128::from(self)
    }

    #[inline]
    fn from_left_aligned(bits: u128) -> Self {
        Ipv6Addr::from(bits)
    }

    #[inline]
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        bytes
            .get(at..)?
            .first_chunk::<16>()
            .map(|octets| Ipv6Addr::from(*octets))
    }

    #[inline]
    fn write(self, bytes: &mut [u8], at: usize) {
        crate::bytes::put_at(bytes, at, self.octets());
    }

    #[inline]
    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address),
        }
    }

    fn is_multicast(self) -> bool {
        Ipv6Addr::is_multicast(&self)
    }
}

impl Ip for Ipv4 {
    type Address = Ipv4Addr;
    type IcmpError = Icmpv4Error;

    const VERSION: IpVersion = IpVersion::V4;
    const BITS: u8 = 32;
    const ETHER_TYPE: EtherType = EtherType::IPV4;
    const ICMP: Protocol = Protocol::ICMP;
    const MINIMUM_MTU: u16 = 68;
    const SOURCE_OFFSET: usize = 12;
    const CHECKSUM_OFFSET: Option<usize> = Some(10);
    const ICMP_PSEUDO_HEADER: bool = false;

    #[inline]
    fn parse(bytes: &[u8]) -> Result<IpHeader<Self>, IpError> {
        Ok(Ipv4View::new_checked(bytes)?.ip_header())
    }

    fn parse_quoted(bytes: &[u8]) -> Result<IpHeader<Self>, IpError> {
        Ok(Ipv4View::new_quoted(bytes)?.ip_header())
    }

    #[inline]
    fn decrement_hop_limit(bytes: &mut [u8]) -> Option<u8> {
        Ipv4View::new_quoted(bytes).ok()?.decrement_ttl()
    }

    #[inline]
    fn icmp_query_is_reply(message_type: u8) -> Option<bool> {
        crate::icmpv4::query_is_reply(message_type)
    }

    fn icmp_quote(message: &[u8]) -> Option<&[u8]> {
        let view = crate::icmpv4::Icmpv4View::new_checked(message).ok()?;
        let quote = view.quoted_packet()?.len();
        Some(between(
            message,
            crate::icmpv4::HEADER_LEN,
            crate::icmpv4::HEADER_LEN + quote,
        ))
    }

    fn may_answer_with_icmp_error(
        offending: &[u8],
        link_destination: crate::MacAddress,
        _error: Self::IcmpError,
    ) -> Result<(), crate::icmp_error::Unanswerable> {
        crate::icmp_error::may_answer_with_icmpv4_error(offending, link_destination)
    }

    fn build_icmp_error(
        offending: &[u8],
        source: Ipv4Addr,
        error: Self::IcmpError,
        out: &mut [u8],
    ) -> Option<usize> {
        crate::icmp_error::build_icmpv4_error(offending, source, error, out)
    }
}

impl Ip for Ipv6 {
    type Address = Ipv6Addr;
    type IcmpError = Icmpv6Error;

    const VERSION: IpVersion = IpVersion::V6;
    const BITS: u8 = 128;
    const ETHER_TYPE: EtherType = EtherType::IPV6;
    const ICMP: Protocol = Protocol::ICMPV6;
    const MINIMUM_MTU: u16 = 1280;
    const SOURCE_OFFSET: usize = 8;
    const CHECKSUM_OFFSET: Option<usize> = None;
    const ICMP_PSEUDO_HEADER: bool = true;

    #[inline]
    fn parse(bytes: &[u8]) -> Result<IpHeader<Self>, IpError> {
        Ok(Ipv6View::new_checked(bytes)?.ip_header()?)
    }

    fn parse_quoted(bytes: &[u8]) -> Result<IpHeader<Self>, IpError> {
        Ok(Ipv6View::new_quoted(bytes)?.ip_header()?)
    }

    #[inline]
    fn decrement_hop_limit(bytes: &mut [u8]) -> Option<u8> {
        Ipv6View::new_quoted(bytes).ok()?.decrement_hop_limit()
    }

    #[inline]
    fn icmp_query_is_reply(message_type: u8) -> Option<bool> {
        crate::icmpv6::query_is_reply(message_type)
    }

    fn icmp_quote(message: &[u8]) -> Option<&[u8]> {
        let view = crate::icmpv6::Icmpv6View::new_checked(message).ok()?;
        let quote = view.quoted_packet()?.len();
        Some(between(
            message,
            crate::icmpv6::HEADER_LEN,
            crate::icmpv6::HEADER_LEN + quote,
        ))
    }

    fn may_answer_with_icmp_error(
        offending: &[u8],
        link_destination: crate::MacAddress,
        error: Self::IcmpError,
    ) -> Result<(), crate::icmp_error::Unanswerable> {
        crate::icmp_error::may_answer_with_icmpv6_error(offending, link_destination, error)
    }

    fn build_icmp_error(
        offending: &[u8],
        source: Ipv6Addr,
        error: Self::IcmpError,
        out: &mut [u8],
    ) -> Option<usize> {
        crate::icmp_error::build_icmpv6_error(offending, source, error, out)
    }
}

/// Why bytes are not an IP packet, of either version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum IpError {
    #[error(transparent)]
    V4(#[from] Ipv4Error),
    #[error(transparent)]
    V6(#[from] Ipv6Error),
}

/// Where in a fragmented packet these bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fragment {
    /// Not a fragment; or an IPv6 "atomic" one, which is alone (RFC 6946).
    Whole,
    /// The first of several: begins with the upper-layer header, lacks the end.
    First,
    /// Another one: no upper-layer header.
    Later,
}

impl Fragment {
    /// From the fragment offset, in any unit, and the more-fragments flag.
    #[inline]
    pub const fn new(offset: u16, more: bool) -> Fragment {
        match (offset, more) {
            (0, false) => Fragment::Whole,
            (0, true) => Fragment::First,
            _ => Fragment::Later,
        }
    }
}

/// What forwarding needs of an IP packet's headers, read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpHeader<I: Ip> {
    /// From whom.
    pub source: I::Address,
    /// To whom.
    pub destination: I::Address,
    /// The upper layer, behind all extension headers.
    pub protocol: Protocol,
    /// Whether the upper-layer header is there, and whole.
    pub fragment: Fragment,
    /// Time to live, or hop limit.
    pub hop_limit: u8,
    /// The byte with DSCP (upper six bits) and ECN.
    pub traffic_class: u8,
    /// Bytes before the upper layer: options and extension headers included.
    pub header_len: usize,
    /// Bytes of the packet, by its own account. Not more than there are, except in a quoted packet.
    pub packet_len: usize,
}

impl<I: Ip> IpHeader<I> {
    /// The upper-layer bytes of the packet that this header was read from.
    #[inline]
    pub fn upper_layer<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        between(packet, self.header_len, self.packet_len)
    }

    /// Parses the transport header of the packet that this header was read from. The control
    /// protocol of the *other* IP version is nothing but an unknown protocol.
    ///
    /// # Errors
    /// See [`TransportError`].
    #[inline]
    pub fn transport(&self, packet: &[u8]) -> Result<Transport, TransportError> {
        if self.is_foreign_icmp() {
            return Ok(Transport::Other {
                protocol: self.protocol,
            });
        }
        l4::parse_transport(self.protocol, self.upper_layer(packet), self.fragment)
    }

    /// The protocol is ICMP in IPv6, or ICMPv6 in IPv4.
    pub(crate) fn is_foreign_icmp(&self) -> bool {
        self.protocol != I::ICMP && matches!(self.protocol, Protocol::ICMP | Protocol::ICMPV6)
    }
}

/// An upper-layer protocol, or an IPv6 extension header (IANA "Protocol Numbers").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub struct Protocol(pub u8);

#[allow(missing_docs)]
impl Protocol {
    pub const HOP_BY_HOP: Protocol = Protocol(0);
    pub const ICMP: Protocol = Protocol(1);
    pub const IGMP: Protocol = Protocol(2);
    pub const IPIP: Protocol = Protocol(4);
    pub const TCP: Protocol = Protocol(6);
    pub const UDP: Protocol = Protocol(17);
    pub const IPV6: Protocol = Protocol(41);
    pub const ROUTING: Protocol = Protocol(43);
    pub const FRAGMENT: Protocol = Protocol(44);
    pub const GRE: Protocol = Protocol(47);
    pub const ESP: Protocol = Protocol(50);
    pub const AH: Protocol = Protocol(51);
    pub const ICMPV6: Protocol = Protocol(58);
    pub const NO_NEXT_HEADER: Protocol = Protocol(59);
    pub const DESTINATION_OPTIONS: Protocol = Protocol(60);
    pub const OSPF: Protocol = Protocol(89);
    pub const SCTP: Protocol = Protocol(132);
}

impl Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Protocol::HOP_BY_HOP => "HOPOPT",
            Protocol::ICMP => "ICMP",
            Protocol::IGMP => "IGMP",
            Protocol::IPIP => "IPIP",
            Protocol::TCP => "TCP",
            Protocol::UDP => "UDP",
            Protocol::IPV6 => "IPv6",
            Protocol::ROUTING => "IPv6-Route",
            Protocol::FRAGMENT => "IPv6-Frag",
            Protocol::GRE => "GRE",
            Protocol::ESP => "ESP",
            Protocol::AH => "AH",
            Protocol::ICMPV6 => "ICMPv6",
            Protocol::NO_NEXT_HEADER => "IPv6-NoNxt",
            Protocol::DESTINATION_OPTIONS => "IPv6-Opts",
            Protocol::OSPF => "OSPF",
            Protocol::SCTP => "SCTP",
            Protocol(other) => return write!(f, "protocol {other}"),
        })
    }
}

impl Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits_round_trip<A: IpAddress>(bits: u128) {
        let mask = u128::MAX << (128 - u32::from(A::Version::BITS));
        let address = A::from_left_aligned(bits);
        assert_eq!(address.to_left_aligned(), bits & mask);
        assert_eq!(A::from_ip(address.into()), Some(address));
        assert_eq!(usize::from(A::Version::BITS), A::LEN * 8);
        let mut bytes = [0xee; 20];
        address.write(&mut bytes, 3);
        assert_eq!(A::read(&bytes, 3), Some(address));
        assert_eq!(A::read(&bytes[..2 + A::LEN], 3), None);
    }

    #[test]
    fn left_aligned() {
        assert_eq!(
            Ipv4Addr::new(128, 0, 0, 1).to_left_aligned(),
            0x8000_0001 << 96
        );
        assert_eq!(Ipv6Addr::LOCALHOST.to_left_aligned(), 1);
        assert_eq!(Ipv4Addr::from_ip(Ipv6Addr::LOCALHOST.into()), None);
        assert_eq!(Ipv6Addr::from_ip(Ipv4Addr::LOCALHOST.into()), None);
    }

    #[test]
    fn protocols_have_names() {
        let names = [
            Protocol::TCP,
            Protocol::UDP,
            Protocol::ICMP,
            Protocol::ICMPV6,
            Protocol(200),
        ];
        assert_eq!(
            names.map(|p| p.to_string()),
            ["TCP", "UDP", "ICMP", "ICMPv6", "protocol 200"]
        );
    }

    proptest! {
        #[test]
        fn addresses_are_their_bits(bits: u128) {
            bits_round_trip::<Ipv4Addr>(bits);
            bits_round_trip::<Ipv6Addr>(bits);
        }
    }
}
