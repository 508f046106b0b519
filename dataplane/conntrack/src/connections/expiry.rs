//! How connections end whose time is up.

use rewire_tables::Address;

use super::{Connections, KeyHash, tick};
use crate::mappings::Ending;
use crate::records::flag;
use crate::sweep::Due;
use crate::time::{Instant, LONGEST_TIMEOUT};

/// So many connections ahead, each stage asks the memory for what the next one needs.
const AHEAD: usize = 16;

/// A connection that is to end, and what was found of it.
#[derive(Clone, Copy)]
struct Over {
    slot: u32,
    hashes: [KeyHash; 2],
    mapping: Option<Ending>,
}

impl<A: Address> Connections<A> {
    /// Removes connections whose time is up, and answers how many. Call it once a burst, before packets are looked up.
    ///
    /// Looks at `budget` connections at most, also at such that were prolonged since they were last looked at; what is
    /// left over comes first the next time. Besides, looks at a word of 16 bits for each of at most 512 connections; once
    /// all have been looked at, not before the next [`EXPIRY_TICK`].
    pub fn expire(&mut self, now: Instant, budget: usize) -> usize {
        if self.sweep.is_leap(tick(now)) {
            if now.duration_since(self.latest) >= LONGEST_TIMEOUT {
                // Deadlines cannot tell so far; but nothing lives so long.
                self.records.end_all(now);
            }
            self.sweep.leap(tick(now), self.records.len() == 0);
        }
        self.latest = self.latest.max(now);
        let mut due = Due::new();
        self.sweep.find_due(tick(now), budget, &mut due);
        let removed = match due.is_empty() {
            true => 0,
            false => self.end_those_over(&due, now),
        };
        if self.is_recording() {
            self.record_some(now);
        }
        removed
    }

    /// Ends those connections in slots that are due whose time is up, and answers how many.
    fn end_those_over(&mut self, due: &[u32], now: Instant) -> usize {
        // What a connection needs of the memory is asked for, and there while others come behind it.
        let mut over: [Option<Over>; AHEAD] = [None; AHEAD];
        let mut removed = 0;
        for step in 0..due.len() + 2 * AHEAD {
            if let Some(slot) = due.get(step) {
                self.records.prefetch_all(*slot);
            }
            let over = &mut over[step % AHEAD];
            if let Some(over) = over {
                self.remove_hashed(over.slot, over.hashes, over.mapping.as_ref());
                removed += 1;
            }
            let looked_at = due.get(step.wrapping_sub(AHEAD));
            *over = looked_at.and_then(|slot| self.look_whether_over(*slot, now));
        }
        removed
    }

    /// Whether the connection in a slot that is due has to end, and if so what was found for that: what its end changes is asked for. One
    /// that has not is scheduled again.
    #[inline(always)]
    fn look_whether_over(&mut self, slot: u32, now: Instant) -> Option<Over> {
        let Some(record) = self.records.get_used(slot) else {
            // Free: let it be for as long as can be.
            self.sweep.forget(slot);
            return None;
        };
        if record.has(flag::OFFLOADED) {
            self.expire_offloaded(slot, now);
            return None;
        }
        if !record.expires.is_over(now) {
            self.sweep.schedule(slot, tick(record.expires.instant(now)));
            return None;
        }
        let hashes = [self.hash(&record.original), self.hash(&record.reply)];
        hashes.iter().for_each(|hash| self.prefetch_change(*hash));
        let mapping = record.has(flag::MAPPED);
        let mapping = mapping.then(|| self.mappings.prefetch_end(&self.records, slot));
        Some(Over {
            slot,
            hashes,
            mapping,
        })
    }
}
