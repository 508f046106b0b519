//! Ports: where frames come from and go to. The graph is the same on all of them.

pub mod carded;
#[cfg(feature = "dpdk")]
pub mod dpdk;
pub mod faulty;
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

/// Opens ports while the gateway runs.
pub trait PortDriver: Send + 'static {
    /// Where workers take buffers from.
    type Pool: BufferPool + 'static;

    /// Opens a port.
    fn open(
        &mut self,
        request: &PortRequest,
    ) -> Result<Box<dyn PortQueue<<Self::Pool as BufferPool>::Buffer>>, OpenError>;

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

    /// Called on each worker's thread before it touches a buffer; what it returns is dropped there at the end.
    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send>;
}
