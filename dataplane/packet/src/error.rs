//! What can be wrong with a packet, over all headers.

use thiserror::Error;

use crate::arp::ArpError;
use crate::ethernet::EthernetError;
use crate::icmpv4::Icmpv4ParseError;
use crate::icmpv6::Icmpv6ParseError;
use crate::ip::IpError;
use crate::ipv4::Ipv4Error;
use crate::ipv6::Ipv6Error;
use crate::l4::TransportError;
use crate::nat::RewriteError;
use crate::ndp::NdpError;
use crate::tcp::TcpError;
use crate::udp::UdpError;

/// Any parse error of this crate, for callers that do not tell headers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum PacketError {
    #[error(transparent)]
    Ethernet(#[from] EthernetError),
    #[error(transparent)]
    Arp(#[from] ArpError),
    #[error(transparent)]
    Ipv4(#[from] Ipv4Error),
    #[error(transparent)]
    Ipv6(#[from] Ipv6Error),
    #[error(transparent)]
    Tcp(#[from] TcpError),
    #[error(transparent)]
    Udp(#[from] UdpError),
    #[error(transparent)]
    Icmpv4(#[from] Icmpv4ParseError),
    #[error(transparent)]
    Icmpv6(#[from] Icmpv6ParseError),
    #[error(transparent)]
    Ndp(#[from] NdpError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
}

impl From<IpError> for PacketError {
    fn from(error: IpError) -> Self {
        match error {
            IpError::V4(error) => error.into(),
            IpError::V6(error) => error.into(),
        }
    }
}

/// Why a value cannot be written into a buffer. The buffer is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EmitError {
    /// The buffer cannot hold the header.
    #[error("the header needs {needed} bytes, the buffer has {available}")]
    TooShort {
        /// Bytes that the header takes.
        needed: usize,
        /// Bytes of the buffer.
        available: usize,
    },
    /// The length does not fit the header's length field.
    #[error("a length of {length} bytes does not fit, the limit is {limit}")]
    TooLong {
        /// The length asked for.
        length: usize,
        /// The largest length that the field can say.
        limit: usize,
    },
}

impl EmitError {
    /// `Ok` when `out` holds at least `needed` bytes.
    pub(crate) fn check_room(out: &[u8], needed: usize) -> Result<(), EmitError> {
        match out.len() {
            available if available < needed => Err(EmitError::TooShort { needed, available }),
            _ => Ok(()),
        }
    }

    /// `length` as the 16-bit field's value.
    pub(crate) fn check_u16(length: usize) -> Result<u16, EmitError> {
        u16::try_from(length).map_err(|_| EmitError::TooLong {
            length,
            limit: u16::MAX.into(),
        })
    }
}
