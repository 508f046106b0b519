//! A fixed number of slots for values, reused last-freed first, so that what is in the cache is used again.

/// A slot, and how often it was used before: an id that outlives its value is never taken for another's. (After 2^32
/// uses of one slot it could be; at a million a second that is more than an hour of nothing but that.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id {
    pub(crate) slot: u32,
    reuse: u32,
}

impl Id {
    /// No slot has this number.
    pub(crate) const NOWHERE: Id = Id {
        slot: u32::MAX,
        reuse: 0,
    };
}

#[derive(Debug)]
struct Slot<T> {
    reuse: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    capacity: usize,
}

impl<T> Slab<T> {
    /// Reserves room for `capacity` values. The memory is first touched when it is first used.
    pub(crate) fn new(capacity: usize) -> Self {
        Slab {
            slots: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The memory that is reserved, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>() + self.free.capacity() * size_of::<u32>()
    }

    /// How many slots were ever used.
    pub(crate) fn places(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Stores a value, unless all slots are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Id> {
        if let Some(slot) = self.free.pop() {
            let place = self.slots.get_mut(slot as usize)?;
            place.value = Some(value);
            return Some(Id {
                slot,
                reuse: place.reuse,
            });
        }
        if self.is_full() {
            return None;
        }
        let slot = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot {
            reuse: 0,
            value: Some(value),
        });
        Some(Id { slot, reuse: 0 })
    }

    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let place = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|place| place.reuse == id.reuse)?;
        let value = place.value.take()?;
        place.reuse = place.reuse.wrapping_add(1);
        self.free.push(id.slot);
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        let place = self.slots.get(id.slot as usize)?;
        match place.reuse == id.reuse {
            true => place.value.as_ref(),
            false => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        let place = self.slots.get_mut(id.slot as usize)?;
        match place.reuse == id.reuse {
            true => place.value.as_mut(),
            false => None,
        }
    }

    /// The value in a slot, whichever it is, with its id.
    #[inline]
    pub(crate) fn at(&self, slot: u32) -> Option<(Id, &T)> {
        let place = self.slots.get(slot as usize)?;
        Some((
            Id {
                slot,
                reuse: place.reuse,
            },
            place.value.as_ref()?,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_ids_find_nothing() {
        let mut slab = Slab::new(2);
        let room = (slab.slots.capacity(), slab.free.capacity());
        let [a, b] = ['a', 'b'].map(|value| slab.insert(value).unwrap());
        assert!(slab.is_full());
        assert_eq!(slab.insert('c'), None);
        assert_eq!(slab.remove(a), Some('a'));
        assert_eq!(slab.remove(a), None);
        let c = slab.insert('c').unwrap();
        assert_eq!(c.slot, a.slot);
        assert_eq!(
            (slab.get(a), slab.get(b), slab.get(c)),
            (None, Some(&'b'), Some(&'c'))
        );
        assert_eq!(slab.get_mut(a), None);
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.remove(b), Some('b'));
        assert_eq!(
            (slab.at(b.slot), slab.at(c.slot), slab.at(2)),
            (None, Some((c, &'c')), None)
        );
        assert_eq!(slab.len(), 1);
        assert_eq!(slab.remove(c), Some('c'));
        assert_eq!((slab.slots.capacity(), slab.free.capacity()), room);
    }
}
