//! Watching packets of a running gateway: those that a filter lets through are marked as they come in, walk through all nodes,
//! and what the nodes decide is copied into rings that whoever watches reads.
//!
//! A worker never waits for a watcher: what finds no room in the rings is counted as missed. Without a watch a worker looks once
//! a burst whether there is one.

pub mod bpf;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use crate::buffer::PacketBuffer;
use crate::clock::Instant;
use crate::drop_reason::DropReason;
use crate::gateway::{GatewayError, Request};
use crate::graph::{Node, Received};
use crate::walk::{Fact, Mark, Onward, Step};

use self::bpf::Program;

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which frames, as they come in from their ports; none for all.
    pub filter: Option<Program>,
    /// What of their walks.
    pub at: At,
    /// So many packets at most, of each worker. Not more than 65535 divided by the number of workers have marks of their own at a time.
    pub packets: u64,
    /// So many bytes of each frame at most.
    pub snap: usize,
    /// Room for so many steps that nobody has read, of each worker.
    pub steps: usize,
    /// Room for so many bytes of frames that nobody has read, of each worker.
    pub bytes: usize,
}

/// Where walks are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// Every step.
    Walk,
    /// Frames as a port received them or sends them, by the name of its interface.
    Port(Arc<str>),
    /// Packets as they leave a node.
    Node(Node),
    /// Packets that are dropped, for this reason, or for any.
    Drops(Option<DropReason>),
}

impl At {
    /// Whether a step is watched.
    fn sees(&self, step: &Step) -> bool {
        match (self, &step.fact) {
            (At::Walk, _) => true,
            (At::Port(port), Fact::Received { interface, .. }) => **port == **interface,
            (At::Port(port), Fact::Next(Onward::Transmit(interface))) => **port == **interface,
            (At::Node(node), Fact::Next(_)) => *node == step.node,
            (At::Drops(wanted), Fact::Next(Onward::Drop { reason, .. })) => {
                wanted.is_none_or(|wanted| wanted == *reason)
            }
            _ => false,
        }
    }
}

/// A step that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// By which worker.
    pub worker: u16,
    /// When, on the gateway's clock.
    pub time: Instant,
    /// The step.
    pub step: Step,
    /// The length of the frame behind the node, in bytes.
    pub length: usize,
    /// The frame, as much as was wanted of it.
    pub bytes: Vec<u8>,
}

/// A step in the ring; its bytes are in the other one.
#[derive(Debug)]
struct Record {
    time: Instant,
    step: Step,
    length: u32,
    copied: u32,
}

/// A worker's side of a watch.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Which watch it is.
    id: u64,
    wanted: Wanted,
    left: u64,
    first_mark: u16,
    marks: u16,
    next_mark: u16,
    records: rtrb::Producer<Record>,
    bytes: rtrb::Producer<u8>,
    missed: Arc<AtomicU64>,
}

impl Watch {
    /// Which watch it is.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Marks the frames that are watched, of those that no worker has seen.
    pub(crate) fn mark<B: PacketBuffer>(&mut self, received: &mut [Received<B>]) {
        if self.left == 0 {
            return;
        }
        for frame in received.iter_mut().filter(|frame| frame.hops == 0) {
            let is_watched = match &self.wanted.filter {
                Some(filter) => filter.run(frame.buffer.bytes()) != 0,
                None => true,
            };
            if !is_watched {
                continue;
            }
            frame.mark = NonZeroU16::new(self.first_mark + self.next_mark).map(Mark);
            self.next_mark = (self.next_mark + 1) % self.marks;
            self.left -= 1;
            if self.left == 0 {
                return;
            }
        }
    }

    /// Takes a step down. Neither waits nor allocates: where there is no room, it is missed.
    pub(crate) fn see(&mut self, step: Step, frame: &[u8], time: Instant) {
        if !self.wanted.at.sees(&step) {
            return;
        }
        // The bytes say something where a visit begins and where it ends.
        let is_frame = matches!(step.fact, Fact::Received { .. } | Fact::Next(_));
        let copied = match is_frame {
            true => &frame[..frame.len().min(self.wanted.snap)],
            false => &[],
        };
        if self.records.slots() == 0 || self.bytes.slots() < copied.len() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (_, left) = self.bytes.push_partial_slice(copied);
        debug_assert!(left.is_empty(), "there is room");
        let record = Record {
            time,
            step,
            length: frame.len() as u32,
            copied: copied.len() as u32,
        };
        // There is room, and nobody else writes.
        let _ = self.records.push(record);
    }
}

/// Whoever watches; when it is dropped, the watch is over.
#[derive(Debug)]
pub struct Watching {
    id: u64,
    workers: Vec<(rtrb::Consumer<Record>, rtrb::Consumer<u8>)>,
    missed: Arc<AtomicU64>,
    requests: Sender<Request>,
}

/// Numbers watches, so that the end of one never ends another.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Watching {
    /// Begins a watch on so many workers. It takes the place of the one before, if there is one.
    pub(crate) fn begin(
        requests: Sender<Request>,
        workers: u16,
        wanted: &Wanted,
    ) -> Result<Watching, GatewayError> {
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let missed = Arc::new(AtomicU64::new(0));
        let marks = (u16::MAX / workers.max(1)).max(1);
        let mut readers = Vec::new();
        let mut watches = Vec::new();
        for worker in 0..workers {
            let (records, read_records) = rtrb::RingBuffer::new(wanted.steps.max(1));
            let (bytes, read_bytes) = rtrb::RingBuffer::new(wanted.bytes.max(wanted.snap).max(1));
            readers.push((read_records, read_bytes));
            watches.push(Watch {
                id,
                wanted: wanted.clone(),
                left: wanted.packets,
                first_mark: 1 + worker * marks,
                marks,
                next_mark: 0,
                records,
                bytes,
                missed: Arc::clone(&missed),
            });
        }
        let stopping = |_| GatewayError::Stopping;
        requests.send(Request::Watch(watches)).map_err(stopping)?;
        Ok(Watching {
            id,
            workers: readers,
            missed,
            requests,
        })
    }

    /// The next step that was seen, if there is one: in order within one worker.
    pub fn next_seen(&mut self) -> Option<Seen> {
        for (worker, (records, bytes)) in self.workers.iter_mut().enumerate() {
            let Ok(record) = records.pop() else { continue };
            let copied = bytes.read_chunk(record.copied as usize).ok()?;
            return Some(Seen {
                worker: worker as u16,
                time: record.time,
                step: record.step,
                length: record.length as usize,
                bytes: copied.into_iter().collect(),
            });
        }
        None
    }

    /// How many steps found no room.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Whether another watch has taken its place, or the gateway has ended.
    pub fn is_over(&self) -> bool {
        self.workers
            .iter()
            .any(|(records, _)| records.is_abandoned())
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // Where the gateway stops, nobody watches any more.
        let _ = self.requests.send(Request::Unwatch(self.id));
    }
}
