//! What a packet says to the state of its connection.

use rewire_packet::tcp::TcpFlags;

/// The part of a packet that states depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// TCP.
    Tcp(TcpSegment),
    /// UDP.
    Udp,
    /// An ICMP query (RFC 5508 section 1): an echo, for example.
    IcmpQuery {
        /// Whether it answers one.
        reply: bool,
    },
    /// Anything else.
    Other,
}

/// What a TCP header says. Numbers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    /// The control bits.
    pub flags: TcpFlags,
    /// The sequence number of the first byte, or of the SYN.
    pub sequence: u32,
    /// The next sequence number that the sender expects; meant where the ACK bit is set.
    pub acknowledgment: u32,
    /// The window, not scaled.
    pub window: u16,
    /// How far the sender shifts the windows that it tells, if it says so (RFC 7323 section 2.2). Only looked at where the SYN
    /// bit is set.
    pub window_scale: Option<u8>,
    /// Bytes of data.
    pub payload_length: u32,
}
