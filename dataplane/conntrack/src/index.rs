//! A hash index over numbered entries that are stored elsewhere.
//!
//! A bucket is one cache line: twelve entry numbers of 32 bits, a tag of 8 bits of its hash beside each, and a count. A
//! look-up compares all tags of a bucket at once, and looks at no entry but those that have the tag.
//!
//! An entry has two places: its home bucket, by its hash, and another one, by its home and its tag (B. Fan, D. Andersen,
//! M. Kaminsky and M. Mitzenmacher, "Cuckoo Filter: Practically Better Than Bloom", 2014). It goes home, if there is room;
//! otherwise to the other one; and where that is full, too, an entry there or at home makes room, and goes to the other one
//! of its own two, which its tag says without a look at it. So a look-up sees two lines at most, however full the index is and
//! however long it was in use; and one that was not crowded sees one: each bucket counts those that are away from it. Nothing is
//! ever hashed again, neither at once nor bit by bit.

use rewire_tables::memory::{advise_large_pages, equal_bytes, prefetch_at};

/// Entries of one bucket.
const SLOTS: usize = 12;
/// Of a hundred slots, those that are in use when the index is full.
const FILL_PERCENT: usize = 90;
/// Of a hundred slots, those in use from which on the second bucket is worth asking for ahead: many entries are there.
const CROWDED_PERCENT: usize = 70;
/// Words of one bucket: 12 tags in the first one and a half, then a bit for each slot whose entry is away from home, and the
/// number of entries that are away from this bucket; 12 entries in the others.
const WORDS: usize = 8;
/// Where the bits of entries away from home begin, in the second word.
const AWAY_BITS: usize = 32;
/// Where the number of entries away from this bucket begins, in the second word.
const MISSED_BITS: usize = 48;
/// How often entries make room for one another, until one is refused: with two, some three hundred places were looked at.
const DEPTH: u32 = 2;

/// No slot has this tag but one that is free.
const FREE: u8 = 0;

#[derive(Debug)]
pub(crate) struct Index {
    /// Buckets, from the first word of a cache line on. The memory is zero at first, and touched as it is used.
    words: Vec<u64>,
    start: usize,
    buckets: usize,
    used: usize,
    /// Where it is crowded.
    crowd: usize,
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
            used: 0,
            crowd: buckets * SLOTS * CROWDED_PERCENT / 100,
        }
    }

    /// The bucket that a hash begins in, by its high half.
    #[inline]
    fn home(&self, hash: u64) -> usize {
        (((hash >> 32) * self.buckets as u64) >> 32) as usize
    }

    /// The other bucket of an entry that has this tag and is in this one. The other bucket's other one is this.
    #[inline]
    fn other(&self, bucket: usize, tag: u8) -> usize {
        // Any spread over all buckets will do. (2^32 divided by the golden ratio.)
        let spread = u32::from(tag).wrapping_mul(0x9e37_79b9);
        let sum = ((u64::from(spread) * self.buckets as u64) >> 32) as usize;
        let other = sum.wrapping_sub(bucket);
        if sum < bucket {
            other.wrapping_add(self.buckets)
        } else {
            other
        }
    }

    #[inline]
    fn bucket(&self, number: usize) -> &[u64; WORDS] {
        let start = self.start + number * WORDS;
        self.words[start..].first_chunk().unwrap_or(&[0; WORDS])
    }

    #[inline]
    fn bucket_mut(&mut self, number: usize) -> &mut [u64; WORDS] {
        let start = self.start + number * WORDS;
        let words = &mut self.words[start..start + WORDS];
        words.try_into().expect("as many words as a bucket has")
    }

    /// Asks for the lines that a look-up of this hash sees: mostly one, where the index is crowded two.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        let home = self.home(hash);
        prefetch_at(&self.words, self.start + home * WORDS);
        if self.used > self.crowd {
            let other = self.other(home, tag(hash));
            prefetch_at(&self.words, self.start + other * WORDS);
        }
    }

    /// The first entry that has the hash's tag: most likely the one that is looked for, if there is one.
    #[inline(always)]
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        let (tag, home) = (tag(hash), self.home(hash));
        let mut bucket = self.bucket(home);
        let mut found = matches(bucket, tag);
        if found.0 == 0 {
            if missed(bucket) == 0 {
                return None;
            }
            bucket = self.bucket(self.other(home, tag));
            found = matches(bucket, tag);
        }
        found.next().map(|slot| entry(bucket, slot))
    }

    /// The entry with this hash of which `is_it` holds.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let (number, slot) = self.place(hash, &mut is_it)?;
        Some(entry(self.bucket(number), slot))
    }

    /// The bucket and slot of it.
    #[inline(always)]
    fn place(&self, hash: u64, is_it: &mut impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let tag = tag(hash);
        let home = self.home(hash);
        let bucket = self.bucket(home);
        for slot in matches(bucket, tag) {
            if is_it(entry(bucket, slot)) {
                return Some((home, slot));
            }
        }
        if missed(bucket) == 0 {
            return None;
        }
        let other = self.other(home, tag);
        let bucket = self.bucket(other);
        for slot in matches(bucket, tag) {
            if is_it(entry(bucket, slot)) {
                return Some((other, slot));
            }
        }
        None
    }

    /// Adds an entry that is not in yet. False, and no change, where there is no room in its places, and none can be made.
    #[must_use]
    pub(crate) fn insert(&mut self, hash: u64, entry: u32) -> bool {
        let tag = tag(hash);
        let home = self.home(hash);
        let other = self.other(home, tag);
        let mut free = matches(self.bucket(home), FREE);
        let mut number = home;
        // The emptier one, if the line is there already: then both are seldom full (M. Mitzenmacher, "The Power of Two Choices in
        // Randomized Load Balancing", 1996).
        if free.0 == 0 || self.used > self.crowd {
            let others = matches(self.bucket(other), FREE);
            if others.0.count_ones() > free.0.count_ones() {
                (free, number) = (others, other);
            }
        }
        let place = match free.next() {
            Some(slot) => Some((number, slot)),
            None => self
                .make_room(home, DEPTH)
                .map(|slot| (home, slot))
                .or_else(|| Some((other, self.make_room(other, DEPTH)?))),
        };
        let Some(place) = place else {
            return false;
        };
        self.used += 1;
        self.put(place, home, tag, entry);
        true
    }

    /// Adds an entry that is not in yet, unless another is in of which `is_it` holds. False, and no change, where there is one, or
    /// no room.
    #[must_use]
    #[inline]
    pub(crate) fn claim(
        &mut self,
        hash: u64,
        entry: u32,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> bool {
        self.place(hash, &mut is_it).is_none() && self.insert(hash, entry)
    }

    /// Takes an entry out, by the hash that it was added with.
    pub(crate) fn remove(&mut self, hash: u64, entry: u32) {
        if let Some((number, slot)) = self.place(hash, &mut |found| found == entry) {
            self.used -= 1;
            let home = self.home(hash);
            self.clear((number, slot), home);
        }
    }

    /// Puts one entry in another's place, which had the same hash.
    pub(crate) fn replace(&mut self, hash: u64, old: u32, new: u32) {
        if let Some((number, slot)) = self.place(hash, &mut |found| found == old) {
            set_entry(self.bucket_mut(number), slot, new);
        }
    }

    /// Puts an entry into a free slot.
    fn put(&mut self, (number, slot): (usize, usize), home: usize, tag: u8, entry: u32) {
        let bucket = self.bucket_mut(number);
        set_tag(bucket, slot, tag);
        set_entry(bucket, slot, entry);
        if number != home {
            bucket[1] |= 1 << (AWAY_BITS + slot);
            self.bucket_mut(home)[1] += 1 << MISSED_BITS;
        }
    }

    /// Frees the slot of an entry whose home this is.
    #[inline]
    fn clear(&mut self, (number, slot): (usize, usize), home: usize) {
        let bucket = self.bucket_mut(number);
        set_tag(bucket, slot, FREE);
        if number != home {
            bucket[1] &= !(1 << (AWAY_BITS + slot));
            self.bucket_mut(home)[1] -= 1 << MISSED_BITS;
        }
    }

    /// Moves an entry out of a full bucket into the other one of its own: the slot that is free then.
    #[cold]
    fn make_room(&mut self, number: usize, depth: u32) -> Option<usize> {
        for further in 0..depth {
            for slot in 0..SLOTS {
                let mover = tag_of(self.bucket(number), slot);
                let other = self.other(number, mover);
                if other == number {
                    continue;
                }
                let free = match further {
                    0 => matches(self.bucket(other), FREE).next(),
                    _ => self.make_room(other, further),
                };
                // Whatever made room there may have come here.
                let bucket = self.bucket(number);
                if let Some(free) = free
                    && tag_of(bucket, slot) == mover
                {
                    let entry = entry(bucket, slot);
                    let is_away = bucket[1] >> (AWAY_BITS + slot) & 1 == 1;
                    let home = if is_away { other } else { number };
                    self.clear((number, slot), home);
                    self.put((other, free), home, mover, entry);
                    return Some(slot);
                }
            }
        }
        None
    }

    /// Whether there is no entry.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.words.len() * size_of::<u64>()
    }
}

/// The tag of a hash: of the half that does not choose the bucket, and never that of a free slot.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// How many entries whose home this is are away.
#[inline]
fn missed(bucket: &[u64; WORDS]) -> u64 {
    bucket[1] >> MISSED_BITS
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

/// The words that a slot's tag and entry are in: below the number of words, whatever the slot.
#[inline(always)]
fn words(slot: usize) -> (usize, usize) {
    ((slot / 8) & 1, (2 + slot / 2) % WORDS)
}

#[inline(always)]
fn entry(bucket: &[u64; WORDS], slot: usize) -> u32 {
    (bucket[words(slot).1] >> (slot % 2 * 32)) as u32
}

fn tag_of(bucket: &[u64; WORDS], slot: usize) -> u8 {
    (bucket[words(slot).0] >> (slot % 8 * 8)) as u8
}

#[inline(always)]
fn set_entry(bucket: &mut [u64; WORDS], slot: usize, entry: u32) {
    let shift = slot % 2 * 32;
    let word = &mut bucket[words(slot).1];
    *word = *word & !(0xffff_ffff << shift) | u64::from(entry) << shift;
}

#[inline(always)]
fn set_tag(bucket: &mut [u64; WORDS], slot: usize, tag: u8) {
    let shift = slot % 8 * 8;
    let word = &mut bucket[words(slot).0];
    *word = *word & !(0xff << shift) | u64::from(tag) << shift;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::hash::BuildHasher;

    use foldhash::fast::FixedState;
    use proptest::prelude::*;

    use super::*;

    /// What no walk through the index sees: every count is what is away, and every entry in one of its places.
    fn check(index: &Index, hashes: &HashMap<u32, u64>) {
        let mut away = vec![0; index.buckets];
        let mut used = 0;
        for number in 0..index.buckets {
            let bucket = *index.bucket(number);
            for slot in 0..SLOTS {
                let tag = tag_of(&bucket, slot);
                let is_away = bucket[1] >> (AWAY_BITS + slot) & 1 == 1;
                if tag == FREE {
                    assert!(!is_away);
                    continue;
                }
                used += 1;
                let hash = hashes[&entry(&bucket, slot)];
                let home = index.home(hash);
                assert_eq!(tag, super::tag(hash));
                assert_eq!(index.other(index.other(number, tag), tag), number);
                assert_eq!(is_away, home != number);
                if is_away {
                    assert_eq!(index.other(number, tag), home);
                    away[home] += 1;
                }
            }
        }
        assert_eq!((used, index.used), (hashes.len(), hashes.len()));
        for (number, away) in away.into_iter().enumerate() {
            assert_eq!(missed(index.bucket(number)), away);
        }
    }

    proptest! {
        /// Against a map of entries to hashes that often collide: in the bucket, in the tag, or in both; in so many that
        /// buckets are full, and entries make room.
        #[test]
        fn like_a_map(steps in prop::collection::vec((any::<bool>(), 0..44_u32, 0..4_u64, 0..8_u64), 0..400)) {
            let mut index = Index::new(44);
            let mut model = HashMap::new();
            for (insert, entry, high, low) in steps {
                let hash = (u64::MAX << 63 >> high) & !0xffff_ffff | low;
                match model.get(&entry) {
                    None if insert => {
                        // An entry with the same hash stands in its way, if it is told so.
                        let is_other = model.values().any(|other| *other == hash);
                        let is_same = |other| model.get(&other) == Some(&hash);
                        let is_in = index.claim(hash, entry, is_same);
                        prop_assert!(!is_in || !is_other);
                        if is_in || index.claim(hash, entry, |_| false) {
                            model.insert(entry, hash);
                        }
                    }
                    Some(&hash) if !insert => {
                        index.remove(hash, entry);
                        model.remove(&entry);
                    }
                    _ => {}
                }
                check(&index, &model);
                for entry in 0..44 {
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

    /// As full as it may be, and after more entries have come and gone than there is room for, none was refused.
    #[test]
    fn full_and_in_use_for_long() {
        const ENTRIES: u32 = 20_000;
        let mut index = Index::new(ENTRIES as usize);
        // Twice, for the hashes of numbers in a row are spread more evenly than those of keys.
        let state = FixedState::with_seed(5);
        let hash = |entry: u32| state.hash_one(state.hash_one(entry));
        let mut live: Vec<u32> = (0..ENTRIES).collect();
        for entry in &live {
            assert!(index.insert(hash(*entry), *entry));
        }
        for new in ENTRIES..5 * ENTRIES {
            let place = hash(new) as usize % live.len();
            let old = std::mem::replace(&mut live[place], new);
            index.remove(hash(old), old);
            assert!(index.insert(hash(new), new));
        }
        check(
            &index,
            &live.iter().map(|entry| (*entry, hash(*entry))).collect(),
        );
    }

    #[test]
    fn one_hash_fills_its_two_buckets() {
        let mut index = Index::new(1_000);
        for entry in 0..2 * SLOTS as u32 {
            assert!(index.insert(7 << 60 | 9, entry));
        }
        assert!(!index.insert(7 << 60 | 9, 99));
        assert_eq!(index.used, 2 * SLOTS);
        for entry in 0..2 * SLOTS as u32 {
            index.remove(7 << 60 | 9, entry);
        }
        assert!((0..index.buckets).all(|bucket| index.bucket(bucket)[..2] == [0, 0]));
    }
}
