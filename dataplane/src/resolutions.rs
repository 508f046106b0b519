//! What became of connections when a revision changed the policy: counted by each worker, summed by whoever asks.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use crate::counters::Counter;

/// Connections that were there when a revision changed the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Still allowed: they go on as they are.
    pub kept: u64,
    /// Not allowed any more: they have ended.
    pub ended: u64,
    /// Those of them that were offloaded: their rules leave the card.
    pub ended_in_card: u64,
    /// Not looked at yet, at most so many. No packet of theirs passes before that.
    pub left: u64,
}

impl AddAssign for Resolved {
    fn add_assign(&mut self, other: Resolved) {
        self.kept += other.kept;
        self.ended += other.ended;
        self.ended_in_card += other.ended_in_card;
        self.left += other.left;
    }
}

/// What one worker counts for the last revision that has changed the policy. Each connection is counted once, whether a packet
/// or the sweep came to it first, and however often what was learned has changed the policy since.
#[derive(Debug, Default)]
pub(crate) struct Resolutions {
    /// 0 while the others change.
    revision: AtomicU64,
    /// The generation that it became: only connections that are older count.
    since: Counter,
    kept: Counter,
    ended: Counter,
    ended_in_card: Counter,
    left: Counter,
}

impl Resolutions {
    /// The revision that is counted for.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Begins to count for another revision. Only the worker calls this, and what follows.
    pub(crate) fn begin(&self, revision: u64, generation: u64) {
        self.revision.store(0, Ordering::Relaxed);
        fence(Ordering::Release);
        self.since.set(generation);
        self.kept.set(0);
        self.ended.set(0);
        self.ended_in_card.set(0);
        self.left.set(u64::MAX);
        self.revision.store(revision, Ordering::Release);
    }

    /// Counts a connection that was resolved before under the generation with these low bits.
    pub(crate) fn count(&self, before: u32, is_kept: bool, is_offloaded: bool) {
        let since = self.since.get() as u32;
        if (since.wrapping_sub(before) as i32) <= 0 {
            return;
        }
        match is_kept {
            true => self.kept.add(1),
            false => {
                self.ended.add(1);
                self.ended_in_card.add(is_offloaded.into());
            }
        }
    }

    /// Says how many connections are left.
    pub(crate) fn set_left(&self, left: u64) {
        self.left.set(left);
    }

    /// What was counted for a revision by a worker with so many connections; none where another has taken its place.
    pub(crate) fn of(&self, revision: u64, connections: u64) -> Option<Resolved> {
        let before = self.revision.load(Ordering::Acquire);
        let left = self.left.get().min(connections);
        let counted = Resolved {
            kept: self.kept.get(),
            ended: self.ended.get(),
            ended_in_card: self.ended_in_card.get(),
            left,
        };
        fence(Ordering::Acquire);
        let after = self.revision.load(Ordering::Relaxed);
        match before {
            _ if before > revision || after > revision => None,
            // The worker has not come to it, or is about to begin.
            _ if before != revision || after != revision => Some(Resolved {
                left: connections,
                ..Resolved::default()
            }),
            _ => Some(counted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_counts_once_for_the_last_revision() {
        let resolutions = Resolutions::default();
        let left = |left| Resolved {
            left,
            ..Resolved::default()
        };
        assert_eq!(resolutions.of(3, 7), Some(left(7)), "it has not begun");
        assert_eq!(resolutions.of(3, 0), Some(left(0)), "nothing to look at");
        resolutions.begin(3, 10);
        assert_eq!(resolutions.of(3, 7), Some(left(7)));
        resolutions.count(9, true, false);
        resolutions.count(2, false, true);
        // It was resolved since: what was learned has changed the policy again.
        resolutions.count(10, true, true);
        resolutions.count(12, false, true);
        resolutions.set_left(1);
        let expected = Resolved {
            kept: 1,
            ended: 1,
            ended_in_card: 1,
            left: 1,
        };
        assert_eq!(resolutions.of(3, 7), Some(expected));
        assert_eq!(resolutions.of(2, 7), None, "another has taken its place");
        resolutions.begin(4, u64::from(u32::MAX) + 3);
        resolutions.count(u32::MAX, true, false);
        assert_eq!(resolutions.of(4, 0).unwrap().kept, 1, "beyond 32 bits");
    }
}
