//! A packet as people write it: `in lan0 10.0.1.5:40000 > 1.1.1.1:443 tcp syn ttl 3`.
//!
//! ```text
//! packet   = [ "in" INTERFACE ] end ">" end [ protocol ] { option }
//! end      = ADDRESS | IPV4 ":" PORT | "[" IPV6 "]" ":" PORT
//! protocol = "tcp" { "syn" | "ack" | "fin" | "rst" | "psh" | "urg" | "ece" | "cwr" | "none" } | "udp" | "sctp"
//!          | "icmp" [ "echo" | "echo-reply" | "type" N [ "code" N ] ] | "proto" N
//! option   = "ttl" N | "len" BYTES | "tos" N | "may-fragment" | "frag" BYTES [ "more" ] | "ident" N
//!          | "id" N | "seq" N | "ackseq" N | "from" MAC | "to" MAC
//! ```
//!
//! Without a protocol it is a TCP segment that opens a connection, if there are ports, and else an echo request. A source port that is not
//! said is 40000. `len` counts from the IP header on, and what is not said is filled with zeros. A fragment begins at `frag`, in
//! bytes, and carries a port only if it is the first.

mod frame;
mod read;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::IpAddr;

use rewire_packet::tcp::TcpFlags;
use rewire_packet::{MacAddress, Protocol};

/// The sender's MAC address, where none is said: one of those for documentation (RFC 9542, section 2.1.4), made local.
pub(crate) const SENDER: MacAddress = MacAddress([0x02, 0x00, 0x5e, 0x00, 0x53, 0x02]);
/// The source port, where none is said.
const SOURCE_PORT: u16 = 40_000;
/// The hops to live, where nothing is said.
const HOP_LIMIT: u8 = 64;
/// The words of TCP's flags, in the order of their bits.
const FLAGS: [&str; 8] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"];

/// A packet, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketText {
    /// The interface that receives it; none where it is to be found by the sender's address.
    pub(crate) interface: Option<String>,
    /// The source address.
    pub(crate) source: IpAddr,
    /// The destination address, of the same family.
    pub(crate) destination: IpAddr,
    /// What it carries.
    pub(crate) upper: Upper,
    /// The hop limit, or time to live.
    pub(crate) hop_limit: u8,
    /// Its length in bytes from the IP header on, if it is longer than its headers.
    pub(crate) length: Option<u16>,
    /// The traffic class, or type of service.
    pub(crate) traffic_class: u8,
    /// Whether routers may cut it (IPv4).
    pub(crate) may_fragment: bool,
    /// Where it begins in its datagram, in bytes, and whether more follows; none for a whole one.
    pub(crate) fragment: Option<(u16, bool)>,
    /// What the fragments of a datagram have in common.
    pub(crate) identification: u16,
    /// The sender's MAC address; [`SENDER`] where none is said.
    pub(crate) link_source: Option<MacAddress>,
    /// The MAC address that it is for; the interface's own, where none is said.
    pub(crate) link_destination: Option<MacAddress>,
}

impl PacketText {
    /// A packet whose ends and content are said, and nothing else.
    pub(crate) fn plain(
        interface: Option<String>,
        (source, destination): (IpAddr, IpAddr),
        upper: Upper,
    ) -> PacketText {
        PacketText {
            interface,
            source,
            destination,
            upper,
            hop_limit: HOP_LIMIT,
            length: None,
            traffic_class: 0,
            may_fragment: false,
            fragment: None,
            identification: 0,
            link_source: None,
            link_destination: None,
        }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upper {
    /// A TCP segment.
    Tcp {
        /// The ports.
        ports: (u16, u16),
        /// The flags.
        flags: TcpFlags,
        /// The sequence number.
        sequence: u32,
        /// The acknowledgment number.
        acknowledgment: u32,
    },
    /// A UDP datagram, by its ports.
    Udp((u16, u16)),
    /// An SCTP packet, by its ports.
    Sctp((u16, u16)),
    /// An ICMP message, of the packet's family.
    Icmp {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
        /// The identifier of a query.
        identifier: u16,
        /// The sequence number of a query.
        sequence: u16,
    },
    /// Anything else, or a fragment behind the first.
    Other(Protocol),
}

impl Upper {
    /// The ports, if it has any.
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        match *self {
            Upper::Tcp { ports, .. } | Upper::Udp(ports) | Upper::Sctp(ports) => Some(ports),
            Upper::Icmp { .. } | Upper::Other(_) => None,
        }
    }

    /// The protocol number, in the family of an address.
    pub(crate) fn protocol(&self, address: IpAddr) -> Protocol {
        match *self {
            Upper::Tcp { .. } => Protocol::TCP,
            Upper::Udp(_) => Protocol::UDP,
            Upper::Sctp(_) => Protocol::SCTP,
            Upper::Icmp { .. } => icmp(address),
            Upper::Other(protocol) => protocol,
        }
    }

    /// The bytes of its header.
    fn header_len(&self) -> usize {
        match self {
            Upper::Tcp { .. } => 20,
            Upper::Udp(_) | Upper::Icmp { .. } => 8,
            Upper::Sctp(_) => 12,
            Upper::Other(_) => 0,
        }
    }
}

/// ICMP, of the family of an address.
fn icmp(address: IpAddr) -> Protocol {
    match address {
        IpAddr::V4(_) => Protocol::ICMP,
        IpAddr::V6(_) => Protocol::ICMPV6,
    }
}

/// The types of echo requests and replies, of the family of an address.
fn echo_types(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (8, 0),
        IpAddr::V6(_) => (128, 129),
    }
}

impl fmt::Display for PacketText {
    /// As it is read: what is not said has its default.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "in {interface} ")?;
        }
        let (source_port, destination_port) = self.upper.ports().unzip();
        write!(
            f,
            "{} > {} ",
            End(self.source, source_port),
            End(self.destination, destination_port)
        )?;
        let number = |f: &mut fmt::Formatter<'_>, word: &str, value: u32, default: u32| match value
            == default
        {
            true => Ok(()),
            false => write!(f, " {word} {value}"),
        };
        match self.upper {
            Upper::Tcp {
                flags,
                sequence,
                acknowledgment,
                ..
            } => {
                f.write_str("tcp")?;
                let names = FLAGS.iter().enumerate();
                for (_, name) in names.filter(|(bit, _)| flags.0 >> bit & 1 == 1) {
                    write!(f, " {name}")?;
                }
                if flags.0 == 0 {
                    f.write_str(" none")?;
                }
                number(f, "seq", sequence, 0)?;
                number(f, "ackseq", acknowledgment, 0)?;
            }
            Upper::Udp(_) => f.write_str("udp")?,
            Upper::Sctp(_) => f.write_str("sctp")?,
            Upper::Icmp {
                message_type,
                code,
                identifier,
                sequence,
            } => {
                let (request, reply) = echo_types(self.source);
                match (message_type, code) {
                    (of, 0) if of == request => f.write_str("icmp echo")?,
                    (of, 0) if of == reply => f.write_str("icmp echo-reply")?,
                    (of, 0) => write!(f, "icmp type {of}")?,
                    (of, code) => write!(f, "icmp type {of} code {code}")?,
                }
                let default = default_query(self.source, message_type);
                number(f, "id", identifier.into(), default.into())?;
                number(f, "seq", sequence.into(), default.into())?;
            }
            Upper::Other(protocol) => write!(f, "proto {}", protocol.0)?,
        }
        number(f, "ttl", self.hop_limit.into(), HOP_LIMIT.into())?;
        if let Some(length) = self.length {
            write!(f, " len {length}")?;
        }
        number(f, "tos", self.traffic_class.into(), 0)?;
        if self.may_fragment {
            f.write_str(" may-fragment")?;
        }
        if let Some((offset, more)) = self.fragment {
            write!(f, " frag {offset}{}", if more { " more" } else { "" })?;
        }
        number(f, "ident", self.identification.into(), 0)?;
        if let Some(mac) = self.link_source {
            write!(f, " from {mac}")?;
        }
        if let Some(mac) = self.link_destination {
            write!(f, " to {mac}")?;
        }
        Ok(())
    }
}

/// The identifier and the sequence number of an ICMP message, where nothing is said.
fn default_query(address: IpAddr, message_type: u8) -> u16 {
    let (request, reply) = echo_types(address);
    u16::from(message_type == request || message_type == reply)
}

/// An end, with its port.
pub(crate) struct End(pub(crate) IpAddr, pub(crate) Option<u16>);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (address, None) => write!(f, "{address}"),
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
        }
    }
}
