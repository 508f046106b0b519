//! The values of a table, each once, by number: what the trie holds of them is 31 bits.

use std::hash::{BuildHasher, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slot::Slot;

/// Values with the number of prefixes that have each. Numbers are given out in the order of the calls alone, so that both
/// halves of the tables agree on them.
#[derive(Clone, Debug)]
pub(super) struct Values<V> {
    /// By number less one.
    values: Vec<Option<V>>,
    /// How many prefixes have each. Apart, because lookups read the values.
    users: Vec<u32>,
    /// Numbers, by the hash of their values.
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
    spare: Vec<u32>,
}

impl<V> Default for Values<V> {
    fn default() -> Self {
        Values {
            values: Vec::new(),
            users: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            spare: Vec::new(),
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
        size_of::<Option<V>>() * self.values.capacity()
            + size_of::<u32>() * self.users.capacity()
            + self.numbers.allocation_size()
            + size_of::<u32>() * self.spare.capacity()
    }
}

impl<V: Eq + Hash> Values<V> {
    /// The slot that says this value, which one more prefix now has.
    pub(super) fn take(&mut self, value: V) -> Slot {
        let hash = self.hasher.hash_one(&value);
        let values = &mut self.values;
        let is_it = |number: &u32| values[*number as usize].as_ref() == Some(&value);
        if let Some(number) = self.numbers.find(hash, is_it) {
            self.users[*number as usize] += 1;
            return Slot(number + 1);
        }
        let number = match self.spare.pop() {
            Some(number) => {
                values[number as usize] = Some(value);
                self.users[number as usize] = 1;
                number
            }
            None => {
                values.push(Some(value));
                self.users.push(1);
                values.len() as u32 - 1
            }
        };
        let hasher = &self.hasher;
        self.numbers
            .insert_unique(hash, number, |number| match &values[*number as usize] {
                Some(value) => hasher.hash_one(value),
                None => 0,
            });
        Slot(number + 1)
    }

    /// One prefix less has the value that a slot says; a value that none has is forgotten.
    pub(super) fn give_back(&mut self, slot: Slot) {
        let Some(number) = slot.0.checked_sub(1) else {
            return;
        };
        let Some(users) = self.users.get_mut(number as usize) else {
            return;
        };
        *users = users.saturating_sub(1);
        let entry = &mut self.values[number as usize];
        if *users == 0
            && let Some(value) = entry
        {
            let hash = self.hasher.hash_one(&*value);
            if let Ok(found) = self.numbers.find_entry(hash, |other| *other == number) {
                found.remove();
            }
            *entry = None;
            self.spare.push(number);
        }
    }
}
