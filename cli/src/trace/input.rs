//! Packets that are not written in words: hexadecimal digits, captures, replies.

use std::fs::File;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::{Block, PcapNgReader};
use rewire_dataplane::ASSUMED_NEIGHBOR;
use rewire_dataplane::walk::Outcome;
use rewire_packet::MacAddress;
use rewire_packet::tcp::TcpFlags;

use super::packet_text::{PacketText, Upper};
use super::{Asked, Walked};
use crate::failure::{Code, Failure};
use crate::terminal::clean;

/// Reads a packet in words.
///
/// # Errors
/// Where it cannot be read, with the place.
pub(crate) fn packet(text: &str) -> Result<PacketText, Failure> {
    text.parse::<PacketText>().map_err(|error| {
        let pointer = " ".repeat(error.column.saturating_sub(1));
        let message = format!("the packet cannot be read: {error}\n  {text}\n  {pointer}^");
        Failure::new(Code::WrongArguments, message).detail("column", error.column)
    })
}

/// The first four bytes of a pcapng file.
const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

/// Bytes from hexadecimal digits; blanks, colons and dots in between do not matter.
///
/// # Errors
/// What is no digit, or half a byte, in words.
pub(crate) fn bytes(digits: &str) -> Result<Vec<u8>, String> {
    let mut halves = Vec::new();
    for (at, c) in digits.chars().enumerate() {
        match c.to_digit(16) {
            Some(digit) => halves.push(digit as u8),
            None if c.is_whitespace() || ":.-".contains(c) => {}
            None => {
                let found = clean(&c.to_string());
                return Err(format!(
                    "column {}: expected a hexadecimal digit, found \"{found}\"",
                    at + 1
                ));
            }
        }
    }
    if halves.len() % 2 == 1 {
        return Err(format!(
            "expected two digits for each byte, found {} digits",
            halves.len()
        ));
    }
    Ok(halves
        .chunks_exact(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

/// A frame of a capture.
#[derive(Clone, Debug)]
pub(crate) struct CapturedFrame {
    path: PathBuf,
    /// Which, from 1.
    number: u64,
}

impl FromStr for CapturedFrame {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbered = text.rsplit_once(':').and_then(|(path, number)| {
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            Some((path, number.parse().ok().filter(|_| is_number)?))
        });
        match numbered.unwrap_or((text, 1)) {
            ("", _) => Err("expected a file, like lan.pcap or lan.pcap:3"),
            (_, 0) => Err("frames count from 1"),
            (path, number) => Ok(CapturedFrame {
                path: path.into(),
                number,
            }),
        }
    }
}

impl CapturedFrame {
    /// Reads it.
    ///
    /// # Errors
    /// The file is no capture, or has not so many frames.
    pub(crate) fn read(&self) -> Result<Vec<u8>, Failure> {
        let failed = |why: String| {
            let path = self.path.display();
            Failure::new(Code::UnreadableFile, format!("cannot read {path}: {why}"))
        };
        let frame = nth(&self.path, self.number).map_err(failed)?;
        frame.ok_or_else(|| failed(format!("it has no frame {}", self.number)))
    }
}

/// The Nth frame of a capture, if it has so many.
fn nth(path: &Path, number: u64) -> Result<Option<Vec<u8>>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut magic = Vec::new();
    let read = (&mut file).take(4).read_to_end(&mut magic);
    read.and_then(|_| file.rewind())
        .map_err(|error| error.to_string())?;
    let mut left = number;
    if magic == PCAPNG {
        let mut reader = PcapNgReader::new(file).map_err(|error| error.to_string())?;
        while let Some(block) = reader.next_block() {
            let data = match block.map_err(|error| error.to_string())? {
                Block::EnhancedPacket(packet) => packet.data.into_owned(),
                Block::SimplePacket(packet) => packet.data.into_owned(),
                _ => continue,
            };
            left -= 1;
            if left == 0 {
                return Ok(Some(data));
            }
        }
        return Ok(None);
    }
    let mut reader = PcapReader::new(file).map_err(|error| error.to_string())?;
    while let Some(packet) = reader.next_raw_packet() {
        let data = packet.map_err(|error| error.to_string())?.data.into_owned();
        left -= 1;
        if left == 0 {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// The packet that answers one that was forwarded, as its receiver would send it; none where that sends none.
pub(crate) fn reply(walked: &Walked) -> Option<Asked> {
    let Some(Outcome::Forwarded(interface)) = &walked.walk.outcome else {
        return None;
    };
    let mut sent = walked.walk.sent.iter();
    let (_, frame) = sent.find(|(by, _)| by == interface)?;
    let packet = PacketText::of_frame(frame, MacAddress::ZERO)?;
    let upper = match packet.upper {
        Upper::Tcp { flags, .. } if flags.contains(TcpFlags::RST) => return None,
        Upper::Tcp {
            ports: (source, destination),
            flags,
            sequence,
            acknowledgment,
        } => {
            let opens = flags.contains(TcpFlags::SYN);
            let takes = u32::from(opens || flags.contains(TcpFlags::FIN));
            Upper::Tcp {
                ports: (destination, source),
                flags: match opens && !flags.contains(TcpFlags::ACK) {
                    true => TcpFlags::SYN | TcpFlags::ACK,
                    false => TcpFlags::ACK,
                },
                sequence: acknowledgment,
                acknowledgment: sequence.wrapping_add(takes),
            }
        }
        Upper::Udp((source, destination)) => Upper::Udp((destination, source)),
        Upper::Sctp((source, destination)) => Upper::Sctp((destination, source)),
        Upper::Icmp {
            message_type,
            code: 0,
            identifier,
            sequence,
        } => Upper::Icmp {
            message_type: match message_type {
                8 => 0,
                128 => 129,
                _ => return None,
            },
            code: 0,
            identifier,
            sequence,
        },
        Upper::Icmp { .. } => return None,
        Upper::Other(protocol) => Upper::Other(protocol),
    };
    let reply = PacketText {
        interface: Some(interface.to_string()),
        source: packet.destination,
        destination: packet.source,
        upper,
        hop_limit: 64,
        length: None,
        traffic_class: packet.traffic_class,
        may_fragment: false,
        fragment: None,
        identification: 0,
        // From the neighbor that the packet went to.
        link_source: packet.link_destination.or(Some(ASSUMED_NEIGHBOR)),
        link_destination: None,
    };
    Some(Asked::Text(Box::new(reply)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_bytes() {
        assert_eq!(bytes("02 00:5e.ff"), Ok(vec![2, 0, 0x5e, 0xff]));
        assert_eq!(bytes(""), Ok(vec![]));
        assert!(bytes("0x02").unwrap_err().starts_with("column 2"));
        assert!(bytes("021").is_err());
    }

    #[test]
    fn a_capture_is_named_with_the_number_of_its_frame() {
        let named = |text: &str| {
            text.parse::<CapturedFrame>()
                .map(|frame| (frame.path, frame.number))
        };
        assert_eq!(named("a.pcap"), Ok(("a.pcap".into(), 1)));
        assert_eq!(named("a:b.pcap:12"), Ok(("a:b.pcap".into(), 12)));
        assert!(named("a.pcap:0").is_err());
        assert!(named(":3").is_err());
    }
}
