//! Longest prefix match.
//!
//! A trie with a stride of six bits, whose nodes carry what they inherit, as tables that resolve no more bits than it takes, and for IPv6
//! as leaves of up to eight intervals, so that a lookup reads one cache line a level and never turns back; in front of it, once there are
//! thousands of prefixes, a table that is indexed by the first bits. Updated in place. Small when empty. `docs/decisions/0017` says what was measured.

mod arena;
mod array;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod direct;
pub mod key;
mod leaf;
mod lookup;
mod node;
mod pages;
mod replace;
mod slot;
mod store;
mod trie;
mod values;
mod written;

use std::hash::Hash;
use std::marker::PhantomData;

pub use self::key::Key;
use self::lookup::View;
use self::trie::Trie;
use self::values::Values;
use self::written::Written;
use crate::address::Address;

/// The number of a value in its table; 0 for no value. Good as long as the table does not change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct ValueNumber(slot::Slot);

/// A map from prefixes to values, looked up by the longest prefix that an address matches. Equal values are kept once.
///
/// Limits: 2³¹ − 1 different values; 1 GiB of tables.
#[derive(Clone, Debug)]
pub struct Lpm<A, V> {
    trie: Trie,
    values: Values<V>,
    /// How often it was written.
    version: u64,
    /// The version that it had when it began to record what is written.
    recorded_from: Option<u64>,
    family: PhantomData<A>,
}

impl<A: Address, V> Default for Lpm<A, V> {
    fn default() -> Self {
        Lpm {
            trie: Trie::new(&A::Key::SHAPE),
            values: Values::default(),
            version: 0,
            recorded_from: None,
            family: PhantomData,
        }
    }
}

/// The address as the trie takes it: its first bit highest.
fn aligned<A: Address>(network: A) -> u128 {
    network.to_number() << (128 - A::BITS)
}

impl<A: Address, V: Clone + Eq + Hash> Lpm<A, V> {
    /// Puts a value under a prefix; says whether one was there. Bits of `network` behind `length` are ignored; a `length`
    /// above the family's bits counts as all bits. Cost: about 0.3 µs, and for a short prefix of which many longer
    /// ones inherit, as many tables. The value is cloned where no other prefix has an equal one.
    pub fn insert(&mut self, network: A, length: u8, value: &V) -> bool {
        self.version += 1;
        let slot = self.values.take(value);
        let old = self.trie.set(aligned(network), length.min(A::BITS), slot);
        self.values.give_back(old);
        old != slot::Slot::NONE
    }

    /// Puts many values in, one after the other. Cost: as for [`insert`](Self::insert), but that prefixes within six bits which follow
    /// each other, as they do in a sorted table, are written at once.
    pub fn extend<'v>(&mut self, values: impl IntoIterator<Item = (A, u8, &'v V)>)
    where
        V: 'v,
    {
        self.version += 1;
        let mut written: Option<Written> = None;
        for (network, length, value) in values {
            let (key, length) = (aligned(network), length.min(A::BITS));
            let slot = self.values.take(value);
            let beside = written.as_mut();
            let beside =
                beside.and_then(|written| self.trie.write_beside(written, key, length, slot));
            let old = beside.unwrap_or_else(|| {
                // The next node may lie below: it inherits what this one says.
                if let Some(written) = written.take() {
                    self.trie.tell(&written);
                }
                let (old, next) = self.trie.write(key, length, slot);
                written = next;
                old
            });
            self.values.give_back(old);
        }
        if let Some(written) = written {
            self.trie.tell(&written);
        }
    }

    /// Takes a prefix out; says whether it was there. Cost: as for [`insert`](Self::insert).
    pub fn remove(&mut self, network: A, length: u8) -> bool {
        if length > A::BITS {
            return false;
        }
        self.version += 1;
        let old = self.trie.set(aligned(network), length, slot::Slot::NONE);
        self.values.give_back(old);
        old != slot::Slot::NONE
    }

    /// Records what is written from now on, for another table that is equal to this one, to [catch up](Self::catch_up).
    pub fn record(&mut self) {
        self.recorded_from = Some(self.version);
        self.trie.record();
        self.values.record();
    }

    /// Becomes equal to `other`, whose history begins with this table's. Cost: where this table is what `other` was when it began to
    /// [record](Self::record), a copy of the cache lines that were written since, which is far less than writing took; else a copy of everything.
    pub fn catch_up(&mut self, other: &Self) {
        if other.recorded_from == Some(self.version) {
            self.trie.catch_up(&other.trie);
            self.values.catch_up(&other.values);
            self.version = other.version;
        } else {
            *self = other.clone();
        }
    }
}

impl<A: Address, V> Lpm<A, V> {
    /// The value of exactly this prefix.
    pub fn get(&self, network: A, length: u8) -> Option<&V> {
        if length > A::BITS {
            return None;
        }
        self.values.get(self.trie.get(aligned(network), length))
    }

    /// The value of the longest prefix that `address` matches.
    pub fn lookup(&self, address: A) -> Option<&V> {
        self.values.get(View::of(&self.trie).one(address.key()))
    }

    /// Looks a batch up: `numbers[i]` becomes the number of the answer for `keys[i]`. What one of them has more than the
    /// other is left as it was. Uses the widest vectors that the processor has.
    pub fn lookup_batch(&self, keys: &[A::Key], numbers: &mut [ValueNumber]) {
        // SAFETY: `ValueNumber` is a `Slot` and nothing else (`repr(transparent)`).
        let slots = unsafe { &mut *(std::ptr::from_mut(numbers) as *mut [slot::Slot]) };
        A::Key::lookup(&View::of(&self.trie), keys, slots);
    }

    /// Looks a batch up: `values[i]` becomes the value of the longest prefix that `keys[i]` matches. What one of them has more than the
    /// other is left as it was.
    pub fn lookup_values<'a>(&'a self, keys: &[A::Key], values: &mut [Option<&'a V>]) {
        let mut numbers = [ValueNumber::default(); 64];
        let batches = keys.chunks(numbers.len());
        // Mostly many have the same.
        let mut last = (ValueNumber::default(), None);
        for (keys, values) in batches.zip(values.chunks_mut(numbers.len())) {
            self.lookup_batch(keys, &mut numbers);
            for ((value, number), _) in values.iter_mut().zip(numbers).zip(keys) {
                if number != last.0 {
                    last = (number, self.value(number));
                }
                *value = last.1;
            }
        }
    }

    /// The value of a number that [`lookup_batch`](Self::lookup_batch) gave.
    #[inline]
    pub fn value(&self, number: ValueNumber) -> Option<&V> {
        self.values.get(number.0)
    }

    /// The number of prefixes.
    pub fn len(&self) -> usize {
        self.trie.len()
    }

    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory in use, in bytes: everything but what the values themselves point at.
    pub fn memory(&self) -> usize {
        self.trie.bytes() + self.values.bytes()
    }

    /// All prefixes with their values, in no order that can be relied on.
    pub fn iter(&self) -> impl Iterator<Item = (A, u8, &V)> {
        self.trie.iter().filter_map(|(key, length, slot)| {
            let network = A::from_number(key >> (128 - A::BITS));
            Some((network, length, self.values.get(slot)?))
        })
    }
}

#[cfg(test)]
mod tests;
