//! Virtual ports in memory: frames that the caller puts in, and frames that it takes out.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use rewire_conntrack::offload::Card;
use rewire_tables::InterfaceIndex;

use super::{BoxedQueue, OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{MemoryBuffer, MemoryPool};
use crate::offload::{ModelledCard, Taken};

/// Frames that a queue of a port holds in one direction, at most; what comes on top is refused, as a card's ring would.
pub const QUEUE_FRAMES: usize = 4096;

#[derive(Debug)]
struct Wire {
    /// By queue of the port.
    to_gateway: Vec<VecDeque<Vec<u8>>>,
    from_gateway: VecDeque<Vec<u8>>,
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            to_gateway: vec![VecDeque::new()],
            from_gateway: VecDeque::new(),
        }
    }
}

impl Wire {
    /// Puts a frame into its queue. False where that is full.
    fn receive(&mut self, frame: Vec<u8>) -> bool {
        let queue = flow_hash(&frame) as usize % self.to_gateway.len();
        let queue = &mut self.to_gateway[queue];
        let room = queue.len() < QUEUE_FRAMES;
        if room {
            queue.push_back(frame);
        }
        room
    }

    /// From now on there are so many queues. What is underway goes into them.
    fn set_queues(&mut self, queues: u16) {
        let before = std::mem::take(&mut self.to_gateway);
        self.to_gateway
            .resize_with(queues.max(1).into(), VecDeque::new);
        for frame in before.into_iter().flatten() {
            self.receive(frame);
        }
    }
}

/// What a card would spread frames by: addresses, and ports where all packets of the flow have them. Always the same.
fn flow_hash(frame: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    match (frame.get(12..14), frame.get(20..22)) {
        (Some([0x08, 0x00]), Some([flags, offset])) => {
            let is_fragment = flags & 0x3f != 0 || *offset != 0;
            let end = if is_fragment { 34 } else { 38 };
            frame.get(26..end).hash(&mut hash);
        }
        (Some([0x86, 0xdd]), _) => frame.get(22..54).hash(&mut hash),
        _ => {}
    }
    hash.finish()
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
        self.wire(|wire| wire.receive(frame))
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

/// A worker's queue of a virtual port. Both directions of the link are the port's; frames come by several queues, and leave by one.
struct MemoryQueue {
    port: MemoryPort,
    queue: usize,
}

impl PortQueue<MemoryBuffer> for MemoryQueue {
    fn receive(&mut self, frames: &mut Vec<MemoryBuffer>, limit: usize) {
        self.port.wire(|wire| {
            // None, where the port was opened anew with fewer.
            if let Some(queue) = wire.to_gateway.get_mut(self.queue) {
                let number = queue.len().min(limit);
                frames.extend(queue.drain(..number).map(MemoryBuffer::new));
            }
        });
    }

    fn transmit(&mut self, frames: &mut Vec<MemoryBuffer>) {
        self.port.wire(|wire| {
            let number = frames
                .len()
                .min(QUEUE_FRAMES - wire.from_gateway.len().min(QUEUE_FRAMES));
            wire.from_gateway
                .extend(frames.drain(..number).map(MemoryBuffer::into_bytes));
        });
    }
}

/// A queue of a virtual port with a card in front of it: what a rule takes goes out by another port, and never comes in.
struct CardedQueue {
    index: InterfaceIndex,
    port: MemoryQueue,
    card: ModelledCard,
    opened: Opened,
}

impl PortQueue<MemoryBuffer> for CardedQueue {
    fn receive(&mut self, frames: &mut Vec<MemoryBuffer>, limit: usize) {
        let now = self.card.now();
        let first = frames.len();
        self.port.receive(frames, limit);
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
    has_several_queues: bool,
}

impl MemoryDriver {
    /// With a queue for each worker. Frames are spread over them by their addresses and ports.
    pub fn with_several_queues(self) -> Self {
        MemoryDriver {
            has_several_queues: true,
            ..self
        }
    }

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

    fn open_queues(
        &mut self,
        request: &PortRequest,
        most: u16,
    ) -> Result<Vec<BoxedQueue<Self>>, OpenError> {
        let port = self.port(&request.interface);
        let queues = if self.has_several_queues {
            most.max(1)
        } else {
            1
        };
        port.wire(|wire| wire.set_queues(queues));
        if self.card.is_some() {
            let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            opened.insert(request.index, port.clone());
        }
        let queue = |queue| -> BoxedQueue<Self> {
            let port = MemoryQueue {
                port: port.clone(),
                queue: usize::from(queue),
            };
            match self.card.clone() {
                None => Box::new(port),
                Some(card) => Box::new(CardedQueue {
                    index: request.index,
                    port,
                    card,
                    opened: Arc::clone(&self.opened),
                }),
            }
        };
        Ok((0..queues).map(queue).collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::PacketBuffer;

    /// A datagram of IPv4 from this port, with a byte to tell it by.
    fn datagram(port: u16, mark: u8) -> Vec<u8> {
        let mut frame = vec![0; 43];
        (frame[12], frame[14], frame[42]) = (0x08, 0x45, mark);
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame
    }

    #[test]
    fn a_flow_comes_by_one_queue_in_its_order_and_many_by_all() {
        let mut driver = MemoryDriver::default().with_several_queues();
        let far = driver.port("blue0");
        let send = |mark| (0..64).for_each(|port| assert!(far.send(datagram(port, mark))));
        // Before it is open, and after.
        send(0);
        let request = PortRequest {
            index: InterfaceIndex(0),
            interface: "blue0".to_owned(),
            port: "null:blue".parse().expect("a port"),
            mtu: 1500,
        };
        let mut queues = driver.open_queues(&request, 3).expect("it opens");
        assert_eq!(queues.len(), 3);
        send(1);
        let mut came: HashMap<u16, Vec<(usize, u8)>> = HashMap::new();
        for (number, queue) in queues.iter_mut().enumerate() {
            let mut frames = Vec::new();
            queue.receive(&mut frames, usize::MAX);
            assert!(frames.len() > 20, "{} of 128", frames.len());
            for frame in frames {
                let bytes = frame.bytes();
                let port = u16::from_be_bytes([bytes[34], bytes[35]]);
                came.entry(port).or_default().push((number, bytes[42]));
            }
        }
        assert_eq!(came.len(), 64);
        for flow in came.values() {
            let queue = flow[0].0;
            assert_eq!(flow[..], [(queue, 0), (queue, 1)]);
        }
    }
}
