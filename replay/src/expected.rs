//! What was expected to leave by an interface: a capture that is held against what leaves, frame by frame, in order. Time stamps
//! are not compared.

use std::path::Path;
use std::sync::Arc;

use crate::capture::{CaptureError, Direction, Input};
use crate::words;

/// How what leaves is not what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// In one line.
    pub(crate) message: String,
    /// More about it.
    pub(crate) details: Vec<String>,
    pub(crate) how: How,
}

/// How two sequences of frames part. Frames count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The frame of this number is another one: this.
    Other(u64, Arc<[u8]>),
    /// A frame left behind so many: this.
    Extra(u64, Arc<[u8]>),
    /// The frame of this number did not leave.
    Missing(u64),
}

/// Where expected frames come from.
enum Source {
    Capture(Box<Input>),
    Frames(std::vec::IntoIter<Arc<[u8]>>),
}

/// The frames that are expected by an interface.
pub struct Expected {
    interface: String,
    source: Source,
    number: u64,
    /// Once two frames have parted, what follows says nothing.
    has_parted: bool,
    bytes: Vec<u8>,
}

impl Expected {
    /// Opens a capture of what leaves by an interface.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is no capture, or its first packet is none.
    pub fn open(interface: &str, path: &Path) -> Result<Expected, CaptureError> {
        let input = Input::open(path, Direction::Out)?;
        Ok(Expected::from(interface, Source::Capture(Box::new(input))))
    }

    /// Frames that are in memory.
    pub(crate) fn of_frames(interface: &str, frames: Vec<Arc<[u8]>>) -> Expected {
        Expected::from(interface, Source::Frames(frames.into_iter()))
    }

    fn from(interface: &str, source: Source) -> Expected {
        Expected {
            interface: interface.to_owned(),
            source,
            number: 0,
            has_parted: false,
            bytes: Vec::new(),
        }
    }

    /// The interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The next expected frame, in `bytes`; false where there is none.
    fn advance(&mut self) -> Result<bool, CaptureError> {
        let is_there = match &mut self.source {
            Source::Capture(input) => {
                let is_there = input.peek().is_some();
                if is_there {
                    input.take(&mut self.bytes)?;
                }
                is_there
            }
            Source::Frames(frames) => match frames.next() {
                None => false,
                Some(frame) => {
                    self.bytes.clear();
                    self.bytes.extend_from_slice(&frame);
                    true
                }
            },
        };
        self.number += u64::from(is_there);
        Ok(is_there)
    }

    /// All of them that are left, of so many bytes at most; none where there are more.
    pub(crate) fn collect(
        mut self,
        most_bytes: usize,
    ) -> Result<Option<Vec<Arc<[u8]>>>, CaptureError> {
        let mut frames: Vec<Arc<[u8]>> = Vec::new();
        let mut bytes = 0;
        while self.advance()? {
            bytes += self.bytes.len();
            if bytes > most_bytes {
                return Ok(None);
            }
            frames.push(self.bytes.as_slice().into());
        }
        Ok(Some(frames))
    }

    /// A frame leaves: how it differs from the one that was expected, if it does.
    pub(crate) fn meets(&mut self, frame: &[u8]) -> Result<Option<Difference>, CaptureError> {
        if self.has_parted {
            return Ok(None);
        }
        let is_there = self.advance()?;
        if is_there && self.bytes == frame {
            return Ok(None);
        }
        self.has_parted = true;
        let (interface, number) = (&self.interface, self.number);
        Ok(Some(match is_there {
            true => Difference {
                message: format!("frame {number} by {interface} is not the one that was expected"),
                details: words::difference(&self.bytes, frame),
                how: How::Other(number, frame.into()),
            },
            false => {
                let mut details = vec![words::words(frame)];
                details.extend(words::hex(frame));
                Difference {
                    message: format!(
                        "a frame left by {interface} behind the {number} that were expected"
                    ),
                    details,
                    how: How::Extra(number, frame.into()),
                }
            }
        }))
    }

    /// Nothing leaves any more: what is missing, if anything is.
    pub(crate) fn end(mut self, interface: &str) -> Result<Option<Difference>, CaptureError> {
        if self.has_parted || !self.advance()? {
            return Ok(None);
        }
        let mut missing = 1u64;
        let mut details = vec![words::words(&self.bytes)];
        details.extend(words::hex(&self.bytes));
        let next = self.number;
        let seen = next - 1;
        while self.advance()? {
            missing += 1;
        }
        let of = seen + missing;
        let message = format!("{seen} of {of} expected frames left by {interface}; the next one:");
        Ok(Some(Difference {
            message,
            details,
            how: How::Missing(next),
        }))
    }
}
