//! Connections in the order in which they lie in memory, for who goes over all of them a few at a time.

use std::ops::Range;
use std::time::Duration;

use rewire_tables::Address;

use super::Connections;
use crate::flow::{Flow, FlowId};
use crate::mappings::Mappings;
use crate::records::Record;
use crate::time::Instant;

impl<A: Address> Connections<A> {
    pub(crate) fn mappings_mut(&mut self) -> &mut Mappings<A> {
        &mut self.mappings
    }

    pub(crate) fn mappings(&self) -> &Mappings<A> {
        &self.mappings
    }

    /// How many places for connections were ever used: every connection lies in one of the first so many. Never becomes
    /// less.
    pub fn slots(&self) -> u32 {
        self.records.slots()
    }

    /// The first connection in these slots, with its slot; one whose time is up is passed over. Slots beyond
    /// [`slots`](Self::slots) are empty.
    ///
    /// Costs a line of memory a slot, read in order.
    pub fn next_connection(&self, slots: Range<u32>, now: Instant) -> Option<(u32, FlowId)> {
        self.next_where(slots, |record| !record.expires.is_over(now))
    }

    /// As [`next_connection`](Self::next_connection), of those that were not resolved under this generation of the policy.
    pub fn next_unresolved(
        &self,
        slots: Range<u32>,
        generation: u64,
        now: Instant,
    ) -> Option<(u32, FlowId)> {
        self.next_where(slots, |record| {
            record.policy_generation != generation as u32 && !record.expires.is_over(now)
        })
    }

    fn next_where(
        &self,
        mut slots: Range<u32>,
        is_wanted: impl Fn(&Record<A>) -> bool,
    ) -> Option<(u32, FlowId)> {
        slots.end = slots.end.min(self.slots());
        slots.find_map(|slot| {
            let id = self.records.id(slot)?;
            is_wanted(self.records.used(slot)).then_some((slot, FlowId(id)))
        })
    }

    /// How long a connection had no packet that prolonged it.
    pub fn idle(&self, flow: &Flow<A>, now: Instant) -> Duration {
        let timeout = self.timeouts.of(flow.admission.timeouts, flow.state);
        let timeout = timeout.duration();
        timeout.saturating_sub(flow.expires.duration_since(now))
    }
}
