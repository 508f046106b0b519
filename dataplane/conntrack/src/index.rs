//! A hash index over numbered entries that are stored elsewhere.
//!
//! Chains, and not an open-addressed table: taking an entry out leaves no tombstone, so there is never a rehash, neither
//! one that allocates nor one in place that stops a worker for as long as all entries take. All memory is two arrays of
//! words: where each chain begins, and what follows each entry in its chain. Beside each entry number stand 32 bits of
//! its hash, so that a chain is walked without looking at the entries that are not meant.

/// The end of a chain.
const NONE: u64 = 0;

/// An entry's number plus one in the low half, the high half of its hash in the high half.
fn link(hash: u64, entry: u32) -> u64 {
    hash & HASH_HALF | (u64::from(entry) + 1)
}

const HASH_HALF: u64 = !0 << 32;

/// The entry that a link leads to.
fn entry_of(link: u64) -> u32 {
    (link as u32).wrapping_sub(1)
}

#[derive(Debug)]
pub(crate) struct Index {
    heads: Vec<u64>,
    next: Vec<u64>,
}

impl Index {
    /// An index for entries `0..entries`, which may be up to 2^31.
    pub(crate) fn new(entries: usize) -> Self {
        Index {
            heads: vec![NONE; entries.next_power_of_two()],
            next: vec![NONE; entries],
        }
    }

    fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.heads.len() - 1)
    }

    /// The entry with this hash of which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut link = self.heads[self.bucket(hash)];
        while link != NONE {
            let entry = entry_of(link);
            if (link ^ hash) & HASH_HALF == 0 && is_it(entry) {
                return Some(entry);
            }
            link = self.next[entry as usize];
        }
        None
    }

    /// Adds an entry that is not in yet.
    pub(crate) fn insert(&mut self, hash: u64, entry: u32) {
        let bucket = self.bucket(hash);
        self.next[entry as usize] = std::mem::replace(&mut self.heads[bucket], link(hash, entry));
    }

    /// Takes an entry out, by the hash that it was added with.
    pub(crate) fn remove(&mut self, hash: u64, entry: u32) {
        let removed = link(hash, entry);
        let bucket = self.bucket(hash);
        let after = self.next[entry as usize];
        if self.heads[bucket] == removed {
            self.heads[bucket] = after;
            return;
        }
        let mut at = self.heads[bucket];
        while at != NONE {
            let next = &mut self.next[entry_of(at) as usize];
            if *next == removed {
                *next = after;
                return;
            }
            at = *next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map of entries to hashes that often collide, in the bucket, in the half beside the link, or in both.
        #[test]
        fn like_a_map(steps in prop::collection::vec((any::<bool>(), 0..13_u32, 0..3_u64, 0..3_u64), 0..200)) {
            let mut index = Index::new(13);
            let mut model = HashMap::new();
            for (insert, entry, high, low) in steps {
                let hash = high << 32 | low;
                match model.get(&entry) {
                    None if insert => {
                        index.insert(hash, entry);
                        model.insert(entry, hash);
                    }
                    Some(&hash) if !insert => {
                        index.remove(hash, entry);
                        model.remove(&entry);
                    }
                    _ => {}
                }
                for entry in 0..13 {
                    let found = index.find(hash, |candidate| candidate == entry);
                    prop_assert_eq!(found.is_some(), model.get(&entry) == Some(&hash));
                }
            }
        }
    }
}
