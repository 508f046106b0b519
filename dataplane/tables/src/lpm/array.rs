//! Arrays that know what was written of them, so that one half of the tables becomes equal to the other by copying that.

use std::ops::{Deref, Range};

use super::pages;

/// The bytes that are copied at a time: a cache line, which costs as much to read as a word of it.
const LINE: usize = 64;
/// Copying everything, one line after the other, costs less than copying every eighth line, each from somewhere else.
const MOST_LINES: usize = 8;
/// How many lines ahead of the copy are asked for.
const AHEAD: usize = 16;

/// What was written of an array since [`Array::record`].
#[derive(Clone, Debug, Default)]
enum Written {
    /// All of it, or nobody asked.
    #[default]
    All,
    /// These lines, in the order of the writing; some more than once.
    Lines(Vec<u32>),
}

/// An array that grows, and is read like a slice.
#[derive(Debug)]
pub(super) struct Array<T> {
    items: Vec<T>,
    written: Written,
}

impl<T> Default for Array<T> {
    fn default() -> Self {
        Array {
            items: Vec::new(),
            written: Written::All,
        }
    }
}

impl<T: Clone> Clone for Array<T> {
    fn clone(&self) -> Self {
        Array {
            items: copied(&self.items),
            written: Written::All,
        }
    }
}

/// A copy with as much room: what one half had room for, the other one has, too.
fn copied<T: Clone>(items: &Vec<T>) -> Vec<T> {
    let mut copy = Vec::new();
    pages::grow(&mut copy, items.capacity());
    copy.extend_from_slice(items);
    copy
}

/// What was written when does not matter.
#[cfg(test)]
impl<T: PartialEq> PartialEq for Array<T> {
    fn eq(&self, other: &Self) -> bool {
        self.items == other.items
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T: Copy> Array<T> {
    /// Items of a line.
    const PER_LINE: usize = if size_of::<T>() < LINE {
        LINE / size_of::<T>()
    } else {
        1
    };

    /// As many of one item, in memory that asks for large pages.
    pub(super) fn filled(item: T, count: usize) -> Array<T> {
        let mut items = Vec::new();
        pages::grow(&mut items, count);
        items.resize(count, item);
        Array {
            items,
            written: Written::All,
        }
    }

    /// Items to be written.
    #[inline]
    pub(super) fn write(&mut self, range: Range<usize>) -> &mut [T] {
        self.note(&range);
        &mut self.items[range]
    }

    /// One item to be written.
    #[inline]
    pub(super) fn write_one(&mut self, index: usize) -> &mut T {
        self.note(&(index..index + 1));
        &mut self.items[index]
    }

    /// Copies items to another place.
    pub(super) fn copy_within(&mut self, from: Range<usize>, to: usize) {
        self.note(&(to..to + from.len()));
        self.items.copy_within(from, to);
    }

    /// Makes the array longer. An eighth more room at a time: a table of a million routes need not hold room for a second
    /// million. Cost: where the room is used up, a copy of the array.
    pub(super) fn lengthen(&mut self, length: usize, item: T) {
        if length > self.items.capacity() {
            pages::grow(&mut self.items, length + length / 8);
        }
        self.items.resize(length, item);
    }

    #[inline]
    fn note(&mut self, range: &Range<usize>) {
        let Written::Lines(lines) = &mut self.written else {
            return;
        };
        let first = (range.start / Self::PER_LINE) as u32;
        let end = range.end.div_ceil(Self::PER_LINE) as u32;
        if lines.last() == Some(&first) && end == first + 1 {
            return;
        }
        lines.extend(first..end);
        if lines.len() * Self::PER_LINE * MOST_LINES > self.items.len() + LINE * MOST_LINES {
            self.written = Written::All;
        }
    }

    /// Records what is written from now on.
    pub(super) fn record(&mut self) {
        match &mut self.written {
            Written::All => self.written = Written::Lines(Vec::new()),
            Written::Lines(lines) => lines.clear(),
        }
    }

    /// Becomes equal to `other`, which was equal to this one when it began to [record](Self::record). Cost: what was written; or
    /// everything, where that is most of it.
    pub(super) fn catch_up(&mut self, other: &Array<T>) {
        let Written::Lines(lines) = &other.written else {
            if self.items.capacity() == other.items.capacity() {
                self.items.clear();
                self.items.extend_from_slice(&other.items);
            } else {
                self.items = copied(&other.items);
            }
            return;
        };
        if let Some(last) = other.items.last()
            && self.items.len() < other.items.len()
        {
            // What is new was written, and comes with the lines.
            self.lengthen(other.items.len(), *last);
        }
        for (index, line) in lines.iter().enumerate() {
            if let Some(ahead) = lines.get(index + AHEAD) {
                let at = *ahead as usize * Self::PER_LINE;
                prefetch(&self.items, at);
                prefetch(&other.items, at);
            }
            let start = *line as usize * Self::PER_LINE;
            let end = (start + Self::PER_LINE).min(other.items.len());
            self.items[start..end].copy_from_slice(&other.items[start..end]);
        }
    }

    /// The memory in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let lines = match &self.written {
            Written::All => 0,
            Written::Lines(lines) => lines.capacity(),
        };
        size_of::<T>() * self.items.capacity() + size_of::<u32>() * lines
    }
}

/// Asks for the cache line of an item.
#[inline(always)]
pub(super) fn prefetch<T>(items: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing, whatever the address.
        unsafe { _mm_prefetch(items.as_ptr().wrapping_add(at).cast(), _MM_HINT_T0) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, at);
}
