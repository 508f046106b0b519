use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

/// The oracle: a list of prefixes, scanned whole.
#[derive(Default)]
struct Scan<A>(Vec<(A, u8, u32)>);

impl<A: Address> Scan<A> {
    fn insert(&mut self, network: A, length: u8, value: u32) -> bool {
        let old = self.remove(network, length);
        self.0.push((network.masked(length), length, value));
        old
    }
    fn remove(&mut self, network: A, length: u8) -> bool {
        let network = network.masked(length);
        let before = self.0.len();
        self.0.retain(|(n, l, _)| (*n, *l) != (network, length));
        self.0.len() < before
    }
    fn lookup(&self, address: A) -> Option<u32> {
        let matching = self.0.iter().filter(|(n, l, _)| address.masked(*l) == *n);
        matching
            .max_by_key(|(_, l, _)| *l)
            .map(|(_, _, value)| *value)
    }
}

fn against_the_scan<A: Address>(steps: Vec<(bool, u128, u8, u32)>, probes: Vec<u128>) {
    let mut lpm = Lpm::default();
    let mut scan = Scan(Vec::new());
    for (insert, number, length, value) in steps {
        // Few distinct networks, so that prefixes nest and are hit again.
        let network = A::from_number(number << (A::BITS - 8) | number);
        let length = length % (A::BITS + 1);
        if insert {
            assert_eq!(
                lpm.insert(network, length, value),
                scan.insert(network, length, value)
            );
        } else {
            assert_eq!(lpm.remove(network, length), scan.remove(network, length));
        }
        assert_eq!(lpm.len(), scan.0.len());
    }
    let addresses: Vec<A> = probes
        .iter()
        .map(|p| A::from_number(p << (A::BITS - 8) | p))
        .collect();
    let keys: Vec<A::Key> = addresses.iter().map(|address| address.key()).collect();
    let mut numbers = vec![ValueNumber::default(); keys.len()];
    lpm.lookup_batch(&keys, &mut numbers);
    for (address, number) in addresses.into_iter().zip(numbers) {
        assert_eq!(lpm.value(number).copied(), scan.lookup(address));
        assert_eq!(lpm.lookup(address).copied(), scan.lookup(address));
    }
    let mut all: Vec<_> = lpm.iter().map(|(n, l, v)| (n, l, *v)).collect();
    all.sort_unstable();
    scan.0.sort_unstable();
    assert_eq!(all, scan.0);
}

proptest! {
    #[test]
    fn equals_a_linear_scan(
        steps in prop::collection::vec((any::<bool>(), 0u128..256, any::<u8>(), any::<u32>()), 0..120),
        probes in prop::collection::vec(0u128..256, 0..64),
    ) {
        against_the_scan::<Ipv4Addr>(steps.clone(), probes.clone());
        against_the_scan::<Ipv6Addr>(steps, probes);
    }
}
