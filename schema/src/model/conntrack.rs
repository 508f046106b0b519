//! Connection tracking: limits and time-outs of each VPC.

use crate::object::object;
use crate::types::{Duration, Name};

object! {
    /// Limits and time-outs of a VPC's connections.
    ConntrackRow in "conntrack" at "vpcs/{vpc}/conntrack":
        "Limits of the connections that begin in this VPC, and how long they live without packets." {
        key { vpc: Name => "vpc" }
        columns {
            /// The most connections at once; without it, as many as the gateway has room for.
            most_connections: Option<u32> [1..=u32::MAX],
            /// The most connections at once that come from one address; without it, no limit.
            most_per_source: Option<u32> [1..=u32::MAX],
            /// TCP, established or half closed. Without it, 2h4m (RFC 5382, REQ-5).
            tcp_established: Option<Duration>,
            /// TCP, while the handshake is not done. Without it, 4m (RFC 5382, REQ-5).
            tcp_partially_open: Option<Duration>,
            /// TCP, closed by both ends or in time-wait. Without it, 4m (RFC 7857, section 2.1).
            tcp_partially_closed: Option<Duration>,
            /// TCP, after a reset. Without it, 4m (RFC 7857, section 2.2).
            tcp_reset: Option<Duration>,
            /// UDP, once both ends have sent. Without it, 5m (RFC 4787, REQ-5).
            udp_replied: Option<Duration>,
            /// UDP, while only one end has sent. Without it, 2m (RFC 4787, REQ-5).
            udp_unreplied: Option<Duration>,
            /// ICMP queries. Without it, 1m (RFC 5508, REQ-2).
            icmp_query: Option<Duration>,
            /// All other protocols. Without it, 10m.
            other: Option<Duration>,
        }
    }
}
