//! How long a connection lives without packets.

use std::time::Duration;

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
