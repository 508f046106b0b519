//! The values of a table, each once, by number: what the trie holds of them is 31 bits.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::array::Array;
use super::slot::Slot;

/// Values with the number of prefixes that have each. Numbers are given out in the order of the calls alone, so that both
/// halves of the tables agree on them.
#[derive(Clone, Debug)]
pub(super) struct Values<V> {
    /// By number less one.
    values: Vec<Option<V>>,
    /// How many prefixes have each; of a number that is not in use, the next such number. Apart, because lookups read the values.
    users: Array<u32>,
    /// The first number that is not in use; [`NO_NUMBER`] where there is none.
    spare: u32,
    /// Numbers, by the hash of their values.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The numbers whose values came or went since [`record`](Self::record), or none where nobody asked, or most did.
    changed: Option<Vec<u32>>,
}

/// Ends the list of numbers that are not in use.
const NO_NUMBER: u32 = u32::MAX;

impl<V> Default for Values<V> {
    fn default() -> Self {
        Values {
            values: Vec::new(),
            users: Array::default(),
            spare: NO_NUMBER,
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            changed: None,
        }
    }
}

impl<V> Values<V> {
    /// The value that a slot says. The slot leads to no chunk.
    #[inline(always)]
    pub(super) fn get(&self, slot: Slot) -> Option<&V> {
        let index = slot.0.checked_sub(1)?;
        self.values.get(index as usize)?.as_ref()
    }

    /// The memory in use, in bytes, but for what the values themselves point at.
    pub(super) fn bytes(&self) -> usize {
        let changed = self.changed.as_ref().map_or(0, Vec::capacity);
        size_of::<Option<V>>() * self.values.capacity()
            + self.users.bytes()
            + self.numbers.allocation_size()
            + size_of::<u32>() * changed
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        self.users.record();
        self.changed.get_or_insert_default().clear();
    }
}

/// The index by hash is not looked at: it follows from the rest.
#[cfg(test)]
impl<V: Eq> PartialEq for Values<V> {
    fn eq(&self, other: &Self) -> bool {
        let same_index = self.numbers.len() == other.numbers.len();
        same_index
            && (&self.values, &self.users, self.spare) == (&other.values, &other.users, other.spare)
    }
}

impl<V: Clone + Eq + Hash> Values<V> {
    /// The slot that says this value, which one more prefix now has. The value is copied where no prefix had it before.
    pub(super) fn take(&mut self, value: &V) -> Slot {
        let hash = self.hasher.hash_one(value);
        let values = &self.values;
        let is_it = |number: &u32| values[*number as usize].as_ref() == Some(value);
        if let Some(number) = self.numbers.find(hash, is_it) {
            *self.users.write_one(*number as usize) += 1;
            return Slot(number + 1);
        }
        let number = self.spare;
        let number = if number == NO_NUMBER {
            let number = self.values.len();
            self.values.push(None);
            self.users.lengthen(number + 1, 1);
            number as u32
        } else {
            self.spare = self.users[number as usize];
            number
        };
        *self.users.write_one(number as usize) = 1;
        self.note(number);
        self.put(number, value.clone(), hash);
        Slot(number + 1)
    }

    /// One prefix less has the value that a slot says; a value that none has is forgotten.
    pub(super) fn give_back(&mut self, slot: Slot) {
        let Some(number) = slot.0.checked_sub(1) else {
            return;
        };
        let users = self.users.write_one(number as usize);
        *users = users.saturating_sub(1);
        if *users == 0 {
            *users = self.spare;
            self.spare = number;
            self.note(number);
            self.remove(number);
        }
    }

    /// Gives a number that has no value one.
    fn put(&mut self, number: u32, value: V, hash: u64) {
        self.values[number as usize] = Some(value);
        let (values, hasher) = (&self.values, &self.hasher);
        let hash_of = |number: &u32| {
            let value = values[*number as usize].as_ref();
            value.map_or(0, |value| hasher.hash_one(value))
        };
        self.numbers.insert_unique(hash, number, hash_of);
    }

    /// Takes the value of a number away.
    fn remove(&mut self, number: u32) {
        if let Some(value) = self.values[number as usize].take() {
            let hash = self.hasher.hash_one(&value);
            if let Ok(found) = self.numbers.find_entry(hash, |other| *other == number) {
                found.remove();
            }
        }
    }

    fn note(&mut self, number: u32) {
        if let Some(changed) = &mut self.changed {
            changed.push(number);
            if changed.len() > self.values.len() / 2 {
                self.changed = None;
            }
        }
    }

    /// Becomes equal to `other`, which was equal to this when it began to [record](Self::record).
    pub(super) fn catch_up(&mut self, other: &Values<V>) {
        self.users.catch_up(&other.users);
        self.spare = other.spare;
        let Some(changed) = &other.changed else {
            self.values.clone_from(&other.values);
            self.numbers.clone_from(&other.numbers);
            self.hasher = other.hasher.clone();
            return;
        };
        self.values.resize_with(other.values.len(), || None);
        for number in changed {
            let new = &other.values[*number as usize];
            if self.values[*number as usize] == *new {
                continue;
            }
            self.remove(*number);
            if let Some(value) = new {
                self.put(*number, value.clone(), self.hasher.hash_one(value));
            }
        }
    }
}
