//! Blocks of 32-bit words in one array: no allocation each, no pointers, copied by copying the array.

use super::pages;

/// Words in a size class: blocks begin at even words, so that a 64-bit bitmap never crosses a cache line.
const GRAIN: usize = 2;

/// The largest array: the highest bit of an offset means something else to those who keep it.
const MOST_WORDS: usize = 1 << 31;

/// Blocks of words, each named by the offset of its first word. Who keeps a block knows its length.
#[derive(Debug, Default)]
pub(super) struct Arena {
    words: Vec<u32>,
    /// By size class: the first free block plus one, which holds the next one in its first word; 0 ends the list.
    free: Vec<u32>,
}

impl Clone for Arena {
    fn clone(&self) -> Arena {
        let mut words = Vec::new();
        pages::grow(&mut words, self.words.len());
        words.extend_from_slice(&self.words);
        Arena {
            words,
            free: self.free.clone(),
        }
    }
}

fn class(length: usize) -> usize {
    length.div_ceil(GRAIN)
}

impl Arena {
    /// All words.
    pub(super) fn words(&self) -> &[u32] {
        &self.words
    }

    /// The words from `at` on, `length` of them.
    pub(super) fn block(&self, at: u32, length: usize) -> &[u32] {
        &self.words[at as usize..][..length]
    }

    /// The same, to write.
    pub(super) fn block_mut(&mut self, at: u32, length: usize) -> &mut [u32] {
        &mut self.words[at as usize..][..length]
    }

    /// A block of `length` words, at least one, with any content. Cost: constant, but for the growth of the array.
    pub(super) fn allocate(&mut self, length: usize) -> u32 {
        let class = class(length);
        if let Some(head) = self.free.get_mut(class)
            && *head != 0
        {
            let at = *head - 1;
            *head = self.words[at as usize];
            return at;
        }
        // A larger free block is cut, so that what once was needed in another size is not lost.
        let larger = (class + 1..self.free.len()).find(|class| self.free[*class] != 0);
        if let Some(larger) = larger {
            let at = self.free[larger] - 1;
            self.free[larger] = self.words[at as usize];
            self.release(at + (class * GRAIN) as u32, (larger - class) * GRAIN);
            return at;
        }
        let at = self.words.len();
        let end = at + class * GRAIN;
        assert!(
            end <= MOST_WORDS,
            "a table of 8 GiB is the largest there is"
        );
        if end > self.words.capacity() {
            // An eighth more at a time: a table of a million routes need not hold room for a second million.
            pages::grow(&mut self.words, end + end / 8);
        }
        self.words.resize(end, 0);
        at as u32
    }

    /// Gives a block back. Cost: constant.
    pub(super) fn release(&mut self, at: u32, length: usize) {
        let class = class(length);
        if self.free.len() <= class {
            self.free.resize(class + 1, 0);
        }
        self.words[at as usize] = std::mem::replace(&mut self.free[class], at + 1);
    }

    /// Whether a block of one length serves for the other.
    pub(super) fn same_room(length: usize, other: usize) -> bool {
        class(length) == class(other)
    }

    /// A block that holds the first words of another, in its place; nothing is moved where the room is the same.
    pub(super) fn resize(&mut self, at: u32, length: usize, new_length: usize) -> u32 {
        if Self::same_room(length, new_length) {
            return at;
        }
        let new = self.allocate(new_length);
        let kept = length.min(new_length);
        self.words
            .copy_within(at as usize..at as usize + kept, new as usize);
        self.release(at, length);
        new
    }

    /// The memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        size_of::<u32>() * (self.words.capacity() + self.free.capacity())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn blocks_keep_what_was_written_into_them(
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 1usize..96), 0..300),
        ) {
            let mut arena = Arena::default();
            let mut blocks: BTreeMap<u32, (usize, u32)> = BTreeMap::new();
            for (number, (release, which, length)) in steps.into_iter().enumerate() {
                if release && !blocks.is_empty() {
                    let at = *blocks.keys().nth(which.index(blocks.len())).unwrap();
                    let (old, _) = blocks.remove(&at).unwrap();
                    arena.release(at, old);
                } else {
                    let at = arena.allocate(length);
                    arena.block_mut(at, length).fill(number as u32);
                    prop_assert!(blocks.insert(at, (length, number as u32)).is_none());
                }
                for (at, (length, value)) in &blocks {
                    prop_assert!(arena.block(*at, *length).iter().all(|word| word == value));
                }
            }
        }
    }
}
