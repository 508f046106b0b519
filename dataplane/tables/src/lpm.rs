//! Longest prefix match.
//!
//! One hash table a prefix length, probed from the longest length that is in use: simple, right, and updated in place.
//! A lookup costs at most as many probes as there are lengths in use. The interface is what the data path needs of any
//! such structure; faster ones go behind it.

use hashbrown::HashMap;

use crate::address::Address;

/// A map from prefixes to values, looked up by the longest prefix that an address matches.
#[derive(Clone, Debug)]
pub struct Lpm<A, V> {
    /// By prefix length: the table of that length, absent where no prefix has it.
    lengths: Vec<Option<HashMap<A, V>>>,
    prefixes: usize,
}

impl<A, V> Default for Lpm<A, V> {
    fn default() -> Self {
        Lpm {
            lengths: Vec::new(),
            prefixes: 0,
        }
    }
}

impl<A: Address, V> Lpm<A, V> {
    /// Puts a value under a prefix; gives back the one that it replaces. Bits of `network` behind `length` are ignored;
    /// a `length` above the family's bits counts as all bits.
    pub fn insert(&mut self, network: A, length: u8, value: V) -> Option<V> {
        let length = length.min(A::BITS);
        let index = usize::from(length);
        if self.lengths.len() <= index {
            self.lengths.resize_with(index + 1, || None);
        }
        let table = self.lengths[index].get_or_insert_with(HashMap::new);
        let replaced = table.insert(network.masked(length), value);
        self.prefixes += usize::from(replaced.is_none());
        replaced
    }

    /// Takes a prefix out; gives back its value.
    pub fn remove(&mut self, network: A, length: u8) -> Option<V> {
        let slot = self.lengths.get_mut(usize::from(length))?;
        let table = slot.as_mut()?;
        let removed = table.remove(&network.masked(length))?;
        self.prefixes -= 1;
        if table.is_empty() {
            *slot = None;
            while matches!(self.lengths.last(), Some(None)) {
                self.lengths.pop();
            }
        }
        Some(removed)
    }

    /// The value of exactly this prefix.
    pub fn get(&self, network: A, length: u8) -> Option<&V> {
        self.lengths
            .get(usize::from(length))?
            .as_ref()?
            .get(&network.masked(length))
    }

    /// The value of the longest prefix that `address` matches.
    pub fn lookup(&self, address: A) -> Option<&V> {
        let lengths = self.lengths.iter().enumerate().rev();
        lengths
            .filter_map(|(length, table)| Some((length as u8, table.as_ref()?)))
            .find_map(|(length, table)| table.get(&address.masked(length)))
    }

    /// Looks a batch up: `values[i]` becomes the answer for `addresses[i]`. Both have the same length; what is longer
    /// is left as it was.
    pub fn lookup_batch<'a>(&'a self, addresses: &[A], values: &mut [Option<&'a V>]) {
        for (address, value) in addresses.iter().zip(values) {
            *value = self.lookup(*address);
        }
    }

    /// The number of prefixes.
    pub fn len(&self) -> usize {
        self.prefixes
    }

    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.prefixes == 0
    }

    /// All prefixes with their values, in no order that can be relied on.
    pub fn iter(&self) -> impl Iterator<Item = (A, u8, &V)> {
        self.lengths.iter().enumerate().flat_map(|(length, table)| {
            table
                .iter()
                .flatten()
                .map(move |(network, value)| (*network, length as u8, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    /// The oracle: a list of prefixes, scanned whole.
    #[derive(Default)]
    struct Scan<A>(Vec<(A, u8, u32)>);

    impl<A: Address> Scan<A> {
        fn insert(&mut self, network: A, length: u8, value: u32) -> Option<u32> {
            let old = self.remove(network, length);
            self.0.push((network.masked(length), length, value));
            old
        }
        fn remove(&mut self, network: A, length: u8) -> Option<u32> {
            let network = network.masked(length);
            let index = self
                .0
                .iter()
                .position(|(n, l, _)| (*n, *l) == (network, length))?;
            Some(self.0.swap_remove(index).2)
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
        let mut values = vec![None; addresses.len()];
        lpm.lookup_batch(&addresses, &mut values);
        for (address, value) in addresses.into_iter().zip(values) {
            assert_eq!(value.copied(), scan.lookup(address));
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
}
