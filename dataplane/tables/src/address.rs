//! The two address families, so that code over both is written once: an address type stands for its family.

use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_packet::IpAddress;

use crate::lpm::{Key, Lpm};
use crate::nat::{MasqueradeList, MasqueradeRules};
use crate::route::Route;
use crate::tables::Vpc;

/// An IP address of one family, with what the tables hold for that family.
pub trait Address: IpAddress {
    /// The number of bits of an address: 32 or 128.
    const BITS: u8;
    /// The address as a lookup takes it: of IPv4 a number in host order, of IPv6 the octets in the order of the wire.
    type Key: Key;
    /// The address as a lookup takes it.
    fn key(self) -> Self::Key;
    /// The address with all bits behind the first `length` cleared. `length` is at most [`Self::BITS`].
    #[must_use]
    fn masked(self, length: u8) -> Self;
    /// The address as a number, in the low [`Self::BITS`] bits.
    fn to_number(self) -> u128;
    /// The address from a number; bits above [`Self::BITS`] are ignored.
    fn from_number(number: u128) -> Self;
    /// A VPC's routes of this family.
    fn routes(vpc: &Vpc) -> &Lpm<Self, Route>;
    /// The masquerade rules of this family.
    fn masquerades(rules: &MasqueradeRules) -> &Lpm<Self, MasqueradeList>;
}

impl Address for Ipv4Addr {
    const BITS: u8 = 32;
    type Key = u32;
    fn key(self) -> u32 {
        self.to_bits()
    }
    fn masked(self, length: u8) -> Self {
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        Ipv4Addr::from_bits(self.to_bits() & mask)
    }
    fn to_number(self) -> u128 {
        u128::from(self.to_bits())
    }
    fn from_number(number: u128) -> Self {
        Ipv4Addr::from_bits(number as u32)
    }
    fn routes(vpc: &Vpc) -> &Lpm<Self, Route> {
        &vpc.routes4
    }
    fn masquerades(rules: &MasqueradeRules) -> &Lpm<Self, MasqueradeList> {
        &rules.rules4
    }
}

impl Address for Ipv6Addr {
    const BITS: u8 = 128;
    type Key = [u8; 16];
    fn key(self) -> [u8; 16] {
        self.octets()
    }
    fn masked(self, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Ipv6Addr::from_bits(self.to_bits() & mask)
    }
    fn to_number(self) -> u128 {
        self.to_bits()
    }
    fn from_number(number: u128) -> Self {
        Ipv6Addr::from_bits(number)
    }
    fn routes(vpc: &Vpc) -> &Lpm<Self, Route> {
        &vpc.routes6
    }
    fn masquerades(rules: &MasqueradeRules) -> &Lpm<Self, MasqueradeList> {
        &rules.rules6
    }
}
