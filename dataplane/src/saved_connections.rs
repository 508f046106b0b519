//! The connections of a gateway that stops, in a file for the one that starts in its place.
//!
//! Indices are others in another gateway, so names go with them: what is not there any more is left out. The file is read
//! once; it has a version and a checksum, and a gateway that does not know it begins without.
//!
//! ```text
//! "rewirect" version:u32 length:u32 checksum:u64, and so long a head:
//!     boot:[u8;36] clock:u64 wall:u64
//!     three times (VPCs, interfaces, peerings): number:u32, each index:u16 length:u16 name
//!     workers:u16, each length:u64 checksum:u64
//! for each worker, so many bytes: number4:u64, as many flows of IPv4; number6:u64, as many of IPv6
//! ```
//!
//! Numbers are little-endian. Clock and wall are nanoseconds since the machine's start and since the Unix epoch.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::{AddAssign, Range};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{SystemTime, UNIX_EPOCH};

use rewire_conntrack::{Connections, InsertError, Renumber, SavedFlow, owner};
use rewire_tables::{Address, InterfaceIndex, PeeringIndex, Tables, VpcIndex};

use crate::clock::Instant;

const MAGIC: &[u8; 8] = b"rewirect";
const VERSION: u32 = 2;

/// Why saved connections cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// The file cannot be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not one of this version.
    #[error("{}: it was not written by this version of the gateway", .0.display())]
    Foreign(PathBuf),
    /// The file is not as it was written.
    #[error("{}: it is damaged", .0.display())]
    Damaged(PathBuf),
}

/// What became of saved connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// They go on as they were.
    pub restored: u64,
    /// Their time was up meanwhile.
    pub over: u64,
    /// A VPC, interface or peering of theirs is not there any more.
    pub gone: u64,
    /// Their worker is not there any more, or does not own their port.
    pub not_owned: u64,
    /// There is no room for them.
    pub full: u64,
    /// Others have their addresses and ports.
    pub clash: u64,
}

impl Restored {
    /// How many do not go on.
    pub fn lost(&self) -> u64 {
        self.over + self.gone + self.not_owned + self.full + self.clash
    }
}

impl AddAssign for Restored {
    fn add_assign(&mut self, other: Restored) {
        self.restored += other.restored;
        self.over += other.over;
        self.gone += other.gone;
        self.not_owned += other.not_owned;
        self.full += other.full;
        self.clash += other.clash;
    }
}

/// When something was saved, or is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Which start of the machine the clock counts from.
    boot: [u8; 36],
    /// On the gateway's clock.
    clock: Instant,
    /// By the wall clock, in nanoseconds.
    wall: u64,
}

impl Moment {
    pub(crate) fn now(clock: Instant) -> Moment {
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            boot: *boot.first_chunk().unwrap_or(&[0; 36]),
            clock,
            wall: wall.map_or(0, |wall| wall.as_nanos() as u64),
        }
    }

    /// How far the clock now is ahead of the one that was saved by. Within one start of the machine it is the same clock.
    fn shift_from(&self, saved: &Moment) -> i64 {
        if self.boot == saved.boot {
            return 0;
        }
        let passed = self.wall.saturating_sub(saved.wall);
        (self.clock.0 as i64).wrapping_sub(saved.clock.0.saturating_add(passed) as i64)
    }
}

/// The names that indices stand for: of VPCs, interfaces and peerings.
type NamesOf = [Vec<(u16, String)>; 3];

fn names_of(tables: &Tables) -> NamesOf {
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
    fn between(saved: &NamesOf, now: &NamesOf) -> Numbers {
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

/// One worker's connections of one family, behind what is there.
pub(crate) fn save<A: Address>(connections: &Connections<A>, now: Instant, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend(0_u64.to_le_bytes());
    out.reserve(connections.len() * SavedFlow::<A>::LENGTH);
    let mut number = 0_u64;
    for flow in connections.saved(now) {
        flow.write(out);
        number += 1;
    }
    out[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Writes what workers have [saved](save), all of it or nothing.
pub(crate) fn write(
    path: &Path,
    tables: &Tables,
    moment: &Moment,
    workers: &[Vec<u8>],
) -> Result<(), SavedError> {
    let mut head = Vec::new();
    head.extend(moment.boot);
    head.extend(moment.clock.0.to_le_bytes());
    head.extend(moment.wall.to_le_bytes());
    for names in names_of(tables) {
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
    let written = (|| {
        let being_written = path.with_extension("new");
        let _ = fs::remove_file(&being_written);
        // Whoever reads it knows who speaks with whom.
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&being_written)?;
        file.write_all(MAGIC)?;
        file.write_all(&VERSION.to_le_bytes())?;
        file.write_all(&(head.len() as u32).to_le_bytes())?;
        file.write_all(&checksum(&head).to_le_bytes())?;
        file.write_all(&head)?;
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
    bytes: Vec<u8>,
    moment: Moment,
    names: NamesOf,
    /// Where the flows of each worker are.
    workers: Vec<Range<usize>>,
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
    if bytes.get(..12) != Some(&[&MAGIC[..], &VERSION.to_le_bytes()].concat()[..]) {
        return Err(SavedError::Foreign(path.to_owned()));
    }
    let parsed = parse(&bytes).ok_or_else(|| SavedError::Damaged(path.to_owned()))?;
    let (moment, names, workers) = parsed;
    Ok(Some(Saved {
        bytes,
        moment,
        names,
        workers,
    }))
}

fn parse(bytes: &[u8]) -> Option<(Moment, NamesOf, Vec<Range<usize>>)> {
    let mut rest = Rest(bytes.get(12..)?);
    let length = rest.u32()? as usize;
    let sum = rest.u64()?;
    let (head, body) = rest.0.split_at_checked(length)?;
    if checksum(head) != sum {
        return None;
    }
    let mut rest = Rest(head);
    let moment = Moment {
        boot: rest.take()?,
        clock: Instant(rest.u64()?),
        wall: rest.u64()?,
    };
    let mut names = NamesOf::default();
    for names in &mut names {
        for _ in 0..rest.u32()? {
            let (index, length) = (rest.u16()?, rest.u16()?);
            let (name, behind) = rest.0.split_at_checked(length.into())?;
            rest = Rest(behind);
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

/// Bytes that are read one number after the other.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }
    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// What one worker is to take over.
#[derive(Debug)]
pub(crate) struct Share {
    saved: Arc<Saved>,
    numbers: Arc<Numbers>,
    shift: i64,
    worker: u16,
    workers: u16,
    reply: SyncSender<Restored>,
}

impl Saved {
    /// The shares of so many workers, under these tables: each takes over what the one with its number had. What those had that
    /// are no more is lost: how many connections that is.
    pub(crate) fn shares(
        self,
        tables: &Tables,
        now: &Moment,
        workers: u16,
        reply: &SyncSender<Restored>,
    ) -> (Vec<Share>, u64) {
        let numbers = Arc::new(Numbers::between(&self.names, &names_of(tables)));
        let shift = now.shift_from(&self.moment);
        let homeless = self.workers.iter().skip(workers.into());
        let lost = homeless
            .map(|range| number(&self.bytes[range.clone()]))
            .sum();
        let saved = Arc::new(self);
        let share = |worker| Share {
            saved: Arc::clone(&saved),
            numbers: Arc::clone(&numbers),
            shift,
            worker,
            workers,
            reply: reply.clone(),
        };
        let there = (saved.workers.len() as u16).min(workers);
        ((0..there).map(share).collect(), lost)
    }
}

/// How many connections a worker has saved.
fn number(section: &[u8]) -> u64 {
    let mut rest = Rest(section);
    let four = rest.u64().unwrap_or(0);
    let behind = four as usize * SavedFlow::<Ipv4Addr>::LENGTH;
    let six = rest.0.get(behind..).and_then(|rest| Rest(rest).u64());
    four + six.unwrap_or(0)
}

impl Share {
    /// Puts the connections into a worker's tables, and says what became of them. Takes as long as it takes: for before packets
    /// come.
    pub(crate) fn restore(
        &self,
        connections: (&mut Connections<Ipv4Addr>, &mut Connections<Ipv6Addr>),
        now: Instant,
    ) {
        let mut restored = Restored::default();
        let range = self.saved.workers[usize::from(self.worker)].clone();
        let mut rest = &self.saved.bytes[range];
        restored += self.restore_family(connections.0, &mut rest, now);
        restored += self.restore_family(connections.1, &mut rest, now);
        // Who has asked may have lost patience.
        let _ = self.reply.try_send(restored);
    }

    fn restore_family<A: Address>(
        &self,
        connections: &mut Connections<A>,
        bytes: &mut &[u8],
        now: Instant,
    ) -> Restored {
        let mut restored = Restored::default();
        let mut rest = Rest(bytes);
        let number = rest.u64().unwrap_or(0);
        let flows = rest
            .0
            .chunks_exact(SavedFlow::<A>::LENGTH)
            .take(number as usize);
        for bytes in flows {
            let Some(flow) = SavedFlow::<A>::read(bytes) else {
                restored.gone += 1;
                continue;
            };
            let Some(flow) = flow.renumbered(&*self.numbers) else {
                restored.gone += 1;
                continue;
            };
            let flow = flow.shifted(self.shift);
            let is_own = |port| {
                usize::from(self.workers) == self.saved.workers.len()
                    || owner(port, self.workers) == self.worker
            };
            if flow.is_over(now) {
                restored.over += 1;
            } else if !flow.mapped_port().is_none_or(is_own) {
                restored.not_owned += 1;
            } else {
                match connections.restore(&flow, now) {
                    Ok(_) => restored.restored += 1,
                    Err(InsertError::TableFull) => restored.full += 1,
                    Err(InsertError::Clash) => restored.clash += 1,
                }
            }
        }
        let length = number as usize * SavedFlow::<A>::LENGTH;
        *bytes = rest.0.get(length..).unwrap_or_default();
        restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_through_a_restart_and_is_made_up_after_a_reboot() {
        const SECOND: u64 = 1_000_000_000;
        let moment = |boot, clock, wall| Moment {
            boot: [boot; 36],
            clock: Instant(clock * SECOND),
            wall: wall * SECOND,
        };
        let saved = moment(1, 1000, 5000);
        assert_eq!(moment(1, 1004, 9999).shift_from(&saved), 0);
        // After a hundred seconds, ten of which the machine has been on: what was due in 300 is due in 200.
        let shift = moment(2, 10, 5100).shift_from(&saved);
        assert_eq!(1300 * SECOND as i64 + shift, 210 * SECOND as i64);
        // A wall clock that went back makes nothing older.
        let shift = moment(2, 10, 4000).shift_from(&saved);
        assert_eq!(1300 * SECOND as i64 + shift, 310 * SECOND as i64);
    }

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
