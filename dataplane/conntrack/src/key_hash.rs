//! The hash of a connection's key: NH, the universal hash of UMAC (J. Black, S. Halevi, H. Krawczyk, T. Krovetz and P. Rogaway,
//! 1999; RFC 4418, section 5.2), and a mix of its bits.
//!
//! Whoever does not know the secret words finds two keys of one hash with a chance of one in 2^32 at best, whichever keys he
//! takes: that is proven, not hoped. It takes one multiplication for eight bytes, none of which waits for another.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use rewire_tables::{Address, VpcIndex};

use crate::key::FlowKey;
use crate::mappings::Internal;

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
        // As they lie in memory, so that both come into a register at once.
        let ports = u32::from(key.destination_port) << 16 | u32::from(key.source_port);
        let place = u32::from(key.vpc.0) << 8 | u32::from(key.protocol);
        let mut sum = self.product(0, ports, place);
        for number in 0..words::<A>() {
            let (left, right) = (word(key.source, number), word(key.destination, number));
            sum = sum.wrapping_add(self.product(2 + 2 * number, left, right));
        }
        mixed(sum)
    }

    /// The hash of an address, and of what else there is to a key.
    #[inline(always)]
    pub(crate) fn hash_address<A: Address>(&self, rest: u32, address: A) -> u64 {
        let mut sum = self.product(0, rest, word(address, 0));
        for number in (1..words::<A>()).step_by(2) {
            let next = match number + 1 < words::<A>() {
                true => word(address, number + 1),
                false => 0,
            };
            sum = sum.wrapping_add(self.product(1 + number, word(address, number), next));
        }
        mixed(sum)
    }

    /// The hash of an internal endpoint, and of the VPC that its mapping leads to.
    #[inline(always)]
    pub(crate) fn hash_internal<A: Address>(&self, internal: &Internal<A>, to: VpcIndex) -> u64 {
        let port = u32::from(internal.port) << 16 | u32::from(to.0);
        let place = u32::from(internal.vpc.0) << 8 | u32::from(internal.protocol);
        let mut sum = self.product(0, port, place);
        for number in 0..words::<A>() {
            sum = sum.wrapping_add(self.product(2 + 2 * number, word(internal.address, number), 0));
        }
        mixed(sum)
    }

    #[inline(always)]
    fn product(&self, at: usize, left: u32, right: u32) -> u64 {
        let left = left.wrapping_add(self.secret[at]);
        let right = right.wrapping_add(self.secret[at + 1]);
        u64::from(left) * u64::from(right)
    }
}

/// Words of an address.
const fn words<A: Address>() -> usize {
    A::BITS as usize / 32
}

/// One of them, in the order of the wire, as it lies in memory.
#[inline(always)]
fn word<A: Address>(address: A, number: usize) -> u32 {
    ((address.to_number() >> (32 * number)) as u32).swap_bytes()
}

/// Lets every bit of a sum have its part in the high half, which chooses the bucket, and in the low byte. The factor is odd: nothing is
/// lost. (2^64 divided by the golden ratio.)
#[inline(always)]
fn mixed(sum: u64) -> u64 {
    let mixed = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// What a map of fixed size is asked by.
pub(crate) trait MapKey: Eq {
    /// Its hash, under a secret: senders choose many of these keys.
    fn hash(&self, hasher: &KeyHasher) -> u64;
}

impl<A: Address> MapKey for (VpcIndex, A) {
    #[inline(always)]
    fn hash(&self, hasher: &KeyHasher) -> u64 {
        let (vpc, address) = *self;
        hasher.hash_address(vpc.0.into(), address)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Of as many numbers in a row.
    fn spread(hash: impl Fn(u32) -> u64) {
        let mut hashes = HashSet::new();
        let mut buckets = vec![0_u32; 1 << 10];
        let mut tags = [0_u32; 256];
        const KEYS: u32 = 1 << 16;
        for number in 0..KEYS {
            let hash = hash(number);
            hashes.insert(hash);
            buckets[(hash >> 54) as usize] += 1;
            tags[hash as usize & 255] += 1;
        }
        assert_eq!(hashes.len(), KEYS as usize);
        // The expected number of each, give or take six standard deviations.
        assert!(buckets.iter().all(|n| n.abs_diff(64) < 48), "{buckets:?}");
        assert!(tags.iter().all(|n| n.abs_diff(256) < 96), "{tags:?}");
    }

    fn spread_all<A: Address>(address: impl Fn(u32) -> A) {
        let hasher = KeyHasher::new(&FixedState::with_seed(11));
        let vpc = VpcIndex(3);
        // Hosts and ports that count up together, as a scan's do.
        spread(|number| {
            hasher.hash(&FlowKey {
                vpc,
                protocol: 6,
                source: address(number >> 4),
                destination: address(7 << 24),
                source_port: 1024 + (number & 15) as u16,
                destination_port: (number >> 4) as u16,
            })
        });
        spread(|number| hasher.hash_address(3, address(number)));
        spread(|number| {
            let internal = Internal {
                vpc,
                protocol: 6,
                address: address(number >> 4),
                port: 1024 + (number & 15) as u16,
            };
            hasher.hash_internal(&internal, VpcIndex(9))
        });
    }

    #[test]
    fn keys_in_a_row_are_spread() {
        spread_all(Ipv4Addr::from_bits);
        spread_all(|number| Ipv6Addr::from_bits(u128::from(number)));
        spread_all(|number| Ipv6Addr::from_bits(u128::from(number) << 96));
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

    #[test]
    fn every_bit_of_an_address_counts() {
        fn hashes<A: Address>() {
            let hasher = KeyHasher::new(&FixedState::with_seed(5));
            let bits = || (0..A::BITS).map(|bit| A::from_number(1 << bit));
            let mut hashes: HashSet<u64> = bits().map(|a| hasher.hash_address(7, a)).collect();
            hashes.extend((0..32).map(|bit| hasher.hash_address(1 << bit, A::from_number(0))));
            assert_eq!(hashes.len(), usize::from(A::BITS) + 32);
            let internal = Internal {
                vpc: VpcIndex(0),
                protocol: 17,
                address: A::from_number(0),
                port: 0,
            };
            let (vpc, port, to) = (VpcIndex(1), 1, VpcIndex(1));
            let mut all: Vec<_> = bits()
                .map(|address| {
                    (
                        Internal {
                            address,
                            ..internal
                        },
                        VpcIndex(0),
                    )
                })
                .collect();
            all.push((Internal { vpc, ..internal }, VpcIndex(0)));
            all.push((Internal { port, ..internal }, VpcIndex(0)));
            all.push((internal, to));
            all.push((internal, VpcIndex(0)));
            let hashes = all
                .iter()
                .map(|(internal, to)| hasher.hash_internal(internal, *to));
            assert_eq!(hashes.collect::<HashSet<u64>>().len(), all.len());
        }
        hashes::<Ipv4Addr>();
        hashes::<Ipv6Addr>();
    }
}
