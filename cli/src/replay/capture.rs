//! Captures: several are read as one, in the order of their time stamps; what leaves is written.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapReader, PcapWriter};
use pcap_file::{DataLink, Endianness, PcapError, TsResolution};
use rewire_tables::InterfaceIndex;

/// The first four bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    #[error("cannot read {}: {source}", .path.display())]
    Open {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{} is a pcapng file: only pcap can be read", .path.display())]
    PcapNg { path: PathBuf },
    #[error("{} is not a pcap file: {why}", .path.display())]
    NotPcap { path: PathBuf, why: String },
    #[error("{} holds no Ethernet frames: its link type is {found}", .path.display())]
    LinkType { path: PathBuf, found: u32 },
    /// Packets count from 1, as other tools have it.
    #[error("{}: packet {number} cannot be read: {why}", .path.display())]
    Packet {
        path: PathBuf,
        number: u64,
        why: String,
    },
    #[error("cannot write {}: {why}", .path.display())]
    Write { path: PathBuf, why: String },
}

/// A frame of a capture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Captured {
    /// Since the Unix epoch.
    pub(crate) nanoseconds: u64,
    pub(crate) interface: InterfaceIndex,
    pub(crate) bytes: Vec<u8>,
}

/// One capture, with its next frame.
struct Input {
    path: PathBuf,
    interface: InterfaceIndex,
    reader: PcapReader<File>,
    resolution: TsResolution,
    number: u64,
    next: Option<Captured>,
}

impl Input {
    fn open(path: &Path, interface: InterfaceIndex) -> Result<Input, CaptureError> {
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
        if magic == PCAPNG {
            return Err(CaptureError::PcapNg { path });
        }
        let reader = match PcapReader::new(file) {
            Ok(reader) => reader,
            Err(error) => {
                return Err(CaptureError::NotPcap {
                    path,
                    why: why(&error),
                });
            }
        };
        let PcapHeader {
            datalink,
            ts_resolution: resolution,
            ..
        } = reader.header();
        if datalink != DataLink::ETHERNET {
            return Err(CaptureError::LinkType {
                path,
                found: datalink.into(),
            });
        }
        let mut input = Input {
            path,
            interface,
            reader,
            resolution,
            number: 0,
            next: None,
        };
        input.advance()?;
        Ok(input)
    }

    /// Takes the next frame, and reads the one after. Time stamps within a capture never go back: one that does counts as
    /// the one before it.
    fn advance(&mut self) -> Result<Option<Captured>, CaptureError> {
        self.number += 1;
        let next = match self.reader.next_raw_packet() {
            None => None,
            Some(Err(error)) => {
                let (path, number) = (self.path.clone(), self.number);
                return Err(CaptureError::Packet {
                    path,
                    number,
                    why: why(&error),
                });
            }
            Some(Ok(raw)) => {
                let unit = match self.resolution {
                    TsResolution::MicroSecond => 1_000,
                    TsResolution::NanoSecond => 1,
                };
                // No overflow: 2^32 s and 2^32 µs are less than 2^63 ns. A fraction beyond a second is taken as it is.
                let stamp = u64::from(raw.ts_sec) * 1_000_000_000 + u64::from(raw.ts_frac) * unit;
                let latest = self.next.as_ref().map_or(0, |last| last.nanoseconds);
                Some(Captured {
                    nanoseconds: stamp.max(latest),
                    interface: self.interface,
                    bytes: raw.data.into_owned(),
                })
            }
        };
        Ok(std::mem::replace(&mut self.next, next))
    }
}

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

/// Captures, read as one: the earliest frame first; of two with the same time, that of the capture named first.
pub(crate) struct Merged(Vec<Input>);

impl Merged {
    /// Opens captures, each with the interface that its frames come in by.
    pub(crate) fn open<'a>(
        captures: impl IntoIterator<Item = (InterfaceIndex, &'a Path)>,
    ) -> Result<Merged, CaptureError> {
        let inputs = captures
            .into_iter()
            .map(|(interface, path)| Input::open(path, interface));
        Ok(Merged(inputs.collect::<Result<_, _>>()?))
    }

    fn first(&self) -> Option<(u64, usize)> {
        let inputs = self.0.iter().enumerate();
        inputs
            .filter_map(|(index, input)| Some((input.next.as_ref()?.nanoseconds, index)))
            .min()
    }

    /// The time of the next frame, since the Unix epoch.
    pub(crate) fn next_time(&self) -> Option<u64> {
        Some(self.first()?.0)
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Result<Option<Captured>, CaptureError> {
        match self.first() {
            Some((_, index)) => self.0[index].advance(),
            None => Ok(None),
        }
    }
}

/// A capture that is being written, in nanoseconds.
pub(crate) struct Output {
    path: PathBuf,
    writer: PcapWriter<BufWriter<File>>,
}

impl Output {
    /// Begins a capture, in place of what is there.
    pub(crate) fn create(path: &Path) -> Result<Output, CaptureError> {
        let failed = |why: String| CaptureError::Write {
            path: path.to_owned(),
            why,
        };
        let file = File::create(path).map_err(|error| failed(error.to_string()))?;
        let header = PcapHeader {
            snaplen: 262_144,
            datalink: DataLink::ETHERNET,
            ts_resolution: TsResolution::NanoSecond,
            // The same bytes on every machine.
            endianness: Endianness::Little,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(BufWriter::new(file), header);
        let writer = writer.map_err(|error| failed(why(&error)))?;
        Ok(Output {
            path: path.to_owned(),
            writer,
        })
    }

    /// Adds a frame.
    pub(crate) fn write(&mut self, nanoseconds: u64, frame: &[u8]) -> Result<(), CaptureError> {
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let packet = PcapPacket::new(Duration::from_nanos(nanoseconds), length, frame);
        let written = self.writer.write_packet(&packet);
        written.map(drop).map_err(|error| self.failed(why(&error)))
    }

    /// Ends the capture.
    pub(crate) fn finish(self) -> Result<(), CaptureError> {
        let path = self.path;
        let flushed = self.writer.into_writer().flush();
        flushed.map_err(|error| CaptureError::Write {
            path,
            why: error.to_string(),
        })
    }

    fn failed(&self, why: String) -> CaptureError {
        CaptureError::Write {
            path: self.path.clone(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A capture with these magic, seconds and fractions; the frames hold their number.
    fn capture(folder: &Path, name: &str, header: PcapHeader, stamps: &[(u32, u32)]) -> PathBuf {
        let path = folder.join(name);
        let mut writer = PcapWriter::with_header(File::create(&path).unwrap(), header).unwrap();
        for (number, (ts_sec, ts_frac)) in stamps.iter().enumerate() {
            let data = vec![number as u8; 14];
            let raw = pcap_file::pcap::RawPcapPacket {
                ts_sec: *ts_sec,
                ts_frac: *ts_frac,
                incl_len: 14,
                orig_len: 14,
                data: data.into(),
            };
            writer.write_raw_packet(&raw).unwrap();
        }
        path
    }

    fn all(merged: &mut Merged) -> Vec<(u64, u16, u8)> {
        std::iter::from_fn(|| merged.next().unwrap())
            .map(|frame| (frame.nanoseconds, frame.interface.0, frame.bytes[0]))
            .collect()
    }

    #[test]
    fn all_four_forms_of_pcap_merge_by_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (index, (endianness, ts_resolution, fraction)) in [
            (Endianness::Little, TsResolution::MicroSecond, 2),
            (Endianness::Big, TsResolution::MicroSecond, 1),
            (Endianness::Little, TsResolution::NanoSecond, 1_500),
            (Endianness::Big, TsResolution::NanoSecond, 1_000),
        ]
        .into_iter()
        .enumerate()
        {
            let header = PcapHeader {
                endianness,
                ts_resolution,
                ..PcapHeader::default()
            };
            // The second stamp goes back, the third is ahead.
            let stamps = [(1, fraction), (0, fraction), (2, fraction)];
            paths.push(capture(folder.path(), &index.to_string(), header, &stamps));
        }
        let inputs = (0u16..)
            .map(InterfaceIndex)
            .zip(paths.iter().map(PathBuf::as_path));
        let mut merged = Merged::open(inputs).unwrap();
        assert_eq!(merged.next_time(), Some(1_000_001_000));
        let expected = [
            (1_000_001_000, 1, 0),
            (1_000_001_000, 1, 1),
            (1_000_001_000, 3, 0),
            (1_000_001_000, 3, 1),
            (1_000_001_500, 2, 0),
            (1_000_001_500, 2, 1),
            (1_000_002_000, 0, 0),
            (1_000_002_000, 0, 1),
            (2_000_001_000, 1, 2),
            (2_000_001_000, 3, 2),
            (2_000_001_500, 2, 2),
            (2_000_002_000, 0, 2),
        ];
        assert_eq!(all(&mut merged), expected);
        assert_eq!(merged.next_time(), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.pcap");
        let mut output = Output::create(&path).unwrap();
        output.write(1_234_567_891, &[1; 60]).unwrap();
        // Larger than any frame of ours, and still a frame.
        output
            .write(u64::from(u32::MAX) * 1_000_000_000, &[2; 100_000])
            .unwrap();
        output.finish().unwrap();
        let mut merged = Merged::open([(InterfaceIndex(0), path.as_path())]).unwrap();
        let times = [
            (1_234_567_891, 0, 1),
            (u64::from(u32::MAX) * 1_000_000_000, 0, 2),
        ];
        assert_eq!(all(&mut merged), times);
    }

    #[test]
    fn bad_captures_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let good = capture(
            folder.path(),
            "good",
            PcapHeader::default(),
            &[(1, 0), (2, 0)],
        );
        let bytes = std::fs::read(&good).unwrap();
        let refusal = |bytes: &[u8]| {
            let path = folder.path().join("bad.pcap");
            std::fs::write(&path, bytes).unwrap();
            let read = || {
                let mut merged = Merged::open([(InterfaceIndex(0), path.as_path())])?;
                while merged.next()?.is_some() {}
                Ok::<_, CaptureError>(())
            };
            let text = read().unwrap_err().to_string();
            text.replace(&path.display().to_string(), "bad.pcap")
        };
        assert_eq!(
            refusal(b""),
            "bad.pcap is not a pcap file: the file is cut off"
        );
        assert_eq!(
            refusal(&bytes[..20]),
            "bad.pcap is not a pcap file: the file is cut off"
        );
        assert_eq!(
            refusal(&[PCAPNG, [0; 4], [0; 4]].concat()),
            "bad.pcap is a pcapng file: only pcap can be read"
        );
        assert!(refusal(&[7; 64]).starts_with("bad.pcap is not a pcap file: "));
        for cut in [
            bytes.len() - 1,
            bytes.len() - 14,
            bytes.len() - 15,
            bytes.len() - 29,
        ] {
            assert_eq!(
                refusal(&bytes[..cut]),
                "bad.pcap: packet 2 cannot be read: the file is cut off"
            );
        }
        let mut endless = bytes.clone();
        endless[24 + 8..24 + 12].fill(0xff);
        assert!(refusal(&endless).starts_with("bad.pcap: packet 1 cannot be read: "));
        let mut raw_ip = bytes;
        raw_ip[20..24].copy_from_slice(&[0, 0, 0, 101]);
        assert_eq!(
            refusal(&raw_ip),
            "bad.pcap holds no Ethernet frames: its link type is 101"
        );
    }
}
