//! What left a gateway while it was recorded, held against what leaves the replay: as many frames of each, whatever their order. Bursts
//! are others in a replay, and so is the order of frames of different connections. Questions for neighbors are not compared: a gateway's
//! workers hear of an answer a moment later, and may ask once more meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Serialize;

use crate::capture::{CaptureError, Direction, Input};

/// Tells frames apart: the first bytes of a hash.
type Digest = [u8; 16];

/// The frames that left a gateway, by their interfaces.
#[derive(Debug, Default)]
pub struct LeftFrames {
    /// How often each is still to leave; below 0: it has left more often.
    counts: BTreeMap<String, HashMap<Digest, i64>>,
    /// So many bytes of each were recorded, at most.
    snap: usize,
    alike: u64,
}

/// How what left a replay compares with what left the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Compared {
    /// Frames that left both.
    pub alike: u64,
    /// Frames that left the gateway alone.
    pub missing: u64,
    /// Frames that left the replay alone.
    pub more: u64,
}

fn digest(frame: &[u8], snap: usize) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(frame.len() as u64).to_le_bytes());
    hasher.update(&frame[..frame.len().min(snap)]);
    let mut digest = [0; 16];
    hasher.finalize_xof().fill(&mut digest);
    digest
}

/// Whether a frame asks for a neighbor: ARP, or a neighbor solicitation (RFC 4861, section 4.3).
fn is_question(frame: &[u8]) -> bool {
    const SOLICITATION: u8 = 135;
    match frame.get(12..14) {
        Some([0x08, 0x06]) => frame.get(21) == Some(&1),
        Some([0x86, 0xdd]) => frame.get(20) == Some(&58) && frame.get(54) == Some(&SOLICITATION),
        _ => false,
    }
}

impl LeftFrames {
    pub(crate) fn read(path: &Path, snap: usize) -> Result<LeftFrames, CaptureError> {
        let mut input = Input::open_padded(path, Direction::Out)?;
        let mut frames = LeftFrames {
            snap,
            ..LeftFrames::default()
        };
        let mut bytes = Vec::new();
        while input.peek().is_some() {
            let number = input.take(&mut bytes)?;
            if is_question(&bytes) {
                continue;
            }
            let name = input.interfaces().get(number).cloned().unwrap_or_default();
            let counts = frames.counts.entry(name).or_default();
            *counts.entry(digest(&bytes, snap)).or_default() += 1;
        }
        Ok(frames)
    }

    /// A frame leaves the replay.
    pub(crate) fn leaves(&mut self, interface: &str, frame: &[u8]) {
        if is_question(frame) {
            return;
        }
        if !self.counts.contains_key(interface) {
            self.counts.insert(interface.to_owned(), HashMap::new());
        }
        if let Some(counts) = self.counts.get_mut(interface) {
            let count = counts.entry(digest(frame, self.snap)).or_default();
            self.alike += u64::from(*count > 0);
            *count -= 1;
        }
    }

    pub(crate) fn compared(&self) -> Compared {
        let counts = self.counts.values().flat_map(HashMap::values);
        let (mut missing, mut more) = (0, 0);
        for count in counts {
            missing += u64::try_from(*count).unwrap_or(0);
            more += u64::try_from(-count).unwrap_or(0);
        }
        Compared {
            alike: self.alike,
            missing,
            more,
        }
    }
}
