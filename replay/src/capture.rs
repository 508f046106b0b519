//! Captures: pcap and pcapng, several read as one, in the order of their time stamps; what leaves is written.

mod input;
mod output;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use pcap_file::PcapError;

pub use input::{Input, Packet};
pub use output::{Direction, Output, Recording};

use crate::traffic::{Arrival, Entrance, Traffic};

/// Why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file cannot be opened.
    #[error("cannot read {}: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no capture.
    #[error("{} is neither a pcap nor a pcapng file: {why}", .path.display())]
    NotACapture {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The frames are no Ethernet frames.
    #[error("{} holds no Ethernet frames: its link type is {found}", .path.display())]
    LinkType {
        /// The file.
        path: PathBuf,
        /// The link type, by its number.
        found: u32,
    },
    /// A packet, or what is before it, cannot be read. Packets count from 1, as other tools have it.
    #[error("{}: packet {number} cannot be read: {why}", .path.display())]
    Packet {
        /// The file.
        path: PathBuf,
        /// The packet.
        number: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {why}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

/// What the reader of captures says, in our words.
fn why(error: &PcapError) -> String {
    match error {
        PcapError::IncompleteBuffer => "the file is cut off".to_owned(),
        PcapError::IoError(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => {
            "the file is cut off".to_owned()
        }
        PcapError::IoError(source) => source.to_string(),
        PcapError::InvalidField(what) => (*what).to_owned(),
        other => other.to_string(),
    }
}

/// A capture, and the interface that all of its frames come in by; without one, each comes in by the interface that the
/// capture names it of.
struct Source {
    input: Input,
    interface: Option<Entrance>,
    /// By the capture's own numbers of interfaces.
    entrances: Vec<Entrance>,
}

/// Captures, read as one: the earliest frame first; of two with the same time, that of the capture named first.
#[derive(Default)]
pub struct Captures {
    sources: Vec<Source>,
    interfaces: Vec<String>,
}

impl Captures {
    /// No captures yet.
    pub fn new() -> Captures {
        Captures::default()
    }

    /// Opens one more. Its frames come in by `interface`, or by the interfaces that a pcapng file names; frames that such a
    /// file says to have gone out are passed over.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is no capture, or its first packet is none.
    pub fn add(&mut self, interface: Option<&str>, path: &Path) -> Result<(), CaptureError> {
        let input = Input::open(path, Direction::In)?;
        let interface = interface.map(|name| self.entrance(name));
        let mut source = Source {
            input,
            interface,
            entrances: Vec::new(),
        };
        self.name(&mut source);
        self.sources.push(source);
        Ok(())
    }

    /// The same of a file whose frames may have been cut short: what is missing at their ends is zero.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_padded(&mut self, path: &Path) -> Result<(), CaptureError> {
        let mut source = Source {
            input: Input::open_padded(path, Direction::In)?,
            interface: None,
            entrances: Vec::new(),
        };
        self.name(&mut source);
        self.sources.push(source);
        Ok(())
    }

    fn entrance(&mut self, name: &str) -> Entrance {
        match self.interfaces.iter().position(|known| known == name) {
            Some(known) => known,
            None => {
                self.interfaces.push(name.to_owned());
                self.interfaces.len() - 1
            }
        }
    }

    /// Numbers the interfaces that a capture has named so far.
    fn name(&mut self, source: &mut Source) {
        if source.interface.is_some() {
            return;
        }
        for name in &source.input.interfaces()[source.entrances.len()..] {
            let name = name.clone();
            source.entrances.push(self.entrance(&name));
        }
    }

    fn first(&self) -> Option<(u64, usize)> {
        let sources = self.sources.iter().enumerate();
        sources
            .filter_map(|(index, source)| Some((source.input.peek()?.nanoseconds, index)))
            .min()
    }
}

impl Traffic for Captures {
    fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    fn next_time(&self) -> Option<u64> {
        Some(self.first()?.0)
    }

    fn take(&mut self, bytes: &mut Vec<u8>) -> Result<Option<Arrival>, CaptureError> {
        let Some((nanoseconds, index)) = self.first() else {
            return Ok(None);
        };
        let source = &mut self.sources[index];
        let number = source.input.take(bytes)?;
        let entrance = match source.interface {
            Some(interface) => interface,
            None => source.entrances.get(number).copied().unwrap_or(usize::MAX),
        };
        if source.interface.is_none() && source.entrances.len() < source.input.interfaces().len() {
            let mut source = self.sources.remove(index);
            self.name(&mut source);
            self.sources.insert(index, source);
        }
        Ok(Some(Arrival {
            nanoseconds,
            entrance,
        }))
    }

    fn total(&self) -> Result<u64, CaptureError> {
        let sources = self.sources.iter();
        sources.map(|source| source.input.count()).sum()
    }
}
