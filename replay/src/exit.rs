//! What leaves the gateway: counted, put into the digest, held against what was expected, written down, and shown to whoever may
//! answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use rewire_dataplane::buffer::{MemoryBuffer, PacketBuffer};
use rewire_packet::EtherType;
use rewire_packet::ipv4::Ipv4View;
use rewire_tables::InterfaceIndex;

use crate::capture::{CaptureError, Output};
use crate::compared::LeftFrames;
use crate::expected::{Difference, Expected, How};
use crate::ports::Ports;
use crate::traffic::Traffic;

/// How much is hashed at once: the hash is several times faster on long inputs.
const HASHED_AT_ONCE: usize = 64 << 10;
/// The length of an Ethernet header.
const ETHERNET: usize = 14;

/// A digest of frames, with their interfaces and times.
pub(crate) struct OutputDigest {
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

impl OutputDigest {
    fn new() -> OutputDigest {
        OutputDigest {
            hasher: blake3::Hasher::new_derive_key("rewire 2026 replay output"),
            waiting: Vec::with_capacity(HASHED_AT_ONCE + (16 << 10)),
        }
    }

    fn add(&mut self, name: &str, now: u64, frame: &[u8]) {
        // Each part behind its length.
        let length = |length: usize| (length as u64).to_le_bytes();
        let time = [length(8), now.to_le_bytes(), length(frame.len())];
        self.waiting.extend_from_slice(&length(name.len()));
        self.waiting.extend_from_slice(name.as_bytes());
        self.waiting.extend_from_slice(time.as_flattened());
        self.waiting.extend_from_slice(frame);
        if self.waiting.len() >= HASHED_AT_ONCE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.waiting);
        self.waiting.clear();
    }

    fn finish(&mut self) -> String {
        self.flush();
        self.hasher.finalize().to_hex().to_string()
    }
}

/// The way out.
pub(crate) struct Exit {
    digest: OutputDigest,
    /// By the number of the interface.
    outputs: BTreeMap<usize, Output>,
    expected: BTreeMap<usize, Expected>,
    /// Frames that left.
    pub(crate) sent: u64,
    /// Whether every frame is looked at for what it must be.
    looks: bool,
    /// How many frames had come in before what leaves now.
    pub(crate) after: u64,
    /// What left, if that is noted.
    pub(crate) departures: Option<Vec<Departure>>,
    /// Of what left once so many frames had come in, the bytes are noted, too.
    pub(crate) bytes_after: u64,
    /// How many frames had come in behind each burst, if that is noted.
    pub(crate) bursts: Vec<u64>,
    /// Where what left first parted from what was expected.
    pub(crate) parted: Option<Parted>,
    /// What left the gateway that was recorded.
    pub(crate) recorded: Option<LeftFrames>,
    /// What was wrong with frames since this was asked last, at most [`MOST`](Self::MOST).
    wrong: Vec<Wrong>,
    error: Option<CaptureError>,
}

/// A frame that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// The interface that it left by, by its number among all names.
    pub(crate) interface: usize,
    /// How many frames had come in by then: it left because of the last of them, or of an earlier one.
    pub(crate) after: u64,
    /// Its bytes, where those were wanted.
    pub(crate) bytes: Option<Arc<[u8]>>,
}

/// Where what left parted from what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parted {
    /// The interface.
    pub(crate) interface: String,
    /// How.
    pub(crate) how: How,
}

/// A frame that must not have left as it did.
pub(crate) struct Wrong {
    /// Whether it is not what was expected; otherwise it is what no frame may be.
    pub(crate) is_unexpected: bool,
    pub(crate) message: String,
    pub(crate) details: Vec<String>,
}

impl Exit {
    const MOST: usize = 16;

    pub(crate) fn new(looks: bool) -> Exit {
        Exit {
            digest: OutputDigest::new(),
            outputs: BTreeMap::new(),
            expected: BTreeMap::new(),
            sent: 0,
            looks,
            after: 0,
            departures: None,
            bytes_after: 0,
            bursts: Vec::new(),
            parted: None,
            recorded: None,
            wrong: Vec::new(),
            error: None,
        }
    }

    pub(crate) fn write_to(&mut self, number: usize, output: Output) {
        self.outputs.insert(number, output);
    }

    pub(crate) fn expect(&mut self, number: usize, expected: Expected) {
        self.expected.insert(number, expected);
    }

    /// One frame leaves, at a time of the gateway's clock, which began at a Unix time.
    pub(crate) fn leaves(
        &mut self,
        (interface, buffer): (InterfaceIndex, MemoryBuffer),
        ports: &Ports,
        (now, beginning): (u64, u64),
        traffic: &mut dyn Traffic,
    ) {
        self.sent += 1;
        let frame = buffer.bytes();
        let number = ports.at(interface);
        if self.looks {
            let wrong = match number {
                None => Some(format!(
                    "a frame left by the interface with index {}, which is not there or not up",
                    interface.0
                )),
                Some(_) => ill_formed(frame),
            };
            if let Some(message) = wrong {
                self.note(Wrong {
                    is_unexpected: false,
                    message,
                    details: crate::words::hex(frame),
                });
            }
        }
        let name = number.map_or("", |number| ports.name(number));
        self.digest.add(name, now, frame);
        let time = beginning.saturating_add(now);
        if let Some(number) = number {
            if let Some(recorded) = &mut self.recorded {
                recorded.leaves(name, frame);
            }
            if let Some(departures) = &mut self.departures {
                departures.push(Departure {
                    interface: number,
                    after: self.after,
                    bytes: (self.after >= self.bytes_after).then(|| frame.into()),
                });
            }
            if !self.expected.is_empty()
                && let Some(expected) = self.expected.get_mut(&number)
            {
                match expected.meets(frame) {
                    Ok(None) => {}
                    Ok(Some(difference)) => self.differs(ports.name(number), difference),
                    Err(error) => self.error = Some(error),
                }
            }
            if !self.outputs.is_empty()
                && let Some(output) = self.outputs.get_mut(&number)
                && let Err(error) = output.write(time, frame)
            {
                self.error = Some(error);
            }
            if let Some(entrance) = ports.entrance(number) {
                traffic.left(entrance, time, frame);
            }
        }
    }

    /// What left by an interface is not what was expected.
    fn differs(&mut self, interface: &str, difference: Difference) {
        let Difference {
            message,
            details,
            how,
        } = difference;
        self.parted.get_or_insert_with(|| Parted {
            interface: interface.to_owned(),
            how,
        });
        self.note(Wrong {
            is_unexpected: true,
            message,
            details,
        });
    }

    fn note(&mut self, wrong: Wrong) {
        if self.wrong.len() < Exit::MOST {
            self.wrong.push(wrong);
        }
    }

    /// What was wrong since this was asked last.
    pub(crate) fn take_wrong(&mut self) -> Vec<Wrong> {
        std::mem::take(&mut self.wrong)
    }

    /// The first error in writing or reading a capture, if there was any.
    pub(crate) fn check(&mut self) -> Result<(), CaptureError> {
        self.error.take().map_or(Ok(()), Err)
    }

    /// Ends the captures, and what was expected; gives the digest of everything that left.
    pub(crate) fn finish(&mut self, ports: &Ports) -> Result<String, CaptureError> {
        for output in std::mem::take(&mut self.outputs).into_values() {
            output.finish()?;
        }
        for (number, expected) in std::mem::take(&mut self.expected) {
            let name = ports.name(number);
            if let Some(difference) = expected.end(name)? {
                self.differs(name, difference);
            }
        }
        Ok(self.digest.finish())
    }
}

/// What is wrong with a frame that no frame which leaves may have.
fn ill_formed(frame: &[u8]) -> Option<String> {
    let Some((header, packet)) = frame.split_at_checked(ETHERNET) else {
        return Some(format!("a frame of {} bytes left", frame.len()));
    };
    match EtherType(u16::from_be_bytes([header[12], header[13]])) {
        EtherType::IPV4 => {
            let view = match Ipv4View::new_checked(packet) {
                Ok(view) => view,
                Err(error) => return Some(format!("an IPv4 packet left that is none: {error}")),
            };
            let error = view.check_checksum().err()?;
            Some(format!("an IPv4 packet left with a wrong header: {error}"))
        }
        EtherType::IPV6 => {
            let length = packet.get(4..6)?;
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            (packet.len() < 40 + length).then(|| "an IPv6 packet left that is cut off".to_owned())
        }
        _ => None,
    }
}
