//! What the graph needs of a packet buffer, and the buffer that virtual ports use.

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

/// A buffer in ordinary memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryBuffer(Vec<u8>);

impl MemoryBuffer {
    /// A buffer that holds `frame`.
    pub fn new(frame: Vec<u8>) -> Self {
        MemoryBuffer(frame)
    }
    /// The frame.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
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
        Some(MemoryBuffer(Vec::with_capacity(LARGEST_FRAME)))
    }
}
