//! A hash index over numbered entries that are stored elsewhere.
//!
//! A bucket is one cache line: twelve entry numbers of 32 bits, a tag of 8 bits of its hash beside each, and a count. A
//! look-up compares all tags of a bucket at once, and looks at no entry but those that have the tag. The bits of a number that no entry
//! needs have more of its hash: where there are a million entries, a dozen. So hardly ever does a look-up wait for the memory of an
//! entry that is another's.
//!
//! An entry has two places: its home bucket, by its hash, and another one, by its home and its tag (B. Fan, D. Andersen,
//! M. Kaminsky and M. Mitzenmacher, "Cuckoo Filter: Practically Better Than Bloom", 2014). It goes home if there is room,
//! otherwise to the other one; and where that is full, too, an entry at home or there makes room, and goes to the other one
//! of its own two, which its tag says without a look at it. So a look-up sees two lines at most, however full the index is and
//! however long it was in use; and mostly one: each bucket counts those that are away from it, in four counts by their tags. Nothing is
//! ever hashed again, neither at once nor bit by bit.

use std::hint::select_unpredictable;

use rewire_tables::memory::{LargeArray, equal_bytes, prefetch_at};
use zerocopy::{FromZeros, Immutable, IntoBytes};

/// Entries of one bucket.
const SLOTS: usize = 12;
/// Of a hundred slots, those that are in use when the index is full.
const FILL_PERCENT: usize = 80;
/// How often entries make room for one another, until one is refused: with two, some three hundred places were looked at.
const DEPTH: u32 = 2;

/// The most that one count of entries that are away can say.
const MOST_MISSED: u16 = 15;

/// No slot has this tag but one that is free.
const FREE: u8 = 0;

/// A cache line of entries. All zeros, it has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros, IntoBytes, Immutable)]
#[repr(C, align(64))]
struct Bucket {
    tags: [u8; SLOTS],
    /// A bit for each slot whose entry is away from home.
    away: u16,
    /// How many entries whose home this is are away: four counts of four bits, by the low bits of the tag. One that has come to the
    /// most that it can say stays there.
    missed: u16,
    entries: [u32; SLOTS],
}

impl Bucket {
    /// The slots with a tag, the first one first. Exact: no slot that has another.
    #[inline(always)]
    fn matches(&self, tag: u8) -> Matches {
        let (line, _) = self
            .as_bytes()
            .split_first_chunk()
            .unwrap_or((&[0; 16], &[]));
        Matches(equal_bytes(line, tag) & ((1 << SLOTS) - 1))
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.matches(FREE).0 == 0
    }

    /// Whether an entry with a tag, whose home this is, may be away.
    #[inline(always)]
    fn misses(&self, tag: u8) -> bool {
        self.missed >> missed_shift(tag) & MOST_MISSED != 0
    }

    /// An entry whose home this is goes away, or has come back or ended.
    fn count_missed(&mut self, tag: u8, goes: bool) {
        let shift = missed_shift(tag);
        if self.missed >> shift & MOST_MISSED == MOST_MISSED {
            return;
        }
        match goes {
            true => self.missed += 1 << shift,
            false => self.missed -= 1 << shift,
        }
    }

    #[inline(always)]
    fn is_away(&self, slot: usize) -> bool {
        self.away >> slot & 1 == 1
    }
}

/// What a look at the home of a hash has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sought {
    /// An entry with its tag.
    Found(u32),
    /// There is none with this hash.
    Nothing,
    /// It may be away from home. That line was asked for.
    Away,
}

/// Where the entries of a hash belong in one index: their home in the low half, and in the other one the low half of the hash, with their
/// tag in its lowest byte. Told once, for whoever asks several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot(u64);

impl Spot {
    #[inline(always)]
    fn home(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline(always)]
    fn tag(self) -> u8 {
        (self.0 >> 32) as u8
    }

    /// Bits of the hash that say nothing of where its entries are, but for the lowest eight.
    #[inline(always)]
    pub(crate) fn low(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl Default for Spot {
    /// Of some hash.
    fn default() -> Self {
        Spot((u64::from(FREE) + 1) << 32)
    }
}

/// What says where an entry belongs.
pub(crate) trait Hashed {
    fn spot(self, index: &Index) -> Spot;
}

impl Hashed for u64 {
    #[inline(always)]
    fn spot(self, index: &Index) -> Spot {
        index.spot(self)
    }
}

impl Hashed for Spot {
    #[inline(always)]
    fn spot(self, _: &Index) -> Spot {
        self
    }
}

#[derive(Debug)]
pub(crate) struct Index {
    buckets: LargeArray<Bucket>,
    /// The bits that no number of an entry has: they have those of its hash.
    above: u32,
}

impl Index {
    /// An index for `entries` entries, which may be up to 2^31, and whose numbers are below that.
    pub(crate) fn new(entries: usize) -> Self {
        Index::of_numbers_below(entries, entries)
    }

    fn of_numbers_below(limit: usize, entries: usize) -> Self {
        let number = (entries * 100).div_ceil(SLOTS * FILL_PERCENT) + 1;
        Index {
            buckets: LargeArray::zeroed(number),
            above: !u32::MAX
                .checked_shr((limit as u32).leading_zeros())
                .unwrap_or(0),
        }
    }

    /// What stands in the slot of an entry.
    #[inline(always)]
    fn stored(&self, number: u32, spot: Spot) -> u32 {
        debug_assert_eq!(number & self.above, 0, "below what the index was made for");
        number | spot.low() & self.above
    }

    /// The number of the entry in a slot, whatever its hash is.
    #[inline(always)]
    fn number(&self, stored: u32) -> u32 {
        stored & !self.above
    }

    /// The number of the entry in a slot that has the tag of a hash, if it has the other bits that are known of it, too.
    #[inline(always)]
    fn marked(&self, stored: u32, spot: Spot) -> Option<u32> {
        let is_it = (stored ^ spot.low()) & self.above == 0;
        is_it.then_some(self.number(stored))
    }

    /// The same with all of its memory there: whoever is asked by every packet should not wait for the kernel. It has no entries yet.
    pub(crate) fn touched(mut self) -> Self {
        self.buckets.touch();
        self
    }

    /// Where entries with this hash belong: at home by its high half, with a tag of the other one, which is never that of a free slot.
    #[inline(always)]
    pub(crate) fn spot(&self, hash: u64) -> Spot {
        let home = ((hash >> 32) * self.buckets.len() as u64) >> 32;
        let low = hash as u32 + u32::from(hash as u8 == FREE);
        Spot(u64::from(low) << 32 | home)
    }

    /// The other bucket of an entry that has this tag and is in this one. The other bucket's other one is this.
    #[inline]
    fn other(&self, bucket: usize, tag: u8) -> usize {
        // Any spread over all buckets will do. (2^32 divided by the golden ratio.)
        let spread = u32::from(tag).wrapping_mul(0x9e37_79b9);
        let sum = ((u64::from(spread) * self.buckets.len() as u64) >> 32) as usize;
        let other = sum.wrapping_sub(bucket);
        if sum < bucket {
            other.wrapping_add(self.buckets.len())
        } else {
            other
        }
    }

    /// Asks for the line that a look-up of this hash begins with.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: impl Hashed) {
        prefetch_at(&self.buckets, hash.spot(self).home());
    }

    /// Asks for both lines that an insertion or removal of this hash may see.
    #[inline(always)]
    pub(crate) fn prefetch_both(&self, spot: Spot) {
        self.prefetch(spot);
        self.prefetch_other(spot);
    }

    #[inline(always)]
    fn prefetch_other(&self, spot: Spot) {
        prefetch_at(&self.buckets, self.other(spot.home(), spot.tag()));
    }

    /// Asks for the other line of a hash that is to be inserted, if it will be looked at. Best when the line of the home is there.
    #[inline(always)]
    pub(crate) fn prefetch_insertion(&self, spot: Spot) {
        let (tag, home) = (spot.tag(), spot.home());
        let bucket = &self.buckets[home];
        let is_seen = bucket.misses(tag) | bucket.is_full();
        // For one of four, and nobody knows for which: to ask for the home again costs less than to guess.
        let line = select_unpredictable(is_seen, self.other(home, tag), home);
        prefetch_at(&self.buckets, line);
    }

    /// The first entry at home that has the hash's tag, and what else is known of it: most likely the one that is looked for, if there is one. Where there is none, the
    /// other line is asked for, if the entry may be there, or would go there.
    #[inline(always)]
    pub(crate) fn candidate(&self, spot: Spot) -> Sought {
        let bucket = &self.buckets[spot.home()];
        let mut matches = bucket.matches(spot.tag());
        let first = matches.next().map(|slot| bucket.entries[slot]);
        match first.and_then(|stored| self.marked(stored, spot)) {
            Some(entry) => Sought::Found(entry),
            None if first.is_none() & !bucket.misses(spot.tag()) & !bucket.is_full() => {
                Sought::Nothing
            }
            None => self.next_candidate(spot, matches),
        }
    }

    /// As [`candidate`](Self::candidate), of those slots that are left.
    #[inline(never)]
    fn next_candidate(&self, spot: Spot, mut matches: Matches) -> Sought {
        let bucket = &self.buckets[spot.home()];
        let next = matches.find_map(|slot| self.marked(bucket.entries[slot], spot));
        match next {
            Some(entry) => Sought::Found(entry),
            None if bucket.misses(spot.tag()) => {
                self.prefetch_other(spot);
                Sought::Away
            }
            None => {
                if bucket.is_full() {
                    self.prefetch_other(spot);
                }
                Sought::Nothing
            }
        }
    }

    /// The first such entry that is away from home. Nothing: there is none with this hash there.
    #[inline(never)]
    pub(crate) fn candidate_away(&self, spot: Spot) -> Option<u32> {
        let bucket = &self.buckets[self.other(spot.home(), spot.tag())];
        let mut slots = bucket.matches(spot.tag());
        slots.find_map(|slot| self.marked(bucket.entries[slot], spot))
    }

    /// Whether nothing has what is known here of this hash: it is in for no entry. It may be so, too, where the answer is no.
    #[inline(always)]
    pub(crate) fn has_nothing_like(&self, hash: impl Hashed) -> bool {
        let spot = hash.spot(self);
        let bucket = &self.buckets[spot.home()];
        let is_certain = bucket.matches(spot.tag()).0 == 0 && !bucket.misses(spot.tag());
        is_certain || self.has_no_such(spot)
    }

    /// As [`has_nothing_like`](Self::has_nothing_like), where something has its tag.
    #[inline(never)]
    fn has_no_such(&self, spot: Spot) -> bool {
        self.place(spot, &mut |_| true).is_none()
    }

    /// The entry with this hash of which `is_it` holds.
    #[inline]
    pub(crate) fn find(
        &self,
        hash: impl Hashed,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let (number, slot) = self.place(hash.spot(self), &mut is_it)?;
        Some(self.number(self.buckets[number].entries[slot]))
    }

    /// The bucket and slot of it.
    #[inline(always)]
    fn place(&self, spot: Spot, is_it: &mut impl FnMut(u32) -> bool) -> Option<(usize, usize)> {
        let (tag, home) = (spot.tag(), spot.home());
        let bucket = &self.buckets[home];
        for slot in bucket.matches(tag) {
            if self
                .marked(bucket.entries[slot], spot)
                .is_some_and(&mut *is_it)
            {
                return Some((home, slot));
            }
        }
        match bucket.misses(tag) {
            false => None,
            true => self.place_away(spot, is_it),
        }
    }

    /// The bucket and slot of it, in the other bucket of its home.
    #[inline(never)]
    fn place_away(
        &self,
        spot: Spot,
        is_it: &mut impl FnMut(u32) -> bool,
    ) -> Option<(usize, usize)> {
        let other = self.other(spot.home(), spot.tag());
        let bucket = &self.buckets[other];
        let mut slots = bucket.matches(spot.tag());
        let is_there = |slot: &usize| {
            let entry = self.marked(bucket.entries[*slot], spot);
            entry.is_some_and(&mut *is_it)
        };
        let slot = slots.find(is_there)?;
        Some((other, slot))
    }

    /// Adds an entry that is not in yet. False, and no change, where there is no room in its places, and none can be made.
    #[must_use]
    #[inline]
    pub(crate) fn insert(&mut self, hash: impl Hashed, entry: u32) -> bool {
        let spot = hash.spot(self);
        let stored = self.stored(entry, spot);
        let bucket = &mut self.buckets[spot.home()];
        match bucket.matches(FREE).next() {
            Some(slot) => {
                bucket.tags[slot] = spot.tag();
                bucket.entries[slot] = stored;
                true
            }
            None => self.insert_away(spot, stored),
        }
    }

    /// As [`insert`](Self::insert), where the home is full.
    #[inline(never)]
    fn insert_away(&mut self, spot: Spot, stored: u32) -> bool {
        let (tag, home) = (spot.tag(), spot.home());
        let other = self.other(home, tag);
        let place = match self.buckets[other].matches(FREE).next() {
            Some(slot) => Some((other, slot)),
            None => self
                .make_room(home, DEPTH)
                .map(|slot| (home, slot))
                .or_else(|| Some((other, self.make_room(other, DEPTH)?))),
        };
        let Some(place) = place else {
            return false;
        };
        self.put(place, home, tag, stored);
        true
    }

    /// Adds an entry that is not in yet, if nothing in its places has what is known there of its hash: then nobody needs to be looked at. False,
    /// and no change, where something has, or there is no room: [`claim`](Self::claim) says which.
    #[must_use]
    #[inline(always)]
    pub(crate) fn claim_alone(&mut self, spot: Spot, entry: u32) -> bool {
        let tag = spot.tag();
        let stored = self.stored(entry, spot);
        let bucket = &mut self.buckets[spot.home()];
        let may_be_in = (bucket.matches(tag).0 != 0) | bucket.misses(tag);
        match bucket.matches(FREE).next() {
            Some(slot) if !may_be_in => {
                bucket.tags[slot] = tag;
                bucket.entries[slot] = stored;
                true
            }
            _ => self.claim_alone_in_both(spot, entry),
        }
    }

    /// As [`claim_alone`](Self::claim_alone), where the home is full, or something there or away may have its tag.
    #[inline(never)]
    fn claim_alone_in_both(&mut self, spot: Spot, entry: u32) -> bool {
        self.place(spot, &mut |_| true).is_none() && self.insert(spot, entry)
    }

    /// Adds an entry that is not in yet, unless another is in of which `is_it` holds. False, and no change, where there is one, or
    /// no room.
    #[must_use]
    pub(crate) fn claim(
        &mut self,
        spot: Spot,
        entry: u32,
        mut is_it: impl FnMut(u32) -> bool,
    ) -> bool {
        self.place(spot, &mut is_it).is_none() && self.insert(spot, entry)
    }

    /// Takes an entry out, by the hash that it was added with.
    #[inline(always)]
    pub(crate) fn remove(&mut self, hash: impl Hashed, entry: u32) {
        let spot = hash.spot(self);
        let stored = self.stored(entry, spot);
        let bucket = &mut self.buckets[spot.home()];
        match bucket.matches(spot.tag()).next() {
            // Whoever is at home is not away.
            Some(slot) if bucket.entries[slot] == stored => bucket.tags[slot] = FREE,
            _ => self.remove_among_others(spot, entry),
        }
    }

    /// As [`remove`](Self::remove), where the first with its tag at home is another one.
    #[inline(never)]
    fn remove_among_others(&mut self, spot: Spot, entry: u32) {
        if let Some(place) = self.place(spot, &mut |found| found == entry) {
            self.clear(place, spot.home());
        }
    }

    /// Puts one entry in another's place, which had the same hash.
    pub(crate) fn replace(&mut self, hash: impl Hashed, old: u32, new: u32) {
        let spot = hash.spot(self);
        if let Some((number, slot)) = self.place(spot, &mut |found| found == old) {
            self.buckets[number].entries[slot] = self.stored(new, spot);
        }
    }

    /// Puts an entry into a free slot.
    fn put(&mut self, (number, slot): (usize, usize), home: usize, tag: u8, stored: u32) {
        let bucket = &mut self.buckets[number];
        bucket.tags[slot] = tag;
        bucket.entries[slot] = stored;
        if number != home {
            bucket.away |= 1 << slot;
            self.buckets[home].count_missed(tag, true);
        }
    }

    /// Frees the slot of an entry whose home this is.
    #[inline(always)]
    fn clear(&mut self, (number, slot): (usize, usize), home: usize) {
        let bucket = &mut self.buckets[number];
        let tag = std::mem::replace(&mut bucket.tags[slot], FREE);
        if number != home {
            bucket.away &= !(1 << slot);
            self.buckets[home].count_missed(tag, false);
        }
    }

    /// Moves an entry out of a full bucket into the other one of its own: the slot that is free then.
    #[cold]
    fn make_room(&mut self, number: usize, depth: u32) -> Option<usize> {
        for further in 0..depth {
            for slot in 0..SLOTS {
                let mover = self.buckets[number].tags[slot];
                let other = self.other(number, mover);
                if other == number {
                    continue;
                }
                let free = match further {
                    0 => self.buckets[other].matches(FREE).next(),
                    _ => self.make_room(other, further),
                };
                // Whatever made room there may have come here.
                let bucket = &self.buckets[number];
                if let Some(free) = free
                    && bucket.tags[slot] == mover
                {
                    let stored = bucket.entries[slot];
                    let home = if bucket.is_away(slot) { other } else { number };
                    self.clear((number, slot), home);
                    self.put((other, free), home, mover, stored);
                    return Some(slot);
                }
            }
        }
        None
    }

    /// Whether there is no entry.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.buckets
            .iter()
            .all(|bucket| bucket.tags == [FREE; SLOTS])
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.buckets.len() * size_of::<Bucket>()
    }
}

/// Where a bucket counts those with a tag that are away from it.
#[inline(always)]
fn missed_shift(tag: u8) -> u32 {
    u32::from(tag & 3) * 4
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

#[cfg(test)]
mod tests;
