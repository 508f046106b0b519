//! Virtual ports in memory: frames that the caller puts in, and frames that it takes out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::{OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{MemoryBuffer, MemoryPool};

/// Frames that a port holds in one direction, at most; what comes on top is refused, as a card's ring would.
pub const QUEUE_FRAMES: usize = 4096;

#[derive(Debug, Default)]
struct Wire {
    to_gateway: VecDeque<Vec<u8>>,
    from_gateway: VecDeque<Vec<u8>>,
}

/// The far end of a virtual port: what a host on that link would send and see.
#[derive(Clone, Debug, Default)]
pub struct MemoryPort(Arc<Mutex<Wire>>);

impl MemoryPort {
    fn wire<T>(&self, work: impl FnOnce(&mut Wire) -> T) -> T {
        // A holder that panicked left whole frames behind: the queues are good whatever happened.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a frame onto the link, towards the gateway. False where the queue is full.
    pub fn send(&self, frame: Vec<u8>) -> bool {
        self.wire(|wire| {
            let room = wire.to_gateway.len() < QUEUE_FRAMES;
            if room {
                wire.to_gateway.push_back(frame);
            }
            room
        })
    }

    /// Takes the next frame that the gateway sent.
    pub fn receive(&self) -> Option<Vec<u8>> {
        self.wire(|wire| wire.from_gateway.pop_front())
    }
}

impl PortQueue<MemoryBuffer> for MemoryPort {
    fn receive(&mut self, frames: &mut Vec<MemoryBuffer>, limit: usize) {
        self.wire(|wire| {
            let number = wire.to_gateway.len().min(limit);
            frames.extend(wire.to_gateway.drain(..number).map(MemoryBuffer::new));
        });
    }

    fn transmit(&mut self, frames: &mut Vec<MemoryBuffer>) {
        self.wire(|wire| {
            let number = frames
                .len()
                .min(QUEUE_FRAMES - wire.from_gateway.len().min(QUEUE_FRAMES));
            wire.from_gateway
                .extend(frames.drain(..number).map(MemoryBuffer::into_bytes));
        });
    }
}

/// Opens a virtual port for every interface, whatever port its configuration names.
#[derive(Clone, Debug, Default)]
pub struct MemoryDriver(Arc<Mutex<HashMap<String, MemoryPort>>>);

impl MemoryDriver {
    /// The far end of an interface's port; made when it is not there, so that a caller may ask before the interface is
    /// configured.
    pub fn port(&self, interface: &str) -> MemoryPort {
        let mut ports = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ports.entry(interface.to_owned()).or_default().clone()
    }
}

impl PortDriver for MemoryDriver {
    type Pool = MemoryPool;

    fn open(
        &mut self,
        request: &PortRequest,
    ) -> Result<Box<dyn PortQueue<MemoryBuffer>>, OpenError> {
        Ok(Box::new(self.port(&request.interface)))
    }

    fn pool(&self) -> MemoryPool {
        MemoryPool
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send> {
        Box::new(|| Box::new(()))
    }
}
