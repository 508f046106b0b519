//! When connections are looked at whose time may be up: a sweep over one array of ticks, once in every tick.
//!
//! Each slot has a tick of 16 bits, at which somebody looks at it. A pass over all slots compares 32 of them at a time,
//! in the order in which they lie in memory: a million slots are 2 MiB, read once a second or so. A timing wheel costs 8
//! bytes a slot more, for its lists, and misses the cache three times whenever a slot is scheduled or cancelled; here
//! that is one store.
//!
//! A slot whose time is put off is left as it is: when a pass comes to it, the caller schedules it again. So a packet that
//! only prolongs its connection writes nothing here.

use rewire_tables::memory::prefetch_at;

/// Ticks that a slot can be scheduled ahead. One that is due later is looked at then, and scheduled again.
const MOST_AHEAD: u64 = 1 << 15;
/// Slots that are compared at once.
const CHUNK: usize = 32;
/// Slots that one call passes, at most.
pub(crate) const SLOTS_PER_CALL: usize = 512;

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

    /// Goes on with the pass, up to the first slot that is scheduled for a tick before `now`: that slot, which is now scheduled
    /// for `now`. Nothing where every slot was seen since the tick began, or `room` slots were passed; takes from `room`
    /// what it has passed.
    ///
    /// Call it at least once in [`MOST_AHEAD`] ticks, or [`Sweep::leap`].
    pub(crate) fn next_due(&mut self, now: u64, room: &mut usize) -> Option<u32> {
        self.now = self.now.max(now);
        let is_due = |tick: u16| (tick.wrapping_sub(now as u16) as i16) < 0;
        loop {
            if self.position == self.ticks.len() {
                if self.began >= now {
                    return None;
                }
                self.began = now;
                self.position = 0;
            }
            while self.position < self.ticks.len() {
                let end = (self.position + CHUNK.min(*room)).min(self.ticks.len());
                let ticks = &self.ticks[self.position..end];
                if ticks.is_empty() {
                    return None;
                }
                // All at once first: mostly there is none, and that is quick to see.
                let due = ticks.iter().fold(false, |due, tick| due | is_due(*tick));
                let ahead = due.then(|| ticks.iter().position(|tick| is_due(*tick)));
                if let Some(ahead) = ahead.flatten() {
                    let slot = self.position + ahead;
                    self.ticks[slot] = now as u16;
                    self.position = slot + 1;
                    *room -= ahead + 1;
                    return Some(slot as u32);
                }
                *room -= ticks.len();
                self.position = end;
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
