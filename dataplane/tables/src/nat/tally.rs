//! How many rules there are of a kind, so that who has none does not look for one.

use std::hash::Hash;

use hashbrown::HashMap;

/// How many rules each key has.
#[derive(Clone, Debug)]
pub(crate) struct Tally<K>(HashMap<K, usize>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Tally(HashMap::new())
    }
}

impl<K: Copy + Eq + Hash> Tally<K> {
    /// Whether a key has any.
    pub(crate) fn has(&self, key: K) -> bool {
        !self.0.is_empty() && self.0.contains_key(&key)
    }

    /// A key has one more.
    pub(crate) fn add(&mut self, key: K) {
        *self.0.entry(key).or_default() += 1;
    }

    /// A key has one less.
    pub(crate) fn remove(&mut self, key: K) {
        if let Some(number) = self.0.get_mut(&key) {
            *number -= 1;
            if *number == 0 {
                self.0.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_some_until_the_last_is_gone() {
        let mut tally = Tally::default();
        tally.add(1);
        tally.add(1);
        tally.add(2);
        tally.remove(1);
        assert!(tally.has(1) && tally.has(2) && !tally.has(3));
        tally.remove(1);
        tally.remove(3);
        assert!(!tally.has(1) && tally.has(2));
        tally.remove(2);
        assert!(tally.0.is_empty());
    }
}
