//! Ports: where frames come from and go to. The graph is the same on all of them.

pub mod carded;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod faulty;
#[cfg(feature = "dpdk")]
mod kernel_links;
pub mod memory;

use rewire_conntrack::offload::Card;
use rewire_schema::port::Port;
use rewire_tables::InterfaceIndex;

use crate::buffer::BufferPool;

/// One worker's end of a port: it receives and transmits whole bursts, and never waits.
pub trait PortQueue<B>: Send {
    /// Adds at most `limit` received frames to `frames`.
    fn receive(&mut self, frames: &mut Vec<B>, limit: usize);
    /// Takes frames from the front of `frames`, as many as the port has room for. What stays was not sent.
    fn transmit(&mut self, frames: &mut Vec<B>);
}

/// What a port is opened for.
#[derive(Clone, Debug)]
pub struct PortRequest {
    /// The interface.
    pub index: InterfaceIndex,
    /// The interface's name.
    pub interface: String,
    /// The port, as the configuration says it.
    pub port: Port,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
}

impl PortRequest {
    /// That it could not be opened, and why.
    pub fn refused(&self, reason: String) -> OpenError {
        OpenError {
            interface: self.interface.clone(),
            port: self.port.to_string(),
            reason,
        }
    }
}

/// Why a port could not be opened: in words, for `rewire status` and the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("interface {interface}: port {port} cannot be opened: {reason}")]
pub struct OpenError {
    /// The interface's name.
    pub interface: String,
    /// The port, as the configuration says it.
    pub port: String,
    /// What went wrong.
    pub reason: String,
}

/// What has become of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkChange {
    /// Whether it is up now.
    pub is_up: bool,
    /// How often it has gone up or down since it was told of last; 0 where it is told of for the first time.
    pub changes: u64,
}

/// A queue of a driver's port.
pub type BoxedQueue<D> = Box<dyn PortQueue<<<D as PortDriver>::Pool as BufferPool>::Buffer>>;

/// Opens ports while the gateway runs.
pub trait PortDriver: Send + 'static {
    /// Where workers take buffers from.
    type Pool: BufferPool + 'static;

    /// Opens a port with one queue. A driver has this or [`open_queues`](Self::open_queues), each of which is the other one by default.
    fn open(&mut self, request: &PortRequest) -> Result<BoxedQueue<Self>, OpenError> {
        let mut queues = self.open_queues(request, 1)?;
        queues
            .pop()
            .ok_or_else(|| request.refused("the device has no queue".to_owned()))
    }

    /// Opens a port with several queues, each for a worker of its own: at most so many, at least one, as many as the port has. Packets
    /// of one flow come by one of them.
    fn open_queues(
        &mut self,
        request: &PortRequest,
        _: u16,
    ) -> Result<Vec<BoxedQueue<Self>>, OpenError> {
        Ok(vec![self.open(request)?])
    }

    /// A handle to the buffers, for one worker.
    fn pool(&self) -> Self::Pool;

    /// The card behind the ports that are opened from now on, where they have one that flows can be offloaded to. There is one:
    /// none is left for who asks second. It has a port from when that is opened, and is told before it is closed.
    fn card(&mut self) -> Option<Box<dyn Card>> {
        None
    }

    /// Why the card takes no flows of the port of this interface, in words for `rewire status`; none where it does.
    fn no_offload(&self, _interface: InterfaceIndex) -> Option<String> {
        None
    }

    /// Tells what has become of links since this was asked last, where the driver is told of every change. Of a port that it is told of,
    /// [`link_up`](Self::link_up) says the same and is not asked for changes.
    fn link_changes(&mut self, _changed: &mut dyn FnMut(InterfaceIndex, LinkChange)) {}

    /// Whether the link of this interface's port is up; none where the port is not open, or the driver cannot tell. It may make a
    /// system call.
    fn link_up(&self, _interface: InterfaceIndex) -> Option<bool> {
        None
    }

    /// Called on each worker's thread before it touches a buffer; what it returns is dropped there at the end.
    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send>;
}
