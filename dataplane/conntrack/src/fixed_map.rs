//! A hash map with room for a fixed number of entries, which are known by small ids besides.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::FixedState;

use crate::index::Index;
use crate::slab::{Id, Slab};

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
}

#[derive(Debug)]
pub(crate) struct FixedMap<K, V> {
    entries: Slab<Entry<K, V>>,
    index: Index,
    hash: FixedState,
}

impl<K: Hash + Eq, V> FixedMap<K, V> {
    pub(crate) fn new(capacity: usize, hash: &FixedState) -> Self {
        FixedMap {
            entries: Slab::new(capacity),
            index: Index::new(capacity),
            hash: hash.clone(),
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.len() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    pub(crate) fn find(&self, key: &K) -> Option<Id> {
        let entry = |slot| self.entries.at(slot);
        let is_it = |slot| entry(slot).is_some_and(|(_, entry)| entry.key == *key);
        let slot = self.index.find(self.hash.hash_one(key), is_it)?;
        Some(entry(slot)?.0)
    }

    /// How many places were ever used: every entry is at one of the first so many. Never becomes less.
    pub(crate) fn places(&self) -> u32 {
        self.entries.places()
    }

    /// The entry at a place, if there is one.
    pub(crate) fn at(&self, place: u32) -> Option<(&K, &V)> {
        let (_, entry) = self.entries.at(place)?;
        Some((&entry.key, &entry.value))
    }

    pub(crate) fn get(&self, id: Id) -> Option<&V> {
        self.entries.get(id).map(|entry| &entry.value)
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut V> {
        self.entries.get_mut(id).map(|entry| &mut entry.value)
    }

    /// Adds an entry for a key that leads nowhere yet, unless all room is taken.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<Id> {
        let hash = self.hash.hash_one(&key);
        let id = self.entries.insert(Entry { key, value })?;
        if !self.index.insert(hash, id.slot) {
            self.entries.remove(id);
            return None;
        }
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<(K, V)> {
        let entry = self.entries.remove(id)?;
        self.index.remove(self.hash.hash_one(&entry.key), id.slot);
        Some((entry.key, entry.value))
    }
}
