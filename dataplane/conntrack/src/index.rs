//! A hash index over numbered entries that are stored elsewhere.
//!
//! A bucket is one cache line: twelve entry numbers of 32 bits, a tag of 8 bits of its hash beside each, and counts. A
//! look-up compares all tags of a bucket at once, and looks at no entry but those that have the tag. The bits of a number that no entry
//! needs have more of its hash: where there are a million entries, a dozen. So hardly ever does a look-up wait for the memory of an
//! entry that is another's.
//!
//! An entry has three places, by its hash: its home, and two others that have nothing to do with that (as in cuckoo hashing; R. Pagh and F. Rodler,
//! 2001). It goes to the first one that has room; and where none has, entries in these places make room, and go to others of their own. So a
//! look-up sees three lines at most, however full the index is and however long it was in use; and mostly one: each bucket counts those that were
//! looked for there and are further away, in eight counts by their tags. Nothing is ever hashed again, neither at once nor bit by bit, but for
//! those that make room.
//!
//! Hashes may have a home in common, and be different in their other bits: then their entries are *near* to one another, and who knows no more than
//! that finds those that are at home. However many they are, the rest have two places each, as any.

mod bucket;
mod change;
mod crowds;

use std::hint::select_unpredictable;

use foldhash::fast::FixedState;
use rewire_tables::memory::{LargeArray, prefetch_at};

use self::bucket::{Bucket, FREE, Matches, SLOTS};
use self::crowds::Crowds;

/// Of a hundred slots, those that are in use when the index is full.
const FILL_PERCENT: usize = 80;

/// The tag, in the low half of a hash.
pub(crate) const TAG: u32 = 0xff;
/// Bits of the low half of a hash, besides the tag, that are of what its entries are near to: see [`Index::find_near`].
pub(crate) const NEAR: u32 = 0xf800_0000;

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

/// Whether an entry was added, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// It was not.
    Refused,
    Home,
    Away,
}

/// What was seen at the home of a hash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Home {
    /// Nothing there has its tag, and nothing is away or missed that might: there is nothing with this hash, and nothing near to it.
    pub(crate) is_alone: bool,
    free: Matches,
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
    crowds: Option<Box<Crowds>>,
    /// The bits that no number of an entry has: they have those of its hash.
    above: u32,
}

impl Index {
    /// An index for `entries` entries, which may be up to 2^31, and whose numbers are below that.
    pub(crate) fn new(entries: usize) -> Self {
        Index::of_numbers_below(entries, entries)
    }

    fn of_numbers_below(limit: usize, entries: usize) -> Self {
        // Two at least: who has no room at home has some elsewhere.
        let number = ((entries * 100).div_ceil(SLOTS * FILL_PERCENT) + 1).max(2);
        Index {
            buckets: LargeArray::zeroed(number),
            crowds: None,
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

    /// The same for hashes that senders can give one home as often as they want to: what is away is counted however much it is. It has no
    /// entries yet.
    pub(crate) fn counting_crowds(mut self, seed: &FixedState) -> Self {
        let slots = self.buckets.len() * SLOTS;
        self.crowds = Some(Box::new(Crowds::new(slots, seed)));
        self
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

    /// Where entries with a hash may be besides their home, the first one first.
    #[inline]
    fn others(&self, spot: Spot) -> [usize; 2] {
        // Any spread over all buckets will do. (2^32 divided by the golden ratio, and by the square root of two.)
        [0x9e37_79b9, 0xb504_f333].map(|factor: u32| {
            let spread = spot.low().wrapping_mul(factor);
            let others = self.buckets.len() as u64 - 1;
            let other = ((u64::from(spread) * others) >> 32) as usize;
            other + usize::from(other >= spot.home())
        })
    }

    /// The first one of them.
    #[inline]
    fn other(&self, spot: Spot) -> usize {
        let [other, _] = self.others(spot);
        other
    }

    /// All its places, the first one first.
    fn places(&self, spot: Spot) -> [usize; 3] {
        let [other, last] = self.others(spot);
        [spot.home(), other, last]
    }

    /// Asks for the line that a look-up of this hash begins with.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: impl Hashed) {
        prefetch_at(&self.buckets, hash.spot(self).home());
    }

    /// Asks for the two lines that an insertion or removal of this hash sees, if it sees more than its home: hardly ever is there a third.
    #[inline(always)]
    pub(crate) fn prefetch_both(&self, spot: Spot) {
        self.prefetch(spot);
        self.prefetch_other(spot);
    }

    #[inline(always)]
    fn prefetch_other(&self, spot: Spot) {
        prefetch_at(&self.buckets, self.other(spot));
    }

    /// Asks for the line where a hash that is to be inserted goes besides its home, if that will be looked at. Best when the line of the home is there.
    #[inline(always)]
    pub(crate) fn prefetch_insertion(&self, spot: Spot) {
        let (tag, home) = (spot.tag(), spot.home());
        let bucket = &self.buckets[home];
        let is_seen = bucket.misses(tag) | bucket.is_full();
        // For one of four, and nobody knows for which: to ask for the home again costs less than to guess.
        let line = select_unpredictable(is_seen, self.other(spot), home);
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
        let (number, slot) = self.place_away(spot, &mut |_| true)?;
        Some(self.number(self.buckets[number].entries[slot]))
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

    /// The bucket and slot of it, in one of its places away from home.
    #[inline(never)]
    fn place_away(
        &self,
        spot: Spot,
        is_it: &mut impl FnMut(u32) -> bool,
    ) -> Option<(usize, usize)> {
        for number in self.others(spot) {
            let bucket = &self.buckets[number];
            let mut slots = bucket.matches(spot.tag());
            let is_there = |slot: &usize| {
                let entry = self.marked(bucket.entries[*slot], spot);
                entry.is_some_and(&mut *is_it)
            };
            if let Some(slot) = slots.find(is_there) {
                return Some((number, slot));
            }
            if !bucket.misses(spot.tag()) {
                break;
            }
        }
        None
    }

    /// Whether nothing at home is near to a hash, and nothing is away that its home counts: neither is there anything to be [found
    /// near](Self::find_near), nor [missed](Self::count_missed). It may be so, too, where the answer is no.
    #[inline(always)]
    pub(crate) fn has_nothing_near(&self, spot: Spot) -> bool {
        self.look_at_home(spot).is_alone || self.has_none_near(spot)
    }

    /// As [`has_nothing_near`](Self::has_nothing_near), where something has its tag.
    #[inline(never)]
    fn has_none_near(&self, spot: Spot) -> bool {
        !self.misses(spot) && self.find_near(spot, |_| true).is_none()
    }

    /// The first entry at home of which `is_it` holds, and whose hash has in common with this one what [`NEAR`] says, as far as that is known
    /// here; whatever its other bits are. It may be asked about such that are there away from another home.
    #[inline]
    pub(crate) fn find_near(&self, spot: Spot, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let bucket = &self.buckets[spot.home()];
        bucket.matches(spot.tag()).find_map(|slot| {
            let stored = bucket.entries[slot];
            let is_near = (stored ^ spot.low()) & self.above & NEAR == 0;
            let number = self.number(stored);
            (is_near && is_it(number)).then_some(number)
        })
    }

    /// Whether some entries whose home this is may be away, or are [missed](Self::count_missed) there.
    #[inline]
    pub(crate) fn misses(&self, spot: Spot) -> bool {
        self.buckets[spot.home()].misses(spot.tag())
    }

    /// Notes at a home that there is something near to a hash which is not in this index, or no more.
    pub(crate) fn count_missed(&mut self, spot: Spot, is: bool) {
        self.count(spot.home(), spot.tag(), is);
    }

    /// Whether there is no entry, and nothing is missed but what cannot be told any more.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        let is_exact = self.crowds.is_some();
        let crowds_are_over = self.crowds.iter().all(|crowds| crowds.is_empty());
        self.buckets.iter().all(|bucket| bucket.is_empty(is_exact)) && crowds_are_over
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let crowds = self.crowds.as_ref().map_or(0, |crowds| crowds.memory());
        self.buckets.len() * size_of::<Bucket>() + crowds
    }
}

#[cfg(test)]
mod tests;
