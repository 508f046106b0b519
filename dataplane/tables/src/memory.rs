//! What large tables ask of the memory: that a line be there before it is read, and large pages.

/// The size of a large page, and the smallest array that asks for one.
const LARGE: usize = 2 << 20;

/// Asks the processor to bring a value's first cache line near, so that a later read does not wait. Changes nothing.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is no access: it cannot fault, and nothing can observe it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Asks the kernel for large pages for all that an array has room for, where that is much: a table that is read at random
/// costs a look into the page tables for each page of 4 KiB that the processor has to look up anew. Does something where
/// `transparent_hugepage` is `madvise`; best before the room is first touched. Where it is refused, only the speed differs.
pub fn advise_large_pages<T>(array: &mut Vec<T>) {
    let bytes = array.capacity() * size_of::<T>();
    let start = array.as_mut_ptr() as usize;
    let first = start.next_multiple_of(LARGE);
    let end = (start + bytes) / LARGE * LARGE;
    #[cfg(target_os = "linux")]
    if first < end {
        // SAFETY: whole pages within memory that this array owns; advice changes nothing that they hold.
        unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (first, end);
}
