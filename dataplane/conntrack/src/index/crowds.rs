//! What buckets cannot count.

use foldhash::fast::FixedState;

use crate::fixed_map::FixedMap;

/// Slots of an index for each count that there is room for. It takes sixteen entries that are away to make one, and mostly twelve at home.
const SLOTS_PER_COUNT: usize = 36;

/// Counts of entries that are away, of which a bucket says the most that it can, by numbers of their own: how many more there are. Whoever opens
/// many connections from one end makes such counts, as often as he wants to; could they not be told exactly, they would never be over.
#[derive(Debug)]
pub(super) struct Crowds(FixedMap<u32, u32>);

impl Crowds {
    /// Of an index with so many slots. The memory is reserved, and not touched before it is needed.
    pub(super) fn new(slots: usize, seed: &FixedState) -> Self {
        Crowds(FixedMap::new(slots / SLOTS_PER_COUNT + 1, seed))
    }

    /// One more than there were. False where there is no room for that count.
    pub(super) fn add(&mut self, count: u32) -> bool {
        let known = self.0.find(&count);
        match known.and_then(|id| self.0.get_mut(id)) {
            Some(more) => {
                *more += 1;
                true
            }
            None => self.0.insert(count, 1).is_some(),
        }
    }

    /// One less. False where there are none but those that the bucket says.
    pub(super) fn take(&mut self, count: u32) -> bool {
        let Some(id) = self.0.find(&count) else {
            return false;
        };
        if let Some(more) = self.0.get_mut(id) {
            *more -= 1;
            if *more == 0 {
                self.0.remove(id);
            }
        }
        true
    }

    /// How many more than a bucket says.
    #[cfg(test)]
    pub(super) fn of(&self, count: u32) -> u32 {
        let id = self.0.find(&count);
        id.and_then(|id| self.0.get(id)).map_or(0, |more| *more)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn memory(&self) -> usize {
        self.0.memory()
    }
}
