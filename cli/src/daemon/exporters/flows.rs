//! Flows on their way from the workers to whoever exports them: one recording for all, which is there while somebody reads.
//!
//! Whoever looks for its own takes what workers have told out of their rings, for everybody. What waits for each is bounded; what finds
//! no room is counted and let go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rewire_dataplane::clock::Instant;
use rewire_dataplane::recording::TimedEvent;
use rewire_dataplane::{FlowRecorders, FlowRecording};

use super::Exporter;

/// Events of one worker and address family that nobody has read, at most: some 200 bytes each.
const MOST_IN_RING: usize = 32_768;
/// Events that wait for one exporter, at most.
const MOST_WAITING: usize = 131_072;

struct Reader {
    exporter: Arc<Exporter>,
    interval: Duration,
    waiting: VecDeque<TimedEvent>,
    /// What the recording had lost when it was looked at last.
    lost: u64,
    is_closed: bool,
}

#[derive(Default)]
struct State {
    readers: BTreeMap<u64, Reader>,
    last: u64,
    recording: Option<FlowRecording>,
}

impl State {
    /// Takes what workers have told, for all readers.
    fn read(&mut self) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let readers = &mut self.readers;
        recording.read(|event| {
            for reader in readers.values_mut().filter(|reader| !reader.is_closed) {
                if reader.waiting.len() < MOST_WAITING {
                    reader.waiting.push_back(event);
                } else {
                    reader.exporter.records_lost.fetch_add(1, Relaxed);
                }
            }
        });
        let lost = recording.lost();
        for reader in readers.values_mut().filter(|reader| !reader.is_closed) {
            let before = std::mem::replace(&mut reader.lost, lost);
            let news = lost.saturating_sub(before);
            reader.exporter.records_lost.fetch_add(news, Relaxed);
        }
    }

    /// The shortest interval that a reader wants: all are told as often.
    fn interval(&self) -> Option<Duration> {
        let open = self.readers.values().filter(|reader| !reader.is_closed);
        open.map(|reader| reader.interval).min()
    }

    fn follow_interval(&self) {
        if let (Some(recording), Some(interval)) = (&self.recording, self.interval()) {
            recording.set_interval(interval);
        }
    }
}

/// See the module.
pub(crate) struct Flows {
    /// Who lets workers record; nobody in tests.
    recorders: Option<FlowRecorders>,
    state: Mutex<State>,
}

impl Flows {
    /// Nobody reads yet.
    pub(crate) fn new(recorders: Option<FlowRecorders>) -> Self {
        Flows {
            recorders,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is one step: whoever panicked left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets an exporter read from now on; its number as a reader.
    pub(super) fn join(&self, exporter: &Arc<Exporter>, interval: Duration) -> u64 {
        let mut state = self.state();
        // What was told before is not for it.
        state.read();
        state.last += 1;
        let reader = state.last;
        if state.recording.is_none()
            && let Some(recorders) = &self.recorders
        {
            // Where the gateway is stopping, there is nothing to tell.
            state.recording = recorders.begin(interval, MOST_IN_RING).ok();
        }
        let lost = state.recording.as_ref().map_or(0, FlowRecording::lost);
        state.readers.insert(
            reader,
            Reader {
                exporter: Arc::clone(exporter),
                interval,
                waiting: VecDeque::new(),
                lost,
                is_closed: false,
            },
        );
        state.follow_interval();
        reader
    }

    /// What happens from now on is not for this reader.
    pub(super) fn close(&self, reader: u64) {
        let mut state = self.state();
        state.read();
        if let Some(reader) = state.readers.get_mut(&reader) {
            reader.is_closed = true;
        }
        state.follow_interval();
    }

    /// A reader reads no more. With the last one, the recording ends.
    pub(super) fn leave(&self, reader: u64) {
        let mut state = self.state();
        if let Some(reader) = state.readers.remove(&reader) {
            let waiting = reader.waiting.len() as u64;
            reader.exporter.records_lost.fetch_add(waiting, Relaxed);
        }
        let over = match state.readers.is_empty() {
            true => state.recording.take(),
            false => None,
        };
        // Not while others wait: the workers give their recorders back.
        drop(state);
        drop(over);
    }

    /// Takes what workers have told out of their rings, for whoever reads it later.
    pub(super) fn gather(&self) {
        self.state().read();
    }

    /// What waits for a reader, so many events at most: `see` is told of each, and of how to know when it was. Whether there is more.
    pub(super) fn take(
        &self,
        reader: u64,
        most: usize,
        mut see: impl FnMut(&TimedEvent, &dyn Fn(Instant) -> SystemTime),
    ) -> bool {
        let mut state = self.state();
        state.read();
        let State {
            readers, recording, ..
        } = &mut *state;
        let (Some(reader), Some(recording)) = (readers.get_mut(&reader), recording) else {
            return false;
        };
        let number = reader.waiting.len().min(most);
        // The clocks are looked at once.
        let anchor = recording.anchor();
        let time_of = |at| anchor.time_of(at);
        for event in reader.waiting.drain(..number) {
            see(&event, &time_of);
        }
        !reader.waiting.is_empty()
    }
}
