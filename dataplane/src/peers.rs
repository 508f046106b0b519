//! Rings between workers: packets whose connection is another's, and frames that leave by another's port.
//!
//! Each worker has a bounded ring to each other one. Nobody waits: what finds a ring full is dropped, and counted. What goes from
//! one worker to another keeps its order.

use rewire_tables::InterfaceIndex;

use crate::graph::Received;

/// Frames on their way from one worker to another, at most. So many workers share what memory they take.
fn ring(workers: usize) -> usize {
    (8192 / workers.max(1)).clamp(64, 1024)
}

/// What a worker hands to another.
pub(crate) enum Handed<B> {
    /// A packet to be walked there.
    Packet(Received<B>),
    /// A frame that is ready to leave by a port of the other's.
    Frame(InterfaceIndex, B),
}

/// A worker's rings to and from the others.
pub(crate) struct Peers<B> {
    /// By worker; none to itself.
    to: Vec<Option<rtrb::Producer<Handed<B>>>>,
    from: Vec<rtrb::Consumer<Handed<B>>>,
    /// How much is taken of each ring next: what was there when [`look`](Self::look) looked.
    there: Vec<usize>,
    /// The ring that is emptied first, so that none starves the others.
    first: usize,
}

impl<B> Default for Peers<B> {
    /// Of a worker that is alone.
    fn default() -> Self {
        Peers {
            to: Vec::new(),
            from: Vec::new(),
            there: Vec::new(),
            first: 0,
        }
    }
}

impl<B> Peers<B> {
    /// The rings of all workers, by worker.
    pub(crate) fn of(workers: usize) -> Vec<Peers<B>> {
        let peers = |_| Peers {
            to: (0..workers).map(|_| None).collect(),
            ..Peers::default()
        };
        let mut all: Vec<Peers<B>> = (0..workers).map(peers).collect();
        for from in 0..workers {
            for to in (0..workers).filter(|to| *to != from) {
                let (producer, consumer) = rtrb::RingBuffer::new(ring(workers));
                all[from].to[to] = Some(producer);
                all[to].from.push(consumer);
                all[to].there.push(0);
            }
        }
        all
    }

    /// Whether there are other workers.
    #[inline]
    pub(crate) fn are_there(&self) -> bool {
        !self.from.is_empty()
    }

    /// Gives something to a worker. It comes back where the ring is full.
    pub(crate) fn hand(&mut self, worker: u16, handed: Handed<B>) -> Result<(), Handed<B>> {
        match self.to.get_mut(usize::from(worker)) {
            Some(Some(ring)) => ring.push(handed).map_err(|rtrb::PushError::Full(h)| h),
            _ => Err(handed),
        }
    }

    /// Looks at what is there. Whoever handed it over had been told of its ports before, and so had we.
    pub(crate) fn look(&mut self) -> usize {
        for (there, ring) in self.there.iter_mut().zip(&self.from) {
            *there = ring.slots();
        }
        self.first = (self.first + 1) % self.from.len().max(1);
        self.there.iter().sum()
    }

    /// Takes the next of what was there, of one ring after the other.
    pub(crate) fn take(&mut self) -> Option<Handed<B>> {
        let rings = self.from.len();
        for turn in 0..rings {
            let ring = (self.first + turn) % rings;
            if self.there[ring] > 0 {
                self.there[ring] -= 1;
                if let Ok(handed) = self.from[ring].pop() {
                    return Some(handed);
                }
            }
        }
        None
    }
}
