//! A timing wheel: slots in the order of the tick in which they are due.
//!
//! One round is [`BUCKETS`] ticks. What is due later waits in the last bucket, and is scheduled again from there. A slot
//! whose time is put off is left where it is: when its bucket comes round, the caller schedules it again. So a packet
//! that only prolongs its connection does not touch the wheel.

/// Ticks of one round. With ticks of about a second, 2 h 26 min: more than any default time-out.
pub(crate) const BUCKETS: u64 = 1 << 13;

/// Neighbours in a bucket's list, as slots plus one; zero is none.
type Links = (u32, u32);

#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Vec<u32>,
    /// Next and previous.
    links: Vec<Links>,
    /// The tick that a slot is scheduled for.
    ticks: Vec<u64>,
    /// The tick whose bucket is next. Buckets hold ticks from here to one round on.
    cursor: u64,
}

fn bucket(tick: u64) -> usize {
    (tick % BUCKETS) as usize
}

impl Wheel {
    pub(crate) fn new(slots: usize) -> Self {
        Wheel {
            heads: vec![0; BUCKETS as usize],
            links: vec![(0, 0); slots],
            ticks: vec![0; slots],
            cursor: 0,
        }
    }

    /// Schedules a slot that is not scheduled.
    pub(crate) fn schedule(&mut self, slot: u32, tick: u64) {
        let tick = tick.clamp(self.cursor, self.cursor.saturating_add(BUCKETS - 1));
        let head = &mut self.heads[bucket(tick)];
        let next = std::mem::replace(head, slot + 1);
        if next != 0 {
            self.links[next as usize - 1].1 = slot + 1;
        }
        self.links[slot as usize] = (next, 0);
        self.ticks[slot as usize] = tick;
    }

    /// Takes a scheduled slot out.
    pub(crate) fn cancel(&mut self, slot: u32) {
        let (next, previous) = self.links[slot as usize];
        match previous {
            0 => self.heads[bucket(self.ticks[slot as usize])] = next,
            previous => self.links[previous as usize - 1].0 = next,
        }
        if next != 0 {
            self.links[next as usize - 1].1 = previous;
        }
    }

    /// Moves a scheduled slot forward, if it is scheduled later than `tick`.
    pub(crate) fn hasten(&mut self, slot: u32, tick: u64) {
        if tick < self.ticks[slot as usize] {
            self.cancel(slot);
            self.schedule(slot, tick);
        }
    }

    /// Takes out a slot that is scheduled for a tick before `now`. Costs a look at each bucket since the last time, or at
    /// all of one round.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<u32> {
        // After a pause of more than a round, one round sees every bucket.
        self.cursor = self.cursor.max(now.saturating_sub(BUCKETS));
        while self.cursor < now {
            match self.heads[bucket(self.cursor)] {
                0 => self.cursor += 1,
                slot => {
                    self.cancel(slot - 1);
                    return Some(slot - 1);
                }
            }
        }
        None
    }
}
