//! Virtual ports in memory: frames that the caller puts in, and frames that it takes out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use rewire_conntrack::offload::Card;
use rewire_tables::InterfaceIndex;

use super::{OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::offload::{ModelledCard, Taken};

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

    /// Puts a frame onto the link, from the gateway, if there is room.
    fn put(&self, frame: Vec<u8>) {
        self.wire(|wire| {
            if wire.from_gateway.len() < QUEUE_FRAMES {
                wire.from_gateway.push_back(frame);
            }
        });
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

/// A virtual port with a card in front of it: what a rule takes goes out by another port, and never comes in.
struct CardedPort {
    index: InterfaceIndex,
    port: MemoryPort,
    card: ModelledCard,
    opened: Opened,
}

impl PortQueue<MemoryBuffer> for CardedPort {
    fn receive(&mut self, frames: &mut Vec<MemoryBuffer>, limit: usize) {
        let now = self.card.now();
        let first = frames.len();
        PortQueue::receive(&mut self.port, frames, limit);
        for buffer in frames.split_off(first) {
            match self.card.receive(self.index, buffer.into_bytes(), now) {
                Taken::Punted(frame) => frames.push(MemoryBuffer::new(frame)),
                Taken::Forwarded(egress, frame) => {
                    let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(port) = opened.get(&egress) {
                        // What the link has no room for is lost, as everywhere.
                        port.put(frame);
                    }
                }
            }
        }
    }

    fn transmit(&mut self, frames: &mut Vec<MemoryBuffer>) {
        self.port.transmit(frames);
    }
}

/// The ports of interfaces that are open.
type Opened = Arc<Mutex<HashMap<InterfaceIndex, MemoryPort>>>;

/// Opens a virtual port for every interface, whatever port its configuration names.
#[derive(Clone, Default)]
pub struct MemoryDriver {
    ports: Arc<Mutex<HashMap<String, MemoryPort>>>,
    /// A card in front of the ports, and those that it forwards to.
    card: Option<ModelledCard>,
    opened: Opened,
}

impl MemoryDriver {
    /// With a modelled card in front of the ports. It costs each frame a lock: it shows what a card does, not how fast.
    pub fn with_card(card: ModelledCard) -> Self {
        MemoryDriver {
            card: Some(card),
            ..MemoryDriver::default()
        }
    }

    /// The far end of an interface's port; made when it is not there, so that a caller may ask before the interface is
    /// configured.
    pub fn port(&self, interface: &str) -> MemoryPort {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.entry(interface.to_owned()).or_default().clone()
    }
}

impl PortDriver for MemoryDriver {
    type Pool = MemoryPool;

    fn open(
        &mut self,
        request: &PortRequest,
    ) -> Result<Box<dyn PortQueue<MemoryBuffer>>, OpenError> {
        let port = self.port(&request.interface);
        let Some(card) = self.card.clone() else {
            return Ok(Box::new(port));
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.insert(request.index, port.clone());
        Ok(Box::new(CardedPort {
            index: request.index,
            port,
            card,
            opened: Arc::clone(&self.opened),
        }))
    }

    fn card(&mut self) -> Option<Box<dyn Card>> {
        Some(Box::new(self.card.clone()?))
    }

    fn pool(&self) -> MemoryPool {
        MemoryPool
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send> {
        Box::new(|| Box::new(()))
    }
}
