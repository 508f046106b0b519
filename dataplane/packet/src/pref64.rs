//! IPv4 addresses inside IPv6 addresses (RFC 6052), as NAT64 writes and reads them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// A prefix that, with an IPv4 address behind it, makes an IPv4-embedded IPv6 address (RFC 6052 section 2.2; "Pref64::/n" in
/// RFC 6146). Bits 64 to 71 of such an address are zero, whatever the length of the prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pref64 {
    /// The prefix; all else is zero.
    bits: u128,
    length: u8,
}

/// Why a prefix is none that IPv4 addresses are embedded behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Pref64Error {
    /// The length is not one of RFC 6052.
    #[error("IPv4 addresses are embedded behind 32, 40, 48, 56, 64 or 96 bits, not behind {0}")]
    Length(u8),
    /// Bits behind the prefix are set.
    #[error("bits behind the first {0} are set")]
    HostBits(u8),
    /// Bits 64 to 71, which are zero in every address (RFC 6052 section 2.2).
    #[error("bits 64 to 71 are not zero")]
    ReservedBits,
}

/// Bits 64 to 71, from the left.
const RESERVED: u128 = 0xff << 56;
/// All bits from 64 on.
const BEHIND_64: u128 = u64::MAX as u128;

impl Pref64 {
    /// The well-known prefix, 64:ff9b::/96 (RFC 6052 section 2.1).
    pub const WELL_KNOWN: Pref64 = Pref64 {
        bits: 0x0064_ff9b << 96,
        length: 96,
    };

    /// A prefix of so many bits.
    ///
    /// # Errors
    /// See [`Pref64Error`].
    pub fn new(prefix: Ipv6Addr, length: u8) -> Result<Self, Pref64Error> {
        if !matches!(length, 32 | 40 | 48 | 56 | 64 | 96) {
            return Err(Pref64Error::Length(length));
        }
        let bits = prefix.to_bits();
        if bits << length != 0 {
            return Err(Pref64Error::HostBits(length));
        }
        if bits & RESERVED != 0 {
            return Err(Pref64Error::ReservedBits);
        }
        Ok(Pref64 { bits, length })
    }

    /// Its first address.
    pub const fn address(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.bits)
    }

    /// Its length in bits.
    pub const fn length(self) -> u8 {
        self.length
    }

    /// Whether an address begins with it.
    #[inline]
    pub const fn contains(self, address: Ipv6Addr) -> bool {
        (address.to_bits() ^ self.bits) >> (128 - self.length) == 0
    }

    /// The IPv6 address that stands for an IPv4 address.
    #[inline]
    pub const fn embed(self, address: Ipv4Addr) -> Ipv6Addr {
        let address = address.to_bits() as u128;
        let embedded = if self.length == 96 {
            address
        } else {
            // What does not fit ahead of the reserved bits moves behind them.
            let whole = address << (96 - self.length);
            whole & !BEHIND_64 | (whole & BEHIND_64) >> 8
        };
        Ipv6Addr::from_bits(self.bits | embedded)
    }

    /// The IPv4 address that an IPv6 address of the prefix stands for: none where it is of no such prefix, or the reserved bits
    /// are set. What follows the IPv4 address is not looked at (RFC 6052 section 2.2: the suffix).
    #[inline]
    pub const fn extract(self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        let bits = address.to_bits();
        if !self.contains(address) || bits & RESERVED != 0 {
            return None;
        }
        if self.length == 96 {
            return Some(Ipv4Addr::from_bits(bits as u32));
        }
        let joined = bits & !BEHIND_64 | (bits << 8) & BEHIND_64;
        Some(Ipv4Addr::from_bits((joined >> (96 - self.length)) as u32))
    }

    /// Whether packets to an IPv4 address may be translated by it. The well-known prefix stands for global IPv4 addresses alone
    /// (RFC 6052 section 3.1).
    pub fn may_stand_for(self, address: Ipv4Addr) -> bool {
        self != Pref64::WELL_KNOWN || is_global(address)
    }
}

/// Whether an IPv4 address is globally reachable, by the IANA registry of special-purpose addresses (RFC 6890), as RFC 6052 means it.
pub const fn is_global(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 2)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    ) && (!matches!((a, b, c), (192, 0, 0)) || matches!(d, 9 | 10))
}

impl fmt::Display for Pref64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(text: &str) -> Result<Pref64, Pref64Error> {
        let (address, length) = text.split_once('/').unwrap();
        Pref64::new(address.parse().unwrap(), length.parse().unwrap())
    }

    /// RFC 6052, table 2 and table 3, in section 2.4.
    #[test]
    fn the_examples_of_the_rfc() {
        let embedded = Ipv4Addr::new(192, 0, 2, 33);
        for (pref64, address) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ] {
            let (pref64, address) = (prefix(pref64).unwrap(), address.parse().unwrap());
            assert_eq!(pref64.embed(embedded), address, "{pref64}");
            assert_eq!(pref64.extract(address), Some(embedded), "{pref64}");
        }
        assert_eq!(prefix("64:ff9b::/96"), Ok(Pref64::WELL_KNOWN));
    }

    #[test]
    fn what_is_no_prefix() {
        assert_eq!(prefix("2001:db8::/33"), Err(Pref64Error::Length(33)));
        assert_eq!(prefix("2001:db8::1/96"), Err(Pref64Error::HostBits(96)));
        let reserved = prefix("2001:db8:0:0:100::/96");
        assert_eq!(reserved, Err(Pref64Error::ReservedBits));
    }

    /// The suffix is ignored; bits 64 to 71 are not.
    #[test]
    fn what_stands_for_nothing() {
        let short = prefix("2001:db8::/32").unwrap();
        let of = |text: &str| short.extract(text.parse().unwrap());
        assert_eq!(
            of("2001:db8:c000:221::5"),
            Some(Ipv4Addr::new(192, 0, 2, 33))
        );
        assert_eq!(of("2001:db8:c000:221:100::"), None);
        assert_eq!(of("2001:db9:c000:221::"), None);
    }

    #[test]
    fn the_well_known_prefix_stands_for_global_addresses() {
        let own = prefix("2001:db8::/96").unwrap();
        for (address, global) in [
            ("10.1.2.3", false),
            ("100.63.0.1", true),
            ("100.64.0.1", false),
            ("127.0.0.1", false),
            ("172.15.0.1", true),
            ("172.16.0.1", false),
            ("192.0.0.8", false),
            ("192.0.0.9", true),
            ("192.0.2.33", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("8.8.8.8", true),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(
                Pref64::WELL_KNOWN.may_stand_for(address),
                global,
                "{address}"
            );
            assert!(own.may_stand_for(address));
        }
    }

    proptest! {
        #[test]
        fn there_and_back(
            high: u64, address: u32,
            length in proptest::sample::select(vec![32u8, 40, 48, 56, 64, 96]),
        ) {
            let bits = (u128::from(high) << 64) & !(u128::MAX >> length);
            let pref64 = Pref64::new(Ipv6Addr::from_bits(bits), length).unwrap();
            let address = Ipv4Addr::from_bits(address);
            let embedded = pref64.embed(address);
            prop_assert!(pref64.contains(embedded));
            prop_assert_eq!(embedded.octets()[8], 0);
            prop_assert_eq!(pref64.extract(embedded), Some(address));
        }
    }
}
