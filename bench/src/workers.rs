//! Two workers beside one: a gateway on threads whose ports have a queue for each worker (`workers-established`, `workers-new`).
//!
//! Masqueraded connections of [`crate::nat`] come in by the queue that their flow hashes to, as a card would spread them. That is
//! not always the queue of the worker that has the connection: about half of the packets are handed over. Frames are made ahead of time, and
//! copied into buffers, which is in both figures; so many buffers go round that no ring can overflow, and what leaves is
//! swallowed. The figure is the time of all packets by their number: two workers that scale have half of it. When the last one left is noted by
//! the worker that it left by; who waits for that looks rarely, since on two cores he takes the time from a worker.

use std::any::Any;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rewire_compiler::Compiler;
use rewire_dataplane::port::{BoxedQueue, OpenError, PortDriver, PortQueue, PortRequest};
use rewire_dataplane::{Gateway, GatewayConfig};
use rewire_instructions::masqueraded::{Frames, Random, document};
use rewire_instructions::worker::{Frame, NoPool};
use rewire_packet::checksum::Sum;
use rewire_schema::from_document;

use crate::report::{Report, Run};

type Failure = Box<dyn std::error::Error>;

const RUNS: usize = 7;
/// Bytes of a frame.
const FRAME: usize = 60;
/// Buffers for each worker: fewer than a ring between two has room for.
const BUFFERS: usize = 384;
/// How often it is looked whether all packets have left.
const LOOK: Duration = Duration::from_millis(5);
/// A run that takes longer has lost packets.
const PATIENCE: Duration = Duration::from_secs(60);

/// Frames that come by a port, again and again.
pub(crate) struct Traffic {
    /// Those of each queue, one behind the other.
    queues: Vec<Vec<[u8; FRAME]>>,
    /// How often they may have come by now.
    rounds: AtomicUsize,
    /// By worker.
    sides: Vec<Side>,
    made: Instant,
}

/// What belongs to one worker, in lines of memory of its own: else either would wait for the other whenever it took a buffer.
#[repr(align(128))]
struct Side {
    /// Free buffers.
    free: Mutex<Vec<Frame>>,
    /// When frames left last, in ns since the traffic was made.
    left: AtomicU64,
}

impl Traffic {
    /// So many frames that `next` writes, over so many queues.
    pub(crate) fn new(
        queues: usize,
        frames: usize,
        mut next: impl FnMut(&mut [u8; 128]) -> usize,
    ) -> Arc<Traffic> {
        let mut dealt = vec![Vec::with_capacity(frames / queues * 11 / 10); queues];
        let mut buffer = [0; 128];
        for _ in 0..frames {
            next(&mut buffer);
            if let Some(frame) = buffer.first_chunk::<FRAME>() {
                // Addresses and ports.
                let flow = Sum::ZERO.bytes(&frame[26..38]).checksum();
                let hash = u64::from(flow).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                dealt[hash as usize % queues].push(*frame);
            }
        }
        let side = || Side {
            free: Mutex::new((0..BUFFERS).map(|_| Frame::default()).collect()),
            left: AtomicU64::new(0),
        };
        Arc::new(Traffic {
            queues: dealt,
            rounds: AtomicUsize::new(0),
            sides: (0..queues).map(|_| side()).collect(),
            made: Instant::now(),
        })
    }

    fn now(&self) -> u64 {
        self.made.elapsed().as_nanos() as u64
    }

    /// Lets all of it come, without an end.
    pub(crate) fn flow(&self) {
        self.rounds.store(usize::MAX, Ordering::Release);
    }

    /// Takes free buffers over from another worker that has been handed more packets than it has handed over.
    fn even_out(&self, queue: usize) {
        for other in (0..self.sides.len()).filter(|other| *other != queue) {
            let taken = self.free(other, |free| free.split_off(free.len() / 2));
            self.free(queue, |free| free.extend(taken));
        }
    }

    fn free<T>(&self, queue: usize, work: impl FnOnce(&mut Vec<Frame>) -> T) -> T {
        work(
            &mut self.sides[queue]
                .free
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

/// A worker's queue of a port: one makes traffic, and either swallows what leaves.
struct Queue {
    traffic: Arc<Traffic>,
    makes: bool,
    number: usize,
    /// The round, and the next frame in it.
    at: (usize, usize),
}

impl PortQueue<Frame> for Queue {
    fn receive(&mut self, frames: &mut Vec<Frame>, limit: usize) {
        let all = &self.traffic.queues[self.number];
        if !self.makes || self.at.0 >= self.traffic.rounds.load(Ordering::Acquire) {
            return;
        }
        let next = &all[self.at.1..];
        let number = next.len().min(limit);
        if self.traffic.free(self.number, |free| free.len() < number) {
            self.traffic.even_out(self.number);
        }
        self.traffic.free(self.number, |free| {
            let number = number.min(free.len());
            for (mut buffer, frame) in free.drain(free.len() - number..).zip(next) {
                buffer.fill(frame);
                frames.push(buffer);
            }
            self.at.1 += number;
        });
        if self.at.1 == all.len() {
            self.at = (self.at.0 + 1, 0);
        }
    }

    fn transmit(&mut self, frames: &mut Vec<Frame>) {
        self.traffic.free(self.number, |free| free.append(frames));
        let now = self.traffic.now();
        self.traffic.sides[self.number]
            .left
            .store(now, Ordering::Relaxed);
    }
}

/// Opens ports that make traffic, or swallow it.
pub(crate) struct Driver(pub(crate) Arc<Traffic>);

impl PortDriver for Driver {
    type Pool = NoPool;

    fn open_queues(
        &mut self,
        request: &PortRequest,
        _: u16,
    ) -> Result<Vec<BoxedQueue<Self>>, OpenError> {
        let queue = |number| -> BoxedQueue<Self> {
            Box::new(Queue {
                traffic: Arc::clone(&self.0),
                makes: request.interface == "blue0",
                number,
                at: (0, 0),
            })
        };
        Ok((0..self.0.queues.len()).map(queue).collect())
    }

    fn pool(&self) -> NoPool {
        NoPool
    }

    fn attach_thread(&self) -> Box<dyn FnOnce() -> Box<dyn Any> + Send> {
        Box::new(|| Box::new(()))
    }
}

/// The time of a packet in ns, in a gateway with a worker for each queue: of the last so many rounds, behind the first ones.
fn run(traffic: Arc<Traffic>, before: usize, rounds: usize) -> Result<f64, Failure> {
    let workers = traffic.queues.len() as u16;
    let frames: usize = traffic.queues.iter().map(Vec::len).sum();
    let config = GatewayConfig {
        workers,
        connections: 2_000_000,
        ..GatewayConfig::default()
    };
    let gateway = Gateway::start(config, Driver(Arc::clone(&traffic)))?;
    let document = serde_json::from_str(&document())?;
    let configuration = from_document(&document).map_err(|problems| format!("{problems:?}"))?;
    let (_, compiled) = Compiler::compile(configuration, 1)?;
    gateway.apply(1, compiled.into_parts())?;
    let shared = gateway.shared();
    // The time in ns in which so many rounds have come.
    let come = |rounds: usize| -> Result<u64, Failure> {
        let wanted = (rounds * frames) as u64;
        let start = Instant::now();
        let begin = traffic.now();
        traffic.rounds.store(rounds, Ordering::Release);
        while shared.totals().transmitted < wanted {
            if start.elapsed() > PATIENCE {
                return Err(format!("packets are missing: {:?}", shared.totals()).into());
            }
            std::thread::sleep(LOOK);
        }
        let left = traffic
            .sides
            .iter()
            .map(|side| side.left.load(Ordering::Relaxed));
        Ok(left.max().unwrap_or(0) - begin)
    };
    if before > 0 {
        come(before)?;
    }
    let time = come(before + rounds)?;
    gateway.stop();
    let totals = shared.totals();
    if totals.dropped() > 0 {
        return Err(format!("packets were dropped: {totals:?}").into());
    }
    Ok(time as f64 / (rounds * frames) as f64)
}

fn compare(
    frames: usize,
    (before, rounds): (usize, usize),
    mut next: impl FnMut(&mut [u8; 128]) -> usize,
) -> Result<Report, Failure> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let mut with = |queues| run(Traffic::new(queues, frames, &mut next), before, rounds);
        let (two, one) = (with(2)?, with(1)?);
        runs.push(Run {
            ours: two,
            peer: Some(one),
        });
    }
    Ok(Report {
        unit: "ns/packet",
        peer_name: "one-worker",
        runs,
        more: Vec::new(),
    })
}

/// Packets of 10,000 connections that are there.
pub(crate) fn established() -> Result<Report, Failure> {
    const CONNECTIONS: u32 = 10_000;
    println!("data: {CONNECTIONS} connections, frames of 60 bytes in random order of connections");
    let frames = Frames::default();
    let mut random = Random(88_172_645_463_325_252);
    compare(256 * 1024, (1, 16), |frame| {
        frames.write(random.below(CONNECTIONS), frame)
    })
}

/// Packets each of which begins a connection, in an empty table.
pub(crate) fn new() -> Result<Report, Failure> {
    const CONNECTIONS: usize = 1_000_000;
    println!("data: {CONNECTIONS} connections that begin in an empty table, frames of 60 bytes");
    let frames = Frames::default();
    let mut number = 0;
    compare(CONNECTIONS, (0, 1), |frame| {
        number += 1;
        frames.write(number % CONNECTIONS as u32, frame)
    })
}
