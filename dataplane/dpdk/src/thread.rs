use std::marker::PhantomData;
use std::sync::Arc;

use rewire_dpdk_sys as sys;

use crate::eal::EalInner;
use crate::{Eal, Error};

/// This thread is one of DPDK's, until this is dropped, on the same thread.
///
/// It gives the thread a cache in every mempool. A thread without one may use everything in this
/// crate as well: only allocating and freeing mbufs costs it more, by an atomic operation on the
/// pool. The mbufs in a thread's cache (256 at most) are out of the others' reach until the
/// thread's place is taken again.
#[derive(Debug)]
#[must_use = "the registration ends when this is dropped"]
pub struct ThreadRegistration {
    eal: Arc<EalInner>,
    /// Thread-local in DPDK: neither Send nor Sync.
    _local: PhantomData<*const ()>,
}

impl Eal {
    /// Makes the calling thread one of DPDK's. There is place for 127.
    ///
    /// # Errors
    ///
    /// [`Error::ThreadAlreadyRegistered`] and [`Error::RegisterThread`].
    pub fn register_thread(&self) -> Result<ThreadRegistration, Error> {
        if is_registered() {
            return Err(Error::ThreadAlreadyRegistered);
        }
        // SAFETY: the EAL runs, and this thread is not registered.
        if unsafe { sys::rte_thread_register() } != 0 {
            return Err(Error::RegisterThread {
                source: crate::error::of_thread(),
            });
        }
        self.inner.thread_registered();
        Ok(ThreadRegistration {
            eal: Arc::clone(&self.inner),
            _local: PhantomData,
        })
    }
}

impl Drop for ThreadRegistration {
    fn drop(&mut self) {
        // SAFETY: made on this thread, since it cannot leave it.
        unsafe { sys::rte_thread_unregister() };
        self.eal.thread_unregistered();
    }
}

/// Whether the calling thread is one of DPDK's.
pub(crate) fn is_registered() -> bool {
    // SAFETY: reads a thread-local variable.
    unsafe { sys::rewire_lcore_id() != u32::MAX }
}
