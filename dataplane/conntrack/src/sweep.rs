//! When connections are looked at whose time may be up: a sweep over one array of ticks, once in every tick.
//!
//! Each slot has a tick of 16 bits, at which somebody looks at it. A pass over all slots compares 64 of them at a time,
//! in the order in which they lie in memory: a million slots are 2 MiB, read once a second or so. A timing wheel costs 8
//! bytes a slot more, for its lists, and misses the cache three times whenever a slot is scheduled or cancelled; here
//! that is one store.
//!
//! A slot whose time is put off is left as it is: when a pass comes to it, the caller schedules it again. So a packet that
//! only prolongs its connection writes nothing here.

use arrayvec::ArrayVec;
use rewire_tables::memory::{equal_bytes, prefetch_at};

/// Ticks that a slot can be scheduled ahead. One that is due later is looked at then, and scheduled again.
const MOST_AHEAD: u64 = 1 << 15;
/// Slots that are compared at once.
const CHUNK: usize = 64;
/// Slots whose ticks lie in one line of memory.
const SLOTS_PER_LINE: usize = 32;
/// Slots that one call passes, at most.
pub(crate) const SLOTS_PER_CALL: usize = 512;

/// Slots that one call has found.
pub(crate) type Due = ArrayVec<u32, SLOTS_PER_CALL>;

#[derive(Debug)]
pub(crate) struct Sweep {
    /// The low bits of the tick at which each slot is looked at. One that is not scheduled has any.
    ticks: Vec<u16>,
    /// The tick that it is now: what is scheduled for a tick before is due.
    now: u64,
    /// The tick in which the pass began that is under way, or was last.
    began: u64,
    /// The first slot that the pass has not seen.
    position: usize,
}

impl Sweep {
    pub(crate) fn new(slots: usize) -> Self {
        Sweep {
            ticks: Vec::with_capacity(slots),
            now: 0,
            began: 0,
            position: 0,
        }
    }

    /// Schedules a slot, for `tick` or what is nearest to it.
    #[inline(always)]
    pub(crate) fn schedule(&mut self, slot: u32, tick: u64) {
        let tick = tick.clamp(self.now, self.now + MOST_AHEAD - 1) as u16;
        match self.ticks.get_mut(slot as usize) {
            Some(scheduled) => *scheduled = tick,
            // Slots are used for the first time in their order.
            None => self.ticks.push(tick),
        }
    }

    /// Schedules a slot that was scheduled before, for as late as can be: nobody has it.
    #[inline(always)]
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(scheduled) = self.ticks.get_mut(slot as usize) {
            *scheduled = (self.now + MOST_AHEAD - 1) as u16;
        }
    }

    /// Asks for what [`schedule`](Self::schedule) changes.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: u32) {
        prefetch_at(&self.ticks, slot as usize);
    }

    /// Brings a scheduled slot forward, if it is scheduled later than `tick`.
    #[inline]
    pub(crate) fn hasten(&mut self, slot: u32, tick: u64) {
        let scheduled = self.ticks[slot as usize].wrapping_sub(self.now as u16);
        if u64::from(scheduled) > tick.saturating_sub(self.now) {
            self.schedule(slot, tick);
        }
    }

    /// Goes on with the pass, and finds the slots that are scheduled for a tick before `now`, which are scheduled for `now` then: `most` of
    /// them at most. Where every slot was seen since the tick began, there is nothing to see before the next one; and no call passes
    /// more than [`SLOTS_PER_CALL`].
    ///
    /// Call it at least once in [`MOST_AHEAD`] ticks, or [`Sweep::leap`].
    pub(crate) fn find_due(&mut self, now: u64, most: usize, found: &mut Due) {
        self.now = self.now.max(now);
        let mut room = SLOTS_PER_CALL;
        // What the call after this one will see: it would wait for it.
        for slots in 1..=SLOTS_PER_CALL / SLOTS_PER_LINE {
            let ahead = SLOTS_PER_CALL + slots * SLOTS_PER_LINE;
            prefetch_at(&self.ticks, self.position + ahead);
        }
        while found.len() < most && room > 0 {
            if self.position == self.ticks.len() {
                if self.began >= now {
                    return;
                }
                self.began = now;
                self.position = 0;
            }
            let first = self.position;
            let end = (first + CHUNK.min(room)).min(self.ticks.len());
            let ticks = &mut self.ticks[first..end];
            let mut due = due(ticks, now as u16);
            self.position = end;
            room -= ticks.len();
            while due != 0 {
                let ahead = due.trailing_zeros() as usize;
                due &= due - 1;
                ticks[ahead] = now as u16;
                found.push((first + ahead) as u32);
                if found.len() == most {
                    self.position = first + ahead + 1;
                    break;
                }
            }
        }
    }

    /// The clock has moved so far that ticks of 16 bits cannot tell: every slot is looked at in the next pass. Where no slot is
    /// used (a worker without connections does not run) there is nothing to look at, and nothing is written.
    pub(crate) fn leap(&mut self, now: u64, is_empty: bool) {
        (self.now, self.began) = (now, now);
        self.position = 0;
        if !is_empty {
            self.ticks.fill((now as u16).wrapping_sub(1));
        }
    }

    /// Whether the clock has moved so far since the pass began: what was due when the one before began may look as if it lay
    /// ahead. That is so, too, where passes do not come to their end, for want of budget.
    pub(crate) fn is_leap(&self, now: u64) -> bool {
        now.saturating_sub(self.began) >= MOST_AHEAD / 2
    }

    /// The memory that it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.ticks.capacity() * size_of::<u16>()
    }
}

/// A bit for each slot, of 64 at most, that is scheduled for a tick before this; the first one lowest.
#[inline(always)]
fn due(ticks: &[u16], now: u16) -> u64 {
    match ticks.first_chunk() {
        Some(ticks) => due_of_chunk(ticks, now),
        None => {
            // None of what is beyond the last.
            let mut chunk = [now; CHUNK];
            chunk[..ticks.len()].copy_from_slice(ticks);
            due_of_chunk(&chunk, now)
        }
    }
}

/// As [`due`], of 64. Without a branch: a byte for each of 16 at a time, which come together in one register.
#[inline(always)]
fn due_of_chunk(ticks: &[u16; CHUNK], now: u16) -> u64 {
    let mut due = 0;
    let (ticks, _) = ticks.as_chunks::<16>();
    for (part, ticks) in ticks.iter().enumerate() {
        let bytes = ticks.map(|tick| u8::from((tick.wrapping_sub(now) as i16) < 0));
        due |= u64::from(equal_bytes(&bytes, 1)) << (16 * part);
    }
    due
}

#[cfg(test)]
mod tests;
