//! Ethernet II frames (IEEE 802.3 clause 3; EtherTypes of RFC 9542 and the IANA registry).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

use crate::bytes::{array_at, between, between_mut, put_at, u16_at};
use crate::error::EmitError;

/// Length of an Ethernet II header without tags, in bytes.
pub const HEADER_LEN: usize = 14;

/// Shortest frame on a wire without its check sequence; shorter payloads are padded to it with
/// zeroes.
pub const MIN_FRAME_LEN: usize = 60;

const DESTINATION: usize = 0;
const SOURCE: usize = 6;
const ETHER_TYPE: usize = 12;

/// A 48-bit MAC address in the order of the wire. Written and read as `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// `00:00:00:00:00:00`: nobody's address; the "not known" of ARP requests.
    pub const ZERO: MacAddress = MacAddress([0; 6]);
    /// `ff:ff:ff:ff:ff:ff`: every station.
    pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);

    /// The address's bytes as they are sent.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    /// The group bit is set: multicast, and broadcast with it.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// `ff:ff:ff:ff:ff:ff`.
    pub const fn is_broadcast(self) -> bool {
        matches!(self.0, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff])
    }

    /// The group bit is clear. True of the zero address, too, which no station may use.
    pub const fn is_unicast(self) -> bool {
        !self.is_multicast()
    }

    /// `00:00:00:00:00:00`.
    pub const fn is_zero(self) -> bool {
        matches!(self.0, [0, 0, 0, 0, 0, 0])
    }

    /// The bit that says "made up here, not by the vendor" is set.
    pub const fn is_local(self) -> bool {
        self.0[0] & 2 != 0
    }

    /// Where frames to an IPv6 multicast address go: `33:33` and its last 32 bits (RFC 2464 section
    /// 7).
    pub const fn from_ipv6_multicast(address: Ipv6Addr) -> MacAddress {
        let [.., a, b, c, d] = address.octets();
        MacAddress([0x33, 0x33, a, b, c, d])
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a MAC address. Positions count characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MacAddressError {
    /// A hexadecimal digit was due.
    #[error("expected a hexadecimal digit at character {position}, found `{found}`; {FORM}")]
    BadDigit {
        /// Where.
        position: usize,
        /// What is there.
        found: char,
    },
    /// A colon was due.
    #[error("expected `:` at character {position}, found `{found}`; {FORM}")]
    BadSeparator {
        /// Where.
        position: usize,
        /// What is there.
        found: char,
    },
    /// The text is right as far as it goes, but ends early or goes on.
    #[error("expected 17 characters, found {length}; {FORM}")]
    BadLength {
        /// Characters of the text.
        length: usize,
    },
}

const FORM: &str =
    "a MAC address is six pairs of hexadecimal digits with colons between, like 02:00:00:00:00:01";

impl FromStr for MacAddress {
    type Err = MacAddressError;

    /// Six pairs of hexadecimal digits, upper or lower case, with colons between; nothing else.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const LENGTH: usize = 17;
        let mut octets = [0u8; 6];
        for (index, found) in text.chars().enumerate().take(LENGTH) {
            let position = index + 1;
            if index % 3 == 2 {
                if found != ':' {
                    return Err(MacAddressError::BadSeparator { position, found });
                }
            } else {
                let digit = found
                    .to_digit(16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .ok_or(MacAddressError::BadDigit { position, found })?;
                if let Some(octet) = octets.get_mut(index / 3) {
                    *octet = *octet << 4 | digit;
                }
            }
        }
        match text.chars().count() {
            LENGTH => Ok(MacAddress(octets)),
            length => Err(MacAddressError::BadLength { length }),
        }
    }
}

/// What an Ethernet frame carries: the field after the addresses, or after a tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// ARP.
    pub const ARP: EtherType = EtherType(0x0806);
    /// IPv6.
    pub const IPV6: EtherType = EtherType(0x86dd);
    /// A customer VLAN tag (IEEE 802.1Q) follows.
    pub const VLAN: EtherType = EtherType(0x8100);
    /// A service VLAN tag (IEEE 802.1ad, QinQ) follows.
    pub const QINQ: EtherType = EtherType(0x88a8);
    /// Link Layer Discovery Protocol.
    pub const LLDP: EtherType = EtherType(0x88cc);

    /// A VLAN tag of four bytes stands where the payload would: its control word, then another
    /// EtherType.
    pub const fn is_vlan(self) -> bool {
        matches!(self, EtherType::VLAN | EtherType::QINQ)
    }

    /// Below 0x0600 the field is an IEEE 802.3 length, and an LLC header follows.
    pub const fn is_length(self) -> bool {
        self.0 < 0x0600
    }
}

impl fmt::Display for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EtherType::IPV4 => f.write_str("IPv4"),
            EtherType::ARP => f.write_str("ARP"),
            EtherType::IPV6 => f.write_str("IPv6"),
            EtherType::VLAN => f.write_str("802.1Q"),
            EtherType::QINQ => f.write_str("802.1ad"),
            EtherType::LLDP => f.write_str("LLDP"),
            EtherType(other) => write!(f, "{other:#06x}"),
        }
    }
}

impl fmt::Debug for EtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EthernetError {
    /// Fewer bytes than a header has.
    #[error("an Ethernet header has {HEADER_LEN} bytes, the frame has {available}")]
    TooShort {
        /// Bytes of the frame.
        available: usize,
    },
}

/// A frame, from its destination address to the end of its payload (no check sequence).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EthernetView<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> EthernetView<T> {
    /// A view over a frame.
    ///
    /// # Errors
    /// [`EthernetError::TooShort`].
    pub fn new_checked(bytes: T) -> Result<Self, EthernetError> {
        match bytes.as_ref().len() {
            available if available < HEADER_LEN => Err(EthernetError::TooShort { available }),
            _ => Ok(Self { bytes }),
        }
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// To whom.
    pub fn destination(&self) -> MacAddress {
        MacAddress(array_at(self.bytes.as_ref(), DESTINATION))
    }

    /// From whom.
    pub fn source(&self) -> MacAddress {
        MacAddress(array_at(self.bytes.as_ref(), SOURCE))
    }

    /// What follows; see [`EtherType::is_vlan`] and [`EtherType::is_length`].
    pub fn ether_type(&self) -> EtherType {
        EtherType(u16_at(self.bytes.as_ref(), ETHER_TYPE))
    }

    /// What follows the header, padding included.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), HEADER_LEN, usize::MAX)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> EthernetView<T> {
    /// Sets to whom.
    pub fn set_destination(&mut self, address: MacAddress) {
        put_at(self.bytes.as_mut(), DESTINATION, address.0);
    }

    /// Sets from whom.
    pub fn set_source(&mut self, address: MacAddress) {
        put_at(self.bytes.as_mut(), SOURCE, address.0);
    }

    /// Sets what follows.
    pub fn set_ether_type(&mut self, ether_type: EtherType) {
        put_at(self.bytes.as_mut(), ETHER_TYPE, ether_type.0.to_be_bytes());
    }

    /// What follows the header, to be written to.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        between_mut(self.bytes.as_mut(), HEADER_LEN, usize::MAX)
    }
}

/// An Ethernet II header as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EthernetRepr {
    /// To whom.
    pub destination: MacAddress,
    /// From whom.
    pub source: MacAddress,
    /// What follows.
    pub ether_type: EtherType,
}

impl EthernetRepr {
    /// The header of a frame.
    pub fn parse<T: AsRef<[u8]>>(view: &EthernetView<T>) -> Self {
        Self {
            destination: view.destination(),
            source: view.source(),
            ether_type: view.ether_type(),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `out`; answers its length.
    ///
    /// # Errors
    /// [`EmitError::TooShort`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        EmitError::check_room(out, HEADER_LEN)?;
        put_at(out, DESTINATION, self.destination.0);
        put_at(out, SOURCE, self.source.0);
        put_at(out, ETHER_TYPE, self.ether_type.0.to_be_bytes());
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn mac_address_says_what_it_is() {
        let unicast = MacAddress([2, 0, 0, 0, 0, 1]);
        assert_eq!(unicast.to_string(), "02:00:00:00:00:01");
        assert!(unicast.is_unicast() && unicast.is_local() && !unicast.is_zero());
        assert!(MacAddress::BROADCAST.is_broadcast() && MacAddress::BROADCAST.is_multicast());
        let multicast = MacAddress([1, 0, 0x5e, 0, 0, 1]);
        assert!(multicast.is_multicast() && !multicast.is_broadcast() && !multicast.is_unicast());
        assert!(MacAddress::ZERO.is_zero());
        assert_eq!(
            MacAddress::from_ipv6_multicast("ff02::1:ff12:3456".parse().unwrap()).to_string(),
            "33:33:ff:12:34:56"
        );
    }

    #[test]
    fn mac_address_errors_point() {
        let error = |text: &str| text.parse::<MacAddress>().unwrap_err();
        assert_eq!(error(""), MacAddressError::BadLength { length: 0 });
        assert_eq!(
            error("02:00:00:00:00:0"),
            MacAddressError::BadLength { length: 16 }
        );
        assert_eq!(
            error("02:00:00:00:00:01 "),
            MacAddressError::BadLength { length: 18 }
        );
        assert_eq!(
            error("02-00-00-00-00-01"),
            MacAddressError::BadSeparator {
                position: 3,
                found: '-'
            }
        );
        assert_eq!(
            error("02:0g:00:00:00:01"),
            MacAddressError::BadDigit {
                position: 5,
                found: 'g'
            }
        );
        assert_eq!(
            error("é"),
            MacAddressError::BadDigit {
                position: 1,
                found: 'é'
            }
        );
        assert_eq!(
            error("0x:00").to_string(),
            "expected a hexadecimal digit at character 2, found `x`; a MAC address is six pairs of \
             hexadecimal digits with colons between, like 02:00:00:00:00:01"
        );
        assert_eq!(
            "0A:bC:00:00:00:01".parse(),
            Ok(MacAddress([0x0a, 0xbc, 0, 0, 0, 1]))
        );
    }

    #[test]
    fn ether_types_are_told_apart() {
        assert!(EtherType(0x8100).is_vlan() && EtherType(0x88a8).is_vlan());
        assert!(!EtherType::IPV4.is_vlan() && !EtherType::IPV4.is_length());
        assert!(EtherType(0x05ff).is_length() && !EtherType(0x0600).is_length());
        assert_eq!(EtherType(0x8864).to_string(), "0x8864");
    }

    #[test]
    fn short_frames_and_buffers_are_refused() {
        assert_eq!(
            EthernetView::new_checked([0u8; 13]),
            Err(EthernetError::TooShort { available: 13 })
        );
        let repr = EthernetRepr {
            destination: MacAddress::BROADCAST,
            source: MacAddress::ZERO,
            ether_type: EtherType::ARP,
        };
        assert_eq!(
            repr.emit(&mut [0; 13]),
            Err(EmitError::TooShort {
                needed: 14,
                available: 13
            })
        );
    }

    proptest! {
        #[test]
        fn mac_address_text_round_trips(octets: [u8; 6]) {
            let address = MacAddress(octets);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn any_text_is_judged(text in ".{0,24}") {
            let _ = text.parse::<MacAddress>();
        }

        #[test]
        fn build_then_parse(destination: [u8; 6], source: [u8; 6], ether_type: u16) {
            let repr = EthernetRepr {
                destination: MacAddress(destination),
                source: MacAddress(source),
                ether_type: EtherType(ether_type),
            };
            let mut bytes = [0xaa; HEADER_LEN + 3];
            prop_assert_eq!(repr.emit(&mut bytes), Ok(repr.buffer_len()));
            let mut view = EthernetView::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(EthernetRepr::parse(&view), repr);
            prop_assert_eq!(view.payload(), [0xaa; 3]);
            view.set_source(repr.destination);
            view.set_destination(repr.source);
            view.set_ether_type(EtherType::IPV6);
            let swapped = EthernetRepr {
                destination: repr.source,
                source: repr.destination,
                ether_type: EtherType::IPV6,
            };
            prop_assert_eq!(EthernetRepr::parse(&view), swapped);
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(view) = EthernetView::new_checked(&bytes) {
                let _ = EthernetRepr::parse(&view);
                prop_assert_eq!(view.payload().len(), bytes.len() - HEADER_LEN);
            }
        }
    }
}
