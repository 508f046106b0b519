//! Blocks of addresses: ranges, prefixes and single ones.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::{AddressRange, ParseError, Prefix};
use crate::format;
use crate::value::{Kind, text_column};

/// Addresses of one family that follow each other: a prefix, a range, or one address. What is a whole prefix is written as
/// one, and one address without a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses(AddressRange);

impl Addresses {
    /// The first and the last address.
    pub fn range(self) -> AddressRange {
        self.0
    }

    /// The prefix that holds exactly these, if there is one.
    pub fn prefix(self) -> Option<Prefix> {
        let (first, last) = (bits(self.0.first()), bits(self.0.last()));
        // Where the two ends differ, one has only zeros and the other only ones.
        let host = first ^ last;
        let is_prefix = host & host.wrapping_add(1) == 0 && first & host == 0;
        let width = if self.0.first().is_ipv4() { 32 } else { 128 };
        let length = width - (128 - host.leading_zeros() as u8);
        let network = IpNet::new(self.0.first(), length).ok();
        network.filter(|_| is_prefix).map(Prefix::new)
    }
}

/// The bits of an address, in the lowest places.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl From<Prefix> for Addresses {
    fn from(prefix: Prefix) -> Self {
        let network = prefix.network();
        Addresses(AddressRange {
            first: network.network(),
            last: network.broadcast(),
        })
    }
}

impl From<AddressRange> for Addresses {
    fn from(range: AddressRange) -> Self {
        Addresses(range)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix() {
            Some(prefix) if self.0.first() != self.0.last() => prefix.fmt(f),
            _ => self.0.fmt(f),
        }
    }
}

impl FromStr for Addresses {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str =
            "an address, a prefix or a range, like 10.0.0.1, 10.0.0.0/24 or 10.0.0.1-10.0.0.9";
        let parsed = if text.contains('/') {
            text.parse::<Prefix>().map(Addresses::from)
        } else {
            text.parse::<AddressRange>().map(Addresses)
        };
        parsed.map_err(|error| ParseError {
            expected: EXPECTED,
            ..error
        })
    }
}

text_column!(Addresses, Kind::Text(&format::ADDRESSES));

/// One address, or a whole prefix: what a static translation maps. One address is written without a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressOrPrefix(Prefix);

impl AddressOrPrefix {
    /// The prefix; one address is a prefix of full length.
    pub fn prefix(self) -> Prefix {
        self.0
    }

    /// The address, where it is but one.
    pub fn address(self) -> Option<IpAddr> {
        let network = self.0.network();
        (network.prefix_len() == network.max_prefix_len()).then(|| network.addr())
    }
}

impl From<IpAddr> for AddressOrPrefix {
    fn from(address: IpAddr) -> Self {
        AddressOrPrefix(Prefix::new(address.into()))
    }
}

impl From<Prefix> for AddressOrPrefix {
    fn from(prefix: Prefix) -> Self {
        AddressOrPrefix(prefix)
    }
}

impl fmt::Display for AddressOrPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => address.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

impl FromStr for AddressOrPrefix {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        const EXPECTED: &str = "an address or a prefix, like 10.0.0.1 or 10.0.0.0/24";
        if !text.contains('/') {
            let address = text.parse::<IpAddr>();
            return address
                .map(AddressOrPrefix::from)
                .map_err(|_| ParseError::new(EXPECTED, text));
        }
        let prefix = text.parse::<Prefix>();
        prefix.map(AddressOrPrefix).map_err(|error| ParseError {
            expected: EXPECTED,
            ..error
        })
    }
}

text_column!(AddressOrPrefix, Kind::Text(&format::ADDRESS_OR_PREFIX));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_text_for_the_same_addresses() {
        for (text, canonical) in [
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1/32", "10.0.0.1"),
            ("10.0.0.0-10.0.0.255", "10.0.0.0/24"),
            ("10.0.0.0 - 10.0.0.254", "10.0.0.0-10.0.0.254"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:db8::-2001:db8::ffff", "2001:db8::/112"),
            ("2001:db8::1/128", "2001:db8::1"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
        ] {
            let addresses: Addresses = text.parse().unwrap();
            assert_eq!(addresses.to_string(), canonical);
        }
        for text in [
            "",
            "10.0.0.1/24",
            "10.0.0.9-10.0.0.1",
            "10.0.0.1-::1",
            "10.0.0.0/33",
            "host",
        ] {
            assert!(text.parse::<Addresses>().is_err(), "{text}");
        }
        let host: AddressOrPrefix = "10.0.0.1/32".parse().unwrap();
        assert_eq!(host.to_string(), "10.0.0.1");
        assert!("10.0.0.1/24".parse::<AddressOrPrefix>().is_err());
    }

    proptest! {
        /// The oracle is the network library.
        #[test]
        fn prefixes_are_found(address: u128, length in 0u8..=128) {
            let v6 = IpNet::new(std::net::Ipv6Addr::from_bits(address).into(), length).unwrap();
            let v4 = std::net::Ipv4Addr::from_bits(address as u32);
            let v4 = IpNet::new(v4.into(), length / 4).unwrap();
            for network in [v4.trunc(), v6.trunc()] {
                let addresses = Addresses::from(Prefix::new(network));
                prop_assert_eq!(addresses.prefix(), Some(Prefix::new(network)));
                prop_assert_eq!(addresses.to_string().parse(), Ok(addresses));
            }
        }

        #[test]
        fn ranges_read_back(a: u32, b: u32, shift in 0u32..32) {
            let (a, b) = (a >> shift, b >> shift);
            let v4 = |bits| IpAddr::from(std::net::Ipv4Addr::from_bits(bits));
            let range = AddressRange { first: v4(a.min(b)), last: v4(a.max(b)) };
            let addresses = Addresses(range);
            prop_assert_eq!(addresses.to_string().parse(), Ok(addresses));
            if let Some(prefix) = addresses.prefix() {
                prop_assert_eq!(Addresses::from(prefix), addresses);
            }
        }
    }
}
