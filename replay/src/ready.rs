//! Traffic that is ready: frames in memory, so that a replay of them costs nothing but the replay.

use crate::bundle::{Chosen, Frame, Noted};
use crate::error::ReplayError;
use crate::history::History;
use crate::options::Options;
use crate::player::Replay;
use crate::traffic::Traffic;

/// Frames as some traffic has given them.
#[derive(Clone, Debug, Default)]
pub struct Ready {
    frames: Vec<Frame>,
}

impl Ready {
    /// Replays a history with some traffic, and keeps its frames, of so many bytes at most. Cost: the replay, and the frames in
    /// memory.
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
        Ok(Ready {
            frames: noted.frames,
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

    /// The same traffic once more.
    pub fn traffic(&self) -> impl Traffic + '_ {
        Chosen::of(self.frames.iter())
    }
}
