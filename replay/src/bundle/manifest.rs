//! The manifest of a bundle: `manifest.json`. Its form is versioned: fields may be added to a format, and are never renamed or
//! removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::check::{Check, Failure};
use crate::options::KnownNeighbor;
use crate::pace::When;

/// The last format that is read. The first one is written where nothing is in the bundle that a program of that time would leave
/// out without a word.
pub(crate) const FORMAT: u32 = 2;
/// The name of the manifest.
pub const MANIFEST: &str = "manifest.json";
/// The names of the other files.
pub(crate) const JOURNAL: &str = "journal";
pub(crate) const PACKETS: &str = "packets.pcapng";
pub(crate) const ROUTES: &str = "routes.jsonl";
pub(crate) const CONNECTIONS: &str = "connections";
pub(crate) const READ_ME: &str = "README.txt";

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this form.
    pub format: u32,
    /// The version of rewire that has made it.
    pub rewire: String,
    /// The revisions that are replayed.
    pub revisions: Revisions,
    /// When the gateway's clock is 0, in nanoseconds since the Unix epoch.
    pub beginning_ns: u64,
    /// When each revision behind the first becomes live.
    pub schedule: Vec<Scheduled>,
    /// How it is replayed.
    pub settings: Settings,
    /// The frames that come in.
    pub frames: u64,
    /// What must leave, by interface.
    #[serde(default)]
    pub expected: Vec<ExpectedFile>,
    /// The first failure of the replay that it was made of.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The digest of the report that its own replay came to.
    #[serde(default)]
    pub report_digest: Option<String>,
    /// Neighbors that are known from the beginning.
    #[serde(default)]
    pub neighbors: Vec<KnownNeighbor>,
    /// What was recorded, where it is of a running gateway.
    #[serde(default)]
    pub recording: Option<Recorded>,
    /// What was left out of what the failure was found with.
    #[serde(default)]
    pub shrunk: Option<Shrunk>,
    /// Every other file, by its name.
    pub files: BTreeMap<String, FileDigest>,
}

/// The format of a bundle with these files.
pub(super) fn format_of(files: &BTreeMap<String, FileDigest>) -> u32 {
    match [ROUTES, CONNECTIONS]
        .iter()
        .any(|name| files.contains_key(*name))
    {
        true => 2,
        false => 1,
    }
}

/// What was recorded of a running gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// From when, in nanoseconds since the Unix epoch.
    pub from_ns: u64,
    /// Until when.
    pub to_ns: u64,
    /// Frames that came in and were recorded.
    pub received: u64,
    /// Frames that left and were recorded.
    pub left: u64,
    /// Frames that found no room: the gateway had them, and a replay does not.
    pub missed: u64,
    /// Of the frames that came in, one of so many was recorded.
    pub one_of: u64,
    /// The filter of the frames that came in, where there was one.
    pub filter: Option<String>,
    /// So many bytes of each frame, at most; what was cut off is zero in a replay.
    pub snap: usize,
    /// The gateway's workers.
    pub workers: u64,
    /// The connections that there were in the beginning.
    pub connections: u64,
    /// The connections that a replay begins with: those that were still there when they were copied; none where they were not.
    #[serde(default)]
    pub copied_connections: Option<u64>,
    /// The learned routes that there were in the end.
    pub learned_routes: u64,
    /// What routing daemons said, in updates, with what they had said before; none where that was not recorded.
    #[serde(default)]
    pub heard_routes: Option<u64>,
    /// Updates that found no room: the gateway heard them, and a replay does not.
    #[serde(default)]
    pub missed_routes: u64,
}

impl Recorded {
    /// Whether every frame was recorded, so that what leaves a replay can be held against what left the gateway.
    pub fn is_whole(&self) -> bool {
        self.missed == 0 && self.missed_routes == 0 && self.one_of <= 1 && self.filter.is_none()
    }
}

/// A range of revisions, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revisions {
    /// The first, whose state is compiled as a whole; 0 where it begins with nothing.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// When a revision becomes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scheduled {
    /// Which one.
    pub revision: u64,
    /// When: `after_frames` or `at_ns`.
    #[serde(flatten)]
    pub when: When,
}

/// How a bundle is replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether frames for other stations are taken, too.
    pub any_mac: bool,
    /// What is checked.
    pub checks: Vec<Check>,
    /// The most frames of a burst.
    pub burst: usize,
    /// The gateway's workers, of which each has ports of NAT of its own.
    #[serde(default = "one")]
    pub workers: u16,
    /// What the gateway's hash tables, and the choice among ports and addresses of NAT, are keyed with, in hexadecimal digits.
    #[serde(default)]
    pub hash_seed: String,
    /// After how many revisions, each time, the whole state is compiled, too; none: the more rows, the more seldom.
    #[serde(default)]
    pub whole_every: Option<u64>,
    /// Budgets: of a revision until it is live, and of the whole replay, in nanoseconds.
    #[serde(default)]
    pub revision_time_ns: Option<u64>,
    /// See above.
    #[serde(default)]
    pub total_time_ns: Option<u64>,
    /// Budgets: of the tables and of the process, in bytes.
    #[serde(default)]
    pub tables_memory: Option<u64>,
    /// See above.
    #[serde(default)]
    pub resident_memory: Option<u64>,
}

fn one() -> u16 {
    1
}

/// What must leave by an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedFile {
    /// The interface.
    pub interface: String,
    /// The name of the capture.
    pub file: String,
}

/// What was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrunk {
    /// The frames up to the failure.
    pub frames: u64,
    /// The revisions up to it.
    pub revisions: u64,
    /// How many replays were tried to find out what is needed.
    pub tries: u64,
    /// Whether nothing more can be left out, one frame at a time; otherwise the time or the tries were up.
    pub is_least: bool,
}

/// A file as it was when the bundle was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Its length, in bytes.
    pub bytes: u64,
    /// Its BLAKE3 hash, in hexadecimal digits.
    pub blake3: String,
}
