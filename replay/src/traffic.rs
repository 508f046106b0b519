//! Where frames come from: captures, a recording, a generator.

use rewire_dataplane::VirtualGateway;
use rewire_schema::Configuration;

use crate::capture::CaptureError;

/// A place where frames come in, by its number in [`Traffic::interfaces`].
pub type Entrance = usize;

/// A frame that comes in next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds since the Unix epoch.
    pub nanoseconds: u64,
    /// Where.
    pub entrance: Entrance,
}

/// A source of frames, in the order of their times.
pub trait Traffic {
    /// The names of the interfaces that frames come in by. More may come, none goes.
    fn interfaces(&self) -> &[String];

    /// When the replay's clock begins: with the first frame, where there is one. In nanoseconds since the Unix epoch.
    fn beginning(&self) -> u64 {
        self.next_time().unwrap_or(0)
    }

    /// The time of the next frame, in nanoseconds since the Unix epoch; none at the end.
    fn next_time(&self) -> Option<u64>;

    /// Takes the next frame: its bytes take the place of what is in `bytes`.
    ///
    /// # Errors
    ///
    /// Where a capture cannot be read on.
    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError>;

    /// How many frames there will be in all.
    ///
    /// # Errors
    ///
    /// Where a capture cannot be read.
    fn total(&self) -> Result<u64, CaptureError>;

    /// Another revision is live.
    fn follow(&mut self, _configuration: &Configuration, _gateway: &VirtualGateway) {}

    /// A frame left by an interface that frames come in by: whoever is there may answer.
    fn left(&mut self, _entrance: Entrance, _nanoseconds: u64, _frame: &[u8]) {}
}

/// No frames at all: what a history without traffic is checked with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silence;

impl Traffic for Silence {
    fn interfaces(&self) -> &[String] {
        &[]
    }
    fn next_time(&self) -> Option<u64> {
        None
    }
    fn take(&mut self, _: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        Ok(None)
    }
    fn total(&self) -> Result<u64, CaptureError> {
        Ok(0)
    }
}
