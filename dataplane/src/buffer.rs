//! What the graph needs of a packet buffer, and the buffer that virtual ports use.

use std::cell::RefCell;

/// The largest frame that buffers are made for, in bytes: an MTU of 9000 with an Ethernet header and two tags.
pub const LARGEST_FRAME: usize = 9022;

/// A buffer that holds one frame, with room before it for encapsulation. It has one owner, and dropping it frees it.
pub trait PacketBuffer: Send + 'static {
    /// The frame, from its first byte.
    fn bytes(&self) -> &[u8];
    /// The frame, to be changed in place.
    fn bytes_mut(&mut self) -> &mut [u8];
    /// Cuts the frame behind `length` bytes; does nothing where it is not longer.
    fn truncate(&mut self, length: usize);
    /// Makes the frame `length` bytes long; the bytes that are new are zero. False, and no change, where there is no
    /// room.
    fn resize(&mut self, length: usize) -> bool;
}

/// Where a worker takes buffers from for packets of the gateway's own.
pub trait BufferPool: Send {
    /// The buffers.
    type Buffer: PacketBuffer;
    /// An empty buffer, if there is one left.
    fn allocate(&mut self) -> Option<Self::Buffer>;
}

/// What memory for a frame is taken for, in bytes: most frames fit.
const USUAL_FRAME: usize = 2048;
/// Buffers of frames that are gone that each thread keeps, at most.
const MOST_SPARE: usize = 256;

thread_local! {
    /// The memory of frames that are gone, for those that come: to a memory allocator these are large, and each would cost as much as
    /// many a node.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer in ordinary memory. Each thread keeps the memory of some that are dropped there, for those that are made there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBuffer(Vec<u8>);

impl MemoryBuffer {
    /// A buffer that holds `frame`.
    pub fn new(frame: Vec<u8>) -> Self {
        MemoryBuffer(frame)
    }
    /// An empty buffer, in memory that was another's where there is some.
    pub fn spare() -> Self {
        let spare = SPARE.try_with(|spare| spare.try_borrow_mut().ok()?.pop());
        let spare = spare.ok().flatten();
        MemoryBuffer(spare.unwrap_or_else(|| Vec::with_capacity(USUAL_FRAME)))
    }
    /// The frame.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for MemoryBuffer {
    fn drop(&mut self) {
        if self.0.capacity() < USUAL_FRAME {
            return;
        }
        let mut bytes = std::mem::take(&mut self.0);
        // Where the thread is ending, the memory is given back.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < MOST_SPARE
            {
                bytes.clear();
                spare.push(bytes);
            }
        });
    }
}

impl PacketBuffer for MemoryBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
    fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }
    fn resize(&mut self, length: usize) -> bool {
        let fits = length <= LARGEST_FRAME;
        if fits {
            self.0.resize(length, 0);
        }
        fits
    }
}

/// A pool without end, from ordinary memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryPool;

impl BufferPool for MemoryPool {
    type Buffer = MemoryBuffer;
    fn allocate(&mut self) -> Option<MemoryBuffer> {
        Some(MemoryBuffer::spare())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_nothing_of_what_was_in_it() {
        let mut first = MemoryBuffer::spare();
        assert!(first.resize(1500));
        first.bytes_mut().fill(7);
        let place = first.bytes().as_ptr();
        drop(first);
        let mut again = MemoryBuffer::spare();
        assert!(again.bytes().is_empty());
        assert!(again.resize(60));
        assert_eq!(again.bytes(), [0; 60]);
        assert_eq!(again.bytes().as_ptr(), place);
        // What was taken out is somebody else's.
        let taken = again.into_bytes();
        let other = MemoryBuffer::spare();
        assert_ne!(other.bytes().as_ptr(), taken.as_ptr());
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let all: Vec<MemoryBuffer> = (0..2 * MOST_SPARE).map(|_| MemoryBuffer::spare()).collect();
        drop(all);
        assert_eq!(SPARE.with(|spare| spare.borrow().len()), MOST_SPARE);
        drop(MemoryBuffer::new(vec![1]));
        assert_eq!(SPARE.with(|spare| spare.borrow().len()), MOST_SPARE);
    }
}
