use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

use crate::eal::{EalInner, in_use};
use crate::mbuf::{HEADROOM, Mbuf};
use crate::{Eal, Error};

/// Pools of at least this many buffers have a cache for each registered thread.
const CACHED_FROM: u32 = 2048;
const CACHE: u32 = 256;

/// A pool of packet buffers. A handle: clones are cheap.
///
/// The pool outlives its handles until all its mbufs are freed: after the last handle is gone, its
/// memory is given back once no mbuf of it lives and no other thread is registered.
#[derive(Debug, Clone)]
pub struct Mempool {
    inner: Arc<MempoolInner>,
}

#[derive(Debug)]
struct MempoolInner {
    pool: NonNull<sys::rte_mempool>,
    name: String,
    buffers: u32,
    data_room: u16,
    eal: Arc<EalInner>,
}

// SAFETY: DPDK's mempools may be used by any threads at the same time.
unsafe impl Send for MempoolInner {}
// SAFETY: as above.
unsafe impl Sync for MempoolInner {}

impl Mempool {
    /// The data room for frames of up to 1518 bytes, tags included, and for an af_packet port over
    /// an interface of MTU 1500.
    pub const DEFAULT_DATA_ROOM: u16 = 2048;

    /// Makes a pool of `buffers` mbufs, each with room for `data_room` bytes after its
    /// [`HEADROOM`]. A buffer costs `data_room + 320` bytes of the EAL's memory with
    /// hugepages; without, DPDK rounds that up to whole pages of 4 KiB.
    ///
    /// Count what holds mbufs at the same time: receive and transmit descriptors of each queue, a
    /// burst and a cache of 256 a worker, and what the program keeps.
    ///
    /// # Errors
    ///
    /// [`Error::Mempool`]; mostly [`EalConfig::memory`](crate::EalConfig::memory) is too small.
    pub fn new(eal: &Eal, name: &str, buffers: u32, data_room: u16) -> Result<Mempool, Error> {
        let failed = |source| Error::Mempool {
            name: name.to_owned(),
            buffers,
            data_room,
            source,
        };
        let Some(room) = data_room.checked_add(HEADROOM) else {
            return Err(failed(std::io::ErrorKind::InvalidInput.into()));
        };
        let cache = if buffers >= CACHED_FROM { CACHE } else { 0 };
        // DPDK's names are at most 25 bytes, and unique for as long as the pool's memory lives.
        let unique = CString::new(format!("pool{}", eal.inner.next_number()));
        let unique = unique.map_err(|error| failed(error.into()))?;
        // SAFETY: the EAL runs; a valid string; -1 is any socket.
        let pool =
            unsafe { sys::rte_pktmbuf_pool_create(unique.as_ptr(), buffers, cache, 0, room, -1) };
        let pool = NonNull::new(pool).ok_or_else(|| failed(crate::error::of_thread()))?;
        let eal = Arc::clone(&eal.inner);
        let name = name.to_owned();
        Ok(Mempool {
            inner: Arc::new(MempoolInner {
                pool,
                name,
                buffers,
                data_room,
                eal,
            }),
        })
    }

    /// The name that the pool was made with.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// How many mbufs the pool has in all.
    pub fn buffers(&self) -> u32 {
        self.inner.buffers
    }

    /// Bytes for a packet in each buffer, without the headroom.
    pub fn data_room(&self) -> u16 {
        self.inner.data_room
    }

    /// How many mbufs are in the pool and in the threads' caches. Walks all caches; exact only
    /// while nobody allocates or frees.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as this handle.
        unsafe { sys::rte_mempool_avail_count(self.as_ptr()) }
    }

    /// How many mbufs are out: held by the program or by a device. As exact as
    /// [`available`](Mempool::available).
    pub fn in_use(&self) -> u32 {
        in_use(self.inner.pool)
    }

    /// An empty mbuf with the full headroom; none when the pool is empty.
    #[inline]
    pub fn alloc(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as this handle.
        let mbuf = unsafe { sys::rewire_mbuf_alloc(self.as_ptr()) };
        // SAFETY: fresh from the pool, with no other owner.
        NonNull::new(mbuf).map(|mbuf| unsafe { Mbuf::from_raw(mbuf) })
    }

    /// Adds `count` empty mbufs to `burst`, all or none of them. False when the pool has not so
    /// many or the burst no such place.
    pub fn alloc_bulk<const N: usize>(&self, burst: &mut ArrayVec<Mbuf, N>, count: usize) -> bool {
        let held = burst.len();
        if count > burst.remaining_capacity() {
            return false;
        }
        // Which DPDK takes for a failure.
        if count == 0 {
            return true;
        }
        // SAFETY: there is place for `count` pointers after the first `held`, which stay within
        // the array. On success (0) they are mbufs without another owner. Mbuf is such a pointer.
        unsafe {
            let spare = burst.as_mut_ptr().add(held).cast::<*mut sys::rte_mbuf>();
            let allocated = sys::rewire_mbuf_alloc_bulk(self.as_ptr(), spare, count as u32) == 0;
            if allocated {
                burst.set_len(held + count);
            }
            allocated
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.inner.pool.as_ptr()
    }
}

impl Drop for MempoolInner {
    fn drop(&mut self) {
        let held = in_use(self.pool);
        if held > 0 {
            tracing::error!(
                pool = self.name,
                mbufs = held,
                "a mempool's mbufs outlive its owners"
            );
        }
        self.eal.retire_pool(self.pool);
    }
}
