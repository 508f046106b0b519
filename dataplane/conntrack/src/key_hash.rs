//! The hash of a connection's key: NH, the universal hash of UMAC (J. Black, S. Halevi, H. Krawczyk, T. Krovetz and P. Rogaway,
//! 1999; RFC 4418, section 5.2), and a mix of its bits.
//!
//! Whoever does not know the secret words finds two keys of one hash with a chance of one in 2^32 at best, whichever keys he
//! takes: that is proven, not hoped. It takes one multiplication for eight bytes, none of which waits for another.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use rewire_tables::Address;

use crate::key::FlowKey;

/// Words of the longest key: four for each address of IPv6, and two for the rest.
const WORDS: usize = 10;

/// The secret of one table.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    secret: [u32; WORDS],
}

impl KeyHasher {
    /// Draws the secret from a seed.
    pub(crate) fn new(seed: &FixedState) -> Self {
        KeyHasher {
            secret: std::array::from_fn(|word| (seed.hash_one(word) >> 16) as u32),
        }
    }

    #[inline(always)]
    pub(crate) fn hash<A: Address>(&self, key: &FlowKey<A>) -> u64 {
        let product = |at: usize, left: u32, right: u32| {
            let left = left.wrapping_add(self.secret[at]);
            let right = right.wrapping_add(self.secret[at + 1]);
            u64::from(left) * u64::from(right)
        };
        let ports = u32::from(key.source_port) << 16 | u32::from(key.destination_port);
        let place = u32::from(key.vpc.0) << 8 | u32::from(key.protocol);
        let mut sum = product(0, ports, place);
        let (source, destination) = (key.source.to_number(), key.destination.to_number());
        for word in 0..usize::from(A::BITS / 32) {
            let [left, right] = [source, destination].map(|a| (a >> (32 * word)) as u32);
            sum = sum.wrapping_add(product(2 + 2 * word, left, right));
        }
        // So that every bit of the sum has its part in the high half, which chooses the bucket, and in the low byte. The factor
        // is odd: nothing is lost. (2^64 divided by the golden ratio.)
        let mixed = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use rewire_tables::VpcIndex;

    use super::*;

    fn spread<A: Address>(address: impl Fn(u32) -> A) {
        let hasher = KeyHasher::new(&FixedState::with_seed(11));
        let mut hashes = HashSet::new();
        let mut buckets = vec![0_u32; 1 << 10];
        let mut tags = [0_u32; 256];
        const KEYS: u32 = 1 << 16;
        for number in 0..KEYS {
            // Hosts and ports that count up together, as a scan's do.
            let hash = hasher.hash(&FlowKey {
                vpc: VpcIndex(3),
                protocol: 6,
                source: address(number >> 4),
                destination: address(7 << 24),
                source_port: 1024 + (number & 15) as u16,
                destination_port: (number >> 4) as u16,
            });
            hashes.insert(hash);
            buckets[(hash >> 54) as usize] += 1;
            tags[hash as usize & 255] += 1;
        }
        assert_eq!(hashes.len(), KEYS as usize);
        // The expected number of each, give or take six standard deviations.
        assert!(buckets.iter().all(|n| n.abs_diff(64) < 48), "{buckets:?}");
        assert!(tags.iter().all(|n| n.abs_diff(256) < 96), "{tags:?}");
    }

    #[test]
    fn keys_in_a_row_are_spread() {
        spread(Ipv4Addr::from_bits);
        spread(|number| Ipv6Addr::from_bits(u128::from(number)));
        spread(|number| Ipv6Addr::from_bits(u128::from(number) << 96));
    }

    #[test]
    fn every_field_counts() {
        let hasher = KeyHasher::new(&FixedState::with_seed(5));
        let key = FlowKey {
            vpc: VpcIndex(0),
            protocol: 17,
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
            source_port: 0,
            destination_port: 0,
        };
        let mut keys = vec![
            key,
            FlowKey {
                vpc: VpcIndex(1),
                ..key
            },
        ];
        keys.push(FlowKey {
            protocol: 16,
            ..key
        });
        for bit in 0..16 {
            keys.push(FlowKey {
                source_port: 1 << bit,
                ..key
            });
            keys.push(FlowKey {
                destination_port: 1 << bit,
                ..key
            });
        }
        for bit in 1..128 {
            let other = Ipv6Addr::from_bits(1 | 1 << bit);
            keys.push(FlowKey {
                source: other,
                ..key
            });
            keys.push(FlowKey {
                destination: other,
                ..key
            });
        }
        let hashes: HashSet<u64> = keys.iter().map(|key| hasher.hash(key)).collect();
        assert_eq!(hashes.len(), keys.len());
    }
}
