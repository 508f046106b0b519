//! Static translations: which prefix is which, and which address of the one is which of the other.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use ipnet::IpNet;

use super::nptv6::Nptv6;
use super::tally::Tally;
use crate::index::{PeeringIndex, VpcIndex};

/// A static translation: each address of an external prefix is one of an internal prefix, both ways (RFC 2663, basic NAT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticNat {
    /// The rule's name.
    pub name: Arc<str>,
    /// The VPC of the external addresses.
    pub external_vpc: VpcIndex,
    /// The external addresses.
    pub external: IpNet,
    /// The VPC of the internal addresses.
    pub internal_vpc: VpcIndex,
    /// The internal addresses. The prefix is as long as `external`, but for NPTv6.
    pub internal: IpNet,
    /// Whether addresses are translated so that checksums stay (RFC 6296). Else each becomes the one in the same place.
    pub nptv6: bool,
    /// How long its connections live without packets; none where the VPC says it.
    pub idle_timeout: Option<Duration>,
    /// The peering that packets cross by it, where a peering made it.
    pub peering: Option<PeeringIndex>,
}

impl StaticNat {
    /// The internal address of an external one; none where it has none, as a few of NPTv6 have. Cost: a few operations, whatever
    /// the length of the prefix.
    pub fn to_internal(&self, external: IpAddr) -> Option<IpAddr> {
        match (self.nptv6(), external) {
            (Some(npt), IpAddr::V6(external)) => npt?.to_internal(external).map(IpAddr::V6),
            _ => in_same_place(external, self.external, self.internal),
        }
    }

    /// The external address of an internal one, likewise.
    pub fn to_external(&self, internal: IpAddr) -> Option<IpAddr> {
        match (self.nptv6(), internal) {
            (Some(npt), IpAddr::V6(internal)) => npt?.to_external(internal).map(IpAddr::V6),
            _ => in_same_place(internal, self.internal, self.external),
        }
    }

    /// How it translates, where that is NPTv6; none within, where its prefixes are too long for that.
    fn nptv6(&self) -> Option<Option<Nptv6>> {
        match (self.nptv6, self.internal, self.external) {
            (true, IpNet::V6(internal), IpNet::V6(external)) => {
                Some(Nptv6::new(internal, external))
            }
            _ => None,
        }
    }
}

/// The address of a prefix that is as far from its first one as another is from the first of its own.
fn in_same_place(address: IpAddr, from: IpNet, to: IpNet) -> Option<IpAddr> {
    if !from.contains(&address) {
        return None;
    }
    match (address, to) {
        (IpAddr::V4(address), IpNet::V4(to)) => {
            let behind = address.to_bits() & to.hostmask().to_bits();
            Some(Ipv4Addr::from_bits(to.network().to_bits() | behind).into())
        }
        (IpAddr::V6(address), IpNet::V6(to)) => {
            let behind = address.to_bits() & to.hostmask().to_bits();
            Some(Ipv6Addr::from_bits(to.network().to_bits() | behind).into())
        }
        _ => None,
    }
}

/// Static translations by a prefix of theirs, each with what else finds it. Prefixes of one `K` do not overlap: the compiler sees to
/// that.
#[derive(Clone, Debug)]
pub(crate) struct ByPrefix<K> {
    rules: HashMap<(K, IpNet), Arc<StaticNat>>,
    keys: Tally<K>,
    /// How many rules there are of each length, the longest prefixes first: of IPv4, and of IPv6.
    lengths: [Vec<(u8, usize)>; 2],
}

impl<K> Default for ByPrefix<K> {
    fn default() -> Self {
        ByPrefix {
            rules: HashMap::new(),
            keys: Tally::default(),
            lengths: Default::default(),
        }
    }
}

impl<K: Copy + Eq + Hash> ByPrefix<K> {
    /// Whether a key has any rule.
    pub(crate) fn has(&self, key: K) -> bool {
        self.keys.has(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<StaticNat>> {
        self.rules.values()
    }

    pub(crate) fn insert(&mut self, key: K, prefix: IpNet, rule: Arc<StaticNat>) {
        if self.rules.insert((key, prefix), rule).is_some() {
            return;
        }
        self.keys.add(key);
        let lengths = &mut self.lengths[family(prefix.addr())];
        let length = prefix.prefix_len();
        match lengths.binary_search_by(|(other, _)| length.cmp(other)) {
            Ok(place) => lengths[place].1 += 1,
            Err(place) => lengths.insert(place, (length, 1)),
        }
    }

    pub(crate) fn remove(&mut self, key: K, prefix: IpNet) {
        if self.rules.remove(&(key, prefix)).is_none() {
            return;
        }
        self.keys.remove(key);
        let lengths = &mut self.lengths[family(prefix.addr())];
        let length = prefix.prefix_len();
        if let Ok(place) = lengths.binary_search_by(|(other, _)| length.cmp(other)) {
            lengths[place].1 -= 1;
            if lengths[place].1 == 0 {
                lengths.remove(place);
            }
        }
    }

    /// The rule of the prefix that holds an address. Cost: a look-up for each length that a prefix of the family has.
    pub(crate) fn of(&self, key: K, address: IpAddr) -> Option<&StaticNat> {
        let lengths = self.lengths[family(address)].iter();
        lengths
            .filter_map(|(length, _)| Some(IpNet::new(address, *length).ok()?.trunc()))
            .find_map(|prefix| self.rules.get(&(key, prefix)))
            .map(Arc::as_ref)
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rule(external: IpNet, internal: IpNet) -> StaticNat {
        StaticNat {
            name: "rule".into(),
            external_vpc: VpcIndex(0),
            external,
            internal_vpc: VpcIndex(1),
            internal,
            nptv6: false,
            idle_timeout: None,
            peering: None,
        }
    }

    proptest! {
        /// Address by address, both ways, as counted from either end.
        #[test]
        fn each_address_is_the_one_in_the_same_place(
            external: u32, internal: u32, length in 0..=32_u8, place: u32,
        ) {
            let net = |bits| ipnet::Ipv4Net::new(Ipv4Addr::from_bits(bits), length).unwrap().trunc();
            let (external, internal) = (net(external), net(internal));
            let place = place & external.hostmask().to_bits();
            let at = |net: ipnet::Ipv4Net| IpAddr::from(Ipv4Addr::from_bits(net.network().to_bits() + place));
            let rule = rule(external.into(), internal.into());
            prop_assert_eq!(rule.to_internal(at(external)), Some(at(internal)));
            prop_assert_eq!(rule.to_external(at(internal)), Some(at(external)));
            let beyond = external.broadcast().to_bits().checked_add(1);
            if let Some(beyond) = beyond {
                prop_assert_eq!(rule.to_internal(Ipv4Addr::from_bits(beyond).into()), None);
            }
        }

        /// The oracle: a look at all of them.
        #[test]
        fn an_address_finds_the_prefix_that_holds_it(
            steps in prop::collection::vec((any::<bool>(), 0..16_u32, 26..=32_u8), 0..40),
        ) {
            let mut table = ByPrefix::<u8>::default();
            let mut naive: Vec<IpNet> = Vec::new();
            for (comes, start, length) in steps {
                let net = ipnet::Ipv4Net::new(Ipv4Addr::from_bits(start * 16), length).unwrap();
                let net = IpNet::from(net.trunc());
                let overlaps = |other: &IpNet| other.contains(&net) || net.contains(other);
                if comes && !naive.iter().any(overlaps) {
                    naive.push(net);
                    table.insert(7, net, rule(net, net).into());
                } else if !comes {
                    naive.retain(|other| *other != net);
                    table.remove(7, net);
                }
            }
            for address in (0..256).map(Ipv4Addr::from_bits).map(IpAddr::from) {
                let expected = naive.iter().find(|net| net.contains(&address));
                prop_assert_eq!(table.of(7, address).map(|rule| &rule.external), expected);
                prop_assert!(table.of(8, address).is_none());
            }
            prop_assert_eq!((table.has(7), table.has(8)), (!naive.is_empty(), false));
            prop_assert_eq!(table.is_empty(), naive.is_empty());
            prop_assert_eq!(table.lengths[0].is_empty(), naive.is_empty());
        }
    }
}
