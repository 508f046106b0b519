//! How a history is replayed.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rewire_dataplane::GatewayConfig;
use rewire_schema::Configuration;
use rewire_tables::Tables;
use serde::{Deserialize, Serialize};

use crate::check::Checks;
use crate::heard::HeardRoute;
use crate::pace::{Pace, When};

/// Tries the probes of a configuration over its tables: a text for each that fails, of one line or more.
pub type TryProbes = fn(&Configuration, &Tables) -> Vec<String>;

/// The most frames of a burst, where nothing else is asked for.
pub const MOST_IN_A_BURST: usize = 32;

/// A neighbor that a gateway has learned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownNeighbor {
    /// The interface that it is behind.
    pub interface: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address, in six bytes.
    pub mac: [u8; 6],
}

/// How a history is replayed.
#[derive(Clone, Debug)]
pub struct Options {
    /// When revisions become live.
    pub pace: Pace,
    /// When these revisions do, whatever the pace says.
    pub schedule: BTreeMap<u64, When>,
    /// The Unix time in nanoseconds at which the gateway's clock is 0; none where the traffic says it.
    pub beginning: Option<u64>,
    /// The most frames of a burst, from 1 to [`MOST_IN_A_BURST`].
    pub burst: usize,
    /// Whether frames for other stations are made frames for us.
    pub any_mac: bool,
    /// What is checked.
    pub checks: Checks,
    /// Who tries the probes of a configuration over its tables, and tells of those that fail: lines of text. None: they are not tried.
    pub probes: Option<TryProbes>,
    /// After how many revisions, each time, what costs as much as the whole state is checked: that the tables are those that the
    /// state compiles to, and that its digest is that of all rows. None: the more rows, the more seldom. The first and
    /// the last revision always are.
    pub whole_every: Option<u64>,
    /// The longest that one revision may take until it is live.
    pub revision_time: Option<Duration>,
    /// The longest that the replay may take.
    pub total_time: Option<Duration>,
    /// The most memory that the tables may take, in bytes: what routes and ACLs take in both halves.
    pub tables_memory: Option<u64>,
    /// The most memory that the process may have taken, in bytes.
    pub resident_memory: Option<u64>,
    /// Neighbors that are known from the beginning: learned, not configured. Those of interfaces that the first revision does not
    /// have are left out.
    pub neighbors: Vec<KnownNeighbor>,
    /// What routing daemons say to the gateway, in order: what is not later than its clock's beginning, before the first frame.
    pub heard: Arc<[HeardRoute]>,
    /// Connections that the gateway has from the beginning, as [`rewire_dataplane::CopiedConnections`] has them; empty: none.
    pub connections: Arc<[u8]>,
    /// The gateway's workers: each gives out ports of NAT of its own.
    pub workers: u16,
    /// What the gateway's hash tables, and the choice among ports and addresses of NAT, are keyed with: another one may choose
    /// others.
    pub hash_seed: u64,
    /// The gateway's.
    pub gateway: GatewayConfig,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            pace: Pace::default(),
            schedule: BTreeMap::new(),
            beginning: None,
            burst: MOST_IN_A_BURST,
            any_mac: false,
            checks: crate::check::all(),
            probes: None,
            whole_every: None,
            revision_time: None,
            total_time: None,
            tables_memory: None,
            resident_memory: None,
            neighbors: Vec::new(),
            workers: 1,
            heard: Arc::default(),
            connections: Arc::default(),
            hash_seed: 0,
            gateway: GatewayConfig::default(),
        }
    }
}
