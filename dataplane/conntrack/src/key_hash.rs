//! The hash of a connection's key: NH, the universal hash of UMAC (J. Black, S. Halevi, H. Krawczyk, T. Krovetz and P. Rogaway,
//! 1999; RFC 4418, section 5.2), and a mix of its bits.
//!
//! Whoever does not know the secret words finds two keys of one sum with a chance of one in 2^32 at best, whichever keys he
//! takes: that is proven, not hoped. It takes one multiplication for eight bytes, none of which waits for another. A hash has 45 bits of the sum of
//! one end, and 19 of both: many keys of one end are told from one another by these 19.

use std::hash::BuildHasher;
use std::hint::select_unpredictable;
use std::net::Ipv4Addr;

use foldhash::fast::FixedState;
use rewire_tables::{Address, VpcIndex};

use crate::index::{NEAR, TAG};
use crate::key::FlowKey;
use crate::mappings::Internal;

/// Secret words of one end of a connection: four for an address of IPv6, and a pair's rest.
const WORDS: usize = 6;

/// The secret of one table.
#[derive(Clone, Debug)]
pub(crate) struct KeyHasher {
    secret: [u32; 2 * WORDS],
}

impl KeyHasher {
    /// Draws the secret from a seed.
    pub(crate) fn new(seed: &FixedState) -> Self {
        KeyHasher {
            secret: std::array::from_fn(|word| (seed.hash_one(word) >> 16) as u32),
        }
    }

    /// The hash of a key. Its high half, and the bits of [`NEAR`], are those of one of its ends: of the one with the higher port, which is mostly the
    /// client's, or of the source where both ports are the same; where that is the source, they are those of
    /// [`hash_internal`](Self::hash_internal). The other bits are the whole key's.
    #[inline(always)]
    pub(crate) fn hash<A: Address>(&self, key: &FlowKey<A>) -> u64 {
        let (source, destination) = self.ends(key);
        let end = select_unpredictable(key.is_from_client(), source, destination);
        // Of bits of the middle, to which all lower ones have come.
        let whole = source.wrapping_add(destination).wrapping_mul(FACTOR);
        near(end) | whole >> 32 & !u64::from(NEAR | TAG)
    }

    /// A hash of a key all of whose bits are of the whole key.
    pub(crate) fn hash_evenly<A: Address>(&self, key: &FlowKey<A>) -> u64 {
        let (source, destination) = self.ends(key);
        evenly(source.wrapping_add(destination))
    }

    /// The hash of an address, and of what else there is to a key.
    #[inline(always)]
    pub(crate) fn hash_address<A: Address>(&self, rest: u32, address: A) -> u64 {
        evenly(self.end(0, rest, address))
    }

    /// What the hashes of all keys with this source have in common, if its port is not below the other one.
    #[inline(always)]
    pub(crate) fn hash_internal<A: Address>(&self, internal: &Internal<A>) -> u64 {
        near(self.source(internal.vpc, internal.address, internal.port))
    }

    /// The hash of an internal endpoint alone; which protocol it is of does not count.
    pub(crate) fn hash_endpoint<A: Address>(&self, internal: &Internal<A>) -> u64 {
        evenly(self.source(internal.vpc, internal.address, internal.port))
    }

    /// The sums of both ends of a key.
    #[inline(always)]
    fn ends<A: Address>(&self, key: &FlowKey<A>) -> (u64, u64) {
        let port = u32::from(key.protocol) << 16 | u32::from(key.destination_port);
        (
            self.source(key.vpc, key.source, key.source_port),
            self.end(WORDS, port, key.destination),
        )
    }

    #[inline(always)]
    fn source<A: Address>(&self, vpc: VpcIndex, address: A, port: u16) -> u64 {
        // As they lie in memory, so that both come into a register at once.
        self.end(0, u32::from(port) << 16 | u32::from(vpc.0), address)
    }

    #[inline(always)]
    fn end<A: Address>(&self, at: usize, rest: u32, address: A) -> u64 {
        let mut sum = self.product(at, word(address, 0), rest);
        for number in (1..words::<A>()).step_by(2) {
            let next = match number + 1 < words::<A>() {
                true => word(address, number + 1),
                false => 0,
            };
            sum = sum.wrapping_add(self.product(at + 1 + number, word(address, number), next));
        }
        sum
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

/// Odd: to multiply by it loses nothing. (2^64 divided by the golden ratio.)
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Lets every bit of a sum have its part in the high ones.
#[inline(always)]
fn spread(sum: u64) -> u64 {
    (sum ^ sum >> 32).wrapping_mul(FACTOR)
}

/// A hash whose low half is as good as its high one.
#[inline(always)]
fn evenly(sum: u64) -> u64 {
    let spread = spread(sum);
    spread ^ spread >> 32
}

/// The bits of a hash that are of one end alone: the high half, which chooses the bucket, and of the low one the tag and some bits more.
#[inline(always)]
fn near(sum: u64) -> u64 {
    let spread = spread(sum);
    let low = (spread as u32).rotate_right(24) & (NEAR | TAG);
    spread >> 32 << 32 | u64::from(low)
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

impl MapKey for u32 {
    fn hash(&self, hasher: &KeyHasher) -> u64 {
        hasher.hash_address(0, Ipv4Addr::from_bits(*self))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::net::Ipv6Addr;

    use super::*;

    /// The bits of a hash that are of the whole key.
    const WHOLE: u64 = (!(NEAR | TAG)) as u64;

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
        let key = |number: u32| FlowKey {
            vpc,
            protocol: 6,
            source: address(number >> 4),
            destination: address(7 << 24),
            source_port: 1024 + (number & 15) as u16,
            destination_port: (number >> 4) as u16,
        };
        spread(|number| hasher.hash_evenly(&key(number)));
        let to_one = |number| FlowKey {
            destination_port: 443,
            ..key(number)
        };
        spread(|number| hasher.hash(&to_one(number)));
        // The answers.
        spread(|number| hasher.hash(&to_one(number).reversed(VpcIndex(4))));
        spread(|number| hasher.hash_address(3, address(number)));
        let internal = |number: u32| Internal {
            vpc,
            protocol: 6,
            address: address(number >> 4),
            port: 1024 + (number & 15) as u16,
        };
        spread(|number| hasher.hash_internal(&internal(number)));
        spread(|number| hasher.hash_endpoint(&internal(number)));
        // Keys of one client have in common what says where they are at home; what says which it is, and where it is else, is spread.
        let of_one = |number| FlowKey {
            source: address(5),
            source_port: u16::MAX,
            destination: address(number),
            ..key(7)
        };
        let mut others = vec![0_u32; 1 << 10];
        for number in 0..1 << 16 {
            let hash = hasher.hash(&of_one(number));
            assert_eq!(hash & !WHOLE, hasher.hash(&of_one(0)) & !WHOLE);
            others[(hash >> 8) as usize % 1024] += 1;
        }
        assert!(others.iter().all(|n| n.abs_diff(64) < 48), "{others:?}");
    }

    #[test]
    fn keys_in_a_row_are_spread() {
        spread_all(Ipv4Addr::from_bits);
        spread_all(|number| Ipv6Addr::from_bits(u128::from(number)));
        spread_all(|number| Ipv6Addr::from_bits(u128::from(number) << 96));
    }

    #[test]
    fn keys_are_near_to_their_clients() {
        fn check<A: Address>(address: impl Fn(u32) -> A) {
            let hasher = KeyHasher::new(&FixedState::with_seed(3));
            for (port, other) in [(5, 4), (5, 5), (0, 0), (u16::MAX, 0)] {
                let key = FlowKey {
                    vpc: VpcIndex(3),
                    protocol: 17,
                    source: address(1),
                    destination: address(2),
                    source_port: port,
                    destination_port: other,
                };
                let near = hasher.hash_internal(&crate::mappings::internal_of(&key));
                assert!(key.is_from_client());
                assert_eq!(hasher.hash(&key) & !WHOLE, near);
                assert_eq!(near & WHOLE, 0);
                let answer = key.reversed(VpcIndex(9));
                assert_eq!(answer.is_from_client(), port == other);
                let near = hasher.hash_internal(&crate::mappings::internal_of(&answer));
                assert_eq!(hasher.hash(&answer) & !WHOLE == near, port == other);
            }
        }
        check(Ipv4Addr::from_bits);
        check(|number| Ipv6Addr::from_bits(u128::from(number) << 70));
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
            let (vpc, port) = (VpcIndex(1), 1);
            let mut all: Vec<_> = bits()
                .map(|address| Internal {
                    address,
                    ..internal
                })
                .collect();
            all.push(Internal { vpc, ..internal });
            all.push(Internal { port, ..internal });
            all.push(internal);
            let distinct = |hashes: Vec<u64>| HashSet::<u64>::from_iter(hashes).len();
            let near = all.iter().map(|internal| hasher.hash_internal(internal));
            assert_eq!(distinct(near.collect()), all.len());
            let even = all.iter().map(|internal| hasher.hash_endpoint(internal));
            assert_eq!(distinct(even.collect()), all.len());
        }
        hashes::<Ipv4Addr>();
        hashes::<Ipv6Addr>();
    }
}
