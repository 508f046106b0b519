//! How long a connection lives without packets.

use std::time::Duration;

use rewire_tables::VpcTimeouts;

use crate::state::{Exchange, State};
use crate::tcp::TcpState;

/// How long a connection lives without packets, by state. Packets of either direction count (RFC 4787 REQ-6 demands it
/// of outbound ones).
///
/// The defaults are the shortest that the RFCs allow, or recommend where they recommend longer ones. Nothing keeps one
/// from setting less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP, established or half-closed: the "established connection idle-timeout", at least 2 h 4 min (RFC 5382 REQ-5).
    pub tcp_established: Duration,
    /// TCP, handshake not done: the "transitory connection idle-timeout" of partially open connections, 4 min (RFC 5382
    /// REQ-5; RFC 7857 section 2.1 splits it in two, and allows less here).
    pub tcp_partially_open: Duration,
    /// TCP, closed by both ends or in time-wait: the "transitory connection idle-timeout" of partially closed
    /// connections, 4 min (RFC 5382 REQ-5, RFC 7857 section 2.1).
    pub tcp_partially_closed: Duration,
    /// TCP, reset: 4 min without packets (RFC 7857 section 2.2).
    pub tcp_reset: Duration,
    /// UDP, replied: 5 min, as RFC 4787 REQ-5c recommends.
    pub udp_replied: Duration,
    /// UDP, not replied: 2 min. RFC 4787 REQ-5 knows no difference between replied and not, and sets this floor to both.
    pub udp_unreplied: Duration,
    /// ICMP queries: at least 60 s (RFC 5508 REQ-2).
    pub icmp_query: Duration,
    /// Other protocols: 10 min. No RFC says.
    pub other: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Timeouts {
            tcp_established: minutes(124),
            tcp_partially_open: minutes(4),
            tcp_partially_closed: minutes(4),
            tcp_reset: minutes(4),
            udp_replied: minutes(5),
            udp_unreplied: minutes(2),
            icmp_query: minutes(1),
            other: minutes(10),
        }
    }
}

impl Timeouts {
    /// These, but for those that a VPC says.
    #[must_use]
    pub fn with(&self, vpc: Option<&VpcTimeouts>) -> Self {
        let Some(vpc) = vpc else { return *self };
        Timeouts {
            tcp_established: vpc.tcp_established.unwrap_or(self.tcp_established),
            tcp_partially_open: vpc.tcp_partially_open.unwrap_or(self.tcp_partially_open),
            tcp_partially_closed: vpc
                .tcp_partially_closed
                .unwrap_or(self.tcp_partially_closed),
            tcp_reset: vpc.tcp_reset.unwrap_or(self.tcp_reset),
            udp_replied: vpc.udp_replied.unwrap_or(self.udp_replied),
            udp_unreplied: vpc.udp_unreplied.unwrap_or(self.udp_unreplied),
            icmp_query: vpc.icmp_query.unwrap_or(self.icmp_query),
            other: vpc.other.unwrap_or(self.other),
        }
    }

    /// Those of connections of a rule that says how long they live without packets. TCP that opens or closes lives no longer
    /// than that, but not as long: what nobody answers must not stay for hours.
    #[must_use]
    pub fn with_idle(&self, idle: Option<Duration>) -> Self {
        let Some(idle) = idle else { return *self };
        Timeouts {
            tcp_established: idle,
            tcp_partially_open: self.tcp_partially_open.min(idle),
            tcp_partially_closed: self.tcp_partially_closed.min(idle),
            tcp_reset: self.tcp_reset.min(idle),
            udp_replied: idle,
            udp_unreplied: idle,
            icmp_query: idle,
            other: idle,
        }
    }

    /// The time-out of a state.
    pub fn of(&self, state: State) -> Duration {
        match state {
            State::Tcp(state) => match state {
                TcpState::SynSent | TcpState::SynSent2 | TcpState::SynReceived { .. } => {
                    self.tcp_partially_open
                }
                // Half-closed is established: the closing phase begins with the second FIN (RFC 5382 section 5).
                TcpState::Established | TcpState::FinWait | TcpState::CloseWait => {
                    self.tcp_established
                }
                TcpState::LastAck | TcpState::TimeWait => self.tcp_partially_closed,
                TcpState::Closed => self.tcp_reset,
            },
            State::Udp(Exchange::Unreplied) => self.udp_unreplied,
            State::Udp(Exchange::Replied) => self.udp_replied,
            State::Icmp(_) => self.icmp_query,
            State::Other(_) => self.other,
        }
    }
}
