//! Captures, written and read.
#![allow(dead_code, reason = "each test file uses a part")]

use std::fs::File;
use std::path::Path;

use pcap_file::TsResolution;
use pcap_file::pcap::{PcapHeader, PcapReader, PcapWriter, RawPcapPacket};

/// A frame and its time, in nanoseconds.
pub(crate) type Frame = (u64, Vec<u8>);

/// The frames of a capture.
pub(crate) fn frames(path: &Path) -> Vec<Frame> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = PcapReader::new(file).unwrap();
    let unit = match reader.header().ts_resolution {
        TsResolution::MicroSecond => 1000,
        TsResolution::NanoSecond => 1,
    };
    let mut frames = Vec::new();
    while let Some(packet) = reader.next_raw_packet() {
        let packet = packet.unwrap();
        let time = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * unit;
        frames.push((time, packet.data.into_owned()));
    }
    frames
}

/// Writes a capture in nanoseconds, in the order that is given.
pub(crate) fn write(path: &Path, frames: &[Frame]) {
    let header = PcapHeader {
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let mut writer = PcapWriter::with_header(File::create(path).unwrap(), header).unwrap();
    for (time, frame) in frames {
        let length = frame.len() as u32;
        let packet = RawPcapPacket {
            ts_sec: (time / 1_000_000_000) as u32,
            ts_frac: (time % 1_000_000_000) as u32,
            incl_len: length,
            orig_len: length,
            data: frame.as_slice().into(),
        };
        writer.write_raw_packet(&packet).unwrap();
    }
}
