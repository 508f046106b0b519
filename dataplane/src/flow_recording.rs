//! Flows of a running gateway, for whoever exports them: what begins, goes on and ends, as workers tell it.
//!
//! A worker writes into bounded rings, one for each address family, and never waits: see [`Recorder`]. Without a recording it looks once
//! a burst whether there is one, and once where a connection begins or ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender, SyncSender};
use std::time::{Duration, SystemTime};

use rewire_conntrack::recording::{Recorder, RecorderControl, TimedEvent};

use crate::clock::{Clock, Instant};
use crate::gateway::{GatewayError, Request};

/// How long a worker may take to give its recorders back.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a worker is to do with recorders.
#[derive(Debug)]
pub(crate) struct RecorderChange {
    /// Which recording it is about.
    id: u64,
    /// One for each family; none, where the recording is over.
    recorders: Option<[Box<Recorder>; 2]>,
    /// Where those go that are not needed any more: whoever gets them frees their memory. Has room.
    back: SyncSender<[Option<Box<Recorder>>; 2]>,
}

impl RecorderChange {
    /// Does it. `current` is the recording that the worker has.
    pub(crate) fn make(
        self,
        current: &mut Option<u64>,
        record: impl FnOnce([Option<Box<Recorder>>; 2]) -> [Option<Box<Recorder>>; 2],
    ) {
        let recorders = match self.recorders {
            Some(recorders) => {
                *current = Some(self.id);
                recorders.map(Some)
            }
            None if *current == Some(self.id) => {
                *current = None;
                [None, None]
            }
            // Another has taken its place.
            None => return,
        };
        // Where nobody waits any more, they are freed here.
        let _ = self.back.try_send(record(recorders));
    }
}

/// Numbers recordings, so that the end of one never ends another.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Who can let flows be recorded, for as long as the gateway runs.
#[derive(Clone)]
pub struct FlowRecorders {
    pub(crate) requests: Sender<Request>,
    pub(crate) workers: u16,
    pub(crate) connections: usize,
    pub(crate) clock: Arc<dyn Clock>,
}

impl FlowRecorders {
    /// Begins a recording, which takes the place of the one before, if there is one. Connections that go on are reported at the
    /// interval; each worker and family has room for so many events that nobody has read.
    ///
    /// Cost: 48 bytes a place for a connection, first touched when it is used, and some 200 bytes an event.
    ///
    /// # Errors
    /// The gateway is stopping.
    pub fn begin(&self, interval: Duration, events: usize) -> Result<FlowRecording, GatewayError> {
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let control = RecorderControl::new(interval);
        let mut rings = Vec::new();
        let (back, old) = mpsc::sync_channel(self.workers.into());
        let changes = (0..self.workers).map(|_| {
            let mut recorder = || {
                let (recorder, ring) = Recorder::new(self.connections, events, &control);
                rings.push(ring);
                Box::new(recorder)
            };
            RecorderChange {
                id,
                recorders: Some([recorder(), recorder()]),
                back: back.clone(),
            }
        });
        let request = Request::Record(changes.collect());
        drop(back);
        let stopping = |_| GatewayError::Stopping;
        self.requests.send(request).map_err(stopping)?;
        free(self.workers, &old);
        Ok(FlowRecording {
            id,
            rings,
            first: 0,
            control,
            recorders: self.clone(),
        })
    }
}

/// Frees what workers give back.
fn free(workers: u16, back: &mpsc::Receiver<[Option<Box<Recorder>>; 2]>) {
    for _ in 0..workers {
        if back.recv_timeout(PATIENCE).is_err() {
            return;
        }
    }
}

/// Whoever records; when it is dropped, the recording is over.
pub struct FlowRecording {
    id: u64,
    rings: Vec<rtrb::Consumer<TimedEvent>>,
    /// The ring that is read first, so that none starves the others.
    first: usize,
    control: Arc<RecorderControl>,
    recorders: FlowRecorders,
}

impl FlowRecording {
    /// The events of one ring that wait, in their order; `see` is told of each. Whether there were any in any ring.
    ///
    /// Those of one connection come in their order; those of several connections, as the rings are read.
    pub fn read(&mut self, mut see: impl FnMut(TimedEvent)) -> bool {
        let mut any = false;
        let number = self.rings.len();
        self.first = (self.first + 1) % number.max(1);
        for turn in 0..number {
            let ring = &mut self.rings[(self.first + turn) % number];
            // What comes meanwhile is read the next time.
            for _ in 0..ring.slots() {
                let Ok(event) = ring.pop() else { break };
                any = true;
                see(event);
            }
        }
        any
    }

    /// Changes how often connections that go on are reported.
    pub fn set_interval(&self, interval: Duration) {
        self.control.set_interval(interval);
    }

    /// How many events found no room.
    pub fn lost(&self) -> u64 {
        self.control.lost()
    }

    /// What the wall clock says now, beside the gateway's.
    pub fn anchor(&self) -> ClockAnchor {
        ClockAnchor {
            now: self.recorders.clock.now(),
            wall: SystemTime::now(),
        }
    }
}

/// One moment on two clocks.
#[derive(Clone, Copy, Debug)]
pub struct ClockAnchor {
    now: Instant,
    wall: SystemTime,
}

impl ClockAnchor {
    /// What the wall clock said, or will say, at a moment of the gateway's clock.
    pub fn time_of(&self, at: Instant) -> SystemTime {
        let moved = match at <= self.now {
            true => self.wall.checked_sub(self.now.duration_since(at)),
            false => self.wall.checked_add(at.duration_since(self.now)),
        };
        moved.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Drop for FlowRecording {
    fn drop(&mut self) {
        let workers = self.recorders.workers;
        let (back, old) = mpsc::sync_channel(workers.into());
        let changes = (0..workers).map(|_| RecorderChange {
            id: self.id,
            recorders: None,
            back: back.clone(),
        });
        let request = Request::Record(changes.collect());
        drop(back);
        // Where the gateway stops, nobody records any more.
        if self.recorders.requests.send(request).is_ok() {
            free(workers, &old);
        }
    }
}
