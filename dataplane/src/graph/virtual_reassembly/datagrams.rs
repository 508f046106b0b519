//! Datagrams of which fragments have come: what their first one begins with, and which of their bytes have gone on.
//!
//! Room for a fixed number of them, in buckets of [`WAYS`]; a new one takes the place of the oldest of its bucket. The hash
//! is seeded, so that nobody can choose whom that is. Each is forgotten [`LIFETIME`] after it was first seen, or when all of it has
//! gone on.

use std::hash::{BuildHasher, Hash};
use std::time::Duration;

use foldhash::fast::FixedState;
use rewire_packet::{Protocol, Transport};
use rewire_tables::VpcIndex;

use crate::clock::Instant;
use crate::drop_reason::DropReason;

use super::bytes_seen::{BytesSeen, Mark};

/// How long after its first fragment to come a datagram is remembered. RFC 791 and RFC 8200 let a receiver wait 15 and 60
/// seconds; on the way, fragments of one datagram are milliseconds apart.
pub(super) const LIFETIME: Duration = Duration::from_secs(2);
const WAYS: usize = 8;
const NOWHERE: u16 = u16::MAX;

/// What the fragments of one datagram have in common (RFC 791, section 3.2; RFC 8200, section 4.5), as they arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatagramKey<A> {
    pub vpc: VpcIndex,
    pub source: A,
    pub destination: A,
    /// 0 for IPv6, which does not tell datagrams apart by it.
    pub protocol: u8,
    pub identification: u32,
}

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::graph) struct Part {
    /// Where it begins, in bytes: a multiple of 8.
    pub offset: usize,
    /// Bytes that it carries.
    pub length: usize,
    /// Whether others follow it.
    pub more: bool,
}

/// What all fragments of a datagram are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub protocol: Protocol,
    pub transport: Transport,
}

/// A datagram's place. Once another datagram has it, it is not this one's any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::graph) struct DatagramId {
    slot: u16,
    use_count: u32,
}

impl DatagramId {
    /// Its number, less than [`Datagrams::capacity`].
    pub(super) fn slot(self) -> usize {
        usize::from(self.slot)
    }
}

/// What becomes of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It goes on, as a part of this.
    GoesOn(Head),
    /// It waits for the first one.
    Waits(DatagramId),
}

#[derive(Clone, Debug)]
struct Datagram<A> {
    /// None: the place is free.
    key: Option<DatagramKey<A>>,
    /// How often the place was used.
    use_count: u32,
    expires: Instant,
    head: Option<Head>,
    /// Parts of it overlap: nothing more of it goes on.
    is_refused: bool,
    /// In the list of all, by age.
    older: u16,
    younger: u16,
}

/// All datagrams of one worker and address family.
#[derive(Debug)]
pub(super) struct Datagrams<A> {
    places: Vec<Datagram<A>>,
    seen: BytesSeen,
    oldest: u16,
    youngest: u16,
    number: usize,
    hash: FixedState,
}

impl<A: Copy + Eq + Hash> Datagrams<A> {
    /// Room for so many datagrams at once, or a few more. They are numbered with 16 bits.
    pub(super) fn new(capacity: usize, hash_seed: u64) -> Self {
        let most = usize::from(NOWHERE) / WAYS * WAYS;
        let capacity = capacity.next_multiple_of(WAYS).clamp(WAYS, most);
        let free = Datagram {
            key: None,
            use_count: 0,
            expires: Instant(0),
            head: None,
            is_refused: false,
            older: NOWHERE,
            younger: NOWHERE,
        };
        Datagrams {
            places: vec![free; capacity],
            seen: BytesSeen::new(capacity),
            oldest: NOWHERE,
            youngest: NOWHERE,
            number: 0,
            hash: FixedState::with_seed(hash_seed),
        }
    }

    /// The number of datagrams that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.places.len()
    }

    /// Whether none is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Takes a fragment in. `head` is what the first one begins with, and none for any other. `forgotten` is told of a datagram
    /// that has to give way.
    ///
    /// # Errors
    /// Why the fragment is dropped: it is malformed, a duplicate, or overlaps another one, which refuses all that follows, too.
    pub(super) fn admit(
        &mut self,
        key: DatagramKey<A>,
        part: Part,
        head: Option<Head>,
        now: Instant,
        forgotten: impl FnOnce(DatagramId),
    ) -> Result<Standing, DropReason> {
        if !part.is_well_formed() {
            return Err(DropReason::FragmentMalformed);
        }
        let slot = match self.find(&key) {
            Some(slot) => slot,
            None => self.begin(key, now, forgotten),
        };
        let datagram = &mut self.places[usize::from(slot)];
        if datagram.is_refused {
            return Err(DropReason::FragmentOverlap);
        }
        let Some(head) = datagram.head.or(head) else {
            let use_count = datagram.use_count;
            return Ok(Standing::Waits(DatagramId { slot, use_count }));
        };
        match self.seen.mark(slot, part) {
            Mark::New => datagram.head = Some(head),
            Mark::Complete => self.remove(slot),
            Mark::Duplicate => return Err(DropReason::FragmentDuplicate),
            Mark::Overlap => {
                datagram.is_refused = true;
                return Err(DropReason::FragmentOverlap);
            }
        }
        Ok(Standing::GoesOn(head))
    }

    /// What a datagram begins with, if it is remembered and that has come.
    pub(super) fn head(&self, key: &DatagramKey<A>) -> Option<Head> {
        self.places[usize::from(self.find(key)?)].head
    }

    /// The datagram of a key, if it is remembered.
    pub(super) fn get(&self, key: &DatagramKey<A>) -> Option<DatagramId> {
        let slot = self.find(key)?;
        let use_count = self.places[usize::from(slot)].use_count;
        Some(DatagramId { slot, use_count })
    }

    /// Whether fragments still wait for the first one of a datagram: it is remembered, and nothing of it has gone on.
    pub(super) fn is_awaited(&self, id: DatagramId) -> bool {
        let datagram = &self.places[id.slot()];
        datagram.key.is_some()
            && datagram.use_count == id.use_count
            && datagram.head.is_none()
            && !datagram.is_refused
    }

    /// Forgets the oldest datagram, if its time is up.
    pub(super) fn expire(&mut self, now: Instant) -> Option<DatagramId> {
        let slot = self.oldest;
        let datagram = self.places.get(usize::from(slot))?;
        if now < datagram.expires {
            return None;
        }
        let use_count = datagram.use_count;
        self.remove(slot);
        Some(DatagramId { slot, use_count })
    }

    fn bucket(&self, key: &DatagramKey<A>) -> std::ops::Range<u16> {
        let buckets = (self.places.len() / WAYS) as u64;
        let first = (self.hash.hash_one(key) % buckets) as u16 * WAYS as u16;
        first..first + WAYS as u16
    }

    fn find(&self, key: &DatagramKey<A>) -> Option<u16> {
        self.bucket(key)
            .find(|slot| self.places[usize::from(*slot)].key.as_ref() == Some(key))
    }

    fn begin(
        &mut self,
        key: DatagramKey<A>,
        now: Instant,
        forgotten: impl FnOnce(DatagramId),
    ) -> u16 {
        let place = |slot: &u16| &self.places[usize::from(*slot)];
        let bucket = self.bucket(&key);
        let slot = bucket
            .clone()
            .min_by_key(|slot| {
                let datagram = place(slot);
                (datagram.key.is_some(), datagram.expires)
            })
            .unwrap_or(bucket.start);
        if place(&slot).key.is_some() {
            let use_count = place(&slot).use_count;
            self.remove(slot);
            forgotten(DatagramId { slot, use_count });
        }
        let youngest = std::mem::replace(&mut self.youngest, slot);
        match self.places.get_mut(usize::from(youngest)) {
            Some(before) => before.younger = slot,
            None => self.oldest = slot,
        }
        self.seen.clear(slot);
        self.number += 1;
        let datagram = &mut self.places[usize::from(slot)];
        *datagram = Datagram {
            key: Some(key),
            use_count: datagram.use_count.wrapping_add(1),
            expires: now.saturating_add(LIFETIME),
            head: None,
            is_refused: false,
            older: youngest,
            younger: NOWHERE,
        };
        slot
    }

    fn remove(&mut self, slot: u16) {
        let datagram = &mut self.places[usize::from(slot)];
        datagram.key = None;
        let (older, younger) = (datagram.older, datagram.younger);
        match self.places.get_mut(usize::from(older)) {
            Some(datagram) => datagram.younger = younger,
            None => self.oldest = younger,
        }
        match self.places.get_mut(usize::from(younger)) {
            Some(datagram) => datagram.older = older,
            None => self.youngest = older,
        }
        self.number -= 1;
    }
}

impl Part {
    /// Whether it can be a part of a datagram: all but the last are multiples of 8 bytes, none is empty, and none reaches beyond
    /// the largest payload there is (RFC 791, section 3.1; RFC 8200, section 4.5).
    fn is_well_formed(self) -> bool {
        let end = self.offset + self.length;
        self.length > 0
            && end <= usize::from(u16::MAX)
            && (!self.more || self.length.is_multiple_of(8))
    }
}

#[cfg(test)]
mod tests;
