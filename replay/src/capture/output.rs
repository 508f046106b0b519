//! Captures that are written: what leaves by an interface (pcap), and what came in and went out by several (pcapng).

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};

use super::{CaptureError, why};

/// The longest frame that a capture says it may hold.
const SNAP_LENGTH: u32 = 262_144;
/// Time stamps of pcapng files, as a power of ten: nanoseconds.
const NANOSECONDS: u8 = 9;

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came in.
    In,
    /// It went out.
    Out,
}

impl Direction {
    /// By the flags of a packet in a pcapng file; none where they do not say.
    pub(super) fn of_flags(flags: u32) -> Option<Direction> {
        match flags & 3 {
            1 => Some(Direction::In),
            2 => Some(Direction::Out),
            _ => None,
        }
    }

    fn flags(self) -> u32 {
        match self {
            Direction::In => 1,
            Direction::Out => 2,
        }
    }
}

/// A capture of one interface that is being written, in nanoseconds. It takes the place of what is there with its first frame, or
/// at its end: what fails before that leaves no file.
pub struct Output {
    path: PathBuf,
    writer: Option<PcapWriter<BufWriter<File>>>,
}

impl Output {
    /// A capture that is going to be written.
    pub fn new(path: &Path) -> Output {
        Output {
            path: path.to_owned(),
            writer: None,
        }
    }

    /// Begins the file, if it has not begun.
    fn begun(&mut self) -> Result<&mut PcapWriter<BufWriter<File>>, CaptureError> {
        if self.writer.is_none() {
            let file = File::create(&self.path).map_err(|error| self.failed(error.to_string()))?;
            let header = PcapHeader {
                snaplen: SNAP_LENGTH,
                datalink: DataLink::ETHERNET,
                ts_resolution: TsResolution::NanoSecond,
                // The same bytes on every machine.
                endianness: Endianness::Little,
                ..PcapHeader::default()
            };
            let writer = PcapWriter::with_header(BufWriter::new(file), header);
            self.writer = Some(writer.map_err(|error| self.failed(why(&error)))?);
        }
        let path = &self.path;
        self.writer.as_mut().ok_or_else(|| CaptureError::Write {
            path: path.clone(),
            why: "it has not begun".to_owned(),
        })
    }

    /// Adds a frame, with its time since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Write`].
    pub fn write(&mut self, nanoseconds: u64, frame: &[u8]) -> Result<(), CaptureError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::from_nanos(nanoseconds), length, frame);
        let written = self.begun()?.write_packet(&packet);
        written.map(drop).map_err(|error| self.failed(why(&error)))
    }

    /// Ends the capture.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Write`].
    pub fn finish(mut self) -> Result<(), CaptureError> {
        self.begun()?;
        let flushed = self
            .writer
            .take()
            .map(|writer| writer.into_writer().flush());
        let flushed = flushed.unwrap_or(Ok(()));
        flushed.map_err(|error| self.failed(error.to_string()))
    }

    fn failed(&self, why: String) -> CaptureError {
        CaptureError::Write {
            path: self.path.clone(),
            why,
        }
    }
}

/// A capture of several interfaces, in nanoseconds: a pcapng file with the interfaces' names, and the way that each packet went.
/// The same packets give the same bytes on every machine.
pub struct Recording<W: Write> {
    writer: PcapNgWriter<W>,
    interfaces: Vec<String>,
}

impl<W: Write> Recording<W> {
    /// Begins a capture.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn new(sink: W) -> Result<Recording<W>, std::io::Error> {
        let writer = PcapNgWriter::with_endianness(sink, Endianness::Little);
        Ok(Recording {
            writer: writer.map_err(io)?,
            interfaces: Vec::new(),
        })
    }

    /// Adds a frame of so many bytes, of which `bytes` are the first, with its time since the Unix epoch.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn write(
        &mut self,
        interface: &str,
        direction: Direction,
        nanoseconds: u64,
        (bytes, length): (&[u8], usize),
    ) -> Result<(), std::io::Error> {
        let known = self.interfaces.iter().position(|known| known == interface);
        let number = match known {
            Some(known) => known,
            None => {
                let mut block = InterfaceDescriptionBlock::new(DataLink::ETHERNET, SNAP_LENGTH);
                block.options = vec![
                    InterfaceDescriptionOption::IfName(Cow::Borrowed(interface)),
                    InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
                ];
                self.writer.write_pcapng_block(block).map_err(io)?;
                self.interfaces.push(interface.to_owned());
                self.interfaces.len() - 1
            }
        };
        let block = EnhancedPacketBlock {
            interface_id: u32::try_from(number).unwrap_or(u32::MAX),
            timestamp: Duration::from_nanos(nanoseconds),
            original_len: u32::try_from(length).unwrap_or(u32::MAX),
            data: Cow::Borrowed(bytes),
            options: vec![EnhancedPacketOption::Flags(direction.flags())],
        };
        self.writer.write_pcapng_block(block).map_err(io)?;
        Ok(())
    }

    /// Ends the capture, and gives the sink back.
    pub fn finish(self) -> W {
        self.writer.into_inner()
    }
}

fn io(error: PcapError) -> std::io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => std::io::Error::other(why(&other)),
    }
}
