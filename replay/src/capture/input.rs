//! One capture, read packet by packet.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::{Block, PcapNgReader};
use pcap_file::{DataLink, TsResolution};

use super::output::Direction;
use super::{CaptureError, why};

/// The first four bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
/// No frame that was cut short is made longer than this, in bytes.
const LONGEST_FRAME: usize = 65_535;
/// The unit of a pcapng file's time stamps where it does not say another: microseconds, as a power of ten.
const MICROSECONDS: u8 = 6;

/// A packet of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// Since the Unix epoch.
    pub nanoseconds: u64,
    /// By the capture's own numbers; 0 in a pcap file.
    pub interface: usize,
    /// Which way it went, where the capture says so.
    pub direction: Option<Direction>,
    /// Its first byte is that of the Ethernet header.
    pub bytes: Vec<u8>,
}

enum Reader {
    Pcap(PcapReader<File>, TsResolution),
    PcapNg(Box<PcapNgReader<File>>),
}

/// One capture, with its next packet.
pub struct Input {
    path: PathBuf,
    reader: Reader,
    number: u64,
    next: Packet,
    has_next: bool,
    wanted: Direction,
    /// Whether frames that were cut short get zeros at their ends.
    pads: bool,
    /// Of a pcapng file: the interfaces of all sections, with the unit of their time stamps.
    interfaces: Vec<String>,
    units: Vec<u8>,
    /// The number of the first interface of this section.
    section: usize,
}

impl Input {
    /// Opens a capture, and reads its first packet. Only packets that went this way are given, and those of which the capture
    /// does not say which.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, is no capture, or its first packet is none.
    pub fn open(path: &Path, wanted: Direction) -> Result<Input, CaptureError> {
        let mut input = Input::begin(path, wanted)?;
        input.advance()?;
        Ok(input)
    }

    /// The same, where frames that were cut short get as long as they were, with zeros.
    pub(crate) fn open_padded(path: &Path, wanted: Direction) -> Result<Input, CaptureError> {
        let mut input = Input::begin(path, wanted)?;
        input.pads = true;
        input.advance()?;
        Ok(input)
    }

    fn begin(path: &Path, wanted: Direction) -> Result<Input, CaptureError> {
        let path = path.to_owned();
        let open = || {
            let mut file = File::open(&path)?;
            let mut magic = Vec::new();
            (&mut file).take(4).read_to_end(&mut magic)?;
            file.rewind()?;
            Ok((file, magic))
        };
        let (file, magic) = match open() {
            Ok(open) => open,
            Err(source) => return Err(CaptureError::Open { path, source }),
        };
        let reader = match magic == PCAPNG {
            true => PcapNgReader::new(file).map(|reader| Reader::PcapNg(Box::new(reader))),
            false => PcapReader::new(file).map(|reader| {
                let unit = reader.header().ts_resolution;
                Reader::Pcap(reader, unit)
            }),
        };
        let reader = match reader {
            Ok(reader) => reader,
            Err(error) => {
                let why = why(&error);
                return Err(CaptureError::NotACapture { path, why });
            }
        };
        if let Reader::Pcap(reader, _) = &reader {
            expect_ethernet(reader.header().datalink, &path)?;
        }
        Ok(Input {
            path,
            reader,
            number: 0,
            next: Packet::default(),
            has_next: false,
            wanted,
            pads: false,
            interfaces: Vec::new(),
            units: Vec::new(),
            section: 0,
        })
    }

    /// The names of the interfaces that a pcapng file has said so far; none of a pcap file.
    pub fn interfaces(&self) -> &[String] {
        &self.interfaces
    }

    /// The next packet.
    pub fn peek(&self) -> Option<&Packet> {
        self.has_next.then_some(&self.next)
    }

    /// Takes the next packet, whose bytes take the place of what is in `bytes`, and reads the one after; gives the number of its
    /// interface. Time stamps within a capture never go back: one that does counts as the one before it.
    ///
    /// # Errors
    ///
    /// Where the one after cannot be read.
    pub fn take(&mut self, bytes: &mut Vec<u8>) -> Result<usize, CaptureError> {
        std::mem::swap(bytes, &mut self.next.bytes);
        let interface = self.next.interface;
        self.advance()?;
        Ok(interface)
    }

    /// How many packets the capture has in all. Cost: reads it once more.
    ///
    /// # Errors
    ///
    /// Where a packet cannot be read.
    pub fn count(&self) -> Result<u64, CaptureError> {
        let mut again = Input::open(&self.path, self.wanted)?;
        let mut count = 0;
        while again.has_next {
            count += 1;
            again.advance()?;
        }
        Ok(count)
    }

    fn advance(&mut self) -> Result<(), CaptureError> {
        loop {
            self.has_next = match &self.reader {
                Reader::Pcap(..) => self.advance_pcap()?,
                Reader::PcapNg(_) => self.advance_pcapng()?,
            };
            let direction = self.next.direction;
            let passes = direction.is_none_or(|direction| direction == self.wanted);
            if passes || !self.has_next {
                return Ok(());
            }
        }
    }

    fn advance_pcap(&mut self) -> Result<bool, CaptureError> {
        let Reader::Pcap(reader, resolution) = &mut self.reader else {
            return Ok(false);
        };
        self.number += 1;
        match reader.next_raw_packet() {
            None => Ok(false),
            Some(Err(error)) => Err(self.bad(why(&error))),
            Some(Ok(raw)) => {
                let unit = match resolution {
                    TsResolution::MicroSecond => 1_000,
                    TsResolution::NanoSecond => 1,
                };
                // No overflow: 2^32 s and 2^32 µs are less than 2^63 ns. A fraction beyond a second is taken as it is.
                let stamp = u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * unit;
                self.next.nanoseconds = self.next.nanoseconds.max(stamp);
                self.next.bytes.clear();
                self.next.bytes.extend_from_slice(&raw.data);
                Ok(true)
            }
        }
    }

    fn advance_pcapng(&mut self) -> Result<bool, CaptureError> {
        let Reader::PcapNg(reader) = &mut self.reader else {
            return Ok(false);
        };
        self.number += 1;
        let bad = |path: &Path, why: String| CaptureError::Packet {
            path: path.to_owned(),
            number: self.number,
            why,
        };
        while let Some(block) = reader.next_block() {
            match block.map_err(|error| bad(&self.path, why(&error)))? {
                Block::SectionHeader(_) => self.section = self.interfaces.len(),
                Block::InterfaceDescription(interface) => {
                    expect_ethernet(interface.linktype, &self.path)?;
                    let (name, unit) = described(&interface);
                    let number = self.interfaces.len() - self.section;
                    self.interfaces
                        .push(name.unwrap_or_else(|| number.to_string()));
                    self.units.push(unit);
                }
                Block::EnhancedPacket(packet) => {
                    let interface = self.section.saturating_add(packet.interface_id as usize);
                    let Some(unit) = self.units.get(interface) else {
                        let id = packet.interface_id;
                        let why = format!("it is of interface {id}, which is not described");
                        return Err(bad(&self.path, why));
                    };
                    let stamp = nanoseconds(packet.timestamp.as_nanos() as u64, *unit);
                    self.next.nanoseconds = self.next.nanoseconds.max(stamp);
                    self.next.interface = interface;
                    self.next.direction = direction(&packet);
                    self.next.bytes.clear();
                    self.next.bytes.extend_from_slice(&packet.data);
                    if self.pads {
                        let length = (packet.original_len as usize).min(LONGEST_FRAME);
                        let length = length.max(packet.data.len());
                        self.next.bytes.resize(length, 0);
                    }
                    return Ok(true);
                }
                // Without a time stamp: it counts as there with the one before it.
                Block::SimplePacket(packet) => {
                    self.next.interface = self.section;
                    self.next.direction = None;
                    self.next.bytes.clear();
                    self.next.bytes.extend_from_slice(&packet.data);
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn bad(&self, why: String) -> CaptureError {
        CaptureError::Packet {
            path: self.path.clone(),
            number: self.number,
            why,
        }
    }
}

fn expect_ethernet(found: DataLink, path: &Path) -> Result<(), CaptureError> {
    if found == DataLink::ETHERNET {
        return Ok(());
    }
    Err(CaptureError::LinkType {
        path: path.to_owned(),
        found: found.into(),
    })
}

/// The name of an interface, and the unit of its time stamps.
fn described(interface: &InterfaceDescriptionBlock<'_>) -> (Option<String>, u8) {
    let (mut name, mut unit) = (None, MICROSECONDS);
    for option in &interface.options {
        match option {
            InterfaceDescriptionOption::IfName(text) => name = Some(text.clone().into_owned()),
            InterfaceDescriptionOption::IfTsResol(resolution) => unit = *resolution,
            _ => {}
        }
    }
    (name, unit)
}

/// A time stamp in a unit, which is a negative power of ten, or of two where the first bit is set (the pcapng draft,
/// section 4.2), in nanoseconds.
fn nanoseconds(stamp: u64, unit: u8) -> u64 {
    let (stamp, second) = (u128::from(stamp), 1_000_000_000);
    let exponent = u32::from(unit & 0x7f);
    let parts = match unit & 0x80 {
        0 => 10u128.checked_pow(exponent),
        _ => 1u128.checked_shl(exponent),
    };
    // A unit that nothing can be counted in makes all stamps 0.
    let nanoseconds = parts.map_or(0, |parts| stamp * second / parts);
    u64::try_from(nanoseconds).unwrap_or(u64::MAX)
}

/// Which way a packet went: the lowest two bits of its flags (the pcapng draft, section 4.3.1).
fn direction(packet: &EnhancedPacketBlock<'_>) -> Option<Direction> {
    packet.options.iter().find_map(|option| match option {
        EnhancedPacketOption::Flags(flags) => Direction::of_flags(*flags),
        _ => None,
    })
}
