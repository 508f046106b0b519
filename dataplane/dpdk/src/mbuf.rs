use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

/// Bytes kept free before the packet in a fresh or received mbuf, for headers to be prepended.
pub const HEADROOM: u16 = sys::RTE_PKTMBUF_HEADROOM as u16;

/// A packet in a buffer of a [`Mempool`](crate::Mempool). It has one owner, and goes back to its
/// pool when that drops it, or when a device has transmitted it.
///
/// Reads and writes of its length and bytes are plain memory accesses. Dropping one costs a call
/// of about 6 ns; [`free_bulk`] halves that.
///
/// All methods see the first segment. A packet has more than one only if it came from a device
/// that chains buffers, as pcap and memif do with frames longer than a buffer:
/// [`is_contiguous`](Mbuf::is_contiguous) tells.
#[repr(transparent)]
pub struct Mbuf {
    raw: NonNull<sys::rte_mbuf>,
}

// SAFETY: the one owner may be on any thread; DPDK's pools take an mbuf back on any. Not Sync,
// because nothing needs it.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// # Safety
    ///
    /// A live mbuf that nobody else owns.
    pub(crate) unsafe fn from_raw(raw: NonNull<sys::rte_mbuf>) -> Mbuf {
        Mbuf { raw }
    }

    fn into_raw(self) -> *mut sys::rte_mbuf {
        ManuallyDrop::new(self).raw.as_ptr()
    }

    #[inline]
    fn header(&self) -> &sys::rte_mbuf {
        // SAFETY: a live mbuf, and we own it.
        unsafe { self.raw.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: a live mbuf, and we own it.
        unsafe { self.raw.as_mut() }
    }

    /// Bytes in this segment.
    #[inline]
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty packet is no special case"
    )]
    pub fn len(&self) -> usize {
        usize::from(self.header().data_len)
    }

    /// Bytes in all segments.
    #[inline]
    pub fn packet_len(&self) -> usize {
        self.header().pkt_len as usize
    }

    /// Whether the packet is all in this segment, so that [`data`](Mbuf::data) is all of it.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        self.header().nb_segs == 1
    }

    /// The number of the port that received it, as in [`Port::id`](crate::Port::id). Meaningless
    /// in an mbuf that was allocated.
    #[inline]
    pub fn ingress_port(&self) -> u16 {
        self.header().port
    }

    /// The packet's bytes.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let header = self.header();
        // SAFETY: `data_off + data_len <= buf_len`, which DPDK keeps and so do the methods here.
        // The pool's memory is initialised by the kernel, and only ours.
        unsafe {
            let start = header
                .buf_addr
                .cast::<u8>()
                .add(usize::from(header.data_off));
            std::slice::from_raw_parts(start, usize::from(header.data_len))
        }
    }

    /// The packet's bytes, to change in place.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let header = self.header_mut();
        // SAFETY: as in `data`, and we are the only owner.
        unsafe {
            let start = header
                .buf_addr
                .cast::<u8>()
                .add(usize::from(header.data_off));
            std::slice::from_raw_parts_mut(start, usize::from(header.data_len))
        }
    }

    /// Free bytes before the packet.
    #[inline]
    pub fn headroom(&self) -> usize {
        usize::from(self.header().data_off)
    }

    /// Free bytes after the packet in this segment.
    #[inline]
    pub fn tailroom(&self) -> usize {
        let header = self.header();
        usize::from(header.buf_len) - usize::from(header.data_off) - usize::from(header.data_len)
    }

    /// Grows the packet by `n` bytes at its start, and returns those. They hold what was there
    /// before, maybe another packet's bytes: overwrite all of them. None, and nothing done,
    /// without the headroom.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.headroom() {
            return None;
        }
        let header = self.header_mut();
        // `n` fits in 16 bits, and the lengths within the buffer's, as checked.
        header.data_off -= n as u16;
        header.data_len += n as u16;
        header.pkt_len += n as u32;
        self.data_mut().get_mut(..n)
    }

    /// Grows the packet by `n` bytes at its end, and returns those. They hold what was there
    /// before: overwrite all of them. None, and nothing done, without the tailroom or in a chain.
    #[inline]
    pub fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() || !self.is_contiguous() {
            return None;
        }
        let end = self.len();
        let header = self.header_mut();
        header.data_len += n as u16;
        header.pkt_len += n as u32;
        self.data_mut().get_mut(end..)
    }

    /// Drops the first `n` bytes. False, and nothing done, if this segment has fewer.
    #[inline]
    #[must_use = "false means that nothing was trimmed"]
    pub fn trim_front(&mut self, n: usize) -> bool {
        let fits = n <= self.len();
        if fits {
            let header = self.header_mut();
            header.data_off += n as u16;
            header.data_len -= n as u16;
            header.pkt_len -= n as u32;
        }
        fits
    }

    /// Drops the last `n` bytes. False, and nothing done, if it has fewer or is a chain.
    #[inline]
    #[must_use = "false means that nothing was trimmed"]
    pub fn trim_back(&mut self, n: usize) -> bool {
        let fits = n <= self.len() && self.is_contiguous();
        if fits {
            let header = self.header_mut();
            header.data_len -= n as u16;
            header.pkt_len -= n as u32;
        }
        fits
    }

    /// Keeps the first `len` bytes. False, and nothing done, if it has fewer or is a chain.
    #[inline]
    #[must_use = "false means that nothing was trimmed"]
    pub fn truncate(&mut self, len: usize) -> bool {
        self.len()
            .checked_sub(len)
            .is_some_and(|excess| self.trim_back(excess))
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: a live mbuf, and we own it, for the last time.
        unsafe { sys::rewire_mbuf_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mbuf")
            .field("len", &self.len())
            .field("packet_len", &self.packet_len())
            .field("headroom", &self.headroom())
            .field("tailroom", &self.tailroom())
            .finish_non_exhaustive()
    }
}

/// Drops mbufs, of any pools, at about half the cost of dropping each:
/// `free_bulk(burst.drain(..))`.
pub fn free_bulk(mbufs: impl IntoIterator<Item = Mbuf>) {
    let mut batch = ArrayVec::<*mut sys::rte_mbuf, 64>::new();
    for mbuf in mbufs {
        batch.push(mbuf.into_raw());
        if batch.is_full() {
            free_batch(&mut batch);
        }
    }
    free_batch(&mut batch);
}

fn free_batch(batch: &mut ArrayVec<*mut sys::rte_mbuf, 64>) {
    // SAFETY: live mbufs that we own, for the last time: the batch is emptied.
    unsafe { sys::rte_pktmbuf_free_bulk(batch.as_mut_ptr(), batch.len() as u32) };
    batch.clear();
}
