//! The file: what is in it, and whether it is as it was written.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rewire_conntrack::{ByteReader, Renumber};
use rewire_tables::{InterfaceIndex, PeeringIndex, Tables, VpcIndex};

use super::{Moment, SavedError, SavedFlaw};
use crate::clock::Instant;

const MAGIC: &[u8; 8] = b"rewirect";
const VERSION: u32 = 2;

/// The names that indices stand for: of VPCs, interfaces and peerings.
pub(crate) type NamesOf = [Vec<(u16, String)>; 3];

pub(crate) fn names_of(tables: &Tables) -> NamesOf {
    let vpcs = tables
        .vpcs()
        .map(|(index, vpc)| (index.0, vpc.name().to_owned()));
    let interfaces = tables.interfaces();
    let interfaces = interfaces.map(|(index, interface)| (index.0, interface.name.to_string()));
    let peerings = tables.peerings();
    let peerings = peerings.map(|(index, peering)| (index.0, peering.name().to_owned()));
    [vpcs.collect(), interfaces.collect(), peerings.collect()]
}

/// What the indices of a file are in the tables of another gateway.
#[derive(Debug)]
pub(crate) struct Numbers([HashMap<u16, u16>; 3]);

impl Numbers {
    /// By names: of a file, and of the tables now.
    pub(super) fn between(saved: &Saved, tables: &Tables) -> Numbers {
        let (saved, now) = (&saved.names, &names_of(tables));
        let mut which = 0..;
        Numbers(saved.each_ref().map(|saved| {
            let now = &now[which.next().unwrap_or(0)];
            let by_name: HashMap<&str, u16> = now
                .iter()
                .map(|(index, name)| (name.as_str(), *index))
                .collect();
            let numbers = saved
                .iter()
                .filter_map(|(index, name)| Some((*index, *by_name.get(name.as_str())?)));
            numbers.collect()
        }))
    }
}

impl Renumber for Numbers {
    fn vpc(&self, index: VpcIndex) -> Option<VpcIndex> {
        self.0[0].get(&index.0).copied().map(VpcIndex)
    }
    fn interface(&self, index: InterfaceIndex) -> Option<InterfaceIndex> {
        self.0[1].get(&index.0).copied().map(InterfaceIndex)
    }
    fn peering(&self, index: PeeringIndex) -> Option<PeeringIndex> {
        self.0[2].get(&index.0).copied().map(PeeringIndex)
    }
}

/// What comes before the workers' parts.
fn beginning(names: &NamesOf, moment: &Moment, workers: &[Vec<u8>]) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend(moment.boot);
    head.extend(moment.clock.0.to_le_bytes());
    head.extend(moment.wall.to_le_bytes());
    for names in names {
        head.extend((names.len() as u32).to_le_bytes());
        for (index, name) in names {
            head.extend(index.to_le_bytes());
            head.extend((name.len() as u16).to_le_bytes());
            head.extend(name.as_bytes());
        }
    }
    head.extend((workers.len() as u16).to_le_bytes());
    for worker in workers {
        head.extend((worker.len() as u64).to_le_bytes());
        head.extend(checksum(worker).to_le_bytes());
    }
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((head.len() as u32).to_le_bytes());
    bytes.extend(checksum(&head).to_le_bytes());
    bytes.extend(head);
    bytes
}

/// What workers have [saved](super::save), as it would be in a file.
pub(crate) fn encode(names: &NamesOf, moment: &Moment, workers: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = beginning(names, moment, workers);
    workers.iter().for_each(|worker| bytes.extend(worker));
    bytes
}

/// Writes what workers have [saved](super::save), all of it or nothing.
pub(crate) fn write(
    path: &Path,
    tables: &Tables,
    moment: &Moment,
    workers: &[Vec<u8>],
) -> Result<(), SavedError> {
    let written = (|| {
        let being_written = path.with_extension("new");
        let _ = fs::remove_file(&being_written);
        // Whoever reads it knows who speaks with whom.
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&being_written)?;
        file.write_all(&beginning(&names_of(tables), moment, workers))?;
        for worker in workers {
            file.write_all(worker)?;
        }
        fs::rename(&being_written, path)
    })();
    written.map_err(|source| SavedError::File {
        path: path.to_owned(),
        source,
    })
}

/// A checksum against what disks and half-written files do, not against people (FNV-1a's steps, eight bytes at a time, with
/// the high half folded in).
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, word: u64| {
        let product = (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        product ^ product >> 32
    };
    let (words, rest) = bytes.as_chunks();
    let sum = words.iter().fold(0xcbf2_9ce4_8422_2325, |sum, word| {
        step(sum, u64::from_le_bytes(*word))
    });
    let sum = rest.iter().fold(sum, |sum, byte| step(sum, (*byte).into()));
    step(sum, bytes.len() as u64)
}

/// What a file has.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(super) bytes: Vec<u8>,
    pub(crate) moment: Moment,
    names: NamesOf,
    /// Where the flows of each worker are.
    pub(super) workers: Vec<Range<usize>>,
}

/// Reads a file, if it is there.
pub(crate) fn read(path: &Path) -> Result<Option<Saved>, SavedError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SavedError::File {
                path: path.to_owned(),
                source,
            });
        }
    };
    let decoded = decode(bytes).map_err(|flaw| match flaw {
        SavedFlaw::Foreign => SavedError::Foreign(path.to_owned()),
        SavedFlaw::Damaged => SavedError::Damaged(path.to_owned()),
    });
    decoded.map(Some)
}

/// Reads what [`encode`] has made.
pub(crate) fn decode(bytes: Vec<u8>) -> Result<Saved, SavedFlaw> {
    if bytes.get(..12) != Some(&[&MAGIC[..], &VERSION.to_le_bytes()].concat()[..]) {
        return Err(SavedFlaw::Foreign);
    }
    let (moment, names, workers) = parse(&bytes).ok_or(SavedFlaw::Damaged)?;
    Ok(Saved {
        bytes,
        moment,
        names,
        workers,
    })
}

fn parse(bytes: &[u8]) -> Option<(Moment, NamesOf, Vec<Range<usize>>)> {
    let mut rest = ByteReader::new(bytes.get(12..)?);
    let length = rest.u32()? as usize;
    let sum = rest.u64()?;
    let head = rest.bytes(length)?;
    let body = rest.rest();
    if checksum(head) != sum {
        return None;
    }
    let mut rest = ByteReader::new(head);
    let moment = Moment {
        boot: rest.array()?,
        clock: Instant(rest.u64()?),
        wall: rest.u64()?,
    };
    let mut names = NamesOf::default();
    for names in &mut names {
        for _ in 0..rest.u32()? {
            let (index, length) = (rest.u16()?, rest.u16()?);
            let name = rest.bytes(length.into())?;
            names.push((index, String::from_utf8(name.to_vec()).ok()?));
        }
    }
    let mut workers = Vec::new();
    let mut start = bytes.len() - body.len();
    for _ in 0..rest.u16()? {
        let (length, sum) = (usize::try_from(rest.u64()?).ok()?, rest.u64()?);
        let range = start..start.checked_add(length)?;
        if checksum(bytes.get(range.clone())?) != sum {
            return None;
        }
        start = range.end;
        workers.push(range);
    }
    (start == bytes.len()).then_some((moment, names, workers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_sees_every_bit_and_the_length() {
        let bytes: Vec<u8> = (0..61).collect();
        let sum = checksum(&bytes);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[place] ^= 1 << bit;
                assert_ne!(checksum(&other), sum, "bit {bit} of byte {place}");
            }
        }
        assert_ne!(checksum(&bytes[..60]), sum);
        assert_ne!(checksum(&[&bytes[..], &[0]].concat()), sum);
    }
}
