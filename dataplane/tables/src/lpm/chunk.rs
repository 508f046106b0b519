//! Chunks: what a lookup reads of one node of the trie.
//!
//! A node decides on six bits of the address, so it has 64 slots, of which neighbors mostly say the same. A chunk
//! keeps each run of equal slots once: two words of bitmap, whose bit *i* is set where a run begins at slot *i*, and behind
//! it one word a run. The word of a slot is found by counting bits (as in Poptrie: Asai and Ohara, SIGCOMM 2015), and lies
//! mostly in the cache line of the bitmap, so that a level of the trie costs one miss.

use super::arena::Arena;

/// The bits of an address that one node decides on.
pub(super) const STRIDE: u8 = 6;
/// The slots of a node.
pub(super) const SLOTS: usize = 1 << STRIDE;
/// The words of a bitmap.
pub(super) const HEADER: usize = 2;

/// What a slot says: nothing (0), a value (its number, from 1 on), or with the highest bit set, the offset of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Slot(pub(super) u32);

impl Slot {
    /// Nothing is known of these addresses.
    pub(super) const NONE: Slot = Slot(0);
    /// Set in the word of a chunk.
    pub(super) const CHUNK: u32 = 1 << 31;

    pub(super) fn of_chunk(at: u32) -> Slot {
        Slot(Self::CHUNK | at)
    }

    /// The offset of the chunk, where the slot leads to one.
    #[inline(always)]
    pub(super) fn chunk(self) -> Option<u32> {
        (self.0 & Self::CHUNK != 0).then_some(self.0 & !Self::CHUNK)
    }
}

/// The 64 slots of a node.
pub(super) type Slots = [Slot; SLOTS];

#[inline(always)]
fn bitmap(words: &[u32], at: u32) -> u64 {
    let header = &words[at as usize..][..HEADER];
    u64::from(header[0]) | u64::from(header[1]) << 32
}

/// The offset of a slot's word in the chunk at `at`.
#[inline(always)]
fn word_of(words: &[u32], at: u32, slot: u32) -> usize {
    let runs = bitmap(words, at) & (u64::MAX >> (63 - slot));
    // The first slot always begins a run: the count is at least one.
    at as usize + HEADER - 1 + runs.count_ones() as usize
}

/// What slot `slot` (0–63) of the chunk at `at` says.
#[inline(always)]
pub(super) fn read(words: &[u32], at: u32, slot: u32) -> Slot {
    Slot(words[word_of(words, at, slot)])
}

/// Changes the word of a slot that is a run of its own: one that leads to a chunk, as no other slot leads there.
pub(super) fn patch(arena: &mut Arena, at: u32, slot: u32, word: Slot) {
    let index = word_of(arena.words(), at, slot);
    arena.block_mut(index as u32, 1)[0] = word.0;
}

/// All slots of what a word leads to: of a chunk its own, of a value that value everywhere.
pub(super) fn decode(arena: &Arena, from: Slot) -> Slots {
    let Some(at) = from.chunk() else {
        return [from; SLOTS];
    };
    let words = arena.words();
    let (starts, mut next) = (bitmap(words, at), at as usize + HEADER);
    let mut slots = [Slot::NONE; SLOTS];
    let mut current = Slot::NONE;
    for (index, slot) in slots.iter_mut().enumerate() {
        if starts >> index & 1 != 0 {
            current = Slot(words[next]);
            next += 1;
        }
        *slot = current;
    }
    slots
}

/// Writes slots in the place of what `old` led to, and says what leads to them now: where all are equal, no chunk.
pub(super) fn encode(arena: &mut Arena, old: Slot, slots: &Slots) -> Slot {
    let mut starts = 1u64;
    let mut runs = [slots[0].0; SLOTS + 1];
    let mut count = 0;
    // Without branches: every slot is written, and the next one over it where it was the same.
    for index in 1..SLOTS {
        let begins = slots[index] != slots[index - 1];
        starts |= u64::from(begins) << index;
        count += usize::from(begins);
        runs[count] = slots[index].0;
    }
    count += 1;
    if count == 1 {
        release(arena, old);
        return slots[0];
    }
    let length = HEADER + count;
    let at = match old.chunk() {
        Some(at) if Arena::same_room(length_of(arena, at), length) => at,
        _ => {
            release(arena, old);
            arena.allocate(length)
        }
    };
    let block = arena.block_mut(at, length);
    block[0] = starts as u32;
    block[1] = (starts >> 32) as u32;
    block[HEADER..].copy_from_slice(&runs[..count]);
    Slot::of_chunk(at)
}

/// Gives the chunk back that a word leads to, if it does.
pub(super) fn release(arena: &mut Arena, old: Slot) {
    if let Some(at) = old.chunk() {
        arena.release(at, length_of(arena, at));
    }
}

fn length_of(arena: &Arena, at: u32) -> usize {
    HEADER + bitmap(arena.words(), at).count_ones() as usize
}
