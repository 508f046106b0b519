//! How connections end whose time is up.

use arrayvec::ArrayVec;
use rewire_tables::Address;

use super::{Connections, EXPIRE_BATCH, KeyHash, tick};
use crate::mappings;
use crate::records::flag;
use crate::sweep::SLOTS_PER_CALL;
use crate::time::{Instant, LONGEST_TIMEOUT};

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
        let mut removed = 0;
        let mut left = budget;
        let mut room = SLOTS_PER_CALL;
        while left > 0 {
            let mut due: ArrayVec<u32, EXPIRE_BATCH> = ArrayVec::new();
            while due.len() < EXPIRE_BATCH.min(left) {
                let Some(slot) = self.sweep.next_due(tick(now), &mut room) else {
                    break;
                };
                self.records.prefetch_all(slot);
                due.push(slot);
            }
            if due.is_empty() {
                break;
            }
            left -= due.len();
            removed += self.expire_batch(&due, now);
        }
        if self.is_recording() {
            self.record_some(now);
        }
        removed
    }

    fn expire_batch(&mut self, due: &[u32], now: Instant) -> usize {
        let mut over: ArrayVec<(u32, [KeyHash; 2]), EXPIRE_BATCH> = ArrayVec::new();
        for &slot in due {
            if self.records.id(slot).is_none() {
                // Free: let it be for as long as can be.
                self.sweep.schedule(slot, u64::MAX);
                continue;
            }
            let record = self.records.used(slot);
            if record.has(flag::OFFLOADED) {
                self.expire_offloaded(slot, now);
                continue;
            }
            if !record.expires.is_over(now) {
                self.sweep.schedule(slot, tick(record.expires.instant(now)));
                continue;
            }
            let hashes = [&record.original, &record.reply].map(|key| self.hash(key));
            hashes.iter().for_each(|hash| self.prefetch_change(*hash));
            if record.has(flag::MAPPED) {
                self.mappings
                    .prefetch(&mappings::internal_of(&record.original), record.reply.vpc);
                self.mappings.prefetch_end(&record.reply);
            }
            over.push((slot, hashes));
        }
        for &(slot, hashes) in &over {
            self.remove_hashed(slot, hashes);
        }
        over.len()
    }
}
