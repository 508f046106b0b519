//! How entries come, go, and make room for one another.

use super::bucket::{COUNTS, FREE, SLOTS, missed_shift};
use super::{Claim, Hashed, Home, Index, Spot};

/// How often entries make room for one another, until one is refused: with two, some six hundred places are looked at.
const DEPTH: u32 = 2;

impl Index {
    /// Adds an entry that is not in yet. False, and no change, where there is no room in its places, and none can be made: `hash_of` tells
    /// the hashes of the entries that may make room, and nothing of such that have to stay where they are.
    #[must_use]
    #[inline]
    pub(crate) fn insert(
        &mut self,
        hash: impl Hashed,
        entry: u32,
        hash_of: impl Fn(u32) -> Option<u64>,
    ) -> bool {
        let spot = hash.spot(self);
        let stored = self.stored(entry, spot);
        let bucket = &mut self.buckets[spot.home()];
        match bucket.matches(FREE).next() {
            Some(slot) => {
                bucket.tags[slot] = spot.tag();
                bucket.entries[slot] = stored;
                true
            }
            None => self.insert_away(spot, stored, &hash_of),
        }
    }

    /// As [`insert`](Self::insert), where the home is full.
    #[inline(never)]
    fn insert_away(
        &mut self,
        spot: Spot,
        stored: u32,
        hash_of: &dyn Fn(u32) -> Option<u64>,
    ) -> bool {
        let places = self.places(spot);
        let free = places
            .iter()
            .find_map(|number| Some((*number, self.buckets[*number].matches(FREE).next()?)));
        let place = free.or_else(|| {
            places
                .iter()
                .find_map(|number| Some((*number, self.make_room(*number, DEPTH, hash_of)?)))
        });
        let Some(place) = place else {
            return false;
        };
        self.put(place, spot, stored);
        true
    }

    /// Adds an entry that is not in yet, if nothing in its places has what is known there of its hash: then nobody needs to be looked at. Refused,
    /// without any change, where something has, or there is no room: [`claim`](Self::claim) says which.
    #[inline(always)]
    pub(crate) fn claim_alone(
        &mut self,
        spot: Spot,
        entry: u32,
        hash_of: impl Fn(u32) -> Option<u64>,
    ) -> Claim {
        let home = self.look_at_home(spot);
        self.claim_where_looked((spot, home), entry, hash_of)
    }

    /// Looks at the home of a hash, once for all that is to be known of it.
    #[inline(always)]
    pub(crate) fn look_at_home(&self, spot: Spot) -> Home {
        let bucket = &self.buckets[spot.home()];
        Home {
            is_alone: (bucket.matches(spot.tag()).0 == 0) & !bucket.misses(spot.tag()),
            free: bucket.matches(FREE),
        }
    }

    /// As [`claim_alone`](Self::claim_alone), where the home was looked at, and nothing has changed since.
    #[inline(always)]
    pub(crate) fn claim_where_looked(
        &mut self,
        (spot, home): (Spot, Home),
        entry: u32,
        hash_of: impl Fn(u32) -> Option<u64>,
    ) -> Claim {
        let stored = self.stored(entry, spot);
        let Home { is_alone, mut free } = home;
        match free.next() {
            Some(slot) if is_alone => {
                let bucket = &mut self.buckets[spot.home()];
                bucket.tags[slot] = spot.tag();
                bucket.entries[slot] = stored;
                Claim::Home
            }
            _ => self.claim_alone_anywhere(spot, entry, &hash_of),
        }
    }

    /// As [`claim_alone`](Self::claim_alone), where the home is full, or something there or away may have its tag.
    #[inline(never)]
    fn claim_alone_anywhere(
        &mut self,
        spot: Spot,
        entry: u32,
        hash_of: &dyn Fn(u32) -> Option<u64>,
    ) -> Claim {
        let is_alone = self.place(spot, &mut |_| true).is_none();
        match is_alone && self.insert(spot, entry, hash_of) {
            false => Claim::Refused,
            true if self.is_at_home(spot, entry) => Claim::Home,
            true => Claim::Away,
        }
    }

    /// Whether an entry is at home.
    #[inline(always)]
    pub(crate) fn is_at_home(&self, spot: Spot, entry: u32) -> bool {
        let stored = self.stored(entry, spot);
        let bucket = &self.buckets[spot.home()];
        let mut slots = bucket.matches(spot.tag());
        // What is at its home is not away.
        slots.any(|slot| bucket.entries[slot] == stored)
    }

    /// Adds an entry that is not in yet, unless another is in of which `is_it` holds. False, and no change, where there is one, or
    /// no room.
    #[must_use]
    pub(crate) fn claim(
        &mut self,
        spot: Spot,
        entry: u32,
        mut is_it: impl FnMut(u32) -> bool,
        hash_of: impl Fn(u32) -> Option<u64>,
    ) -> bool {
        self.place(spot, &mut is_it).is_none() && self.insert(spot, entry, hash_of)
    }

    /// Takes an entry out, by the hash that it was added with. Whether it was at home.
    #[inline(always)]
    pub(crate) fn remove(&mut self, hash: impl Hashed, entry: u32) -> bool {
        let spot = hash.spot(self);
        let stored = self.stored(entry, spot);
        let bucket = &mut self.buckets[spot.home()];
        match bucket.matches(spot.tag()).next() {
            // Whoever is at home is not away.
            Some(slot) if bucket.entries[slot] == stored => {
                bucket.tags[slot] = FREE;
                true
            }
            _ => self.remove_among_others(spot, entry),
        }
    }

    /// As [`remove`](Self::remove), where the first with its tag at home is another one.
    #[inline(never)]
    fn remove_among_others(&mut self, spot: Spot, entry: u32) -> bool {
        let Some(place) = self.place(spot, &mut |found| found == entry) else {
            return false;
        };
        self.clear(place, spot);
        place.0 == spot.home()
    }

    /// Puts one entry in another's place, which had the same hash.
    pub(crate) fn replace(&mut self, hash: impl Hashed, old: u32, new: u32) {
        let spot = hash.spot(self);
        if let Some((number, slot)) = self.place(spot, &mut |found| found == old) {
            self.buckets[number].entries[slot] = self.stored(new, spot);
        }
    }

    /// Puts an entry into a free slot.
    fn put(&mut self, (number, slot): (usize, usize), spot: Spot, stored: u32) {
        let bucket = &mut self.buckets[number];
        bucket.tags[slot] = spot.tag();
        bucket.entries[slot] = stored;
        self.count_on_the_way(number, spot, true);
    }

    /// Frees the slot of an entry with a hash.
    fn clear(&mut self, (number, slot): (usize, usize), spot: Spot) {
        self.buckets[number].tags[slot] = FREE;
        self.count_on_the_way(number, spot, false);
    }

    /// Counts an entry that is in a bucket, or is no more, in those of its places where it is looked for before.
    fn count_on_the_way(&mut self, number: usize, spot: Spot, is: bool) {
        for before in self.places(spot) {
            if before == number {
                break;
            }
            self.count(before, spot.tag(), is);
        }
    }

    /// Counts one more that is further away than in a bucket, or one less.
    pub(super) fn count(&mut self, number: usize, tag: u8, is: bool) {
        if self.buckets[number].misses_most(tag) && self.count_beyond(number, tag, is) {
            return;
        }
        let one = 1 << missed_shift(tag);
        let bucket = &mut self.buckets[number];
        match is {
            true => bucket.missed += one,
            false => bucket.missed -= one,
        }
    }

    /// The same where the bucket says the most that it can. Whether it says that still.
    #[cold]
    fn count_beyond(&mut self, number: usize, tag: u8, is: bool) -> bool {
        let Some(crowds) = &mut self.crowds else {
            return true;
        };
        let count = number as u32 * COUNTS + u32::from(tag) % COUNTS;
        match is {
            true => {
                if !crowds.add(count) {
                    // No more is known of any, and they stay. Nobody has so many.
                    self.crowds = None;
                }
                true
            }
            false => crowds.take(count),
        }
    }

    /// Moves an entry out of a full bucket into another one of its own: the slot that is free then.
    #[cold]
    fn make_room(
        &mut self,
        number: usize,
        depth: u32,
        hash_of: &dyn Fn(u32) -> Option<u64>,
    ) -> Option<usize> {
        for further in 0..depth {
            for slot in 0..SLOTS {
                let mover = self.buckets[number].entries[slot];
                let Some(hash) = hash_of(self.number(mover)) else {
                    continue;
                };
                let spot = self.spot(hash);
                let others = self.places(spot);
                let free = others.iter().filter(|to| **to != number).find_map(|to| {
                    let free = match further {
                        0 => self.buckets[*to].matches(FREE).next(),
                        _ => self.make_room(*to, further, hash_of),
                    };
                    Some((*to, free?))
                });
                // Whatever made room there may have come here.
                let bucket = &self.buckets[number];
                if let Some(free) = free
                    && (bucket.tags[slot], bucket.entries[slot]) == (spot.tag(), mover)
                {
                    self.clear((number, slot), spot);
                    self.put(free, spot, mover);
                    return Some(slot);
                }
            }
        }
        None
    }
}
