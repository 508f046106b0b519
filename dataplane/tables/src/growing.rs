//! Arrays that grow into room which they have from the beginning, and memory that another thread takes for them before they come to it.
//!
//! The kernel gives memory when it is first written, and clears it then: a large page takes it from a tenth of a millisecond to, in a virtual
//! machine, five. Whoever writes waits for that, and a worker that waits loses packets. So somebody else asks for the memory, a
//! little ahead of what is used; what is never used is never taken.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::{LARGE, advise_large_pages};

/// An array with room for so many values, which never moves.
#[derive(Debug)]
pub struct GrowingArray<T> {
    values: Vec<T>,
    room: usize,
    ahead: Arc<Ahead>,
}

/// How many values come between two times that an array says how far it is.
const TOLD_EVERY: usize = 256;

impl<T> GrowingArray<T> {
    /// An empty array with room for so many. Takes no memory.
    pub fn with_room(room: usize) -> Self {
        let mut values = Vec::with_capacity(room);
        advise_large_pages(&mut values);
        let ahead = Ahead {
            start: values.as_mut_ptr() as usize,
            bytes: room * size_of::<T>(),
            used: AtomicUsize::new(0),
            taken: Mutex::new(Some(0)),
        };
        GrowingArray {
            values,
            room,
            ahead: Arc::new(ahead),
        }
    }

    /// How many values there is room for.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Adds a value, if there is room.
    ///
    /// # Errors
    ///
    /// The value, where there is none.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.values.len() >= self.room {
            return Err(value);
        }
        self.values.push(value);
        if self.values.len().is_multiple_of(TOLD_EVERY) {
            let used = self.values.len() * size_of::<T>();
            self.ahead.used.store(used, Ordering::Relaxed);
        }
        Ok(())
    }

    /// By which another thread takes memory ahead of what is used.
    pub fn ahead(&self) -> Arc<Ahead> {
        Arc::clone(&self.ahead)
    }
}

impl<T> Deref for GrowingArray<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.values
    }
}

impl<T> DerefMut for GrowingArray<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

impl<T> Drop for GrowingArray<T> {
    fn drop(&mut self) {
        // Whoever takes memory for it right now has done so when this returns: the memory is given back only then.
        *self.ahead.taken() = None;
    }
}

/// The memory of an array ahead of what is used of it.
#[derive(Debug)]
pub struct Ahead {
    start: usize,
    bytes: usize,
    /// The bytes that hold values, as far as it was told.
    used: AtomicUsize,
    /// The bytes that were asked for; none where the array is gone, or the kernel does not give memory in this way.
    taken: Mutex<Option<usize>>,
}

impl Ahead {
    fn taken(&self) -> std::sync::MutexGuard<'_, Option<usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next piece of memory, a large page at most, unless there are so many bytes beyond those that are used. Whether there may be
    /// more to take. Waits for the kernel, not for the array's owner.
    pub fn take(&self, beyond: usize) -> bool {
        let mut taken = self.taken();
        let Some(before) = *taken else {
            return false;
        };
        let used = self.used.load(Ordering::Relaxed);
        let wanted = self.bytes.min(used.saturating_add(beyond));
        // What is used is there already.
        let from = before.max(used);
        if from >= wanted {
            return false;
        }
        // To the end of a large page of the address space, as that is what the kernel gives at once.
        let end = (self.start + from + 1).next_multiple_of(LARGE) - self.start;
        let end = end.min(self.bytes);
        *taken = populate(self.start + from, self.start + end).then_some(end);
        taken.is_some() && end < wanted
    }
}

/// Has the kernel give the memory of whole pages between two addresses. Whether it can.
fn populate(from: usize, to: usize) -> bool {
    const PAGE: usize = 4096;
    let (first, end) = (from.next_multiple_of(PAGE), to / PAGE * PAGE);
    #[cfg(target_os = "linux")]
    if first < end {
        // SAFETY: whole pages within the room of an array that is there as long as the caller holds its lock; what they hold is not changed,
        // whoever writes to them meanwhile.
        return unsafe {
            libc::madvise(first as *mut _, end - first, libc::MADV_POPULATE_WRITE) == 0
        };
    }
    cfg!(target_os = "linux") && first >= end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of an array's room that the kernel has given.
    fn resident(array: &GrowingArray<u64>) -> usize {
        let first = (array.as_ptr() as usize).next_multiple_of(4096);
        let end = (array.as_ptr() as usize + array.room() * 8) / 4096 * 4096;
        let mut pages = vec![0_u8; (end - first) / 4096];
        // SAFETY: whole pages that are mapped, and a byte for each.
        let asked = unsafe { libc::mincore(first as *mut _, end - first, pages.as_mut_ptr()) };
        assert_eq!(asked, 0);
        pages.iter().filter(|page| **page & 1 == 1).count() * 4096
    }

    const MEGABYTE: usize = 1 << 20;

    #[test]
    fn memory_is_there_before_it_is_used_and_no_more_than_is_asked_for() {
        let room = 64 * MEGABYTE / 8;
        let mut array = GrowingArray::with_room(room);
        let ahead = array.ahead();
        assert!(resident(&array) <= 4096);
        while ahead.take(4 * MEGABYTE) {}
        let taken = resident(&array);
        assert!(
            (4 * MEGABYTE - 8192..=6 * MEGABYTE).contains(&taken),
            "{taken}"
        );
        assert!(!ahead.take(4 * MEGABYTE));

        for value in 0..3 * MEGABYTE as u64 / 8 {
            array.push(value).expect("there is room");
        }
        while ahead.take(4 * MEGABYTE) {}
        let more = resident(&array);
        assert!(
            (7 * MEGABYTE - 8192..=9 * MEGABYTE).contains(&more),
            "{more}"
        );
        // What was written is there still.
        assert!(
            (0..)
                .zip(array.iter())
                .all(|(expected, value)| *value == expected)
        );

        while ahead.take(usize::MAX) {}
        assert!(resident(&array) >= 64 * MEGABYTE - 8192);
    }

    #[test]
    fn nothing_is_taken_for_an_array_that_is_gone() {
        let array = GrowingArray::<u64>::with_room(MEGABYTE);
        let ahead = array.ahead();
        drop(array);
        assert!(!ahead.take(usize::MAX));
        assert_eq!(*ahead.taken(), None);
    }

    #[test]
    fn there_is_an_end_to_the_room() {
        let mut array = GrowingArray::with_room(3);
        for value in 0..3 {
            assert_eq!(array.push(value), Ok(()));
        }
        assert_eq!(array.push(3), Err(3));
        assert_eq!(*array, [0, 1, 2]);
        assert_eq!(array.room(), 3);
        let mut none = GrowingArray::with_room(0);
        assert_eq!(none.push(1), Err(1));
        assert!(!none.ahead().take(usize::MAX));
    }

    #[test]
    fn memory_is_taken_while_values_come() {
        let room = 16 * MEGABYTE / 8;
        let mut array = GrowingArray::with_room(room);
        let ahead = array.ahead();
        let taker = std::thread::spawn(move || {
            // Until the array is gone.
            while ahead.taken().is_some() {
                ahead.take(MEGABYTE);
            }
        });
        for value in 0..room as u64 {
            array.push(value).expect("there is room");
        }
        assert!(
            (0..)
                .zip(array.iter())
                .all(|(expected, value)| *value == expected)
        );
        drop(array);
        taker.join().expect("it ends");
    }
}
