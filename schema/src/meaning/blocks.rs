//! Sets of addresses, as ordered ranges that are apart.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::types::{AddressRange, Prefix};

/// A set of addresses of both families.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocks(Vec<Block>);

/// A range of one family, both ends included. IPv4 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    is_ipv6: bool,
    first: u128,
    last: u128,
}

impl Block {
    fn of(prefix: Prefix) -> Self {
        let network = prefix.network();
        Block {
            is_ipv6: network.network().is_ipv6(),
            first: bits(network.network()),
            last: bits(network.broadcast()),
        }
    }

    /// What two blocks share.
    fn shared(self, other: Block) -> Option<Block> {
        let shared = Block {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
            ..self
        };
        (self.is_ipv6 == other.is_ipv6 && shared.first <= shared.last).then_some(shared)
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The number of addresses of a range; at most the largest number.
pub(super) fn count(range: AddressRange) -> u128 {
    let between = bits(range.last()) - bits(range.first());
    between.saturating_add(1)
}

impl FromIterator<Prefix> for Blocks {
    fn from_iter<T: IntoIterator<Item = Prefix>>(prefixes: T) -> Self {
        let mut blocks: Vec<Block> = prefixes.into_iter().map(Block::of).collect();
        blocks.sort_by_key(|block| (block.is_ipv6, block.first, Reverse(block.last)));
        // Prefixes are apart, or one holds the other, which comes after it.
        blocks.dedup_by(|inner, outer| inner.shared(*outer).is_some());
        Blocks(blocks)
    }
}

impl Blocks {
    /// Whether it has no address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses as ranges, in order, IPv4 first.
    pub fn ranges(&self) -> impl Iterator<Item = AddressRange> + '_ {
        self.0.iter().filter_map(|block| {
            let address = |bits: u128| match block.is_ipv6 {
                true => IpAddr::V6(Ipv6Addr::from_bits(bits)),
                false => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            };
            AddressRange::new(address(block.first), address(block.last))
        })
    }

    /// The addresses that are not among `others`.
    pub fn without(&self, others: &Blocks) -> Blocks {
        let mut left = Vec::new();
        for block in &self.0 {
            let mut rest = Some(*block);
            for other in &others.0 {
                let Some(block) = rest else { break };
                let Some(shared) = block.shared(*other) else {
                    continue;
                };
                if block.first < shared.first {
                    let last = shared.first - 1;
                    left.push(Block { last, ..block });
                }
                rest = (shared.last < block.last).then(|| Block {
                    first: shared.last + 1,
                    ..block
                });
            }
            left.extend(rest);
        }
        Blocks(left)
    }

    /// An address that both sets have.
    pub fn shared(&self, other: &Blocks) -> Option<IpAddr> {
        let mut pairs = self
            .0
            .iter()
            .flat_map(|block| other.0.iter().map(|o| (*block, *o)));
        let shared = pairs.find_map(|(block, other)| block.shared(other))?;
        Some(if shared.is_ipv6 {
            IpAddr::V6(Ipv6Addr::from_bits(shared.first))
        } else {
            IpAddr::V4(Ipv4Addr::from_bits(shared.first as u32))
        })
    }

    /// The number of addresses of each family, IPv4 first; at most the largest number.
    pub fn counts(&self) -> [u128; 2] {
        let mut counts = [0u128; 2];
        for block in &self.0 {
            let count = &mut counts[usize::from(block.is_ipv6)];
            let between = block.last - block.first;
            *count = count.saturating_add(between.saturating_add(1));
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefixes() -> impl Strategy<Value = Vec<Prefix>> {
        let prefix = (0u8..32, 27u8..=32).prop_map(|(last, length)| {
            let network = ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, 0, last), length).unwrap();
            Prefix::new(network.into())
        });
        prop::collection::vec(prefix, 0..5)
    }

    fn has(prefixes: &[Prefix], last: u8) -> bool {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        prefixes.iter().any(|p| p.network().contains(&address))
    }

    proptest! {
        #[test]
        fn sets_are_what_their_addresses_say(a in prefixes(), b in prefixes(), c in prefixes()) {
            let set = |prefixes: &[Prefix]| prefixes.iter().copied().collect::<Blocks>();
            let left = set(&a).without(&set(&b));
            let in_left = |last: &u8| has(&a, *last) && !has(&b, *last);
            prop_assert_eq!(left.counts(), [(0..32).filter(in_left).count() as u128, 0]);
            prop_assert_eq!(left.is_empty(), !(0..32).any(|last| in_left(&last)));
            let shared = (0..32).find(|last| in_left(last) && has(&c, *last));
            prop_assert_eq!(left.shared(&set(&c)).is_some(), shared.is_some());
        }
    }

    #[test]
    fn all_addresses_can_be_counted() {
        let all: Blocks = ["0.0.0.0/0", "::/0"]
            .iter()
            .map(|p| p.parse().unwrap())
            .collect();
        assert_eq!(all.counts(), [1 << 32, u128::MAX]);
        let half: Blocks = [&"8000::/1"].iter().map(|p| p.parse().unwrap()).collect();
        assert_eq!(all.without(&half).counts(), [1 << 32, 1 << 127]);
    }
}
