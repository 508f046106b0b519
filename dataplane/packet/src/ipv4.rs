//! IPv4 (RFC 791), with the checks that RFC 1812 section 5.2.2 asks of a router, each a reason of
//! its own.

pub mod fragment;

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::bytes::{array_at, between, between_mut, put_at, u8_at, u16_at};
use crate::checksum::{Sum, checksum, update_u16};
use crate::error::EmitError;
use crate::ip::{Fragment, IpHeader, Ipv4, Protocol};
use crate::options::Options;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

const VERSION_IHL: usize = 0;
const TRAFFIC_CLASS: usize = 1;
const TOTAL_LENGTH: usize = 2;
const IDENTIFICATION: usize = 4;
const FLAGS_OFFSET: usize = 6;
const TTL: usize = 8;
const PROTOCOL: usize = 9;
const CHECKSUM: usize = 10;
const SOURCE: usize = 12;
const DESTINATION: usize = 16;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// Why bytes are not an IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Ipv4Error {
    /// Fewer bytes than a header has.
    #[error("an IPv4 header needs {needed} bytes, {available} are there")]
    TooShort {
        /// Bytes that the header takes, by its own account where it has come that far.
        needed: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The version is not 4.
    #[error("IP version {version} in an IPv4 packet")]
    BadVersion {
        /// What it says.
        version: u8,
    },
    /// The header says that it is shorter than any.
    #[error("an IPv4 header length of {header_len} bytes is below {MIN_HEADER_LEN}")]
    BadHeaderLength {
        /// What it says, in bytes.
        header_len: usize,
    },
    /// The packet says that it is shorter than its header, or longer than what is there.
    #[error(
        "an IPv4 total length of {total_len} bytes, its header {header_len}, {available} are there"
    )]
    BadTotalLength {
        /// What it says.
        total_len: usize,
        /// Bytes of the header.
        header_len: usize,
        /// Bytes that are there.
        available: usize,
    },
    /// The header checksum is wrong.
    #[error("IPv4 header checksum {found:#06x}, {expected:#06x} would be right")]
    BadChecksum {
        /// What it says.
        found: u16,
        /// What the header sums to.
        expected: u16,
    },
}

/// An IPv4 packet. What lies behind its total length (Ethernet padding) is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4View<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Ipv4View<T> {
    /// A view over a packet whose lengths are right. The checksum is a question of its own:
    /// [`check_checksum`](Self::check_checksum), since a network card may have answered it.
    ///
    /// # Errors
    /// All of [`Ipv4Error`] but `BadChecksum`, in the order of the variants.
    #[inline]
    pub fn new_checked(bytes: T) -> Result<Self, Ipv4Error> {
        let view = Self::new_quoted(bytes)?;
        let (total_len, header_len) = (view.total_len(), view.header_len());
        let available = view.bytes.as_ref().len();
        if total_len > available {
            return Err(Ipv4Error::BadTotalLength {
                total_len,
                header_len,
                available,
            });
        }
        Ok(view)
    }

    /// As [`new_checked`](Self::new_checked), but the packet may say that it is longer than what is
    /// there: for the one that an ICMP error quotes, which is cut.
    ///
    /// # Errors
    /// As [`new_checked`](Self::new_checked).
    #[inline]
    pub fn new_quoted(bytes: T) -> Result<Self, Ipv4Error> {
        let b = bytes.as_ref();
        let available = b.len();
        if available < MIN_HEADER_LEN {
            return Err(Ipv4Error::TooShort {
                needed: MIN_HEADER_LEN,
                available,
            });
        }
        let first = u8_at(b, VERSION_IHL);
        if first >> 4 != 4 {
            return Err(Ipv4Error::BadVersion {
                version: first >> 4,
            });
        }
        let header_len = usize::from(first & 0x0f) * 4;
        if header_len < MIN_HEADER_LEN {
            return Err(Ipv4Error::BadHeaderLength { header_len });
        }
        if header_len > available {
            return Err(Ipv4Error::TooShort {
                needed: header_len,
                available,
            });
        }
        let total_len = usize::from(u16_at(b, TOTAL_LENGTH));
        if total_len < header_len {
            return Err(Ipv4Error::BadTotalLength {
                total_len,
                header_len,
                available,
            });
        }
        Ok(Self { bytes })
    }

    /// Whether the header checksum is right.
    ///
    /// # Errors
    /// `BadChecksum`.
    #[inline]
    pub fn check_checksum(&self) -> Result<(), Ipv4Error> {
        let header = between(self.bytes.as_ref(), 0, self.header_len());
        if Sum::ZERO.bytes(header).is_valid() {
            return Ok(());
        }
        let expected = crate::checksum::Delta::NONE
            .u16(self.checksum(), 0)
            .apply(checksum(header));
        Err(Ipv4Error::BadChecksum {
            found: self.checksum(),
            expected,
        })
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// Bytes of the header, options included.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(u8_at(self.bytes.as_ref(), VERSION_IHL) & 0x0f) * 4
    }

    /// Bytes of the packet, by its own account.
    #[inline]
    pub fn total_len(&self) -> usize {
        u16_at(self.bytes.as_ref(), TOTAL_LENGTH).into()
    }

    /// The byte with DSCP and ECN, once called type of service.
    pub fn traffic_class(&self) -> u8 {
        u8_at(self.bytes.as_ref(), TRAFFIC_CLASS)
    }

    /// Differentiated services code point (RFC 2474), six bits.
    pub fn dscp(&self) -> u8 {
        self.traffic_class() >> 2
    }

    /// Explicit congestion notification (RFC 3168), two bits.
    pub fn ecn(&self) -> u8 {
        self.traffic_class() & 3
    }

    /// What the fragments of one packet have in common.
    pub fn identification(&self) -> u16 {
        u16_at(self.bytes.as_ref(), IDENTIFICATION)
    }

    /// Routers must not fragment this packet.
    pub fn dont_fragment(&self) -> bool {
        u16_at(self.bytes.as_ref(), FLAGS_OFFSET) & DONT_FRAGMENT != 0
    }

    /// This is not the last fragment.
    pub fn more_fragments(&self) -> bool {
        u16_at(self.bytes.as_ref(), FLAGS_OFFSET) & MORE_FRAGMENTS != 0
    }

    /// Where this fragment begins in the payload, in units of 8 bytes.
    pub fn fragment_offset(&self) -> u16 {
        u16_at(self.bytes.as_ref(), FLAGS_OFFSET) & OFFSET_MASK
    }

    /// What part of a packet this is.
    #[inline]
    pub fn fragment(&self) -> Fragment {
        Fragment::new(self.fragment_offset(), self.more_fragments())
    }

    /// Hops left.
    pub fn ttl(&self) -> u8 {
        u8_at(self.bytes.as_ref(), TTL)
    }

    /// The upper layer.
    pub fn protocol(&self) -> Protocol {
        Protocol(u8_at(self.bytes.as_ref(), PROTOCOL))
    }

    /// The header checksum as it stands there.
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes.as_ref(), CHECKSUM)
    }

    /// From whom.
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at::<4>(self.bytes.as_ref(), SOURCE))
    }

    /// To whom.
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at::<4>(self.bytes.as_ref(), DESTINATION))
    }

    /// The options, in order.
    pub fn options(&self) -> Options<'_> {
        Options::new(between(
            self.bytes.as_ref(),
            MIN_HEADER_LEN,
            self.header_len(),
        ))
    }

    /// What the packet carries, cut to what is there.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), self.header_len(), self.total_len())
    }

    /// What forwarding needs, in one value.
    #[inline]
    pub fn ip_header(&self) -> IpHeader<Ipv4> {
        IpHeader {
            source: self.source(),
            destination: self.destination(),
            protocol: self.protocol(),
            fragment: self.fragment(),
            hop_limit: self.ttl(),
            traffic_class: self.traffic_class(),
            header_len: self.header_len(),
            packet_len: self.total_len(),
        }
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4View<T> {
    /// Sets from whom. The checksum is left stale: see [`fill_checksum`](Self::fill_checksum).
    pub fn set_source(&mut self, address: Ipv4Addr) {
        put_at(self.bytes.as_mut(), SOURCE, address.octets());
    }

    /// Sets to whom. The checksum is left stale.
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        put_at(self.bytes.as_mut(), DESTINATION, address.octets());
    }

    /// Sets the hops left. The checksum is left stale.
    pub fn set_ttl(&mut self, ttl: u8) {
        put_at(self.bytes.as_mut(), TTL, [ttl]);
    }

    /// Sets DSCP and ECN. The checksum is left stale.
    pub fn set_traffic_class(&mut self, traffic_class: u8) {
        put_at(self.bytes.as_mut(), TRAFFIC_CLASS, [traffic_class]);
    }

    /// Sets the header checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put_at(self.bytes.as_mut(), CHECKSUM, checksum.to_be_bytes());
    }

    /// Computes the header checksum anew.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum(between(self.bytes.as_ref(), 0, self.header_len()));
        self.set_checksum(checksum);
    }

    /// Takes one off the time to live and updates the checksum; answers what is left. `None`, and
    /// no change, when it was 0 already.
    #[inline]
    pub fn decrement_ttl(&mut self) -> Option<u8> {
        let bytes = self.bytes.as_mut();
        // The word also has the protocol in its low half.
        let old = u16_at(bytes, TTL);
        let new = old.checked_sub(0x0100)?;
        let checksum = update_u16(u16_at(bytes, CHECKSUM), old, new);
        put_at(bytes, TTL, new.to_be_bytes());
        put_at(bytes, CHECKSUM, checksum.to_be_bytes());
        Some((new >> 8) as u8)
    }

    /// What the packet carries, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (from, to) = (self.header_len(), self.total_len());
        between_mut(self.bytes.as_mut(), from, to)
    }
}

/// An IPv4 header without options as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Repr {
    /// From whom.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// The upper layer.
    pub protocol: Protocol,
    /// Hops left.
    pub ttl: u8,
    /// DSCP (upper six bits) and ECN.
    pub traffic_class: u8,
    /// What the fragments of one packet have in common.
    pub identification: u16,
    /// Routers must not fragment this packet.
    pub dont_fragment: bool,
    /// This is not the last fragment.
    pub more_fragments: bool,
    /// Where this fragment begins, in units of 8 bytes; 13 bits.
    pub fragment_offset: u16,
    /// Bytes of the payload; not more than 65,515.
    pub payload_len: usize,
}

impl Ipv4Repr {
    /// A header of a packet that is no fragment and must not become one, with 64 hops to live.
    pub const fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: Protocol,
        payload_len: usize,
    ) -> Self {
        Self {
            source,
            destination,
            protocol,
            ttl: 64,
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            payload_len,
        }
    }

    /// The header of a packet. Options are left out.
    pub fn parse<T: AsRef<[u8]>>(view: &Ipv4View<T>) -> Self {
        Self {
            source: view.source(),
            destination: view.destination(),
            protocol: view.protocol(),
            ttl: view.ttl(),
            traffic_class: view.traffic_class(),
            identification: view.identification(),
            dont_fragment: view.dont_fragment(),
            more_fragments: view.more_fragments(),
            fragment_offset: view.fragment_offset(),
            payload_len: view.total_len().saturating_sub(view.header_len()),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        MIN_HEADER_LEN
    }

    /// Writes the header with its checksum to the front of `out`; answers its length.
    ///
    /// # Errors
    /// [`EmitError`]: no room for the header, or too long a payload.
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        EmitError::check_room(out, MIN_HEADER_LEN)?;
        let total_len = EmitError::check_u16(self.payload_len.saturating_add(MIN_HEADER_LEN))?;
        let flags = if self.dont_fragment { DONT_FRAGMENT } else { 0 }
            | if self.more_fragments {
                MORE_FRAGMENTS
            } else {
                0
            }
            | self.fragment_offset & OFFSET_MASK;
        put_at(out, VERSION_IHL, [0x45, self.traffic_class]);
        put_at(out, TOTAL_LENGTH, total_len.to_be_bytes());
        put_at(out, IDENTIFICATION, self.identification.to_be_bytes());
        put_at(out, FLAGS_OFFSET, flags.to_be_bytes());
        put_at(out, TTL, [self.ttl, self.protocol.0, 0, 0]);
        put_at(out, SOURCE, self.source.octets());
        put_at(out, DESTINATION, self.destination.octets());
        let checksum = checksum(between(out, 0, MIN_HEADER_LEN));
        put_at(out, CHECKSUM, checksum.to_be_bytes());
        Ok(MIN_HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet() -> [u8; 28] {
        let mut bytes = [0; 28];
        let addresses = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2)];
        Ipv4Repr::new(addresses[0], addresses[1], Protocol::UDP, 8)
            .emit(&mut bytes)
            .unwrap();
        bytes
    }

    fn refused(change: impl Fn(&mut [u8])) -> Ipv4Error {
        let mut bytes = packet();
        change(&mut bytes);
        Ipv4View::new_checked(bytes).unwrap_err()
    }

    #[test]
    fn each_refusal_has_its_reason() {
        assert_eq!(
            Ipv4View::new_checked(&packet()[..19]),
            Err(Ipv4Error::TooShort {
                needed: 20,
                available: 19
            })
        );
        assert_eq!(
            refused(|b| b[0] = 0x65),
            Ipv4Error::BadVersion { version: 6 }
        );
        assert_eq!(
            refused(|b| b[0] = 0x44),
            Ipv4Error::BadHeaderLength { header_len: 16 }
        );
        assert_eq!(
            refused(|b| b[0] = 0x4f),
            Ipv4Error::TooShort {
                needed: 60,
                available: 28
            }
        );
        let total = |total_len| Ipv4Error::BadTotalLength {
            total_len,
            header_len: 20,
            available: 28,
        };
        assert_eq!(refused(|b| b[3] = 19), total(19));
        assert_eq!(refused(|b| b[3] = 29), total(29));
    }

    #[test]
    fn the_checksum_is_a_question_of_its_own() {
        let mut bytes = packet();
        let right = Ipv4View::new_checked(bytes).unwrap();
        assert_eq!(right.check_checksum(), Ok(()));
        bytes[10] ^= 0x40;
        let wrong = Ipv4View::new_checked(bytes).unwrap();
        assert_eq!(
            wrong.check_checksum(),
            Err(Ipv4Error::BadChecksum {
                found: wrong.checksum(),
                expected: right.checksum()
            })
        );
    }

    #[test]
    fn padding_is_not_payload() {
        let mut frame = packet().to_vec();
        frame.extend([0xee; 18]);
        assert_eq!(Ipv4View::new_checked(&frame).unwrap().payload(), [0; 8]);
        // A quote that ends early still has a header.
        assert_eq!(
            Ipv4View::new_quoted(&frame[..22]).unwrap().payload(),
            [0; 2]
        );
    }

    #[test]
    fn too_long_a_payload_is_refused() {
        let repr = Ipv4Repr::new(
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::LOCALHOST,
            Protocol::UDP,
            65_516,
        );
        assert_eq!(
            repr.emit(&mut [0; 20]),
            Err(EmitError::TooLong {
                length: 65_536,
                limit: 65_535
            })
        );
    }

    #[test]
    fn options_are_walked() {
        let mut bytes = [0; 24];
        bytes[..20].copy_from_slice(&packet()[..20]);
        (bytes[0], bytes[3]) = (0x46, 24);
        bytes[20..].copy_from_slice(&[1, 148, 3, 7]);
        let view = Ipv4View::new_checked(bytes).unwrap();
        let option = view.options().next().unwrap().unwrap();
        assert_eq!((option.kind, option.data), (148, &[7][..]));
        assert_eq!(view.payload(), []);
    }

    prop_compose! {
        fn repr()(
            source: [u8; 4],
            destination: [u8; 4],
            protocol: u8,
            ttl: u8,
            traffic_class: u8,
            identification: u16,
            dont_fragment: bool,
            more_fragments: bool,
            fragment_offset in 0u16..0x2000,
            payload_len in 0usize..64,
        ) -> Ipv4Repr {
            Ipv4Repr {
                source: source.into(),
                destination: destination.into(),
                protocol: Protocol(protocol),
                ttl,
                traffic_class,
                identification,
                dont_fragment,
                more_fragments,
                fragment_offset,
                payload_len,
            }
        }
    }

    proptest! {
        #[test]
        fn build_then_parse(repr in repr()) {
            let mut bytes = [0; 100];
            prop_assert_eq!(repr.emit(&mut bytes), Ok(repr.buffer_len()));
            let view = Ipv4View::new_checked(bytes).unwrap();
            prop_assert_eq!(Ipv4Repr::parse(&view), repr);
            prop_assert_eq!(view.check_checksum(), Ok(()));
            prop_assert_eq!(view.payload().len(), repr.payload_len);
            prop_assert_eq!((view.dscp() << 2) | view.ecn(), repr.traffic_class);
        }

        #[test]
        fn setters_and_the_ttl_keep_the_checksum(repr in repr(), other in repr()) {
            let mut bytes = [0; 100];
            repr.emit(&mut bytes).unwrap();
            let mut view = Ipv4View::new_checked(&mut bytes).unwrap();
            let left = view.decrement_ttl();
            prop_assert_eq!(left, repr.ttl.checked_sub(1));
            prop_assert_eq!(view.ttl(), left.unwrap_or(0));
            prop_assert_eq!(view.check_checksum(), Ok(()));
            view.set_source(other.source);
            view.set_destination(other.destination);
            view.set_ttl(other.ttl);
            view.set_traffic_class(other.traffic_class);
            view.fill_checksum();
            prop_assert_eq!(view.check_checksum(), Ok(()));
            let expected = Ipv4Repr {
                source: other.source,
                destination: other.destination,
                ttl: other.ttl,
                traffic_class: other.traffic_class,
                ..repr
            };
            prop_assert_eq!(Ipv4Repr::parse(&view), expected);
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..96), plausible: bool) {
            let mut bytes = bytes;
            if plausible && bytes.len() >= 4 {
                (bytes[0], bytes[2]) = (0x40 | bytes[0] & 0x0f, 0);
            }
            if let Ok(mut view) = Ipv4View::new_checked(&mut bytes) {
                let _ = (Ipv4Repr::parse(&view), view.check_checksum(), view.options().count());
                prop_assert_eq!(view.header_len() + view.payload().len(), view.total_len());
                let _ = view.decrement_ttl();
                view.fill_checksum();
                prop_assert_eq!(view.check_checksum(), Ok(()));
            }
            if let Ok(view) = Ipv4View::new_quoted(&bytes) {
                let _ = (Ipv4Repr::parse(&view), view.payload(), view.ip_header());
            }
        }
    }
}
