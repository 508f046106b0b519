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

mod file;
mod share;

use std::fs;
use std::io;
use std::ops::AddAssign;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::Instant;

pub(crate) use self::file::{NamesOf, decode, encode, names_of, read, write};
pub(crate) use self::share::{Share, save, save_copied};

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

/// What is wrong with bytes that should be saved connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SavedFlaw {
    /// They are not of this version.
    #[error("they were not saved by this version of the gateway")]
    Foreign,
    /// They are not as they were saved.
    #[error("they are damaged")]
    Damaged,
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
    /// Among another number of workers than before, their packets would meet at one worker, and the answers at another.
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

/// In place of a start of the machine, where a recording has begun.
const RECORDED: [u8; 36] = *b"a moment of a recording of a gateway";

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

    /// When a recording begins: its clock is no machine's.
    pub(crate) fn recorded(clock: Instant) -> Moment {
        Moment {
            boot: RECORDED,
            clock,
            wall: 0,
        }
    }

    /// The same moment on the clock of a replay.
    pub(crate) fn replayed(clock: Instant) -> Moment {
        Moment {
            boot: [0; 36],
            clock,
            wall: 0,
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
}
