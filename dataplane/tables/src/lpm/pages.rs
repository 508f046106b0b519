//! Large arrays in large pages: a table of a million routes is read at random, and each page of 4 KiB that the processor
//! has to look up anew costs as much as a cache miss.

use crate::memory::advise_large_pages;

/// Makes room for `capacity` elements in all. A large array moves into new memory, for which the kernel is asked for large
/// pages before it is touched (see [`advise_large_pages`]). Cost: a copy of the array.
pub(super) fn grow<T: Clone>(array: &mut Vec<T>, capacity: usize) {
    /// The smallest array that asks.
    const LARGE: usize = 2 << 20;
    if capacity * size_of::<T>() < LARGE {
        array.reserve_exact(capacity.saturating_sub(array.len()));
        return;
    }
    let mut larger = Vec::with_capacity(capacity);
    advise_large_pages(&mut larger);
    larger.extend_from_slice(array);
    *array = larger;
}
