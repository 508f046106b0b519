//! A hash index over numbered entries that are stored elsewhere.
//!
//! A bucket is one cache line: twelve entry numbers of 32 bits, a tag of 8 bits of its hash beside each, and a count. A
//! look-up compares all tags of its bucket at once, and looks at no entry but those that have the tag. An entry that finds
//! its bucket full goes into the next one, and every full bucket on its way counts it: a look-up goes on only where that
//! count is not zero. Taking an entry out takes it out of the counts, so there is no tombstone, and never a rehash, neither
//! one that allocates nor one that stops a worker for as long as all entries take. (The counts are F14's: N. Bronson and
//! X. Shi, "Open-sourcing F14", 2019.)
//!
//! The next bucket is a step away that the hash chooses, so that full buckets do not grow together. Nothing looks at more
//! than [`MOST_BUCKETS`] buckets: an entry that would have to go farther is refused. In an index with no more buckets than
//! that, none is refused while a slot is free.

use rewire_tables::memory::{advise_large_pages, equal_bytes, prefetch};

/// Entries of one bucket.
const SLOTS: usize = 12;
/// Buckets that one look-up sees, at most.
const MOST_BUCKETS: usize = 64;
/// Of a hundred slots, those that are in use when the index is full. The fuller, the more look-ups see a second line.
const FILL_PERCENT: usize = 90;
/// Words of one bucket: 12 tags and the count of those that went past it in the first two, 12 entries in the others.
const WORDS: usize = 8;

/// No slot has this tag but one that is free.
const FREE: u8 = 0;

#[derive(Debug)]
pub(crate) struct Index {
    /// Buckets, from the first word of a cache line on. The memory is zero at first, and touched as it is used.
    words: Vec<u64>,
    start: usize,
    buckets: usize,
    /// Steps are at most so long, and a power of two in number: a walk does not come round to where it began.
    steps: usize,
}

impl Index {
    /// An index for `entries` entries, which may be up to 2^31.
    pub(crate) fn new(entries: usize) -> Self {
        let buckets = (entries * 100).div_ceil(SLOTS * FILL_PERCENT) + 1;
        let mut words: Vec<u64> = vec![0; (buckets + 1) * WORDS];
        advise_large_pages(&mut words);
        let start = words.as_ptr().align_offset(WORDS * size_of::<u64>());
        Index {
            start: if start < WORDS { start } else { 0 },
            words,
            buckets,
            steps: 1 << (buckets / MOST_BUCKETS).clamp(1, MOST_BUCKETS).ilog2(),
        }
    }

    /// The bucket that a hash begins in, by its high half.
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets as u64) >> 32) as usize
    }

    #[inline]
    fn bucket(&self, number: usize) -> &[u64; WORDS] {
        let start = self.start + number * WORDS;
        self.words[start..].first_chunk().unwrap_or(&[0; WORDS])
    }

    #[inline]
    fn bucket_mut(&mut self, number: usize) -> &mut [u64] {
        let start = self.start + number * WORDS;
        &mut self.words[start..start + WORDS]
    }

    /// The bucket behind one, for an entry of this hash.
    fn next(&self, bucket: usize, hash: u64) -> usize {
        let next = bucket + 1 + ((hash >> 8) as usize & (self.steps - 1));
        if next < self.buckets {
            next
        } else {
            next - self.buckets
        }
    }

    /// Asks for the line that a look-up of this hash begins with.
    #[inline]
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.bucket(self.home(hash)));
    }

    /// The first entry in the first bucket that has the hash's tag: most likely the one that is looked for, if there is one.
    #[inline]
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        let bucket = self.bucket(self.home(hash));
        matches(bucket, tag(hash))
            .next()
            .map(|slot| entry(bucket, slot))
    }

    /// The entry with this hash of which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (_, _, entry) = self.place(hash, &mut is_it)?;
        Some(entry)
    }

    /// The bucket and slot of it, too.
    #[inline]
    fn place(&self, hash: u64, is_it: &mut impl FnMut(u32) -> bool) -> Option<(usize, usize, u32)> {
        let tag = tag(hash);
        let mut number = self.home(hash);
        for _ in 0..MOST_BUCKETS {
            let bucket = self.bucket(number);
            for slot in matches(bucket, tag) {
                let entry = entry(bucket, slot);
                if is_it(entry) {
                    return Some((number, slot, entry));
                }
            }
            if passed(bucket) == 0 {
                return None;
            }
            number = self.next(number, hash);
        }
        None
    }

    /// Adds an entry that is not in yet. False, and no change, where there is no room near its place.
    #[must_use]
    pub(crate) fn insert(&mut self, hash: u64, entry: u32) -> bool {
        let mut number = self.home(hash);
        for _ in 0..MOST_BUCKETS {
            let free = matches(self.bucket(number), FREE).next();
            if let Some(slot) = free {
                let bucket = self.bucket_mut(number);
                set_tag(bucket, slot, tag(hash));
                set_entry(bucket, slot, entry);
                self.count_past(hash, number, 1);
                return true;
            }
            number = self.next(number, hash);
        }
        false
    }

    /// Takes an entry out, by the hash that it was added with.
    pub(crate) fn remove(&mut self, hash: u64, entry: u32) {
        if let Some((number, slot, _)) = self.place(hash, &mut |found| found == entry) {
            set_tag(self.bucket_mut(number), slot, FREE);
            self.count_past(hash, number, -1);
        }
    }

    /// Puts one entry in another's place, which had the same hash.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some((number, slot, _)) = self.place(hash, &mut |found| found == old) {
            set_entry(self.bucket_mut(number), slot, new);
        }
    }

    /// Counts an entry that came to `last`, or leaves it, in every bucket before.
    fn count_past(&mut self, hash: u64, last: usize, by: i32) {
        let mut number = self.home(hash);
        while number != last {
            let word = &mut self.bucket_mut(number)[1];
            let count = (*word >> 32) as u32;
            *word = *word & 0xffff_ffff | u64::from(count.wrapping_add_signed(by)) << 32;
            number = self.next(number, hash);
        }
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

/// The tag of a hash: of the half that does not choose the bucket, and never that of a free slot.
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// How many entries that begin at or before this bucket are behind it.
fn passed(bucket: &[u64; WORDS]) -> u32 {
    (bucket[1] >> 32) as u32
}

/// The slots with a tag, the first one first. Exact: no slot that has another.
#[inline(always)]
fn matches(bucket: &[u64; WORDS], tag: u8) -> Matches {
    Matches(equal_bytes([bucket[0], bucket[1]], tag) & ((1 << SLOTS) - 1))
}

/// Numbers of slots, a bit each.
struct Matches(u32);

impl Iterator for Matches {
    type Item = usize;
    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros();
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            slot as usize
        })
    }
}

#[inline]
fn entry(bucket: &[u64; WORDS], slot: usize) -> u32 {
    (bucket[2 + slot / 2] >> (slot % 2 * 32)) as u32
}

fn set_entry(bucket: &mut [u64], slot: usize, entry: u32) {
    let shift = slot % 2 * 32;
    let word = &mut bucket[2 + slot / 2];
    *word = *word & !(0xffff_ffff << shift) | u64::from(entry) << shift;
}

fn set_tag(bucket: &mut [u64], slot: usize, tag: u8) {
    let shift = slot % 8 * 8;
    let word = &mut bucket[slot / 8];
    *word = *word & !(0xff << shift) | u64::from(tag) << shift;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a map of entries to hashes that often collide: in the bucket, in the tag, or in both; in so many that
        /// buckets run over, into the first one behind the last.
        #[test]
        fn like_a_map(steps in prop::collection::vec((any::<bool>(), 0..40_u32, 0..3_u64, 0..3_u64), 0..400)) {
            let mut index = Index::new(40);
            let mut model = HashMap::new();
            for (insert, entry, high, low) in steps {
                let hash = (u64::MAX << 63 >> high) & !0xffff_ffff | low;
                match model.get(&entry) {
                    None if insert => {
                        prop_assert!(index.insert(hash, entry));
                        model.insert(entry, hash);
                    }
                    Some(&hash) if !insert => {
                        index.remove(hash, entry);
                        model.remove(&entry);
                    }
                    _ => {}
                }
                for entry in 0..40 {
                    let found = index.find(hash, |candidate| candidate == entry);
                    prop_assert!(found.is_none() || model.contains_key(&entry));
                    prop_assert!(found.is_some() || model.get(&entry) != Some(&hash));
                }
            }
            for (entry, hash) in model {
                index.replace(hash, entry, entry + 100);
                prop_assert_eq!(index.find(hash, |candidate| candidate == entry + 100), Some(entry + 100));
                index.remove(hash, entry + 100);
            }
            let is_empty = |number| index.bucket(number)[..2] == [0, 0];
            prop_assert!((0..index.buckets).all(is_empty));
        }
    }

    /// As full as it may be, no entry is refused, and few are behind another bucket than their own.
    #[test]
    fn fills_to_the_last_entry() {
        let entries = 100_000;
        let mut index = Index::new(entries as usize);
        // Twice, for the hashes of numbers in a row are spread more evenly than those of keys.
        let state = FixedState::with_seed(5);
        let hash = |entry: u32| state.hash_one(state.hash_one(entry));
        for entry in 0..entries {
            assert!(index.insert(hash(entry), entry));
        }
        let at_home = (0..entries)
            .filter(|entry| {
                let hash = hash(*entry);
                let bucket = index.bucket(index.home(hash));
                matches(bucket, tag(hash)).any(|slot| super::entry(bucket, slot) == *entry)
            })
            .count();
        assert!(at_home * 100 > entries as usize * 88, "{at_home}");
    }

    #[test]
    fn one_hash_fills_as_many_buckets_as_are_seen() {
        let room = MOST_BUCKETS * SLOTS;
        let mut index = Index::new(2 * room);
        for entry in 0..room as u32 {
            assert!(index.insert(7 << 60, entry));
        }
        assert!(!index.insert(7 << 60, room as u32));
        for entry in (0..room as u32).rev() {
            assert_eq!(index.find(7 << 60, |found| found == entry), Some(entry));
            index.remove(7 << 60, entry);
        }
        assert!((0..index.buckets).all(|bucket| index.bucket(bucket)[1] == 0));
    }
}
