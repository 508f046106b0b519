//! Putting many prefixes in: those that one node holds and that follow each other are written into it first, and lookups are told of all of
//! them at once. A sorted table is put in so.

use std::ops::Range;

use super::slot::{STRIDE, Slot};
use super::trie::{LEVELS, Trie};

/// A node that was written, as long as lookups have not been told.
#[derive(Debug)]
pub(super) struct Written {
    /// The nodes that lead there, and how many lie before it.
    pub(super) way: [u32; LEVELS],
    pub(super) level: usize,
    /// A key of it.
    pub(super) key: u128,
    /// What its parent says of it.
    pub(super) before: Slot,
    /// The slots that may have changed.
    pub(super) changed: Range<u32>,
}

impl Written {
    fn depth(&self) -> u8 {
        self.level as u8 * STRIDE
    }
}

impl Trie {
    /// Gives one more prefix of a node that was written a value; gives the value that it had, or nothing where the prefix belongs to
    /// another node.
    pub(super) fn write_beside(
        &mut self,
        written: &mut Written,
        key: u128,
        length: u8,
        value: Slot,
    ) -> Option<Slot> {
        let depth = written.depth();
        let is_there = length > depth
            && length - depth <= STRIDE
            && (key ^ written.key).leading_zeros() >= u32::from(depth);
        if !is_there {
            return None;
        }
        let node = written.way[written.level];
        let (old, changed) = self.write_into(node, key, depth, length, value);
        if let Some(changed) = changed {
            let all = &mut written.changed;
            *all = all.start.min(changed.start)..all.end.max(changed.end);
        }
        Some(old)
    }

    /// Tells lookups what was written into a node.
    pub(super) fn tell(&mut self, written: &Written) {
        let Written {
            way,
            level,
            key,
            before,
            changed,
        } = written;
        self.refresh(way[*level], *key, written.depth(), changed.clone());
        self.carry_up(&way[..=*level], *key, *before);
        self.fit_direct();
    }
}
