//! NPTv6 (RFC 6296): one prefix in place of another, so that no checksum over addresses changes. The mapping is a function of the
//! address, in either direction.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

/// The longest prefixes that can be translated: the calculation is one of 64 bits (section 3.1).
pub const LONGEST_NPTV6_PREFIX: u8 = 64;

/// Where the adjusted word is, where prefixes are this long or shorter: bits 48 to 63 (section 3.4).
const SUBNET: u32 = 3;

/// A word that no address has after its translation: the other zero of the one's complement.
const NO_WORD: u16 = 0xffff;

/// Two prefixes of one length: the shorter one is extended with zeros (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nptv6 {
    internal: Ipv6Net,
    external: Ipv6Net,
}

impl Nptv6 {
    /// For prefixes of at most [`LONGEST_NPTV6_PREFIX`] bits each.
    pub(super) fn new(internal: Ipv6Net, external: Ipv6Net) -> Option<Self> {
        let length = internal.prefix_len().max(external.prefix_len());
        let extended = |prefix: Ipv6Net| Ipv6Net::new(prefix.network(), length).ok();
        (length <= LONGEST_NPTV6_PREFIX).then_some(Nptv6 {
            internal: extended(internal)?,
            external: extended(external)?,
        })
    }

    /// The external address of an internal one (section 3.2); none where there is no mapping.
    pub(super) fn to_external(self, internal: Ipv6Addr) -> Option<Ipv6Addr> {
        translate(internal, self.internal, self.external)
    }

    /// The internal address of an external one (section 3.3); none where there is no mapping.
    pub(super) fn to_internal(self, external: Ipv6Addr) -> Option<Ipv6Addr> {
        translate(external, self.external, self.internal)
    }
}

fn translate(address: Ipv6Addr, from: Ipv6Net, to: Ipv6Net) -> Option<Ipv6Addr> {
    let interface = address.to_bits() as u64;
    // An interface identifier of zeros must not pass behind a long prefix (section 3.7).
    let is_long = from.prefix_len() > 48;
    if !from.contains(&address) || (is_long && interface == 0) {
        return None;
    }
    let place = match is_long {
        false => SUBNET,
        true => (4..8).find(|place| word(address, *place) != NO_WORD)?,
    };
    let old = word(address, place);
    if old == NO_WORD {
        return None;
    }
    // What leaves the prefix comes back into the word.
    let mut new = add(old, add(sum(from), !sum(to)));
    if new == NO_WORD {
        new = 0;
    }
    let behind = address.to_bits() & from.hostmask().to_bits();
    let moved = to.network().to_bits() | behind;
    let shift = shift_of(place);
    let cleared = moved & !(u128::from(u16::MAX) << shift);
    Some(Ipv6Addr::from_bits(cleared | u128::from(new) << shift))
}

/// The bits behind a word of an address, of which the first is word 0.
fn shift_of(place: u32) -> u32 {
    112 - 16 * place
}

fn word(address: Ipv6Addr, place: u32) -> u16 {
    (address.to_bits() >> shift_of(place)) as u16
}

/// The one's complement sum of the words of a prefix.
fn sum(prefix: Ipv6Net) -> u16 {
    let words = prefix.network().segments();
    words.into_iter().fold(0, add)
}

fn add(one: u16, other: u16) -> u16 {
    let (sum, carry) = one.overflowing_add(other);
    sum + u16::from(carry)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn npt(internal: &str, external: &str) -> Nptv6 {
        let net = |text: &str| text.parse().expect("a prefix");
        Nptv6::new(net(internal), net(external)).expect("not too long")
    }

    fn there_and_back(npt: Nptv6, internal: &str, external: &str) {
        let [internal, external]: [Ipv6Addr; 2] =
            [internal, external].map(|text| text.parse().expect("an address"));
        assert_eq!(npt.to_external(internal), Some(external));
        assert_eq!(npt.to_internal(external), Some(internal));
    }

    #[test]
    fn the_rfcs_own_example() {
        // RFC 6296, section 3.6.
        let npt = npt("fd01:203:405::/48", "2001:db8:1::/48");
        there_and_back(npt, "fd01:203:405:1::1234", "2001:db8:1:d550::1234");
    }

    #[test]
    fn longer_prefixes_are_adjusted_in_the_interface_identifier() {
        let npt = npt("fd01:203:405::/48", "2001:db8:1:ff00::/56");
        // The sums of both are 030a and 2cbb, and their difference is d64e.
        there_and_back(npt, "fd01:203:405:1::1234", "2001:db8:1:ff01:d64e::1234");
        there_and_back(
            npt,
            "fd01:203:405:1:ffff:0:0:1234",
            "2001:db8:1:ff01:ffff:d64e:0:1234",
        );
        // Subnets that the shorter prefix has beyond the longer one.
        let beyond = "fd01:203:405:100::1".parse().expect("an address");
        assert_eq!(npt.to_external(beyond), None);
    }

    #[test]
    fn what_has_no_mapping() {
        let short = npt("fd01:203:405::/48", "2001:db8:1::/48");
        let long = npt("fd01:203:405:4500::/64", "2001:db8:1:5::/64");
        for (npt, internal) in [
            (short, "fd01:203:405:ffff::1"),
            (short, "fd01:203:406:1::1"),
            (long, "fd01:203:405:4500::"),
            (long, "fd01:203:405:4500:ffff:ffff:ffff:ffff"),
        ] {
            let internal = internal.parse().expect("an address");
            assert_eq!(npt.to_external(internal), None, "{internal}");
        }
        assert_eq!(
            short.to_internal("2001:db8:1:ffff::1".parse().expect("an address")),
            None
        );
    }

    /// The sum of all words, as RFC 1071 folds it.
    fn checksum(address: Ipv6Addr) -> u32 {
        let sum: u32 = address.segments().into_iter().map(u32::from).sum();
        sum % 0xffff
    }

    proptest! {
        /// Each address has one in its place, which leads back to it and has the same sum; or none has it.
        #[test]
        fn there_and_back_with_the_same_sum(
            prefixes: [u128; 2], lengths in [1..=64_u8, 1..=64_u8], behind: u128,
            odd in prop::option::of((0..8_u32, prop::bool::ANY)),
        ) {
            let net = |at: usize| {
                let net = Ipv6Net::new(Ipv6Addr::from_bits(prefixes[at]), lengths[at]);
                net.expect("a length").trunc()
            };
            let npt = Nptv6::new(net(0), net(1)).expect("not too long");
            let mut bits = npt.internal.network().to_bits() | (behind & npt.internal.hostmask().to_bits());
            if let Some((place, ones)) = odd {
                let word = u128::from(u16::MAX) << shift_of(place) & npt.internal.hostmask().to_bits();
                bits = if ones { bits | word } else { bits & !word };
            }
            let internal = Ipv6Addr::from_bits(bits);
            let long = npt.internal.prefix_len() > 48;
            let external = npt.to_external(internal);
            let unmapped = match long {
                false => internal.segments()[3] == 0xffff,
                true => matches!(bits as u64, 0 | u64::MAX),
            };
            prop_assert_eq!(external.is_none(), unmapped);
            let Some(external) = external else { return Ok(()) };
            prop_assert!(npt.external.contains(&external));
            prop_assert_eq!(checksum(external), checksum(internal));
            let back = npt.to_internal(external);
            // An identifier of zeros may come out, which leads nowhere.
            if !(long && external.to_bits() as u64 == 0) {
                prop_assert_eq!(back, Some(internal));
            }
        }
    }
}
