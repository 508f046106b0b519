//! What a replay came to.

use std::collections::BTreeMap;
use std::time::Duration;

use rewire_dataplane::{Restored, Totals};
use serde::Serialize;

use crate::check::{Check, Failure};
use crate::compared::Compared;
use crate::continuity::Judged;
use crate::exit::{Departure, Parted};
use crate::pace::When;

/// The most failures that a report tells of one by one.
pub const MOST_FAILURES: usize = 100;

/// What became of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The revision.
    pub revision: u64,
    /// Who committed it.
    pub author: String,
    /// What they said about it.
    pub message: String,
    /// When, in microseconds since the Unix epoch.
    pub committed_at: i64,
    /// When it became live, on the gateway's clock, in nanoseconds.
    pub time_ns: u64,
    /// The rows that it changed; those of the whole state for the first one, where that was compiled whole.
    pub changes: u64,
    /// The table operations that it became.
    pub operations: u64,
    /// The digest of the tables, where that was looked at.
    pub tables_digest: Option<String>,
    /// The checks that were made of it.
    pub checks: Vec<Check>,
    /// The frames that came in under it.
    pub packets_in: u64,
    /// The frames that left under it.
    pub packets_out: u64,
    /// The packets that were dropped under it.
    pub dropped: u64,
    /// The connections that were resolved again, and may go on.
    pub connections_kept: u64,
    /// Those that it does not allow any more.
    pub connections_ended: u64,
}

/// How long one revision took, by the clock on the wall: what differs from machine to machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// From the changeset to tables that are published.
    pub live: Duration,
    /// The checks of it.
    pub checks: Duration,
    /// The packets under it.
    pub packets: Duration,
}

/// What one check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Which one.
    pub check: Check,
    /// How often it was made.
    pub made: u64,
    /// How often it failed.
    pub failed: u64,
}

/// What a replay came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The revisions, in order.
    pub steps: Vec<Step>,
    /// How long each took.
    pub taken: Vec<Taken>,
    /// The checks that were asked for.
    pub checks: Vec<Checked>,
    /// The first [`MOST_FAILURES`] failures, in order.
    pub failures: Vec<Failure>,
    /// From the first packet to the end of the clock, in nanoseconds.
    pub time_ns: u64,
    /// The bursts that frames came in.
    pub bursts: u64,
    /// Frames for an interface that the revision of the moment does not have, or not up. They did not come in.
    pub undelivered: u64,
    /// The names of all interfaces, by index, of the last revision.
    pub interfaces: Vec<(usize, String)>,
    /// All counters at the end.
    pub totals: Totals,
    /// The digest of the tables at the end.
    pub tables_digest: Option<String>,
    /// The digest of every frame that left, with its interface and time.
    pub output_digest: String,
    /// The connections that were held against each revision, where that was checked.
    pub judged: Option<Judged>,
    /// The digest of all of the above but for how long things took. What follows is not part of it.
    pub digest: String,
    /// How long all of it took, by the clock on the wall.
    pub elapsed: Duration,
    /// The Unix time in nanoseconds at which the gateway's clock was 0.
    pub beginning: u64,
    /// When each revision became live.
    pub schedule: Vec<(u64, When)>,
    /// How many frames the traffic had given when the first check failed.
    pub failed_after: Option<u64>,
    /// How what left compares with what left the gateway that was recorded.
    pub compared: Option<Compared>,
    /// Where what left first parted from what was expected.
    pub(crate) parted: Option<Parted>,
    /// What became of the connections that it was to begin with.
    pub restored: Option<Restored>,
    /// What left, where that was noted.
    pub(crate) departures: Vec<Departure>,
    /// How many frames had come in behind each burst, where that was noted.
    pub(crate) burst_ends: Vec<u64>,
    /// The numbers of all names of interfaces.
    pub(crate) numbers: BTreeMap<String, usize>,
}

impl Report {
    /// Whether every check that was made has passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.failed == 0)
    }

    /// Digests what is the same on every machine.
    pub(crate) fn sealed(mut self) -> Report {
        let mut hasher = blake3::Hasher::new_derive_key("rewire 2026 replay report");
        let mut put = |value: &dyn std::fmt::Debug| {
            let text = format!("{value:?}\n");
            hasher.update(text.as_bytes());
        };
        for step in &self.steps {
            put(step);
        }
        let is_same = |check: &Check| !matches!(check, Check::Time | Check::Memory);
        for checked in self.checks.iter().filter(|c| is_same(&c.check)) {
            put(checked);
        }
        for failure in self.failures.iter().filter(|f| is_same(&f.check)) {
            put(failure);
        }
        put(&(self.time_ns, self.bursts, self.undelivered));
        put(&(&self.interfaces, &self.totals));
        put(&(&self.tables_digest, &self.output_digest));
        if let Some(judged) = &self.judged {
            put(judged);
        }
        self.digest = hasher.finalize().to_hex().to_string();
        self
    }
}
