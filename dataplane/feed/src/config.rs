//! What the configuration says of a source of routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a source's routes stay once its daemon is gone, where nothing else is said.
pub const STALE_TIME: Duration = Duration::from_secs(5 * 60);

/// One source: a routing daemon that connects to the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is listened for.
    pub listen: SocketAddr,
    /// The distance of all its routes; without it, that of the protocol that each was learned by.
    pub distance: Option<u8>,
    /// The most routes that are taken.
    pub most_routes: Option<u32>,
    /// How long its routes stay once the daemon is gone.
    pub stale_time: Duration,
    /// The VPC that each of the daemon's tables goes into, by its name.
    pub tables: BTreeMap<u32, Arc<str>>,
}

/// The distance of a protocol's routes: FRRouting's own (its manual, "Administrative Distance"). The messages do not tell routes
/// of external and internal BGP apart, so that both have the former's.
pub fn distance_of(protocol: u8) -> u8 {
    match protocol {
        // Static routes of the daemon, by whatever name.
        3 | 4 | 11 | 196 => 1,
        // NHRP, BGP, EIGRP, Babel, OSPF.
        191 => 10,
        186 => 20,
        192 => 90,
        42 => 100,
        188 => 110,
        // IS-IS and OpenFabric; RIP, RIPng.
        187 | 197 => 115,
        189 | 190 => 120,
        _ => 150,
    }
}

/// The name of a protocol, as FRRouting has it.
pub fn protocol_name(protocol: u8) -> &'static str {
    match protocol {
        2 => "kernel",
        3 | 4 | 11 | 196 => "static",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        190 => "ripng",
        191 => "nhrp",
        192 => "eigrp",
        193 => "ldp",
        194 => "sharp",
        195 => "pbr",
        197 => "openfabric",
        198 => "srte",
        _ => "other",
    }
}
