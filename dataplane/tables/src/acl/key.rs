//! What an ACL sees of a packet.

use crate::index::VpcIndex;

/// In place of a port, where a packet has none or where it is not known, as in a fragment after the first. Only rules that
/// say nothing of ports match it.
pub const NO_PORT: u32 = 1 << 16;

/// What an ACL sees of a packet. Numbers in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AclKey<A> {
    /// The VPC that the packet comes from.
    pub from: VpcIndex,
    /// The VPC that it goes to; none where it goes nowhere, and then no rule that names one matches.
    pub to: Option<VpcIndex>,
    /// The sender.
    pub source: A,
    /// The destination.
    pub destination: A,
    /// The protocol above IP.
    pub protocol: u8,
    /// The port that it comes from, or [`NO_PORT`].
    pub source_port: u32,
    /// The port that it goes to, or [`NO_PORT`]. Of ICMP, the type times 256 plus the code.
    pub destination_port: u32,
}

impl<A> AclKey<A> {
    /// A type and a code of ICMP in the place of a destination port.
    pub fn icmp(message_type: u8, code: u8) -> u16 {
        u16::from_be_bytes([message_type, code])
    }
}
