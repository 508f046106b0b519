//! Connections that were resolved under an older policy, in the order in which they lie in memory.

use std::ops::Range;

use rewire_tables::Address;

use super::Connections;
use crate::flow::FlowId;
use crate::time::Instant;

impl<A: Address> Connections<A> {
    /// How many places for connections were ever used: every connection lies in one of the first so many. Never becomes
    /// less.
    pub fn slots(&self) -> u32 {
        self.records.slots()
    }

    /// The first connection in these slots that was not resolved under this generation of the policy, with its slot; one
    /// whose time is up is passed over. Slots beyond [`slots`](Self::slots) are empty.
    ///
    /// Costs a line of memory a slot, read in order.
    pub fn next_unresolved(
        &self,
        mut slots: Range<u32>,
        generation: u64,
        now: Instant,
    ) -> Option<(u32, FlowId)> {
        slots.end = slots.end.min(self.slots());
        slots.find_map(|slot| {
            let id = self.records.id(slot)?;
            let record = self.records.used(slot);
            let is_due =
                record.policy_generation != generation as u32 && !record.expires.is_over(now);
            is_due.then_some((slot, FlowId(id)))
        })
    }
}
