//! What large tables ask of the memory and the processor: that a line be there before it is read, large pages, and many bytes
//! compared at once.

use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use zerocopy::FromZeros;

/// The size of a large page, and the smallest array that asks for one.
pub(crate) const LARGE: usize = 2 << 20;

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

/// As [`prefetch`], for an element of an array, whether it is there or not: the place is not checked.
#[inline(always)]
pub fn prefetch_at<T>(array: &[T], index: usize) {
    prefetch_within(array, index, 0);
}

/// As [`prefetch_at`], for the line that has the byte which is so many bytes behind the first of the element.
#[inline(always)]
pub fn prefetch_within<T>(array: &[T], index: usize, offset: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above; and the address is computed without a claim that anything is there.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let element = array.as_ptr().wrapping_add(index);
        _mm_prefetch::<_MM_HINT_T0>(element.cast::<i8>().wrapping_add(offset));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (array, index, offset);
}

/// A bit for each of sixteen bytes that is equal to one; the lowest bit and byte first.
#[inline(always)]
pub fn equal_bytes(bytes: &[u8; 16], byte: u8) -> u32 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of this architecture has SSE2, which is all that these ask for; sixteen bytes are read of sixteen, from
    // wherever they begin.
    unsafe {
        use std::arch::x86_64::{
            _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8,
        };
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        let equal = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8));
        _mm_movemask_epi8(equal) as u32
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let equal = bytes.iter().map(|other| *other == byte);
        (0..)
            .zip(equal)
            .fold(0, |bits, (bit, equal)| bits | u32::from(equal) << bit)
    }
}

/// Asks the kernel for large pages for all that an array has room for, where that is much: a table that is read at random
/// costs a look into the page tables for each page of 4 KiB that the processor has to look up anew. Does something where
/// `transparent_hugepage` is `madvise`; best before the room is first touched. Where it is refused, only the speed differs.
pub fn advise_large_pages<T>(array: &mut Vec<T>) {
    advise_large(
        array.as_mut_ptr() as usize,
        array.capacity() * size_of::<T>(),
    );
}

/// As [`advise_large_pages`], of so many bytes of memory that the caller has for himself.
fn advise_large(start: usize, bytes: usize) {
    let first = start.next_multiple_of(LARGE);
    let end = (start + bytes) / LARGE * LARGE;
    #[cfg(target_os = "linux")]
    if first < end {
        // SAFETY: whole pages within memory that the caller owns; advice changes nothing that they hold.
        unsafe { libc::madvise(first as *mut _, end - first, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (first, end);
}

/// An array of zeros that takes no memory until it is written to, and then large pages, where the kernel has any (see
/// [`advise_large_pages`]). `Vec` has either: zeroed memory of more than ordinary alignment is written when it is made, in small pages.
pub struct LargeArray<T> {
    first: NonNull<T>,
    length: usize,
}

impl<T: FromZeros> LargeArray<T> {
    /// An array of so many zeros. Where there is no room for it in the address space, the process ends, as it does for a `Vec`.
    pub fn zeroed(length: usize) -> Self {
        const { assert!(align_of::<T>() <= 4096, "mapped memory begins at a page") };
        let Ok(layout) = Layout::array::<T>(length) else {
            handle_alloc_error(Layout::new::<T>());
        };
        // SAFETY: new memory of the system's choice, of nobody else. Nothing can be mapped of no bytes.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                layout.size().max(1),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        let first = match NonNull::new(mapped.cast()) {
            Some(first) if mapped != libc::MAP_FAILED => first,
            _ => handle_alloc_error(layout),
        };
        advise_large(mapped as usize, layout.size());
        LargeArray { first, length }
    }

    /// Takes all of its memory now, so that no later write has to wait until the kernel has cleared a page. Only for what is still zero.
    pub fn touch(&mut self) {
        let each = (4096 / size_of::<T>().max(1)).max(1);
        for value in self.iter_mut().step_by(each) {
            *value = T::new_zeroed();
        }
    }
}

impl<T> Deref for LargeArray<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: so many are mapped, aligned, and values: all zeros is one (`FromZeros`), and whoever has written has written one. They
        // live as long as this, and are borrowed as this is.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for LargeArray<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

impl<T> Drop for LargeArray<T> {
    fn drop(&mut self) {
        let size = self.length * size_of::<T>();
        // SAFETY: each value is dropped once, and what was mapped is unmapped once, with the size that it was mapped with; nobody borrows
        // it any more.
        unsafe {
            std::ptr::drop_in_place::<[T]>(&raw mut **self);
            libc::munmap(self.first.as_ptr().cast(), size.max(1));
        }
    }
}

// SAFETY: it owns its values, as a `Vec` does.
unsafe impl<T: Send> Send for LargeArray<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for LargeArray<T> {}

impl<T: fmt::Debug> fmt::Debug for LargeArray<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_arrays_are_zero_and_keep_what_is_written() {
        for length in [0, 1, 5000, (3 << 20) / 8] {
            let mut array = LargeArray::<u64>::zeroed(length);
            assert_eq!(array.len(), length);
            assert!(array.iter().all(|value| *value == 0));
            for (number, value) in (1..).zip(array.iter_mut()) {
                *value = number;
            }
            assert!(
                (1..)
                    .zip(array.iter())
                    .all(|(number, value)| *value == number)
            );
        }
    }

    #[test]
    fn equal_bytes_are_found_where_they_are() {
        let bytes = [1, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0x80];
        assert_eq!(equal_bytes(&bytes, 1), 0b0000_0001_1000_0001);
        assert_eq!(equal_bytes(&bytes, 0), 0b0111_1110_0000_0000);
        assert_eq!(equal_bytes(&bytes, 0x80), 0b1000_0000_0000_0000);
        assert_eq!(equal_bytes(&bytes, 9), 0);
    }
}
