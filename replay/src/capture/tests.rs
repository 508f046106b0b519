//! Captures, read and written.

use std::fs::File;
use std::path::{Path, PathBuf};

use pcap_file::pcap::{PcapHeader, PcapWriter};
use pcap_file::{Endianness, TsResolution};

use super::output::Recording;
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

fn all(captures: &mut Captures) -> Vec<(u64, usize, u8)> {
    let mut bytes = Vec::new();
    std::iter::from_fn(|| {
        let arrival = captures.take(&mut bytes).unwrap()?;
        Some((arrival.nanoseconds, arrival.entrance, bytes[0]))
    })
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
    let mut merged = Captures::new();
    for (name, path) in ["a", "b", "c", "d"].iter().zip(&paths) {
        merged.add(Some(name), path).unwrap();
    }
    assert_eq!(merged.total().unwrap(), 12);
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
    let mut output = Output::new(&path);
    output.write(1_234_567_891, &[1; 60]).unwrap();
    // Larger than any frame of ours, and still a frame.
    output
        .write(u64::from(u32::MAX) * 1_000_000_000, &[2; 100_000])
        .unwrap();
    output.finish().unwrap();
    let mut merged = Captures::new();
    merged.add(Some("a"), &path).unwrap();
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
            let mut merged = Captures::new();
            merged.add(Some("a"), &path)?;
            while merged.take(&mut Vec::new())?.is_some() {}
            Ok::<_, CaptureError>(())
        };
        let text = read().unwrap_err().to_string();
        text.replace(&path.display().to_string(), "bad.pcap")
    };
    assert_eq!(
        refusal(b""),
        "bad.pcap is neither a pcap nor a pcapng file: the file is cut off"
    );
    assert_eq!(
        refusal(&bytes[..20]),
        "bad.pcap is neither a pcap nor a pcapng file: the file is cut off"
    );
    let refused = "bad.pcap is neither a pcap nor a pcapng file: ";
    let pcapng = [[0x0a, 0x0d, 0x0d, 0x0a], [0; 4], [0; 4]].concat();
    assert!(refusal(&pcapng).starts_with(refused));
    assert!(refusal(&[7; 64]).starts_with("bad.pcap is neither a pcap nor a pcapng file: "));
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

#[test]
fn a_recording_is_read_again_by_its_interfaces_and_directions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packets.pcapng");
    let mut recording = Recording::new(Vec::new()).unwrap();
    for (interface, direction, time, first) in [
        ("lan", Direction::In, 5, 1),
        ("wan", Direction::Out, 6, 2),
        ("wan", Direction::In, 1_700_000_000_123_456_789, 3),
        ("lan", Direction::Out, 1_700_000_000_123_456_790, 4),
    ] {
        let frame = [first; 15];
        recording
            .write(interface, direction, time, (&frame, 15))
            .unwrap();
    }
    std::fs::write(&path, recording.finish()).unwrap();
    let mut captures = Captures::new();
    captures.add(None, &path).unwrap();
    assert_eq!(captures.total().unwrap(), 2);
    let expected = [(5, 0, 1), (1_700_000_000_123_456_789, 1, 3)];
    assert_eq!(all(&mut captures), expected);
    assert_eq!(captures.interfaces(), ["lan", "wan"]);
    let out = Input::open(&path, Direction::Out).unwrap();
    assert_eq!(out.peek().unwrap().bytes, [2; 15]);
    assert_eq!(out.count().unwrap(), 2);
}

/// Blocks of a pcapng file by hand: an interface without a name and a unit of 2^-10 s, then one with neither.
#[test]
fn units_of_time_stamps_are_those_of_their_interface() {
    let block = |kind: u32, body: &[u8]| {
        let length = (12 + body.len()) as u32;
        [
            &kind.to_le_bytes()[..],
            &length.to_le_bytes(),
            body,
            &length.to_le_bytes(),
        ]
        .concat()
    };
    let section = [
        &0x1a2b_3c4d_u32.to_le_bytes()[..],
        &[1, 0, 0, 0],
        &[0xff; 8],
    ]
    .concat();
    let binary = [
        1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 0, 0x8a, 0, 0, 0, 0, 0, 0, 0,
    ];
    let plain = [1, 0, 0, 0, 0, 0, 0, 0];
    let packet = |interface: u32, stamp: u32| {
        let head = [interface, 0, stamp, 14, 14].map(u32::to_le_bytes).concat();
        block(6, &[head, vec![9; 16]].concat())
    };
    let file = [
        block(0x0a0d_0d0a, &section),
        block(1, &binary),
        block(1, &plain),
        packet(0, 512),
        packet(1, 600_000),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("units.pcapng");
    std::fs::write(&path, file.concat()).unwrap();
    let mut captures = Captures::new();
    captures.add(None, &path).unwrap();
    assert_eq!(
        all(&mut captures),
        [(500_000_000, 0, 9), (600_000_000, 1, 9)]
    );
    assert_eq!(captures.interfaces(), ["0", "1"]);

    let unknown = [block(0x0a0d_0d0a, &section), packet(3, 1)].concat();
    std::fs::write(&path, unknown).unwrap();
    let error = Captures::new().add(None, &path).unwrap_err().to_string();
    assert!(
        error.ends_with("it is of interface 3, which is not described"),
        "{error}"
    );
}
