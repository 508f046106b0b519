//! Protocols above IP, by name or number.

use std::fmt;
use std::str::FromStr;

use super::{ParseError, TransportProtocol};
use crate::format;
use crate::value::{Kind, text_column};

/// What a packet carries: one of the protocols that IANA numbers, or either of TCP and UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The protocol with this number in the IP header.
    Number(u8),
    /// TCP and UDP.
    TcpUdp,
}

/// The protocols that have a name here (IANA, "Protocol Numbers").
const NAMES: [(&str, u8); 13] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ospf", 89),
    ("pim", 103),
    ("vrrp", 112),
    ("sctp", 132),
];

const TCP_UDP: &str = "tcp_udp";

impl Protocol {
    /// The numbers that packets have.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        let (first, second) = match self {
            Protocol::Number(number) => (number, None),
            Protocol::TcpUdp => (6, Some(17)),
        };
        std::iter::once(first).chain(second)
    }

    /// Whether its packets have ports (TCP, UDP and SCTP).
    pub fn has_ports(self) -> bool {
        matches!(self, Protocol::TcpUdp | Protocol::Number(6 | 17 | 132))
    }

    /// Whether its packets have a type and a code (ICMP of either family).
    pub fn is_icmp(self) -> bool {
        matches!(self, Protocol::Number(1 | 58))
    }
}

impl From<TransportProtocol> for Protocol {
    fn from(protocol: TransportProtocol) -> Self {
        match protocol {
            TransportProtocol::Tcp => Protocol::Number(6),
            TransportProtocol::Udp => Protocol::Number(17),
            TransportProtocol::TcpUdp => Protocol::TcpUdp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::TcpUdp => f.pad(TCP_UDP),
            Protocol::Number(number) => match NAMES.iter().find(|(_, known)| known == number) {
                Some((name, _)) => f.pad(name),
                None => f.pad(&number.to_string()),
            },
        }
    }
}

impl FromStr for Protocol {
    type Err = ParseError;
    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == TCP_UDP {
            return Ok(Protocol::TcpUdp);
        }
        if let Some((_, number)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Protocol::Number(*number));
        }
        match text.parse() {
            Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Protocol::Number(number)),
            _ => {
                let error = ParseError::new(
                    "a protocol like tcp, udp, tcp_udp or icmp, or its number",
                    text,
                );
                let names = NAMES.iter().map(|(name, _)| *name).chain([TCP_UDP]);
                Err(match crate::suggestion::did_you_mean(text, names) {
                    Some(help) => error.hint(help),
                    None => error,
                })
            }
        }
    }
}

text_column!(Protocol, Kind::Text(&format::PROTOCOL));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_text() {
        let mut texts = std::collections::BTreeSet::new();
        for number in 0..=255 {
            let protocol = Protocol::Number(number);
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
            assert_eq!(number.to_string().parse(), Ok(protocol));
            assert!(texts.insert(protocol.to_string()));
        }
        for text in ["", "256", "+6", "TCP", "any", "tcp,udp"] {
            assert!(text.parse::<Protocol>().is_err(), "{text}");
        }
        assert_eq!("tcp_udp".parse(), Ok(Protocol::TcpUdp));
        assert_eq!(Protocol::TcpUdp.numbers().collect::<Vec<_>>(), [6, 17]);
    }
}
