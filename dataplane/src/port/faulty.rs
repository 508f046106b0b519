//! Ports with bad links: frames are lost, late, doubled or out of order on their way in, as a seed decides. For tests of what hosts
//! make of a gateway on such links, where the kernel has no netem.
//!
//! A [`FaultyLink`] can be put before anything that receives frames; [`FaultyDriver`] puts one before every port of another
//! driver. The same seed, frames and times give the same faults (law 8).

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rewire_conntrack::offload::Card;
use rewire_tables::InterfaceIndex;

use super::{BoxedQueue, LinkChange, OpenError, PortDriver, PortQueue, PortRequest};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::{Clock, Instant, MonotonicClock};

/// Frames that are on their way on one link, at most; what comes on top is lost.
pub const MOST_UNDERWAY: usize = 4096;

/// What is wrong with a link. Shares are of all frames, from 0 to 1.
///
/// Written `loss=1%,duplicate=0.5%,reorder=2%,delay=5ms,jitter=2ms,seed=7`; what is left out is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// The share of frames that are lost.
    pub loss: f64,
    /// The share of frames that come twice.
    pub duplicate: f64,
    /// The share of frames that come at once, ahead of those that are delayed.
    pub reorder: f64,
    /// How long a frame takes at least.
    pub delay: Duration,
    /// By how much it takes longer, at most. Order is kept.
    pub jitter: Duration,
    /// What decides whom it meets.
    pub seed: u64,
}

/// What cannot be read as [`Faults`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no fault of a link: one is written like loss=1%, duplicate=0.5%, reorder=2%, delay=5ms, jitter=2ms or seed=7"
)]
pub struct NoFault(pub String);

impl FromStr for Faults {
    type Err = NoFault;

    fn from_str(text: &str) -> Result<Self, NoFault> {
        let mut faults = Faults::default();
        for fault in text.split(',') {
            faults.set(fault).ok_or_else(|| NoFault(fault.to_owned()))?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn set(&mut self, fault: &str) -> Option<()> {
        let (name, value) = fault.split_once('=')?;
        let share = || {
            let percent: f64 = value.strip_suffix('%')?.parse().ok()?;
            (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
        };
        let time = || {
            let milliseconds: f64 = value.strip_suffix("ms")?.parse().ok()?;
            Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
        };
        match name {
            "loss" => self.loss = share()?,
            "duplicate" => self.duplicate = share()?,
            "reorder" => self.reorder = share()?,
            "delay" => self.delay = time()?,
            "jitter" => self.jitter = time()?,
            "seed" => self.seed = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }
}

/// One direction of a bad link, with the frames that are underway.
#[derive(Debug)]
pub struct FaultyLink<B> {
    faults: Faults,
    random: SplitMix64,
    /// Frames that come at once.
    prompt: VecDeque<B>,
    /// Frames that come at a moment, in the order of both.
    delayed: VecDeque<(Instant, B)>,
}

impl<B: PacketBuffer> FaultyLink<B> {
    /// An empty one.
    pub fn new(faults: Faults) -> Self {
        FaultyLink {
            faults,
            random: SplitMix64(faults.seed),
            prompt: VecDeque::with_capacity(MOST_UNDERWAY),
            delayed: VecDeque::with_capacity(MOST_UNDERWAY),
        }
    }

    /// Sends a frame. Where it is to come twice, `pool` has the second buffer.
    pub fn send(&mut self, frame: B, now: Instant, pool: &mut impl BufferPool<Buffer = B>) {
        if self.random.happens(self.faults.loss) {
            return;
        }
        if self.random.happens(self.faults.duplicate)
            && let Some(copy) = copied(&frame, pool)
        {
            self.enqueue(copy, now);
        }
        self.enqueue(frame, now);
    }

    fn enqueue(&mut self, frame: B, now: Instant) {
        if self.prompt.len() + self.delayed.len() >= MOST_UNDERWAY {
            return;
        }
        let is_prompt = self.random.happens(self.faults.reorder);
        let late = self.faults.jitter.mul_f64(self.random.share());
        if is_prompt {
            self.prompt.push_back(frame);
            return;
        }
        let comes = now.saturating_add(self.faults.delay + late);
        let before = self.delayed.back().map_or(comes, |(time, _)| *time);
        self.delayed.push_back((comes.max(before), frame));
    }

    /// Adds at most `limit` frames that have arrived by now to `frames`.
    pub fn receive(&mut self, frames: &mut Vec<B>, limit: usize, now: Instant) {
        let number = self.prompt.len().min(limit);
        frames.extend(self.prompt.drain(..number));
        for _ in number..limit {
            match self.delayed.pop_front_if(|(comes, _)| *comes <= now) {
                Some((_, frame)) => frames.push(frame),
                None => break,
            }
        }
    }

    /// Whether no frame is underway.
    pub fn is_empty(&self) -> bool {
        self.prompt.is_empty() && self.delayed.is_empty()
    }
}

fn copied<P: BufferPool>(frame: &P::Buffer, pool: &mut P) -> Option<P::Buffer> {
    let mut copy = pool.allocate()?;
    copy.resize(frame.bytes().len()).then_some(())?;
    copy.bytes_mut().copy_from_slice(frame.bytes());
    Some(copy)
}

/// G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
#[derive(Clone, Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1: 53 bits are what a double holds.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn happens(&mut self, probability: f64) -> bool {
        self.share() < probability
    }
}

/// Another driver's ports, with a bad link before each of their queues: what they receive is lost, late, doubled or out of order.
pub struct FaultyDriver<D> {
    driver: D,
    faults: Faults,
    clock: Arc<dyn Clock>,
    opened: u64,
}

impl<D> FaultyDriver<D> {
    /// The ports of `driver`, each with these faults, by a seed of its own, on the system's clock.
    pub fn new(driver: D, faults: Faults) -> Self {
        FaultyDriver {
            driver,
            faults,
            clock: Arc::new(MonotonicClock::default()),
            opened: 0,
        }
    }
}

impl<D: PortDriver> FaultyDriver<D> {
    fn behind_a_link(&mut self, port: BoxedQueue<D>) -> BoxedQueue<D> {
        self.opened += 1;
        let faults = Faults {
            seed: self.faults.seed.wrapping_add(self.opened << 32),
            ..self.faults
        };
        Box::new(FaultyPort {
            port,
            link: FaultyLink::new(faults),
            pool: self.driver.pool(),
            arrived: Vec::with_capacity(64),
            clock: Arc::clone(&self.clock),
        })
    }
}

impl<D: PortDriver> PortDriver for FaultyDriver<D> {
    type Pool = D::Pool;

    fn open(&mut self, request: &PortRequest) -> Result<BoxedQueue<D>, OpenError> {
        let port = self.driver.open(request)?;
        Ok(self.behind_a_link(port))
    }

    fn open_queues(
        &mut self,
        request: &PortRequest,
        most: u16,
    ) -> Result<Vec<BoxedQueue<D>>, OpenError> {
        let queues = self.driver.open_queues(request, most)?;
        Ok(queues
            .into_iter()
            .map(|queue| self.behind_a_link(queue))
            .collect())
    }

    fn pool(&self) -> D::Pool {
        self.driver.pool()
    }

    /// The driver's own. What it forwards by itself meets no faults.
    fn card(&mut self) -> Option<Box<dyn Card>> {
        self.driver.card()
    }

    fn link_changes(&mut self, changed: &mut dyn FnMut(InterfaceIndex, LinkChange)) {
        self.driver.link_changes(changed);
    }

    fn link_up(&self, interface: InterfaceIndex) -> Option<bool> {
        self.driver.link_up(interface)
    }

    fn no_offload(&self, interface: InterfaceIndex) -> Option<String> {
        self.driver.no_offload(interface)
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send> {
        self.driver.attach_thread()
    }
}

/// A port with a bad link before it.
struct FaultyPort<P: BufferPool> {
    port: Box<dyn PortQueue<P::Buffer>>,
    link: FaultyLink<P::Buffer>,
    pool: P,
    arrived: Vec<P::Buffer>,
    clock: Arc<dyn Clock>,
}

impl<P: BufferPool> PortQueue<P::Buffer> for FaultyPort<P> {
    fn receive(&mut self, frames: &mut Vec<P::Buffer>, limit: usize) {
        let now = self.clock.now();
        self.port.receive(&mut self.arrived, limit);
        for frame in self.arrived.drain(..) {
            self.link.send(frame, now, &mut self.pool);
        }
        self.link.receive(frames, limit, now);
    }

    fn transmit(&mut self, frames: &mut Vec<P::Buffer>) {
        self.port.transmit(frames);
    }
}

#[cfg(test)]
mod tests;
