//! IPv6 (RFC 8200): the fixed header, and the walk over extension headers to the upper layer.

pub mod fragment;

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::bytes::{array_at, between, between_mut, put_at, u8_at, u16_at, u32_at};
use crate::error::EmitError;
use crate::ip::{Fragment, IpHeader, Ipv6, Protocol};

/// Length of the fixed header, in bytes.
pub const HEADER_LEN: usize = 40;

/// Extension headers that are walked before a packet is given up. Honest ones have at most five
/// (RFC 8200 section 4.1).
pub const MAX_EXTENSION_HEADERS: usize = 8;

const VERSION_CLASS_FLOW: usize = 0;
const PAYLOAD_LENGTH: usize = 4;
const NEXT_HEADER: usize = 6;
const HOP_LIMIT: usize = 7;
const SOURCE: usize = 8;
const DESTINATION: usize = 24;

const FRAGMENT_HEADER_LEN: usize = 8;

/// Why bytes are not an IPv6 packet whose upper layer can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Ipv6Error {
    /// Fewer bytes than the fixed header has.
    #[error("an IPv6 header has {HEADER_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
    /// The version is not 6.
    #[error("IP version {version} in an IPv6 packet")]
    BadVersion {
        /// What it says.
        version: u8,
    },
    /// The packet says that it is longer than what is there.
    #[error("an IPv6 payload length of {payload_len} bytes, {available} are there")]
    BadPayloadLength {
        /// What it says.
        payload_len: usize,
        /// Bytes that are there behind the fixed header.
        available: usize,
    },
    /// An extension header goes beyond the end. So does that of a jumbogram (RFC 2675), whose
    /// payload length is 0: they are not supported.
    #[error("an IPv6 extension header ({header}) needs {needed} bytes, {available} are there")]
    TruncatedExtension {
        /// Which header.
        header: Protocol,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// More extension headers than [`MAX_EXTENSION_HEADERS`].
    #[error("more than {MAX_EXTENSION_HEADERS} IPv6 extension headers")]
    TooManyExtensions,
    /// Hop-by-hop options that do not come first (RFC 8200 section 4.1).
    #[error("IPv6 hop-by-hop options behind another extension header")]
    MisplacedHopByHop,
}

/// Where the extension headers lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpperLayer {
    /// What is there. In a later fragment: what the whole packet continues with.
    pub protocol: Protocol,
    /// Where it begins, from the start of the packet.
    pub offset: usize,
    /// The fragment header, if there is one.
    pub fragment: Option<FragmentHeader>,
}

impl UpperLayer {
    /// What part of a packet this is.
    pub fn fragment_kind(&self) -> Fragment {
        match self.fragment {
            None => Fragment::Whole,
            Some(header) => Fragment::new(header.offset, header.more),
        }
    }
}

/// The fields of a fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FragmentHeader {
    /// Where this fragment begins, in units of 8 bytes; 13 bits.
    pub offset: u16,
    /// This is not the last fragment.
    pub more: bool,
    /// Where the fragment itself begins: the end of the header, in bytes from that of the packet.
    pub end: usize,
    /// What the fragments of one packet have in common.
    pub identification: u32,
}

/// An IPv6 packet. What lies behind its payload length (Ethernet padding) is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6View<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv6View<T> {
    /// A view over a packet whose fixed header is right.
    ///
    /// # Errors
    /// `TooShort`, `BadVersion`, `BadPayloadLength`.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Ipv6Error> {
        let view = Self::new_quoted(bytes)?;
        let payload_len = view.payload_len();
        let available = view.bytes.as_ref().len().saturating_sub(HEADER_LEN);
        if payload_len > available {
            return Err(Ipv6Error::BadPayloadLength {
                payload_len,
                available,
            });
        }
        Ok(view)
    }

    /// As [`new_checked`](Self::new_checked), but without the check of the payload length: for the
    /// packet that an ICMPv6 error quotes, which may be cut.
    ///
    /// # Errors
    /// `TooShort`, `BadVersion`.
    #[inline]
    pub fn new_quoted(bytes: T) -> Result<Self, Ipv6Error> {
        let b = bytes.as_ref();
        if b.len() < HEADER_LEN {
            return Err(Ipv6Error::TooShort { available: b.len() });
        }
        match u8_at(b, VERSION_CLASS_FLOW) >> 4 {
            6 => Ok(Self { bytes }),
            version => Err(Ipv6Error::BadVersion { version }),
        }
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// DSCP (upper six bits) and ECN.
    pub fn traffic_class(&self) -> u8 {
        (u16_at(self.bytes.as_ref(), VERSION_CLASS_FLOW) >> 4) as u8
    }

    /// Differentiated services code point (RFC 2474), six bits.
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Explicit congestion notification (RFC 3168), two bits.
    pub fn ecn(&self) -> u8 {
        self.traffic_class() & 3
    }

    /// The flow label (RFC 6437), 20 bits.
    pub fn flow_label(&self) -> u32 {
        u32_at(self.bytes.as_ref(), VERSION_CLASS_FLOW) & 0x000f_ffff
    }

    /// Bytes behind the fixed header, by the packet's own account.
    #[inline]
    pub fn payload_len(&self) -> usize {
        u16_at(self.bytes.as_ref(), PAYLOAD_LENGTH).into()
    }

    /// Bytes of the packet, by its own account.
    #[inline]
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.payload_len()
    }

    /// What follows the fixed header: an extension header or the upper layer.
    pub fn next_header(&self) -> Protocol {
        Protocol(u8_at(self.bytes.as_ref(), NEXT_HEADER))
    }

    /// Hops left.
    pub fn hop_limit(&self) -> u8 {
        u8_at(self.bytes.as_ref(), HOP_LIMIT)
    }

    /// From whom.
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(self.bytes.as_ref(), SOURCE))
    }

    /// To whom.
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(self.bytes.as_ref(), DESTINATION))
    }

    /// What follows the fixed header, extension headers included, cut to what is there.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), HEADER_LEN, self.total_len())
    }

    /// Walks hop-by-hop options, routing headers, destination options and the fragment header to
    /// what they lead to. Everything else counts as upper layer, authentication (AH) too. The walk
    /// ends at the header of a later fragment, since what follows is from the middle of the packet.
    ///
    /// # Errors
    /// `TruncatedExtension`, `TooManyExtensions`, `MisplacedHopByHop`.
    #[inline]
    pub fn upper_layer(&self) -> Result<UpperLayer, Ipv6Error> {
        let packet = between(self.bytes.as_ref(), 0, self.total_len());
        let mut upper = UpperLayer {
            protocol: self.next_header(),
            offset: HEADER_LEN,
            fragment: None,
        };
        for _ in 0..=MAX_EXTENSION_HEADERS {
            let header = upper.protocol;
            let rest = between(packet, upper.offset, usize::MAX);
            let length = match header {
                Protocol::HOP_BY_HOP if upper.offset != HEADER_LEN => {
                    return Err(Ipv6Error::MisplacedHopByHop);
                }
                Protocol::HOP_BY_HOP | Protocol::ROUTING | Protocol::DESTINATION_OPTIONS => {
                    // In units of 8 bytes, not counting the first. Absent, it is 0, and the check
                    // below fails.
                    (usize::from(u8_at(rest, 1)) + 1) * 8
                }
                Protocol::FRAGMENT => FRAGMENT_HEADER_LEN,
                _ => return Ok(upper),
            };
            if rest.len() < length {
                let available = rest.len();
                return Err(Ipv6Error::TruncatedExtension {
                    header,
                    needed: length,
                    available,
                });
            }
            upper.protocol = Protocol(u8_at(rest, 0));
            upper.offset += length;
            if header == Protocol::FRAGMENT {
                let offset_flags = u16_at(rest, 2);
                let fragment = FragmentHeader {
                    offset: offset_flags >> 3,
                    more: offset_flags & 1 != 0,
                    end: upper.offset,
                    identification: u32_at(rest, 4),
                };
                upper.fragment = Some(fragment);
                if fragment.offset != 0 {
                    return Ok(upper);
                }
            }
        }
        Err(Ipv6Error::TooManyExtensions)
    }

    /// What forwarding needs, in one value.
    ///
    /// # Errors
    /// As [`upper_layer`](Self::upper_layer).
    #[inline]
    pub fn ip_header(&self) -> Result<IpHeader<Ipv6>, Ipv6Error> {
        let upper = self.upper_layer()?;
        Ok(IpHeader {
            source: self.source(),
            destination: self.destination(),
            protocol: upper.protocol,
            fragment: upper.fragment_kind(),
            hop_limit: self.hop_limit(),
            traffic_class: self.traffic_class(),
            header_len: upper.offset,
            packet_len: self.total_len(),
        })
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6View<T> {
    /// Sets from whom. Upper-layer checksums that cover it are left stale.
    pub fn set_source(&mut self, address: Ipv6Addr) {
        put_at(self.bytes.as_mut(), SOURCE, address.octets());
    }

    /// Sets to whom. Upper-layer checksums that cover it are left stale.
    pub fn set_destination(&mut self, address: Ipv6Addr) {
        put_at(self.bytes.as_mut(), DESTINATION, address.octets());
    }

    /// Sets the hops left.
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        put_at(self.bytes.as_mut(), HOP_LIMIT, [hop_limit]);
    }

    /// Takes one off the hop limit; answers what is left. `None`, and no change, when it was 0
    /// already.
    #[inline]
    pub fn decrement_hop_limit(&mut self) -> Option<u8> {
        let left = self.hop_limit().checked_sub(1)?;
        self.set_hop_limit(left);
        Some(left)
    }

    /// What follows the fixed header, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let to = self.total_len();
        between_mut(self.bytes.as_mut(), HEADER_LEN, to)
    }
}

/// An IPv6 fixed header as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv6Repr {
    /// From whom.
    pub source: Ipv6Addr,
    /// To whom.
    pub destination: Ipv6Addr,
    /// What follows.
    pub next_header: Protocol,
    /// Hops left.
    pub hop_limit: u8,
    /// DSCP (upper six bits) and ECN.
    pub traffic_class: u8,
    /// The flow label, 20 bits.
    pub flow_label: u32,
    /// Bytes behind the fixed header; not more than 65,535.
    pub payload_len: usize,
}

impl Ipv6Repr {
    /// A header with 64 hops to live.
    pub const fn new(
        source: Ipv6Addr,
        destination: Ipv6Addr,
        next_header: Protocol,
        payload_len: usize,
    ) -> Self {
        Self {
            source,
            destination,
            next_header,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
            payload_len,
        }
    }

    /// The fixed header of a packet.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv6View<T>) -> Self {
        Self {
            source: view.source(),
            destination: view.destination(),
            next_header: view.next_header(),
            hop_limit: view.hop_limit(),
            traffic_class: view.traffic_class(),
            flow_label: view.flow_label(),
            payload_len: view.payload_len(),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `out`; answers its length.
    ///
    /// # Errors
    /// [`EmitError`]: no room for the header, or too long a payload.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        EmitError::check_room(out, HEADER_LEN)?;
        let payload_len = EmitError::check_u16(self.payload_len)?;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        put_at(out, VERSION_CLASS_FLOW, first.to_be_bytes());
        put_at(out, PAYLOAD_LENGTH, payload_len.to_be_bytes());
        put_at(out, NEXT_HEADER, [self.next_header.0, self.hop_limit]);
        put_at(out, SOURCE, self.source.octets());
        put_at(out, DESTINATION, self.destination.octets());
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with_extensions(first: Protocol, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        let repr = Ipv6Repr::new(
            Ipv6Addr::LOCALHOST,
            Ipv6Addr::LOCALHOST,
            first,
            payload.len(),
        );
        repr.emit(&mut bytes).unwrap();
        bytes.extend(payload);
        bytes
    }

    fn upper(first: Protocol, payload: &[u8]) -> Result<UpperLayer, Ipv6Error> {
        Ipv6View::new_checked(with_extensions(first, payload))
            .unwrap()
            .upper_layer()
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let packet = with_extensions(Protocol::UDP, &[0; 8]);
        assert_eq!(
            Ipv6View::new_checked(&packet[..39]),
            Err(Ipv6Error::TooShort { available: 39 })
        );
        assert_eq!(
            Ipv6View::new_checked(&packet[..47]),
            Err(Ipv6Error::BadPayloadLength {
                payload_len: 8,
                available: 7
            })
        );
        assert!(Ipv6View::new_quoted(&packet[..47]).is_ok());
        let mut other = packet;
        other[0] = 0x45;
        assert_eq!(
            Ipv6View::new_checked(&other),
            Err(Ipv6Error::BadVersion { version: 4 })
        );
    }

    #[test]
    fn no_extension_header() {
        let expected = UpperLayer {
            protocol: Protocol::TCP,
            offset: 40,
            fragment: None,
        };
        assert_eq!(upper(Protocol::TCP, &[0; 20]), Ok(expected));
        let expected = UpperLayer {
            protocol: Protocol::NO_NEXT_HEADER,
            offset: 40,
            fragment: None,
        };
        assert_eq!(upper(Protocol::NO_NEXT_HEADER, &[]), Ok(expected));
    }

    #[test]
    fn a_chain_is_walked() {
        let mut chain = vec![];
        chain.extend([43, 0, 1, 4, 0, 0, 0, 0]); // hop-by-hop → routing
        // routing → destination options
        chain.extend([60, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        chain.extend([44, 0, 1, 4, 0, 0, 0, 0]); // destination options → fragment
        chain.extend([17, 0, 0, 1, 0, 0, 0, 7]); // fragment, first of several → UDP
        chain.extend([0; 8]);
        let found = upper(Protocol::HOP_BY_HOP, &chain).unwrap();
        assert_eq!((found.protocol, found.offset), (Protocol::UDP, 80));
        let fragment = FragmentHeader {
            offset: 0,
            more: true,
            end: 80,
            identification: 7,
        };
        assert_eq!(found.fragment, Some(fragment));
        assert_eq!(found.fragment_kind(), Fragment::First);
    }

    #[test]
    fn a_later_fragment_ends_the_walk() {
        // What follows looks like an endless header, and must not be looked at.
        let found = upper(Protocol::FRAGMENT, &[60, 0, 0, 8, 0, 0, 0, 7, 60, 255]).unwrap();
        assert_eq!(
            (found.protocol, found.offset),
            (Protocol::DESTINATION_OPTIONS, 48)
        );
        assert_eq!(found.fragment_kind(), Fragment::Later);
        // An atomic fragment is a whole packet.
        let found = upper(Protocol::FRAGMENT, &[17, 0, 0, 0, 0, 0, 0, 7]).unwrap();
        assert_eq!(found.fragment_kind(), Fragment::Whole);
    }

    #[test]
    fn bad_chains_are_refused() {
        let truncated = |header, needed, available| {
            Err(Ipv6Error::TruncatedExtension {
                header,
                needed,
                available,
            })
        };
        assert_eq!(
            upper(Protocol::HOP_BY_HOP, &[]),
            truncated(Protocol::HOP_BY_HOP, 8, 0)
        );
        assert_eq!(
            upper(Protocol::ROUTING, &[6, 1, 0, 0, 0, 0, 0, 0]),
            truncated(Protocol::ROUTING, 16, 8)
        );
        assert_eq!(
            upper(Protocol::FRAGMENT, &[6; 7]),
            truncated(Protocol::FRAGMENT, 8, 7)
        );
        assert_eq!(
            upper(Protocol::DESTINATION_OPTIONS, &[0; 16]),
            Err(Ipv6Error::MisplacedHopByHop)
        );
        let options = [60, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            upper(Protocol::DESTINATION_OPTIONS, &options.repeat(9)),
            Err(Ipv6Error::TooManyExtensions)
        );
        let mut eight = options.repeat(8);
        eight[56] = 6;
        assert_eq!(
            upper(Protocol::DESTINATION_OPTIONS, &eight).unwrap().offset,
            104
        );
    }

    prop_compose! {
        fn repr()(
            source: [u8; 16],
            destination: [u8; 16],
            next_header: u8,
            hop_limit: u8,
            traffic_class: u8,
            flow_label in 0u32..0x0010_0000,
            payload_len in 0usize..60,
        ) -> Ipv6Repr {
            Ipv6Repr {
                source: source.into(),
                destination: destination.into(),
                next_header: Protocol(next_header),
                hop_limit,
                traffic_class,
                flow_label,
                payload_len,
            }
        }
    }

    proptest! {
        #[test]
        fn build_then_parse(repr in repr(), other in repr()) {
            let mut bytes = [0; 100];
            prop_assert_eq!(repr.emit(&mut bytes), Ok(repr.buffer_len()));
            let mut view = Ipv6View::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(Ipv6Repr::parse(&view), repr);
            prop_assert_eq!(view.payload().len(), repr.payload_len);
            prop_assert_eq!(view.decrement_hop_limit(), repr.hop_limit.checked_sub(1));
            view.set_hop_limit(other.hop_limit);
            view.set_source(other.source);
            view.set_destination(other.destination);
            let expected = Ipv6Repr {
                hop_limit: other.hop_limit,
                source: other.source,
                destination: other.destination,
                ..repr
            };
            prop_assert_eq!(Ipv6Repr::parse(&view), expected);
        }

        #[test]
        fn arbitrary_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            chain in prop::collection::vec(
                prop::sample::select(&[0u8, 6, 43, 44, 60, 255][..]),
                0..100,
            ),
            plausible: bool,
        ) {
            let mut bytes = bytes;
            if plausible && bytes.len() >= HEADER_LEN {
                bytes.truncate(HEADER_LEN);
                (bytes[0], bytes[4], bytes[5]) = (0x60, 0, chain.len() as u8);
                bytes[6] = chain.first().copied().unwrap_or(60);
                bytes.extend(chain);
            }
            if let Ok(view) = Ipv6View::new_checked(&bytes) {
                let _ = Ipv6Repr::parse(&view);
                prop_assert_eq!(view.payload().len(), view.payload_len());
                if let Ok(upper) = view.upper_layer() {
                    prop_assert!(upper.offset <= view.total_len());
                }
            }
            if let Ok(view) = Ipv6View::new_quoted(&bytes) {
                let _ = (view.ip_header(), view.payload());
            }
        }
    }
}
