//! Blocks of words in one array: no allocation each, no pointers, copied by copying the array.

use super::array::Array;
use super::leaf::Leaf;
use super::node::Node;

/// What blocks are made of.
pub(super) trait Word: Copy + Default {
    /// Words in a size class: blocks begin at multiples of it.
    const GRAIN: usize;
    /// The most words of an array: what those who keep offsets have bits for. 1 GiB of 32-bit words, 4 GiB of leaves.
    const MOST: usize;
    /// A word that holds a number.
    fn holding(number: u32) -> Self;
    /// That number.
    fn held(self) -> u32;
}

impl Word for u32 {
    const GRAIN: usize = 2;
    const MOST: usize = 1 << 28;
    fn holding(number: u32) -> u32 {
        number
    }
    fn held(self) -> u32 {
        self
    }
}

impl Word for Leaf {
    const GRAIN: usize = 1;
    const MOST: usize = 1 << 26;
    fn holding(number: u32) -> Leaf {
        Leaf([number; 16])
    }
    fn held(self) -> u32 {
        self.0[0]
    }
}

impl Word for Node {
    const GRAIN: usize = 1;
    const MOST: usize = 1 << 31;
    fn holding(number: u32) -> Node {
        Node {
            entries: number,
            ..Node::default()
        }
    }
    fn held(self) -> u32 {
        self.entries
    }
}

/// Blocks of words, each named by the offset of its first word. Who keeps a block knows its length.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Arena<W> {
    words: Array<W>,
    /// By size class: the first free block plus one, which holds the next one in its first word; 0 ends the list.
    free: Vec<u32>,
}

impl<W> Default for Arena<W> {
    fn default() -> Self {
        Arena {
            words: Array::default(),
            free: Vec::new(),
        }
    }
}

fn class<W: Word>(length: usize) -> usize {
    length.div_ceil(W::GRAIN)
}

impl<W: Word> Arena<W> {
    /// All words.
    pub(super) fn words(&self) -> &[W] {
        &self.words
    }

    /// The words from `at` on, `length` of them.
    pub(super) fn block(&self, at: u32, length: usize) -> &[W] {
        &self.words[at as usize..][..length]
    }

    /// The same, to write.
    pub(super) fn block_mut(&mut self, at: u32, length: usize) -> &mut [W] {
        self.words.write(at as usize..at as usize + length)
    }

    /// The word at `at`.
    #[inline(always)]
    pub(super) fn at(&self, at: u32) -> &W {
        &self.words[at as usize]
    }

    /// The same, to write.
    #[inline(always)]
    pub(super) fn at_mut(&mut self, at: u32) -> &mut W {
        self.words.write_one(at as usize)
    }

    /// A block of `length` words, at least one, with any content. Cost: constant, but for the growth of the array.
    pub(super) fn allocate(&mut self, length: usize) -> u32 {
        let class = class::<W>(length);
        if let Some(head) = self.free.get_mut(class)
            && *head != 0
        {
            let at = *head - 1;
            *head = self.words[at as usize].held();
            return at;
        }
        // A larger free block is cut, so that what once was needed in another size is not lost.
        let larger = (class + 1..self.free.len()).find(|class| self.free[*class] != 0);
        if let Some(larger) = larger {
            let at = self.free[larger] - 1;
            self.free[larger] = self.words[at as usize].held();
            self.release(at + (class * W::GRAIN) as u32, (larger - class) * W::GRAIN);
            return at;
        }
        let at = self.words.len();
        let end = at + class * W::GRAIN;
        assert!(
            end <= W::MOST,
            "an array of {end} words is too large for a table"
        );
        self.words.lengthen(end, W::default());
        at as u32
    }

    /// Gives a block back. Cost: constant.
    pub(super) fn release(&mut self, at: u32, length: usize) {
        let class = class::<W>(length);
        if self.free.len() <= class {
            self.free.resize(class + 1, 0);
        }
        let next = std::mem::replace(&mut self.free[class], at + 1);
        *self.words.write_one(at as usize) = W::holding(next);
    }

    /// Whether a block of one length serves for the other.
    pub(super) fn same_room(length: usize, other: usize) -> bool {
        class::<W>(length) == class::<W>(other)
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
        self.words.bytes() + size_of::<u32>() * self.free.capacity()
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        self.words.record();
    }

    /// Becomes equal to `other`: see [`Array::catch_up`].
    pub(super) fn catch_up(&mut self, other: &Arena<W>) {
        self.words.catch_up(&other.words);
        self.free.clone_from(&other.free);
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
            let mut arena = Arena::<u32>::default();
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
