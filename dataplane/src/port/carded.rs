//! Another driver's ports with the modelled card in front of them: for tests that want a card between real kernels.
//!
//! What a port receives the card sees first. What a rule of it takes leaves by the wire of another port, and no graph ever sees
//! it. Each wire is written to by a worker that has a queue of its port, the next time that it receives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use rewire_conntrack::offload::Card;
use rewire_tables::InterfaceIndex;

use super::{BoxedQueue, OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::offload::{ModelledCard, Taken};

/// Frames that wait for one port at most: as many as a card's transmit queue has. What is more is lost.
const WIRE: usize = 1024;

/// What the card has forwarded, by the port that it leaves by. Each mutex is held for as long as it takes to move a frame.
#[derive(Debug, Default)]
struct Wires(Mutex<BTreeMap<InterfaceIndex, VecDeque<Vec<u8>>>>);

impl Wires {
    fn put(&self, port: InterfaceIndex, frame: Vec<u8>) {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wire = wires.entry(port).or_default();
        if wire.len() < WIRE {
            wire.push_back(frame);
        }
    }

    fn take(&self, port: InterfaceIndex) -> VecDeque<Vec<u8>> {
        let mut wires = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wires.remove(&port).unwrap_or_default()
    }
}

/// The ports of another driver, behind one modelled card.
pub struct CardedDriver<D> {
    driver: D,
    card: ModelledCard,
    is_taken: bool,
    wires: Arc<Wires>,
}

impl<D> CardedDriver<D> {
    /// The ports of `driver` behind this card, which takes the place of the driver's own.
    pub fn new(driver: D, card: ModelledCard) -> Self {
        CardedDriver {
            driver,
            card,
            is_taken: false,
            wires: Arc::default(),
        }
    }
}

impl<D: PortDriver> PortDriver for CardedDriver<D> {
    type Pool = D::Pool;

    fn open_queues(
        &mut self,
        request: &PortRequest,
        most: u16,
    ) -> Result<Vec<BoxedQueue<Self>>, OpenError> {
        let queues = self.driver.open_queues(request, most)?;
        // What was meant for a port of before.
        self.wires.take(request.index);
        let carded = |port| -> BoxedQueue<Self> {
            Box::new(CardedPort {
                port,
                interface: request.index,
                card: self.card.clone(),
                wires: Arc::clone(&self.wires),
                pool: self.driver.pool(),
                arrived: Vec::with_capacity(64),
                leaving: Vec::with_capacity(64),
            })
        };
        Ok(queues.into_iter().map(carded).collect())
    }

    fn pool(&self) -> D::Pool {
        self.driver.pool()
    }

    fn card(&mut self) -> Option<Box<dyn Card>> {
        let is_first = !std::mem::replace(&mut self.is_taken, true);
        is_first.then(|| Box::new(self.card.clone()) as _)
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send> {
        self.driver.attach_thread()
    }
}

/// A port behind the card.
struct CardedPort<P: BufferPool> {
    port: Box<dyn PortQueue<P::Buffer>>,
    interface: InterfaceIndex,
    card: ModelledCard,
    wires: Arc<Wires>,
    pool: P,
    arrived: Vec<P::Buffer>,
    leaving: Vec<P::Buffer>,
}

impl<P: BufferPool> PortQueue<P::Buffer> for CardedPort<P> {
    fn receive(&mut self, frames: &mut Vec<P::Buffer>, limit: usize) {
        self.port.receive(&mut self.arrived, limit);
        // The card's time is that of the thread that gives it rules.
        let now = self.card.now();
        for frame in self.arrived.drain(..) {
            match self
                .card
                .receive(self.interface, frame.bytes().to_vec(), now)
            {
                Taken::Forwarded(egress, forwarded) => self.wires.put(egress, forwarded),
                Taken::Punted(_) => frames.push(frame),
            }
        }
        for frame in self.wires.take(self.interface) {
            if let Some(mut buffer) = self.pool.allocate()
                && buffer.resize(frame.len())
            {
                buffer.bytes_mut().copy_from_slice(&frame);
                self.leaving.push(buffer);
            }
        }
        self.port.transmit(&mut self.leaving);
    }

    fn transmit(&mut self, frames: &mut Vec<P::Buffer>) {
        // In order: first what waits.
        self.port.transmit(&mut self.leaving);
        self.port.transmit(frames);
    }
}
