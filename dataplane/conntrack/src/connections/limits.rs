//! What keeps a table from being taken by whoever asks most: limits, and room that is made where there is none.

use std::sync::Arc;

use rewire_tables::{Address, VpcIndex};

use super::Connections;
use crate::flow::FlowId;
use crate::recording::ReportReason;
use crate::records::flag;
use crate::time::Instant;
use crate::vpc_counts::VpcCounts;

/// Places that are looked at to find a connection that may make way, at most.
const CANDIDATES: usize = 32;

/// Which place is looked at next to make room: a walk that comes to each once before it comes to any again, in strides of the
/// golden section, so that a run of established connections does not keep it long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hand {
    slot: u32,
    stride: u32,
    slots: u32,
}

impl Hand {
    pub(super) fn new(slots: u32) -> Hand {
        let divisor = |mut a: u32, mut b: u32| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        let golden = ((u64::from(slots) * 0x9e37_79b9) >> 32) as u32;
        // What has no divisor with the number of places comes to all of them.
        let stride = (golden.max(1)..).find(|stride| divisor(*stride, slots.max(1)) == 1);
        Hand {
            slot: 0,
            stride: stride.unwrap_or(1),
            slots,
        }
    }

    fn go_on(&mut self) {
        let next = u64::from(self.slot) + u64::from(self.stride);
        self.slot = (next % u64::from(self.slots.max(1))) as u32;
    }
}

/// Whether there is room for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Free,
    /// There is now: a connection has made way whose time was up.
    Expired,
    /// There is now: a connection has made way that was not established, or was over.
    Evicted,
    /// There is not: none of those that were looked at may make way.
    Full,
}

impl<A: Address> Connections<A> {
    /// Sees to it that a connection can begin. Where all places are taken, one makes way that [may](crate::State::may_make_way):
    /// one that nobody has answered, or that is over. An established connection never does.
    ///
    /// Looks at 32 places at most, far apart, and goes on from there the next time, so that all get their turn before the first
    /// one comes again: a handshake has as long as it takes to fill the table once. Where nine of ten connections are
    /// established, about 3 of 100 calls find none; where all are, none looks.
    pub fn make_room(&mut self, now: Instant) -> Room {
        if !self.records.is_full() {
            return Room::Free;
        }
        let is_any = self
            .counts
            .iter()
            .any(|(state, count)| count > 0 && state.may_make_way());
        // With none that makes way there may still be some whose time is up, which `expire` will come to.
        if !is_any {
            return Room::Full;
        }
        for _ in 0..CANDIDATES {
            self.hand.go_on();
            let slot = self.hand.slot;
            if self.records.id(slot).is_none() {
                continue;
            }
            let record = self.records.used(slot);
            // A card has it: it is not over before that says so.
            if record.has(flag::OFFLOADED) {
                continue;
            }
            let room = match record.state {
                _ if record.expires.is_over(now) => Room::Expired,
                state if state.may_make_way() => Room::Evicted,
                _ => continue,
            };
            if room == Room::Evicted && self.is_recording() {
                self.note_end(slot, ReportReason::Evicted);
            }
            self.remove_slot(slot);
            return room;
        }
        Room::Full
    }

    /// How many connections from an address of a VPC are [counted](Self::count_source).
    pub fn from_source(&self, vpc: VpcIndex, source: A) -> u32 {
        let found = self.sources.find(&(vpc, source));
        found
            .and_then(|id| self.sources.get(id))
            .map_or(0, |count| *count)
    }

    /// Counts a connection with those from its source, until it ends; false where there is no room to remember another source:
    /// a quarter of the capacity is. That connection is not counted then.
    pub fn count_source(&mut self, id: FlowId) -> bool {
        let Some((record, _)) = self.records.get_mut(id.0) else {
            return false;
        };
        if record.has(flag::COUNTED) {
            return true;
        }
        let source = (record.original.vpc, record.original.source);
        let known = self.sources.find(&source);
        let Some(place) = known.or_else(|| self.sources.insert(source, 0)) else {
            return false;
        };
        record.set(flag::COUNTED, true);
        if let Some(count) = self.sources.get_mut(place) {
            *count += 1;
        }
        true
    }

    /// A connection that is about to end is no longer counted with those from its source.
    #[inline(never)]
    pub(super) fn forget_source(&mut self, source: (VpcIndex, A)) {
        if let Some(id) = self.sources.find(&source)
            && let Some(count) = self.sources.get_mut(id)
        {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(id);
            }
        }
    }

    /// How many connections there are of each VPC.
    pub fn vpc_counts(&self) -> &Arc<VpcCounts> {
        &self.vpc_counts
    }

    /// Counts the connections of each VPC there from now on, beside those of the other address family; for a table that has
    /// none yet.
    pub fn count_vpcs_in(&mut self, counts: Arc<VpcCounts>) {
        debug_assert!(self.is_empty());
        self.vpc_counts = counts;
    }
}

#[cfg(test)]
mod tests {
    use super::Hand;

    #[test]
    fn the_hand_comes_to_every_place_once_in_a_round() {
        for slots in [1, 2, 3, 4, 64, 100, 4096, 6765] {
            let mut hand = Hand::new(slots);
            let mut seen = vec![false; slots as usize];
            for _ in 0..slots {
                hand.go_on();
                assert!(
                    !std::mem::replace(&mut seen[hand.slot as usize], true),
                    "{slots}"
                );
            }
        }
    }
}
