//! Recording what a running gateway receives and sends: frames are copied into rings that whoever records reads. They take the way
//! that they would take anyway.
//!
//! A worker never waits for a recorder: what finds no room in the rings is counted as missed. Without a recorder a worker looks
//! twice a burst whether there is one.

mod changes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender};

use rewire_feed::LearnedCopy;
use rewire_tables::InterfaceIndex;

use crate::buffer::PacketBuffer;
use crate::clock::Instant;
use crate::gateway::{GatewayError, Request};
use crate::graph::{Origin, Received};
use crate::watch::bpf::Program;

pub(crate) use changes::ChangeLog;
use changes::Changes;
pub use changes::{Beginning, Changed, RecordedChange};

/// What is to be recorded.
#[derive(Clone, Debug)]
pub struct WantedFrames {
    /// Which of the frames that come in; none for all.
    pub filter: Option<Program>,
    /// Of those, one of so many, by each worker; 1 for all. What leaves is recorded only where all that comes in is.
    pub one_of: u64,
    /// So many bytes of each frame at most.
    pub snap: usize,
    /// Room for so many frames that nobody has read, of each worker.
    pub frames: usize,
    /// Room for so many bytes of frames that nobody has read, of each worker.
    pub bytes: usize,
}

/// A frame that was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedFrame {
    /// When its burst was taken, on the gateway's clock.
    pub time: Instant,
    /// The generation that its burst was walked under.
    pub generation: u64,
    /// The interface that it came in by, or leaves by.
    pub interface: InterfaceIndex,
    /// Whether it leaves. A port whose queue is full may drop it still.
    pub leaves: bool,
    /// Its length, in bytes.
    pub length: usize,
    /// Its first bytes, as many as were wanted.
    pub bytes: Vec<u8>,
}

/// A frame in the ring; its bytes are in the other one.
#[derive(Debug)]
struct Head {
    time: Instant,
    generation: u64,
    interface: InterfaceIndex,
    leaves: bool,
    length: u32,
    copied: u32,
}

/// A worker's side of a recording.
#[derive(Debug)]
pub(crate) struct Tap {
    id: u64,
    wanted: WantedFrames,
    passed: u64,
    from: Instant,
    /// Whether the burst that is walked is recorded.
    is_on: bool,
    time: Instant,
    generation: u64,
    heads: rtrb::Producer<Head>,
    bytes: rtrb::Producer<u8>,
    missed: Arc<AtomicU64>,
}

impl Tap {
    /// Which recording it is of.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Bursts of before this moment are not recorded.
    pub(crate) fn begin_at(&mut self, from: Instant) {
        self.from = from;
    }

    /// A burst has come in, and is about to be walked.
    pub(crate) fn received<B: PacketBuffer>(
        &mut self,
        received: &[Received<B>],
        time: Instant,
        generation: u64,
    ) {
        (self.time, self.generation) = (time, generation);
        self.is_on = time >= self.from;
        if !self.is_on {
            return;
        }
        for frame in received.iter().filter(|frame| frame.hops == 0) {
            let Origin::Received(interface) = frame.origin else {
                continue;
            };
            let bytes = frame.buffer.bytes();
            let is_wanted = match &self.wanted.filter {
                Some(filter) => filter.run(bytes) != 0,
                None => true,
            };
            if !is_wanted {
                continue;
            }
            self.passed += 1;
            if (self.passed - 1).is_multiple_of(self.wanted.one_of.max(1)) {
                self.copy(interface, bytes, false);
            }
        }
    }

    /// A frame is about to leave.
    pub(crate) fn leaves(&mut self, interface: InterfaceIndex, frame: &[u8]) {
        if self.is_on && self.wanted.filter.is_none() && self.wanted.one_of <= 1 {
            self.copy(interface, frame, true);
        }
    }

    /// Neither waits nor allocates: where there is no room, it is missed.
    fn copy(&mut self, interface: InterfaceIndex, frame: &[u8], leaves: bool) {
        let copied = &frame[..frame.len().min(self.wanted.snap)];
        if self.heads.slots() == 0 || self.bytes.slots() < copied.len() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (_, left) = self.bytes.push_partial_slice(copied);
        debug_assert!(left.is_empty(), "there is room");
        // There is room, and nobody else writes.
        let _ = self.heads.push(Head {
            time: self.time,
            generation: self.generation,
            interface,
            leaves,
            length: frame.len() as u32,
            copied: copied.len() as u32,
        });
    }
}

/// What a recording is to the manager.
#[derive(Debug)]
pub(crate) struct Taps {
    /// One for each worker.
    pub(crate) workers: Vec<Tap>,
    pub(crate) log: ChangeLog,
    /// Who waits to hear how it was in the beginning: it has room for one.
    pub(crate) begun: SyncSender<Begun>,
}

/// How it was when a recording began, as the manager leaves it.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) time: Instant,
    pub(crate) from: Instant,
    pub(crate) revision: u64,
    pub(crate) routes: LearnedCopy,
}

/// Whoever records; when it is dropped, the recording is over.
#[derive(Debug)]
pub struct Recorder {
    id: u64,
    workers: Vec<(rtrb::Consumer<Head>, rtrb::Consumer<u8>)>,
    changes: Changes,
    missed: Arc<AtomicU64>,
    requests: Sender<Request>,
}

/// Numbers recordings, so that the end of one never ends another.
static LAST: AtomicU64 = AtomicU64::new(0);

impl Recorder {
    /// Begins a recording on so many workers, and tells how it was then. It takes the place of the one before, if there is one.
    pub(crate) fn begin(
        requests: Sender<Request>,
        workers: u16,
        wanted: &WantedFrames,
    ) -> Result<(Recorder, Beginning), GatewayError> {
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let missed = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        let mut taps = Vec::new();
        for _ in 0..workers {
            let (heads, read_heads) = rtrb::RingBuffer::new(wanted.frames.max(1));
            let (bytes, read_bytes) = rtrb::RingBuffer::new(wanted.bytes.max(wanted.snap).max(1));
            readers.push((read_heads, read_bytes));
            taps.push(Tap {
                id,
                wanted: wanted.clone(),
                passed: 0,
                from: Instant(0),
                is_on: false,
                time: Instant(0),
                generation: 0,
                heads,
                bytes,
                missed: Arc::clone(&missed),
            });
        }
        let (log, changes) = changes::log(id);
        let (begun, answer) = mpsc::sync_channel(1);
        let taps = Taps {
            workers: taps,
            log,
            begun,
        };
        let sent = requests.send(Request::Tap(Box::new(taps)));
        sent.map_err(|_| GatewayError::Stopping)?;
        let recorder = Recorder {
            id,
            workers: readers,
            changes,
            missed,
            requests,
        };
        let Begun {
            time,
            from,
            revision,
            routes,
        } = answer.recv().map_err(|_| GatewayError::Stopping)?;
        let beginning = Beginning {
            time,
            from,
            revision,
            // Here, and not at the manager: a commit waits for that one.
            routes: routes.told(),
        };
        Ok((recorder, beginning))
    }

    /// The next change, if there is one, in order.
    pub fn next_change(&self) -> Option<RecordedChange> {
        self.changes.next()
    }

    /// All changes up to this generation can be read by now. A frame of a later one may have to wait for its change.
    pub fn changes_until(&self) -> u64 {
        self.changes.reached()
    }

    /// How many updates of learned routes found no room.
    pub fn missed_routes(&self) -> u64 {
        self.changes.missed()
    }

    /// The next frame, if there is one: in order within one worker.
    pub fn next_frame(&mut self) -> Option<RecordedFrame> {
        // Of several workers, the earliest frame that is there: none is much ahead of the others.
        let heads = self.workers.iter().enumerate();
        let times =
            heads.filter_map(|(worker, (heads, _))| Some((heads.peek().ok()?.time, worker)));
        let (_, worker) = times.min()?;
        let (heads, bytes) = &mut self.workers[worker];
        let head = heads.pop().ok()?;
        let copied = bytes.read_chunk(head.copied as usize).ok()?;
        Some(RecordedFrame {
            time: head.time,
            generation: head.generation,
            interface: head.interface,
            leaves: head.leaves,
            length: head.length as usize,
            bytes: copied.into_iter().collect(),
        })
    }

    /// How many frames found no room.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Whether another recording has taken its place, or the gateway has ended.
    pub fn is_over(&self) -> bool {
        let mut workers = self.workers.iter();
        workers.any(|(heads, _)| heads.is_abandoned())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Where the gateway stops, nobody records any more.
        let _ = self.requests.send(Request::Untap(self.id));
    }
}
