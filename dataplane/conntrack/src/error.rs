//! Why a packet, a connection or a mapping is refused.

use rewire_tables::VpcIndex;
use thiserror::Error;

/// Why a packet does not fit the connection that it belongs to, or cannot begin one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Invalid {
    /// The flow is not there, or its time is up.
    #[error("the connection is gone")]
    NoFlow,
    /// TCP control bits that no TCP sends together: SYN with FIN or RST, RST with FIN, none at all, FIN without ACK.
    #[error("TCP flags that exclude each other")]
    TcpFlags,
    /// No connection begins with such a TCP segment: a RST, a SYN-ACK, or, where pick-up is off, any but a SYN.
    #[error("a TCP segment that begins no connection")]
    TcpNotABeginning,
    /// TCP data or FIN before the other end has answered the SYN.
    #[error("TCP data before the handshake")]
    TcpNotSynchronized,
    /// A TCP SYN-ACK from the end that opened the connection.
    #[error("a TCP SYN-ACK from the end that opened the connection")]
    TcpSynAckFromOpener,
    /// A TCP SYN on a closed connection from the end that had not opened it: it would be another connection, the other way
    /// round. The caller may remove the flow, and treat the packet as the first of a new one.
    #[error("a TCP SYN, the other way round, on a closed connection")]
    TcpSynFromResponder,
    /// TCP that begins behind what the other end has allowed to send.
    #[error("TCP data beyond the receiver's window")]
    TcpBeyondWindow,
    /// TCP that acknowledges what neither was seen nor could have been sent.
    #[error("a TCP acknowledgment of what was never sent")]
    TcpUnsentAcknowledged,
    /// An ICMP reply that nobody asked for.
    #[error("an ICMP reply without a query")]
    IcmpReply,
    /// The segment is not of the flow's protocol.
    #[error("a segment of another protocol than the connection's")]
    ProtocolMismatch,
}

/// Why a connection cannot be inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum InsertError {
    /// As many connections as there is room for are there.
    #[error("the connection table is full")]
    TableFull,
    /// One of its keys belongs to another connection, or its mapping is gone.
    #[error("another connection has the same addresses and ports")]
    Clash,
}

/// What ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// The rule has no external address.
    Addresses,
    /// No external address that was tried has a port left in this worker's share.
    Ports,
    /// As many mappings as there is room for are there.
    Mappings,
}

impl std::fmt::Display for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Resource::Addresses => "external address",
            Resource::Ports => "port",
            Resource::Mappings => "room for a mapping",
        })
    }
}

/// No mapping is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("no {resource} left for protocol {protocol} in VPC {external_vpc}")]
pub struct Exhausted {
    /// What ran out.
    pub resource: Resource,
    /// The VPC of the external addresses.
    pub external_vpc: VpcIndex,
    /// The IP protocol number.
    pub protocol: u8,
}
