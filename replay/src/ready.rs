//! Traffic that is ready: frames in memory, so that a replay of them costs nothing but the replay.

use rewire_tables::memory::prefetch_at;

use crate::bundle::Noted;
use crate::capture::CaptureError;
use crate::error::ReplayError;
use crate::history::History;
use crate::options::Options;
use crate::player::Replay;
use crate::traffic::{Arrival, Entrance, Traffic};

/// So many bytes before a frame is taken, memory is asked for it: a few frames.
const READ_AHEAD: usize = 1024;

/// Frames as some traffic has given them, one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    frames: Vec<Placed>,
    bytes: Vec<u8>,
    interfaces: Vec<String>,
}

/// A frame, behind the one before it.
#[derive(Clone, Copy, Debug)]
struct Placed {
    nanoseconds: u64,
    entrance: Entrance,
    end: usize,
}

impl Ready {
    /// Replays a history with some traffic, and keeps its frames, of so many bytes at most. Cost: the replay, and the frames in
    /// memory; twice while they are put in order.
    ///
    /// # Errors
    ///
    /// As [`Replay::run`].
    pub fn of(
        (history, first): (&History, u64),
        options: &Options,
        traffic: &mut dyn Traffic,
        most_bytes: usize,
    ) -> Result<Ready, ReplayError> {
        let mut noted = Noted::new(traffic, u64::MAX, most_bytes);
        Replay::new(history, options).run(first, &mut noted, &mut ())?;
        let mut ready = Ready {
            frames: Vec::with_capacity(noted.frames.len()),
            ..Ready::default()
        };
        for frame in noted.frames {
            let entrance = ready.entrance(&frame.interface);
            ready.bytes.extend_from_slice(&frame.bytes);
            ready.frames.push(Placed {
                nanoseconds: frame.nanoseconds,
                entrance,
                end: ready.bytes.len(),
            });
        }
        Ok(ready)
    }

    fn entrance(&mut self, interface: &str) -> Entrance {
        let known = self.interfaces.iter().position(|name| name == interface);
        known.unwrap_or_else(|| {
            self.interfaces.push(interface.to_owned());
            self.interfaces.len() - 1
        })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The same traffic once more. Costs nothing.
    pub fn traffic(&self) -> impl Traffic + '_ {
        Again {
            ready: self,
            next: 0,
            at: 0,
        }
    }
}

/// Ready frames, from the first one on.
struct Again<'a> {
    ready: &'a Ready,
    next: usize,
    /// Where the next one begins.
    at: usize,
}

impl Traffic for Again<'_> {
    fn interfaces(&self) -> &[String] {
        &self.ready.interfaces
    }

    fn next_time(&self) -> Option<u64> {
        let frame = self.ready.frames.get(self.next)?;
        Some(frame.nanoseconds)
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        let Some(frame) = self.ready.frames.get(self.next) else {
            return Ok(None);
        };
        // The memory of the frames is read but once.
        prefetch_at(&self.ready.bytes, frame.end + READ_AHEAD);
        bytes.clear();
        bytes.extend_from_slice(&self.ready.bytes[self.at..frame.end]);
        self.next += 1;
        self.at = frame.end;
        Ok(Some(Arrival {
            nanoseconds: frame.nanoseconds,
            entrance: frame.entrance,
        }))
    }

    fn total(&self) -> Result<u64, CaptureError> {
        Ok(self.ready.frames.len() as u64)
    }
}
