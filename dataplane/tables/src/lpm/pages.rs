//! Large arrays in large pages: a table of a million routes is read at random, and each page of 4 KiB that the processor
//! has to look up anew costs as much as a cache miss.

/// The size of a large page, and the smallest array that asks for one.
const LARGE: usize = 2 << 20;

/// Makes room for `capacity` elements in all. A large array moves into new memory, for which the kernel is asked for large
/// pages before it is touched (`transparent_hugepage` set to `madvise` or `always`); where it has none, nothing changes but
/// the speed. Cost: a copy of the array.
pub(super) fn grow<T: Clone>(array: &mut Vec<T>, capacity: usize) {
    let bytes = capacity * size_of::<T>();
    if bytes < LARGE {
        array.reserve_exact(capacity.saturating_sub(array.len()));
        return;
    }
    let mut larger = Vec::with_capacity(capacity);
    let start = larger.as_mut_ptr() as usize;
    let first = start.next_multiple_of(LARGE);
    let end = (start + bytes) / LARGE * LARGE;
    #[cfg(target_os = "linux")]
    if first < end {
        // SAFETY: whole pages within memory that this array owns; advice changes nothing that they hold. That it may be
        // refused is said above.
        unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_HUGEPAGE) };
    }
    larger.extend_from_slice(array);
    *array = larger;
}
