//! A hash map with room for a fixed number of entries, which are known by small ids besides.

use foldhash::fast::FixedState;

use crate::index::Index;
use crate::key_hash::{KeyHasher, MapKey};
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
    hash: KeyHasher,
}

/// Where some keys were found last, each at a place that its number says, of which its low bits choose the place: who asks for a key
/// again soon finds it without its hash. What is remembered may be gone, or another key's of the same number: it is looked at again.
#[derive(Debug)]
pub(crate) struct Recent<const PLACES: usize>([(u32, u32); PLACES]);

/// No slot has this number.
const NOTHING: u32 = u32::MAX;

impl<const PLACES: usize> Default for Recent<PLACES> {
    fn default() -> Self {
        Recent([(0, NOTHING); PLACES])
    }
}

impl<const PLACES: usize> Recent<PLACES> {
    /// Where a key is in a map, looked up there if that is not remembered.
    #[inline(always)]
    pub(crate) fn find<K: MapKey, V>(
        &mut self,
        map: &FixedMap<K, V>,
        key: &K,
        number: u32,
    ) -> Option<Id> {
        if let Some(known) = self.peek(map, key, number) {
            return Some(known);
        }
        let found = slot_of(map, key);
        self.0[number as usize % PLACES] = (number, found);
        let (id, _) = map.entries.at(found)?;
        Some(id)
    }

    /// Where a key is in a map, if that is remembered. What another key has left is not looked at: it lies in memory that nobody has
    /// asked for.
    #[inline(always)]
    pub(crate) fn peek<K: MapKey, V>(
        &self,
        map: &FixedMap<K, V>,
        key: &K,
        number: u32,
    ) -> Option<Id> {
        let (of, slot) = self.0[number as usize % PLACES];
        if of != number {
            return None;
        }
        let (id, entry) = map.entries.at(slot)?;
        (entry.key == *key).then_some(id)
    }
}

/// The slot of a key, or [`NOTHING`]. Answers in a register: what is written to memory in parts and then read as a whole has to be waited
/// for.
#[inline(never)]
fn slot_of<K: MapKey, V>(map: &FixedMap<K, V>, key: &K) -> u32 {
    map.find(key).map_or(NOTHING, |id| id.slot)
}

impl<K: MapKey, V> FixedMap<K, V> {
    pub(crate) fn new(capacity: usize, seed: &FixedState) -> Self {
        FixedMap {
            entries: Slab::new(capacity),
            index: Index::new(capacity),
            hash: KeyHasher::new(seed),
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
        let slot = self.index.find(key.hash(&self.hash), is_it)?;
        Some(entry(slot)?.0)
    }

    /// Asks for the line that a look-up of this key begins with.
    #[inline]
    pub(crate) fn prefetch(&self, key: &K) {
        self.index.prefetch(key.hash(&self.hash));
    }

    /// The memory that is reserved, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.entries.memory() + self.index.memory()
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

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&V> {
        self.entries.get(id).map(|entry| &entry.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut V> {
        self.entries.get_mut(id).map(|entry| &mut entry.value)
    }

    /// Adds an entry for a key that leads nowhere yet, unless all room is taken.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<Id> {
        let hash = key.hash(&self.hash);
        let id = self.entries.insert(Entry { key, value })?;
        let (entries, hasher) = (&self.entries, &self.hash);
        let hash_of = |slot| Some(entries.at(slot)?.1.key.hash(hasher));
        if !self.index.insert(hash, id.slot, hash_of) {
            self.entries.remove(id);
            return None;
        }
        Some(id)
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<(K, V)> {
        let entry = self.entries.remove(id)?;
        self.index.remove(entry.key.hash(&self.hash), id.slot);
        Some((entry.key, entry.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_in_use_for_long() {
        const CAPACITY: u32 = 2_000;
        let mut map = FixedMap::new(CAPACITY as usize, &FixedState::with_seed(3));
        let mut ids: Vec<_> = (0..CAPACITY)
            .map(|key| map.insert(key, key).unwrap())
            .collect();
        for key in CAPACITY..10 * CAPACITY {
            assert_eq!(map.insert(key, key), None, "all room is taken");
            let old = (key.wrapping_mul(0x9e37_79b9) % CAPACITY) as usize;
            map.remove(ids[old]).unwrap();
            ids[old] = map.insert(key, key).unwrap();
        }
        for id in ids {
            assert_eq!(map.find(map.get(id).unwrap()), Some(id));
        }
    }

    #[test]
    fn what_is_remembered_is_looked_at_again() {
        let mut map = FixedMap::new(4, &FixedState::with_seed(3));
        let mut recent = Recent::<2>::default();
        let one = map.insert(1_u32, 'a').unwrap();
        assert_eq!(recent.peek(&map, &1, 1), None);
        assert_eq!(recent.find(&map, &1, 1), Some(one));
        assert_eq!(recent.peek(&map, &1, 1), Some(one));
        // Another key at the same place, and then one that has the slot of the first.
        assert_eq!(recent.find(&map, &3, 1), None);
        assert_eq!(recent.find(&map, &1, 1), Some(one));
        map.remove(one);
        assert_eq!(recent.find(&map, &1, 1), None);
        let five = map.insert(5, 'b').unwrap();
        assert_eq!(five.slot, one.slot);
        assert_eq!(recent.find(&map, &1, 1), None);
        assert_eq!(recent.find(&map, &5, 1), Some(five));
    }
}
