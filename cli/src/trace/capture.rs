//! Frames that were seen, as a pcapng file.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, PcapError};

use super::input;
use crate::daemon::watch::Frame;

/// What pcapng says of the direction of a packet, in the flags of its block: inbound, and outbound.
const DIRECTIONS: [u32; 2] = [1, 2];

/// The file: an interface for each port, or for each node where the port is not known, and a block a frame, with what was decided
/// about it as its comment.
///
/// # Errors
/// Memory cannot be written to; never, as far as is known.
pub(crate) fn write(frames: &[Frame], snap: u32) -> Result<Vec<u8>, std::io::Error> {
    let failed = |error: PcapError| std::io::Error::other(error.to_string());
    let mut writer = PcapNgWriter::new(Vec::new()).map_err(failed)?;
    let mut names: Vec<&str> = Vec::new();
    for frame in frames {
        let name = match frame.interface.is_empty() {
            true => frame.node.as_str(),
            false => frame.interface.as_str(),
        };
        let place = match names.iter().position(|known| *known == name) {
            Some(place) => place,
            None => {
                let block = InterfaceDescriptionBlock {
                    linktype: DataLink::ETHERNET,
                    snaplen: snap,
                    options: vec![
                        InterfaceDescriptionOption::IfName(Cow::Owned(name.to_owned())),
                        // Time stamps are nanoseconds: 10^-9.
                        InterfaceDescriptionOption::IfTsResol(9),
                    ],
                };
                writer.write_pcapng_block(block).map_err(failed)?;
                names.push(name);
                names.len() - 1
            }
        };
        let mut options = Vec::new();
        if let Some(comment) = &frame.comment {
            let comment = format!("{}: {comment}", frame.node);
            options.push(EnhancedPacketOption::Comment(Cow::Owned(comment)));
        }
        if !frame.interface.is_empty() {
            let direction = DIRECTIONS[usize::from(frame.leaves)];
            options.push(EnhancedPacketOption::Flags(direction));
        }
        let bytes = input::bytes(&frame.frame).unwrap_or_default();
        let block = EnhancedPacketBlock {
            interface_id: place as u32,
            timestamp: Duration::from_nanos(frame.time_ns),
            original_len: frame.length as u32,
            data: Cow::Owned(bytes),
            options,
        };
        writer.write_pcapng_block(block).map_err(failed)?;
    }
    Ok(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::*;

    fn frame(interface: &str, time_ns: u64, comment: Option<&str>) -> Frame {
        Frame {
            time_ns,
            interface: interface.to_owned(),
            leaves: false,
            length: 60,
            frame: "0102030405060708090a0b0c0d0e".to_owned(),
            comment: comment.map(str::to_owned),
            node: "route".to_owned(),
        }
    }

    #[test]
    fn what_is_written_can_be_read() {
        let time = 1_800_000_000_123_456_789;
        let frames = [
            frame("lan", time, None),
            frame("", time + 1, Some("dropped")),
            frame("lan", time + 2, None),
        ];
        let bytes = write(&frames, 100).unwrap();
        let mut reader = PcapNgReader::new(bytes.as_slice()).unwrap();
        let mut seen = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                seen.push((
                    packet.interface_id,
                    packet.timestamp.as_nanos() as u64 - time,
                    packet.original_len,
                    packet.options.len(),
                ));
            }
        }
        assert_eq!(seen, [(0, 0, 60, 1), (1, 1, 60, 1), (0, 2, 60, 1)]);
    }
}
