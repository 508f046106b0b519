//! What the engine knows of each place.

use super::rule::RuleId;
use crate::time::Instant;

/// A place, and the rule in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) phase: Phase,
    pub(super) serial: u32,
    /// When the last request was handed to the card.
    pub(super) handed: Instant,
    /// The packets that were reported.
    pub(super) reported: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Free,
    Installing,
    Installed,
    Removing,
}

/// The places of all queues. Room for all is reserved, and no more of it is written to than was ever in use: workers take the
/// lowest ones first.
#[derive(Debug)]
pub(super) struct Places {
    by_queue: Vec<Vec<Place>>,
    per_queue: usize,
    /// Places that were ever in use.
    used: usize,
    /// Where [`next`](Self::next) goes on.
    cursor: (usize, usize),
}

impl Places {
    pub(super) fn new(queues: usize, per_queue: usize) -> Self {
        Places {
            by_queue: (0..queues).map(|_| Vec::with_capacity(per_queue)).collect(),
            per_queue: per_queue.max(1),
            used: 0,
            cursor: (0, 0),
        }
    }

    /// The queue that a place is of.
    pub(super) fn queue_of(&self, id: RuleId) -> usize {
        id.place as usize / self.per_queue
    }

    /// The place that a rule has, or had.
    pub(super) fn get(&mut self, id: RuleId) -> Option<&mut Place> {
        let number = id.place as usize;
        let queue = self.by_queue.get_mut(number / self.per_queue)?;
        queue.get_mut(number % self.per_queue)
    }

    /// Gives a rule its place.
    pub(super) fn set(&mut self, id: RuleId, place: Place) {
        let (number, per_queue) = (id.place as usize, self.per_queue);
        let Some(queue) = self.by_queue.get_mut(number / per_queue) else {
            return;
        };
        let number = number % per_queue;
        if queue.len() <= number {
            self.used += number + 1 - queue.len();
            queue.resize(number + 1, Place::default());
        }
        queue[number] = place;
    }

    /// How many were ever in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Those that were ever in use, one after the other, and round again, with the numbers of their queues. None where
    /// there is none.
    pub(super) fn next(&mut self) -> Option<(usize, u32, &mut Place)> {
        if self.used == 0 {
            return None;
        }
        let (mut queue, mut number) = self.cursor;
        while number >= self.by_queue[queue].len() {
            (queue, number) = ((queue + 1) % self.by_queue.len(), 0);
        }
        self.cursor = (queue, number + 1);
        let position = (queue * self.per_queue + number) as u32;
        Some((queue, position, &mut self.by_queue[queue][number]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_place_is_its_own_and_comes_round(
            set in prop::collection::vec((0..30_u32, 1..100_u32), 0..40),
        ) {
            let mut places = Places::new(3, 10);
            let mut oracle = BTreeMap::new();
            for (place, serial) in set {
                let id = RuleId { place, serial };
                places.set(id, Place { serial, ..Place::default() });
                oracle.insert(place, serial);
            }
            for (place, serial) in &oracle {
                let id = RuleId { place: *place, serial: *serial };
                prop_assert_eq!(places.get(id).map(|place| place.serial), Some(*serial));
                prop_assert_eq!(places.queue_of(id), *place as usize / 10);
            }
            let mut round = BTreeMap::new();
            for _ in 0..places.used() {
                let (queue, position, place) = places.next().unwrap();
                prop_assert_eq!(queue, position as usize / 10);
                prop_assert!(round.insert(position, place.serial).is_none(), "each once");
            }
            round.retain(|_, serial| *serial > 0);
            prop_assert_eq!(round, oracle);
        }
    }

    #[test]
    fn there_is_no_place_that_was_not_made() {
        let mut places = Places::new(1, 4);
        let id = RuleId {
            place: 9,
            serial: 1,
        };
        places.set(id, Place::default());
        assert!(places.get(id).is_none());
        assert!(places.next().is_none());
    }
}
