//! Watching packets of a running gateway: those that a filter lets through are marked as they come in, walk through all nodes,
//! and what the nodes decide is copied into rings that whoever watches reads.
//!
//! A worker never waits for a watcher: what finds no room in the rings is counted as missed. Without a watch a worker looks once
//! a burst whether there is one. Up to [`MOST_WATCHES`] are told of the same packets without knowing of each other.
//!
//! What is dropped outside of the nodes has come to its port's queue, to a ring, or waits: it is no longer as it came, or has no
//! mark any more. Who watches drops is told of it, too.

pub mod bpf;
mod places;
mod watches;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use rewire_tables::InterfaceIndex;

use crate::buffer::PacketBuffer;
use crate::clock::Instant;
use crate::drop_reason::DropReason;
use crate::gateway::{GatewayError, Request};
use crate::graph::{Node, Origin, Received};
use crate::walk::{Fact, Mark, Onward, Step, Told};

use self::bpf::Program;
pub use self::places::MOST_WATCHES;
pub(crate) use self::places::Places;
use self::places::WantedBy;
pub(crate) use self::watches::Watches;

/// What is to be watched.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Who wants it, for those who find no place beside it.
    pub name: Arc<str>,
    /// Which frames, as they come in from their ports; none for all. What is dropped outside of the nodes also is asked about as it
    /// is by then.
    pub filter: Option<Program>,
    /// What of their walks.
    pub at: At,
    /// So many packets at most, of each worker. Not more than 65535 divided by the number of workers have marks of their own at a
    /// time, over all watches.
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

/// A frame that was dropped outside of the nodes.
#[derive(Clone, Copy, Debug)]
pub struct Lost<'a> {
    /// Its mark, if it has one and that is known.
    pub mark: Option<Mark>,
    /// The node that had it last, or would have had it next.
    pub node: Node,
    /// Why.
    pub reason: DropReason,
    /// The port that it came in by, or was about to leave by.
    pub port: Option<AtPort>,
    /// The frame, as it is by then.
    pub frame: &'a [u8],
}

impl<'a> Lost<'a> {
    /// A frame that was in the gateway, at a node, when it was dropped.
    pub(crate) fn of<B: PacketBuffer>(
        frame: &'a Received<B>,
        node: Node,
        reason: DropReason,
    ) -> Lost<'a> {
        let port = match frame.origin {
            Origin::Received(interface) => Some(AtPort {
                interface,
                leaves: false,
            }),
            Origin::Own(_) | Origin::OwnOnLink(_) => None,
        };
        Lost {
            mark: frame.mark,
            node,
            reason,
            port,
            frame: frame.buffer.bytes(),
        }
    }
}

/// A port that a frame came in by, or was about to leave by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtPort {
    /// Its interface.
    pub interface: InterfaceIndex,
    /// Whether it was about to leave.
    pub leaves: bool,
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
    /// Where the frame was dropped outside of the nodes: its port.
    pub port: Option<AtPort>,
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
    port: Option<AtPort>,
    length: u32,
    copied: u32,
}

/// A worker's side of a watch.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Which watch it is.
    id: u64,
    /// Its place among those that there are.
    place: u8,
    wanted: Wanted,
    wanted_by: WantedBy,
    left: u64,
    records: rtrb::Producer<Record>,
    bytes: rtrb::Producer<u8>,
    missed: Arc<AtomicU64>,
}

impl Watch {
    /// Whether it wants a frame that has come in.
    fn takes(&mut self, frame: &[u8]) -> bool {
        let takes = self.left > 0 && self.lets_pass(frame);
        self.left -= u64::from(takes);
        takes
    }

    fn lets_pass(&self, frame: &[u8]) -> bool {
        match &self.wanted.filter {
            Some(filter) => filter.run(frame) != 0,
            None => true,
        }
    }

    /// Takes a step down. Neither waits nor allocates: where there is no room, it is missed.
    fn see(&mut self, step: &Step, port: Option<AtPort>, frame: &[u8], time: Instant) {
        if !self.wanted.at.sees(step) {
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
            step: step.clone(),
            port,
            length: frame.len() as u32,
            copied: copied.len() as u32,
        };
        // There is room, and nobody else writes.
        let _ = self.records.push(record);
    }

    /// A frame was dropped outside of the nodes.
    fn lose(&mut self, lost: &Lost<'_>, is_marked: bool, time: Instant) {
        // Walks are of marked packets alone.
        let is_wanted = is_marked
            || matches!(self.wanted.at, At::Drops(_))
                && self.left > 0
                && self.lets_pass(lost.frame);
        if !is_wanted {
            return;
        }
        let step = Step {
            packet: lost.mark.unwrap_or(Mark::FIRST),
            node: lost.node,
            is_own: false,
            fact: Fact::Next(Onward::Drop {
                reason: lost.reason,
                told: Told::Nothing,
            }),
        };
        self.see(&step, lost.port, lost.frame, time);
    }
}

/// Whoever watches; when it is dropped, the watch is over.
#[derive(Debug)]
pub struct Watching {
    id: u64,
    place: u8,
    places: Arc<Places>,
    workers: Vec<(rtrb::Consumer<Record>, rtrb::Consumer<u8>)>,
    missed: Arc<AtomicU64>,
    requests: Sender<Request>,
}

/// Numbers watches, so that the end of one never ends another.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Watching {
    /// Begins a watch on so many workers.
    pub(crate) fn begin(
        requests: Sender<Request>,
        workers: u16,
        places: &Arc<Places>,
        wanted: &Wanted,
    ) -> Result<Watching, GatewayError> {
        let place = places.take(&wanted.name);
        let place = place.map_err(|names| GatewayError::TooManyWatches { names })?;
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let missed = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        let mut watches = Vec::new();
        for _ in 0..workers {
            let (records, read_records) = rtrb::RingBuffer::new(wanted.steps.max(1));
            let (bytes, read_bytes) = rtrb::RingBuffer::new(wanted.bytes.max(wanted.snap).max(1));
            readers.push((read_records, read_bytes));
            watches.push(Watch {
                id,
                place,
                wanted: wanted.clone(),
                wanted_by: places.wanted(),
                left: wanted.packets,
                records,
                bytes,
                missed: Arc::clone(&missed),
            });
        }
        // Whatever becomes of it, its place is given back.
        let watching = Watching {
            id,
            place,
            places: Arc::clone(places),
            workers: readers,
            missed,
            requests,
        };
        let sent = watching.requests.send(Request::Watch(watches));
        sent.map_err(|_| GatewayError::Stopping)?;
        Ok(watching)
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
                port: record.port,
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

    /// Whether the gateway has ended.
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
        // Behind the request: who has the place next is heard of later.
        self.places.give_back(self.place);
    }
}
