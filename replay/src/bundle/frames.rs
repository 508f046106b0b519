//! Frames in memory: noted as they come, and given again.

use std::sync::Arc;

use rewire_dataplane::VirtualGateway;
use rewire_schema::Configuration;

use crate::capture::CaptureError;
use crate::traffic::{Arrival, Entrance, Traffic};

/// A frame that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// When, in nanoseconds since the Unix epoch.
    pub(crate) nanoseconds: u64,
    pub(crate) interface: Arc<str>,
    pub(crate) bytes: Arc<[u8]>,
}

/// Notes the first frames of some traffic, and ends it behind them.
pub(crate) struct Noted<'a> {
    inner: &'a mut dyn Traffic,
    names: Vec<Arc<str>>,
    pub(crate) frames: Vec<Frame>,
    wanted: u64,
    bytes: usize,
    most_bytes: usize,
    /// Whether there were more bytes than may be.
    pub(crate) is_too_large: bool,
}

impl<'a> Noted<'a> {
    /// Notes so many frames of `inner`, of at most so many bytes.
    pub(crate) fn new(inner: &'a mut dyn Traffic, wanted: u64, most_bytes: usize) -> Noted<'a> {
        Noted {
            inner,
            names: Vec::new(),
            frames: Vec::new(),
            wanted,
            bytes: 0,
            most_bytes,
            is_too_large: false,
        }
    }

    fn name(&mut self, entrance: Entrance) -> Arc<str> {
        let names = self.inner.interfaces().iter().skip(self.names.len());
        self.names.extend(names.map(|name| name.as_str().into()));
        self.names.get(entrance).cloned().unwrap_or_default()
    }
}

impl Traffic for Noted<'_> {
    fn interfaces(&self) -> &[String] {
        self.inner.interfaces()
    }

    fn beginning(&self) -> u64 {
        self.inner.beginning()
    }

    fn next_time(&self) -> Option<u64> {
        let wants_more = (self.frames.len() as u64) < self.wanted && !self.is_too_large;
        self.inner.next_time().filter(|_| wants_more)
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        let arrival = self.inner.take(bytes)?;
        if let Some(arrival) = arrival {
            self.bytes = self.bytes.saturating_add(bytes.len());
            self.is_too_large = self.bytes > self.most_bytes;
            let interface = self.name(arrival.entrance);
            self.frames.push(Frame {
                nanoseconds: arrival.nanoseconds,
                interface,
                bytes: bytes.as_slice().into(),
            });
        }
        Ok(arrival)
    }

    fn total(&self) -> Result<u64, CaptureError> {
        self.inner.total()
    }

    fn follow(&mut self, configuration: &Configuration, gateway: &VirtualGateway) {
        self.inner.follow(configuration, gateway);
    }

    fn left(&mut self, entrance: Entrance, nanoseconds: u64, frame: &[u8]) {
        self.inner.left(entrance, nanoseconds, frame);
    }
}

/// Some of the frames, in order.
pub(crate) struct Chosen<'a> {
    frames: Vec<(&'a Frame, Entrance)>,
    interfaces: Vec<String>,
    next: usize,
}

impl<'a> Chosen<'a> {
    pub(crate) fn of(frames: impl Iterator<Item = &'a Frame>) -> Chosen<'a> {
        let mut interfaces: Vec<String> = Vec::new();
        let frames = frames.map(|frame| {
            let known = interfaces
                .iter()
                .position(|name| **name == *frame.interface);
            let entrance = known.unwrap_or_else(|| {
                interfaces.push(frame.interface.to_string());
                interfaces.len() - 1
            });
            (frame, entrance)
        });
        let frames = frames.collect();
        Chosen {
            frames,
            interfaces,
            next: 0,
        }
    }
}

impl Traffic for Chosen<'_> {
    fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    fn next_time(&self) -> Option<u64> {
        let (frame, _) = self.frames.get(self.next)?;
        Some(frame.nanoseconds)
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        let Some((frame, entrance)) = self.frames.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        bytes.clear();
        bytes.extend_from_slice(&frame.bytes);
        Ok(Some(Arrival {
            nanoseconds: frame.nanoseconds,
            entrance: *entrance,
        }))
    }

    fn total(&self) -> Result<u64, CaptureError> {
        Ok(self.frames.len() as u64)
    }
}
