//! How long connections live without packets, as far as the policy says it.

use std::fmt;
use std::time::Duration;

/// Time-outs of the connections that begin in a VPC: of those that are said. The others are the gateway's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VpcTimeouts {
    /// TCP, established or half-closed.
    pub tcp_established: Option<Duration>,
    /// TCP, handshake not done.
    pub tcp_partially_open: Option<Duration>,
    /// TCP, closed by both ends or in time-wait.
    pub tcp_partially_closed: Option<Duration>,
    /// TCP, reset.
    pub tcp_reset: Option<Duration>,
    /// UDP, replied.
    pub udp_replied: Option<Duration>,
    /// UDP, not replied.
    pub udp_unreplied: Option<Duration>,
    /// ICMP queries.
    pub icmp_query: Option<Duration>,
    /// Other protocols.
    pub other: Option<Duration>,
}

impl fmt::Display for VpcTimeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("tcp_established", self.tcp_established),
            ("tcp_partially_open", self.tcp_partially_open),
            ("tcp_partially_closed", self.tcp_partially_closed),
            ("tcp_reset", self.tcp_reset),
            ("udp_replied", self.udp_replied),
            ("udp_unreplied", self.udp_unreplied),
            ("icmp_query", self.icmp_query),
            ("other", self.other),
        ];
        let said = fields
            .into_iter()
            .filter_map(|(field, time)| Some((field, time?)));
        for (index, (field, time)) in said.enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{field}={time:?}")?;
        }
        Ok(())
    }
}
