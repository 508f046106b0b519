use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use arrayvec::ArrayVec;
use rewire_dpdk_sys as sys;

use crate::Mbuf;
use crate::port::PortInner;

/// Where a started port's packets come from. One thread's at a time: it may be sent to another.
/// Keeps the port open.
#[derive(Debug)]
pub struct ReceiveQueue {
    port: Arc<PortInner>,
    queue: u16,
    _not_sync: PhantomData<Cell<()>>,
}

/// Where packets are given to a started port. As [`ReceiveQueue`].
#[derive(Debug)]
pub struct TransmitQueue {
    port: Arc<PortInner>,
    queue: u16,
    _not_sync: PhantomData<Cell<()>>,
}

impl ReceiveQueue {
    pub(crate) fn new(port: &Arc<PortInner>, queue: u16) -> ReceiveQueue {
        ReceiveQueue {
            port: Arc::clone(port),
            queue,
            _not_sync: PhantomData,
        }
    }

    /// The port's number, as in [`Port::id`](crate::Port::id).
    pub fn port_id(&self) -> u16 {
        self.port.id
    }

    /// Fills what is free in `burst` with packets that are there, and returns how many. Never
    /// waits.
    ///
    /// Give it place for 32 or so: a call costs some nanoseconds, whatever it brings.
    #[inline]
    pub fn receive_burst<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        // SAFETY: the port is started while this lives, and the queue is ours alone.
        unsafe { receive(self.port.id, self.queue, burst) }
    }
}

/// # Safety
///
/// A queue of a started port, that nobody else uses meanwhile.
#[inline]
pub(crate) unsafe fn receive<const N: usize>(
    port: u16,
    queue: u16,
    burst: &mut ArrayVec<Mbuf, N>,
) -> usize {
    let held = burst.len();
    let room = u16::try_from(burst.remaining_capacity()).unwrap_or(u16::MAX);
    // SAFETY: there is place for `room` pointers after the first `held`. The driver fills in so
    // many as it returns, of mbufs without another owner. Mbuf is such a pointer.
    unsafe {
        let spare = burst.as_mut_ptr().add(held).cast::<*mut sys::rte_mbuf>();
        let received = usize::from(sys::rewire_rx_burst(port, queue, spare, room));
        burst.set_len(held + received);
        received
    }
}

impl TransmitQueue {
    pub(crate) fn new(port: &Arc<PortInner>, queue: u16) -> TransmitQueue {
        TransmitQueue {
            port: Arc::clone(port),
            queue,
            _not_sync: PhantomData,
        }
    }

    /// The port's number, as in [`Port::id`](crate::Port::id).
    pub fn port_id(&self) -> u16 {
        self.port.id
    }

    /// Gives the device as many packets from the front of `burst` as it takes, removes those, and
    /// returns how many. The rest stays, in order, for the caller to try again or to drop.
    ///
    /// The device frees what it took. Taken does not mean sent: see
    /// [`PortStatistics::transmit_errors`](crate::PortStatistics::transmit_errors).
    #[inline]
    pub fn transmit_burst<const N: usize>(&mut self, burst: &mut ArrayVec<Mbuf, N>) -> usize {
        let held = burst.len();
        let offered = u16::try_from(held).unwrap_or(u16::MAX);
        // SAFETY: the port is started while this lives, and the queue is ours alone. Mbuf is a
        // pointer to one. The first `taken` belong to the driver after the call, so they are
        // overwritten without being dropped, by the others, which move to the front.
        unsafe {
            let start = burst.as_mut_ptr();
            let mbufs = start.cast::<*mut sys::rte_mbuf>();
            let taken = usize::from(sys::rewire_tx_burst(
                self.port.id,
                self.queue,
                mbufs,
                offered,
            ));
            burst.set_len(0);
            std::ptr::copy(start.add(taken), start, held - taken);
            burst.set_len(held - taken);
            taken
        }
    }
}
