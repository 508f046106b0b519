//! ICMP for IPv4 (RFC 792), with the codes of RFC 1812 and the next-hop MTU of RFC 1191.

use thiserror::Error;

use crate::bytes::{array_at, between, put_at, u8_at, u16_at};
use crate::checksum::{Sum, checksum};
use crate::error::EmitError;

/// Length of the header that all messages here have, in bytes.
pub const HEADER_LEN: usize = 8;

/// Message types (IANA "ICMP Type Numbers").
#[allow(missing_docs)]
pub mod message_type {
    pub const ECHO_REPLY: u8 = 0;
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    pub const SOURCE_QUENCH: u8 = 4;
    pub const REDIRECT: u8 = 5;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
    pub const TIMESTAMP_REQUEST: u8 = 13;
    pub const TIMESTAMP_REPLY: u8 = 14;
    pub const INFORMATION_REQUEST: u8 = 15;
    pub const INFORMATION_REPLY: u8 = 16;
    pub const ADDRESS_MASK_REQUEST: u8 = 17;
    pub const ADDRESS_MASK_REPLY: u8 = 18;
}
use message_type as t;

const TYPE: usize = 0;
const CODE: usize = 1;
const CHECKSUM: usize = 2;
const REST: usize = 4;
const IDENTIFIER: usize = 4;
const QUOTE_WORDS: usize = 5;
const SEQUENCE: usize = 6;
const NEXT_HOP_MTU: usize = 6;

const FRAGMENTATION_NEEDED: u8 = 4;

/// Whether messages of this type report an error and quote the packet that it is about (RFC 1122
/// section 3.2.2).
#[inline]
pub const fn is_error(message_type: u8) -> bool {
    matches!(
        message_type,
        t::DESTINATION_UNREACHABLE
            | t::SOURCE_QUENCH
            | t::REDIRECT
            | t::TIME_EXCEEDED
            | t::PARAMETER_PROBLEM
    )
}

/// For messages with an identifier, that ask or answer: whether they answer.
#[inline]
pub const fn query_is_reply(message_type: u8) -> Option<bool> {
    match message_type {
        t::ECHO_REQUEST
        | t::TIMESTAMP_REQUEST
        | t::INFORMATION_REQUEST
        | t::ADDRESS_MASK_REQUEST => Some(false),
        t::ECHO_REPLY | t::TIMESTAMP_REPLY | t::INFORMATION_REPLY | t::ADDRESS_MASK_REPLY => {
            Some(true)
        }
        _ => None,
    }
}

/// Why bytes are not an ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Icmpv4ParseError {
    /// Fewer bytes than the header has.
    #[error("an ICMP header has {HEADER_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
}

/// What a host or router says about a packet that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv4Error {
    /// No route (3, 0).
    NetworkUnreachable,
    /// Nobody answers for the address on its link (3, 1).
    HostUnreachable,
    /// The host does not speak the upper-layer protocol (3, 2).
    ProtocolUnreachable,
    /// Nobody listens on the port (3, 3).
    PortUnreachable,
    /// Too big for the next link and not to be fragmented (3, 4).
    FragmentationNeeded {
        /// What would fit, in bytes with the IP header; 0 from routers before RFC 1191.
        next_hop_mtu: u16,
    },
    /// The source route leads nowhere (3, 5).
    SourceRouteFailed,
    /// Policy, about the network (3, 9).
    NetworkProhibited,
    /// Policy, about the host (3, 10).
    HostProhibited,
    /// Policy (3, 13).
    CommunicationProhibited,
    /// The time to live came to its end (11, 0).
    TtlExceeded,
    /// Not all fragments came in time (11, 1).
    ReassemblyTimeExceeded,
    /// The header is wrong at this byte (12, 0).
    ParameterProblem {
        /// Which byte.
        pointer: u8,
    },
}

impl Icmpv4Error {
    /// Type, code and the second word of the header.
    const fn parts(self) -> (u8, u8, [u8; 4]) {
        match self {
            Icmpv4Error::NetworkUnreachable => (t::DESTINATION_UNREACHABLE, 0, [0; 4]),
            Icmpv4Error::HostUnreachable => (t::DESTINATION_UNREACHABLE, 1, [0; 4]),
            Icmpv4Error::ProtocolUnreachable => (t::DESTINATION_UNREACHABLE, 2, [0; 4]),
            Icmpv4Error::PortUnreachable => (t::DESTINATION_UNREACHABLE, 3, [0; 4]),
            Icmpv4Error::FragmentationNeeded { next_hop_mtu } => {
                let [high, low] = next_hop_mtu.to_be_bytes();
                (
                    t::DESTINATION_UNREACHABLE,
                    FRAGMENTATION_NEEDED,
                    [0, 0, high, low],
                )
            }
            Icmpv4Error::SourceRouteFailed => (t::DESTINATION_UNREACHABLE, 5, [0; 4]),
            Icmpv4Error::NetworkProhibited => (t::DESTINATION_UNREACHABLE, 9, [0; 4]),
            Icmpv4Error::HostProhibited => (t::DESTINATION_UNREACHABLE, 10, [0; 4]),
            Icmpv4Error::CommunicationProhibited => (t::DESTINATION_UNREACHABLE, 13, [0; 4]),
            Icmpv4Error::TtlExceeded => (t::TIME_EXCEEDED, 0, [0; 4]),
            Icmpv4Error::ReassemblyTimeExceeded => (t::TIME_EXCEEDED, 1, [0; 4]),
            Icmpv4Error::ParameterProblem { pointer } => {
                (t::PARAMETER_PROBLEM, 0, [pointer, 0, 0, 0])
            }
        }
    }

    /// The error that a message with this second word of its header is; none where it has no name here.
    pub(crate) const fn from_message(message_type: u8, code: u8, rest: u32) -> Option<Self> {
        Self::from_parts(message_type, code, rest.to_be_bytes())
    }

    /// The header of its message, the checksum zero.
    pub(crate) const fn header(self) -> [u8; HEADER_LEN] {
        let (message_type, code, [a, b, c, d]) = self.parts();
        [message_type, code, 0, 0, a, b, c, d]
    }

    const fn from_parts(message_type: u8, code: u8, rest: [u8; 4]) -> Option<Self> {
        Some(match (message_type, code) {
            (t::DESTINATION_UNREACHABLE, 0) => Icmpv4Error::NetworkUnreachable,
            (t::DESTINATION_UNREACHABLE, 1) => Icmpv4Error::HostUnreachable,
            (t::DESTINATION_UNREACHABLE, 2) => Icmpv4Error::ProtocolUnreachable,
            (t::DESTINATION_UNREACHABLE, 3) => Icmpv4Error::PortUnreachable,
            (t::DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => {
                Icmpv4Error::FragmentationNeeded {
                    next_hop_mtu: u16::from_be_bytes([rest[2], rest[3]]),
                }
            }
            (t::DESTINATION_UNREACHABLE, 5) => Icmpv4Error::SourceRouteFailed,
            (t::DESTINATION_UNREACHABLE, 9) => Icmpv4Error::NetworkProhibited,
            (t::DESTINATION_UNREACHABLE, 10) => Icmpv4Error::HostProhibited,
            (t::DESTINATION_UNREACHABLE, 13) => Icmpv4Error::CommunicationProhibited,
            (t::TIME_EXCEEDED, 0) => Icmpv4Error::TtlExceeded,
            (t::TIME_EXCEEDED, 1) => Icmpv4Error::ReassemblyTimeExceeded,
            (t::PARAMETER_PROBLEM, 0) => Icmpv4Error::ParameterProblem { pointer: rest[0] },
            _ => return None,
        })
    }
}

/// An ICMP message: the whole payload of its IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmpv4View<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Icmpv4View<T> {
    /// A view over a message whose header is there.
    ///
    /// # Errors
    /// [`Icmpv4ParseError::TooShort`].
    pub fn new_checked(bytes: T) -> Result<Self, Icmpv4ParseError> {
        match bytes.as_ref().len() {
            available if available < HEADER_LEN => Err(Icmpv4ParseError::TooShort { available }),
            _ => Ok(Self { bytes }),
        }
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// The type; see [`message_type`].
    pub fn message_type(&self) -> u8 {
        u8_at(self.bytes.as_ref(), TYPE)
    }

    /// The code, whose meaning depends on the type.
    pub fn code(&self) -> u8 {
        u8_at(self.bytes.as_ref(), CODE)
    }

    /// The checksum as it stands there.
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes.as_ref(), CHECKSUM)
    }

    /// The identifier of an echo or another query; `None` for other messages.
    pub fn identifier(&self) -> Option<u16> {
        query_is_reply(self.message_type()).map(|_| u16_at(self.bytes.as_ref(), IDENTIFIER))
    }

    /// The sequence number of an echo or another query; `None` for other messages.
    pub fn sequence(&self) -> Option<u16> {
        query_is_reply(self.message_type()).map(|_| u16_at(self.bytes.as_ref(), SEQUENCE))
    }

    /// What would fit, of a "fragmentation needed".
    pub fn next_hop_mtu(&self) -> Option<u16> {
        let found = (self.message_type(), self.code());
        (found == (t::DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED))
            .then(|| u16_at(self.bytes.as_ref(), NEXT_HOP_MTU))
    }

    /// The packet that an error is about, from its IP header on, as far as it is quoted; `None`
    /// when the message is no error. What RFC 4884 appends behind the quote is left out.
    pub fn quoted_packet(&self) -> Option<&[u8]> {
        let bytes = self.bytes.as_ref();
        let message_type = self.message_type();
        // 32-bit words of the quote, where something follows it. Other types have other fields
        // here.
        let words = match message_type {
            t::DESTINATION_UNREACHABLE | t::TIME_EXCEEDED | t::PARAMETER_PROBLEM => {
                u8_at(bytes, QUOTE_WORDS)
            }
            _ => 0,
        };
        let end = match words {
            0 => usize::MAX,
            words => HEADER_LEN + usize::from(words) * 4,
        };
        is_error(message_type).then(|| between(bytes, HEADER_LEN, end))
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), HEADER_LEN, usize::MAX)
    }

    /// Whether the checksum is right. Costs a pass over the message.
    pub fn verify_checksum(&self) -> bool {
        Sum::ZERO.bytes(self.bytes.as_ref()).is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv4View<T> {
    /// Sets the type; an echo request becomes a reply in place. The checksum is left stale.
    pub fn set_message_type(&mut self, message_type: u8) {
        put_at(self.bytes.as_mut(), TYPE, [message_type]);
    }

    /// Sets the identifier, whatever the type. The checksum is left stale.
    pub fn set_identifier(&mut self, identifier: u16) {
        put_at(self.bytes.as_mut(), IDENTIFIER, identifier.to_be_bytes());
    }

    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put_at(self.bytes.as_mut(), CHECKSUM, checksum.to_be_bytes());
    }

    /// Computes the checksum anew. Costs a pass over the message.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = checksum(self.bytes.as_ref());
        self.set_checksum(checksum);
    }
}

/// An ICMP header as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv4Repr {
    /// Please answer.
    EchoRequest {
        /// Who asks: like a port.
        identifier: u16,
        /// Which of its questions.
        sequence: u16,
    },
    /// The answer.
    EchoReply {
        /// Who asked.
        identifier: u16,
        /// Which of its questions.
        sequence: u16,
    },
    /// Something went wrong; the payload is the quoted packet.
    Error(Icmpv4Error),
    /// Any other message.
    Other {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
        /// The second word of the header.
        rest: [u8; 4],
    },
}

impl Icmpv4Repr {
    /// The header of a message.
    pub fn parse<T: AsRef<[u8]>>(view: &Icmpv4View<T>) -> Self {
        let rest = array_at(view.bytes.as_ref(), REST);
        let (message_type, code) = (view.message_type(), view.code());
        let (identifier, sequence) = (
            u16::from_be_bytes([rest[0], rest[1]]),
            u16::from_be_bytes([rest[2], rest[3]]),
        );
        match (message_type, code) {
            (t::ECHO_REQUEST, 0) => Icmpv4Repr::EchoRequest {
                identifier,
                sequence,
            },
            (t::ECHO_REPLY, 0) => Icmpv4Repr::EchoReply {
                identifier,
                sequence,
            },
            _ => match Icmpv4Error::from_parts(message_type, code, rest) {
                Some(error) => Icmpv4Repr::Error(error),
                None => Icmpv4Repr::Other {
                    message_type,
                    code,
                    rest,
                },
            },
        }
    }

    /// Bytes that [`emit`](Self::emit) writes, before the payload.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `out`, which is the whole message, its payload already in
    /// place, and the checksum over all of it; answers the header's length.
    ///
    /// # Errors
    /// [`EmitError::TooShort`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        EmitError::check_room(out, HEADER_LEN)?;
        let echo = |message_type, identifier: u16, sequence: u16| {
            let [a, b] = identifier.to_be_bytes();
            let [c, d] = sequence.to_be_bytes();
            (message_type, 0, [a, b, c, d])
        };
        let (message_type, code, rest) = match *self {
            Icmpv4Repr::EchoRequest {
                identifier,
                sequence,
            } => echo(t::ECHO_REQUEST, identifier, sequence),
            Icmpv4Repr::EchoReply {
                identifier,
                sequence,
            } => echo(t::ECHO_REPLY, identifier, sequence),
            Icmpv4Repr::Error(error) => error.parts(),
            Icmpv4Repr::Other {
                message_type,
                code,
                rest,
            } => (message_type, code, rest),
        };
        put_at(out, TYPE, [message_type, code]);
        put_at(out, REST, rest);
        Icmpv4View { bytes: out }.fill_checksum();
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors() -> impl Strategy<Value = Icmpv4Error> {
        prop_oneof![
            Just(Icmpv4Error::NetworkUnreachable),
            Just(Icmpv4Error::HostUnreachable),
            Just(Icmpv4Error::ProtocolUnreachable),
            Just(Icmpv4Error::PortUnreachable),
            any::<u16>().prop_map(|next_hop_mtu| Icmpv4Error::FragmentationNeeded { next_hop_mtu }),
            Just(Icmpv4Error::SourceRouteFailed),
            Just(Icmpv4Error::NetworkProhibited),
            Just(Icmpv4Error::HostProhibited),
            Just(Icmpv4Error::CommunicationProhibited),
            Just(Icmpv4Error::TtlExceeded),
            Just(Icmpv4Error::ReassemblyTimeExceeded),
            any::<u8>().prop_map(|pointer| Icmpv4Error::ParameterProblem { pointer }),
        ]
    }

    fn messages() -> impl Strategy<Value = Icmpv4Repr> {
        prop_oneof![
            any::<(u16, u16)>().prop_map(|(identifier, sequence)| Icmpv4Repr::EchoRequest {
                identifier,
                sequence
            }),
            any::<(u16, u16)>().prop_map(|(identifier, sequence)| Icmpv4Repr::EchoReply {
                identifier,
                sequence
            }),
            errors().prop_map(Icmpv4Repr::Error),
            (13u8..20, any::<u8>(), any::<[u8; 4]>()).prop_map(|(message_type, code, rest)| {
                Icmpv4Repr::Other {
                    message_type,
                    code,
                    rest,
                }
            }),
        ]
    }

    #[test]
    fn accessors_are_of_their_types_only() {
        let mut bytes = [8, 0, 0, 0, 1, 2, 3, 4, 0x45];
        let view = Icmpv4View::new_checked(bytes).unwrap();
        assert_eq!(
            (view.identifier(), view.sequence()),
            (Some(0x0102), Some(0x0304))
        );
        assert_eq!((view.next_hop_mtu(), view.quoted_packet()), (None, None));
        (bytes[0], bytes[1], bytes[5]) = (3, 4, 0);
        let view = Icmpv4View::new_checked(bytes).unwrap();
        assert_eq!((view.identifier(), view.sequence()), (None, None));
        assert_eq!(
            (view.next_hop_mtu(), view.quoted_packet()),
            (Some(0x0304), Some(&[0x45][..]))
        );
        assert_eq!(
            Icmpv4View::new_checked(&bytes[..7]),
            Err(Icmpv4ParseError::TooShort { available: 7 })
        );
    }

    #[test]
    fn extensions_are_no_part_of_the_quote() {
        let mut bytes = [0; HEADER_LEN + 128 + 12];
        (bytes[0], bytes[5]) = (11, 32);
        assert_eq!(
            Icmpv4View::new_checked(bytes)
                .unwrap()
                .quoted_packet()
                .unwrap()
                .len(),
            128
        );
        bytes[5] = 255;
        assert_eq!(
            Icmpv4View::new_checked(bytes)
                .unwrap()
                .quoted_packet()
                .unwrap()
                .len(),
            140
        );
        // A redirect has the gateway's address there.
        (bytes[0], bytes[5]) = (5, 32);
        assert_eq!(
            Icmpv4View::new_checked(bytes)
                .unwrap()
                .quoted_packet()
                .unwrap()
                .len(),
            140
        );
    }

    proptest! {
        #[test]
        fn build_then_parse(
            repr in messages(),
            payload in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let mut bytes = vec![0xaa; HEADER_LEN];
            bytes.extend(&payload);
            prop_assert_eq!(repr.emit(&mut bytes), Ok(repr.buffer_len()));
            let mut view = Icmpv4View::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(Icmpv4Repr::parse(&view), repr);
            prop_assert_eq!(view.payload(), &payload);
            prop_assert!(view.verify_checksum());
            prop_assert_eq!(matches!(repr, Icmpv4Repr::Error(_)), view.quoted_packet().is_some());
            view.set_message_type(0);
            view.set_identifier(7);
            prop_assert_eq!(view.identifier(), Some(7));
            view.fill_checksum();
            prop_assert!(view.verify_checksum());
        }

        #[test]
        fn arbitrary_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            message_type in 0u8..20,
        ) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = message_type;
            }
            if let Ok(view) = Icmpv4View::new_checked(&bytes) {
                let _ = (Icmpv4Repr::parse(&view), view.verify_checksum(), view.identifier());
                let _ = (view.next_hop_mtu(), view.sequence());
                prop_assert_eq!(view.quoted_packet().is_some(), is_error(message_type));
            }
        }
    }
}
