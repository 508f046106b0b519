//! What was expected to leave by an interface: a capture that is held against what leaves, frame by frame, in order. Time stamps
//! are not compared.

use std::path::Path;

use crate::capture::{CaptureError, Direction, Input};
use crate::words;

/// A difference, in one line, and more about it.
type Difference = (String, Vec<String>);

/// The frames that are expected by an interface.
pub struct Expected {
    interface: String,
    input: Input,
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
        Ok(Expected {
            interface: interface.to_owned(),
            input: Input::open(path, Direction::Out)?,
            number: 0,
            has_parted: false,
            bytes: Vec::new(),
        })
    }

    /// The interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The next expected frame, in `bytes`; false where there is none.
    fn advance(&mut self) -> Result<bool, CaptureError> {
        let is_there = self.input.peek().is_some();
        if is_there {
            self.input.take(&mut self.bytes)?;
            self.number += 1;
        }
        Ok(is_there)
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
            true => (
                format!("frame {number} by {interface} is not the one that was expected"),
                words::difference(&self.bytes, frame),
            ),
            false => {
                let mut details = vec![words::words(frame)];
                details.extend(words::hex(frame));
                let message =
                    format!("a frame left by {interface} behind the {number} that were expected");
                (message, details)
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
        let seen = self.number - 1;
        while self.advance()? {
            missing += 1;
        }
        let of = seen + missing;
        let message = format!("{seen} of {of} expected frames left by {interface}; the next one:");
        Ok(Some((message, details)))
    }
}
