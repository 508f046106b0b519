//! All blocks of a classifier, in chains.
//!
//! A chain holds all boxes that a table finds under one bucket, in the order of their sequence numbers. It is an unrolled list:
//! a box that comes or goes moves those of its own block, and nothing else.

use crate::acl::Bits;
use crate::acl::block::{BOXES, Block, NONE, Row};

/// All blocks of a classifier.
#[derive(Clone, Debug)]
pub(super) struct Blocks<N> {
    blocks: Vec<Block<N>>,
    free: Vec<u32>,
}

impl<N> Default for Blocks<N> {
    fn default() -> Self {
        Blocks {
            blocks: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<N: Bits> Blocks<N> {
    #[inline(always)]
    pub(super) fn get(&self, index: u32) -> Option<&Block<N>> {
        self.blocks.get(index as usize)
    }

    /// The number of blocks, with those that are empty.
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// All blocks, each with its place; some may be empty.
    #[inline(always)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Block<N>)> {
        (0..).zip(&self.blocks)
    }

    /// The boxes of a chain.
    pub(super) fn rows(&self, head: u32) -> impl Iterator<Item = Row<N>> + '_ {
        let chain = std::iter::successors(self.get(head), |block| self.get(block.next));
        chain.flat_map(Block::rows)
    }

    /// The number of boxes of a chain, up to the first block that brings it to `enough`.
    pub(super) fn count(&self, head: u32, enough: usize) -> usize {
        let mut count = 0;
        let mut next = self.get(head);
        while let Some(block) = next
            && count < enough
        {
            count += block.len();
            next = self.get(block.next);
        }
        count
    }

    fn take(&mut self) -> u32 {
        match self.free.pop() {
            Some(index) => index,
            None => {
                self.blocks.push(Block::new());
                (self.blocks.len() - 1) as u32
            }
        }
    }

    /// Puts a box into a chain, behind those of lower or equal sequence numbers. What the chain then begins with.
    pub(super) fn insert(&mut self, head: u32, row: &Row<N>) -> u32 {
        if head == NONE {
            let index = self.take();
            self.blocks[index as usize].fill(std::slice::from_ref(row));
            return index;
        }
        let mut index = head;
        while let Some(next) = self.get(self.blocks[index as usize].next)
            && next.sequence(0) <= row.sequence
        {
            index = self.blocks[index as usize].next;
        }
        let block = &mut self.blocks[index as usize];
        let after = |place: &usize| block.sequence(*place) > row.sequence;
        let place = (0..block.len()).find(after).unwrap_or(block.len());
        if block.len() < BOXES {
            block.insert(place, row);
            return head;
        }
        let mut rows = block.rows();
        rows.insert(place, row.clone());
        // What comes in order fills its blocks.
        let kept = if place == BOXES { BOXES } else { BOXES / 2 };
        let new = self.take();
        let block = &mut self.blocks[index as usize];
        block.fill(&rows[..kept]);
        let after = std::mem::replace(&mut block.next, new);
        let block = &mut self.blocks[new as usize];
        block.fill(&rows[kept..]);
        block.next = after;
        head
    }

    /// Takes all boxes of a rule out of a chain. How many they were, and what the chain then begins with.
    pub(super) fn remove(&mut self, head: u32, sequence: u32) -> (usize, u32) {
        let (mut head, mut before, mut index) = (head, NONE, head);
        let mut removed = 0;
        while let Some(block) = self.blocks.get_mut(index as usize) {
            let next = block.next;
            if block.sequence(0) > sequence {
                break;
            }
            if (0..block.len()).any(|place| block.sequence(place) == sequence) {
                let mut rows = block.rows();
                rows.retain(|row| row.sequence != sequence);
                removed += block.len() - rows.len();
                block.fill(&rows);
            }
            if block.len() == 0 {
                block.next = NONE;
                self.free.push(index);
                match self.blocks.get_mut(before as usize) {
                    Some(before) => before.next = next,
                    None => head = next,
                }
            } else {
                before = index;
            }
            index = next;
        }
        (removed, head)
    }

    /// Gives a chain back.
    pub(super) fn clear(&mut self, head: u32) {
        let mut index = head;
        while let Some(block) = self.blocks.get_mut(index as usize) {
            block.set_length(0);
            self.free.push(index);
            index = std::mem::replace(&mut block.next, NONE);
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.blocks.capacity() * size_of::<Block<N>>() + self.free.capacity() * size_of::<u32>()
    }
}
