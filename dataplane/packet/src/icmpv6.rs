//! ICMPv6 (RFC 4443). Neighbour discovery is in [`crate::ndp`].

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::bytes::{array_at, between, put_at, u8_at, u16_at, u32_at};
use crate::checksum::pseudo_header;
use crate::error::EmitError;
use crate::ip::Protocol;

/// Length of the header that all messages here have, in bytes.
pub const HEADER_LEN: usize = 8;

/// Message types (IANA "ICMPv6 'type' Numbers").
#[allow(missing_docs)]
pub mod message_type {
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO_REQUEST: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    pub const REDIRECT: u8 = 137;
}
use message_type as t;

pub(crate) const TYPE: usize = 0;
pub(crate) const CODE: usize = 1;
const CHECKSUM: usize = 2;
pub(crate) const REST: usize = 4;
const IDENTIFIER: usize = 4;
const QUOTE_WORDS: usize = 4;
const MTU: usize = 4;
const SEQUENCE: usize = 6;

/// Whether messages of this type report an error and quote the packet that it is about: those with
/// the top bit clear (section 2.1).
#[inline]
pub const fn is_error(message_type: u8) -> bool {
    message_type < 128
}

/// For messages with an identifier, that ask or answer: whether they answer.
#[inline]
pub const fn query_is_reply(message_type: u8) -> Option<bool> {
    match message_type {
        t::ECHO_REQUEST => Some(false),
        t::ECHO_REPLY => Some(true),
        _ => None,
    }
}

/// Why bytes are not an ICMPv6 message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Icmpv6ParseError {
    /// Fewer bytes than the header has.
    #[error("an ICMPv6 header has {HEADER_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
}

/// What a host or router says about a packet that did not get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv6Error {
    /// No route (1, 0).
    NoRoute,
    /// Policy (1, 1).
    AdministrativelyProhibited,
    /// The destination is beyond the scope of the source address (1, 2).
    BeyondScope,
    /// Nobody answers for the address on its link, and the like (1, 3).
    AddressUnreachable,
    /// Nobody listens on the port (1, 4).
    PortUnreachable,
    /// Policy about the source address (1, 5).
    SourcePolicyFailed,
    /// A route that refuses (1, 6).
    RejectRoute,
    /// Too big for the next link (2, 0).
    PacketTooBig {
        /// What would fit, in bytes with the IP header.
        mtu: u32,
    },
    /// The hop limit came to its end (3, 0).
    HopLimitExceeded,
    /// Not all fragments came in time (3, 1).
    ReassemblyTimeExceeded,
    /// Something in the packet is wrong (4).
    ParameterProblem {
        /// What kind: 0 a field, 1 an unknown next header, 2 an unknown option, 3 see RFC 7112.
        code: u8,
        /// At which byte.
        pointer: u32,
    },
}

impl Icmpv6Error {
    /// Type, code and the second word of the header.
    const fn parts(self) -> (u8, u8, u32) {
        match self {
            Icmpv6Error::NoRoute => (t::DESTINATION_UNREACHABLE, 0, 0),
            Icmpv6Error::AdministrativelyProhibited => (t::DESTINATION_UNREACHABLE, 1, 0),
            Icmpv6Error::BeyondScope => (t::DESTINATION_UNREACHABLE, 2, 0),
            Icmpv6Error::AddressUnreachable => (t::DESTINATION_UNREACHABLE, 3, 0),
            Icmpv6Error::PortUnreachable => (t::DESTINATION_UNREACHABLE, 4, 0),
            Icmpv6Error::SourcePolicyFailed => (t::DESTINATION_UNREACHABLE, 5, 0),
            Icmpv6Error::RejectRoute => (t::DESTINATION_UNREACHABLE, 6, 0),
            Icmpv6Error::PacketTooBig { mtu } => (t::PACKET_TOO_BIG, 0, mtu),
            Icmpv6Error::HopLimitExceeded => (t::TIME_EXCEEDED, 0, 0),
            Icmpv6Error::ReassemblyTimeExceeded => (t::TIME_EXCEEDED, 1, 0),
            Icmpv6Error::ParameterProblem { code, pointer } => {
                (t::PARAMETER_PROBLEM, code, pointer)
            }
        }
    }

    /// The error that a message with this second word of its header is; none where it has no name here.
    pub(crate) const fn from_message(message_type: u8, code: u8, rest: u32) -> Option<Self> {
        Self::from_parts(message_type, code, rest)
    }

    /// The header of its message, the checksum zero.
    pub(crate) const fn header(self) -> [u8; HEADER_LEN] {
        let (message_type, code, rest) = self.parts();
        let [a, b, c, d] = rest.to_be_bytes();
        [message_type, code, 0, 0, a, b, c, d]
    }

    const fn from_parts(message_type: u8, code: u8, rest: u32) -> Option<Self> {
        Some(match (message_type, code) {
            (t::DESTINATION_UNREACHABLE, 0) => Icmpv6Error::NoRoute,
            (t::DESTINATION_UNREACHABLE, 1) => Icmpv6Error::AdministrativelyProhibited,
            (t::DESTINATION_UNREACHABLE, 2) => Icmpv6Error::BeyondScope,
            (t::DESTINATION_UNREACHABLE, 3) => Icmpv6Error::AddressUnreachable,
            (t::DESTINATION_UNREACHABLE, 4) => Icmpv6Error::PortUnreachable,
            (t::DESTINATION_UNREACHABLE, 5) => Icmpv6Error::SourcePolicyFailed,
            (t::DESTINATION_UNREACHABLE, 6) => Icmpv6Error::RejectRoute,
            // The code is to be ignored (section 3.2).
            (t::PACKET_TOO_BIG, _) => Icmpv6Error::PacketTooBig { mtu: rest },
            (t::TIME_EXCEEDED, 0) => Icmpv6Error::HopLimitExceeded,
            (t::TIME_EXCEEDED, 1) => Icmpv6Error::ReassemblyTimeExceeded,
            (t::PARAMETER_PROBLEM, code) => Icmpv6Error::ParameterProblem {
                code,
                pointer: rest,
            },
            _ => return None,
        })
    }
}

/// An ICMPv6 message: the whole upper layer of its IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmpv6View<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> Icmpv6View<T> {
    /// A view over a message whose header is there.
    ///
    /// # Errors
    /// [`Icmpv6ParseError::TooShort`].
    pub fn new_checked(bytes: T) -> Result<Self, Icmpv6ParseError> {
        match bytes.as_ref().len() {
            available if available < HEADER_LEN => Err(Icmpv6ParseError::TooShort { available }),
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

    /// The identifier of an echo; `None` for other messages.
    pub fn identifier(&self) -> Option<u16> {
        query_is_reply(self.message_type()).map(|_| u16_at(self.bytes.as_ref(), IDENTIFIER))
    }

    /// The sequence number of an echo; `None` for other messages.
    pub fn sequence(&self) -> Option<u16> {
        query_is_reply(self.message_type()).map(|_| u16_at(self.bytes.as_ref(), SEQUENCE))
    }

    /// What would fit, of a "packet too big".
    pub fn mtu(&self) -> Option<u32> {
        (self.message_type() == t::PACKET_TOO_BIG).then(|| u32_at(self.bytes.as_ref(), MTU))
    }

    /// The packet that an error is about, from its IP header on, as far as it is quoted; `None`
    /// when the message is no error. What RFC 4884 appends behind the quote is left out.
    pub fn quoted_packet(&self) -> Option<&[u8]> {
        let bytes = self.bytes.as_ref();
        let message_type = self.message_type();
        // 64-bit words of the quote, where something follows it. Other types have other fields
        // here.
        let words = match message_type {
            t::DESTINATION_UNREACHABLE | t::TIME_EXCEEDED => u8_at(bytes, QUOTE_WORDS),
            _ => 0,
        };
        let end = match words {
            0 => usize::MAX,
            words => HEADER_LEN + usize::from(words) * 8,
        };
        is_error(message_type).then(|| between(bytes, HEADER_LEN, end))
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), HEADER_LEN, usize::MAX)
    }

    /// Whether the checksum is right, between these addresses. Costs a pass over the message.
    pub fn verify_checksum(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        let bytes = self.bytes.as_ref();
        pseudo_header(source, destination, Protocol::ICMPV6, bytes.len())
            .bytes(bytes)
            .is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Icmpv6View<T> {
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
    pub fn fill_checksum(&mut self, source: Ipv6Addr, destination: Ipv6Addr) {
        self.set_checksum(0);
        let bytes = self.bytes.as_ref();
        let sum = pseudo_header(source, destination, Protocol::ICMPV6, bytes.len()).bytes(bytes);
        self.set_checksum(sum.checksum());
    }
}

/// An ICMPv6 header as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Icmpv6Repr {
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
    Error(Icmpv6Error),
    /// Any other message.
    Other {
        /// The type.
        message_type: u8,
        /// The code.
        code: u8,
        /// The second word of the header.
        rest: u32,
    },
}

impl Icmpv6Repr {
    /// The header of a message.
    pub fn parse<T: AsRef<[u8]>>(view: &Icmpv6View<T>) -> Self {
        let rest = u32::from_be_bytes(array_at(view.bytes.as_ref(), REST));
        let (message_type, code) = (view.message_type(), view.code());
        let (identifier, sequence) = ((rest >> 16) as u16, rest as u16);
        match (message_type, code) {
            (t::ECHO_REQUEST, 0) => Icmpv6Repr::EchoRequest {
                identifier,
                sequence,
            },
            (t::ECHO_REPLY, 0) => Icmpv6Repr::EchoReply {
                identifier,
                sequence,
            },
            _ => match Icmpv6Error::from_parts(message_type, code, rest) {
                Some(error) => Icmpv6Repr::Error(error),
                None => Icmpv6Repr::Other {
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
    pub fn emit(
        &self,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        out: &mut [u8],
    ) -> Result<usize, EmitError> {
        EmitError::check_room(out, HEADER_LEN)?;
        let echo =
            |identifier: u16, sequence: u16| u32::from(identifier) << 16 | u32::from(sequence);
        let (message_type, code, rest) = match *self {
            Icmpv6Repr::EchoRequest {
                identifier,
                sequence,
            } => (t::ECHO_REQUEST, 0, echo(identifier, sequence)),
            Icmpv6Repr::EchoReply {
                identifier,
                sequence,
            } => (t::ECHO_REPLY, 0, echo(identifier, sequence)),
            Icmpv6Repr::Error(error) => error.parts(),
            Icmpv6Repr::Other {
                message_type,
                code,
                rest,
            } => (message_type, code, rest),
        };
        put_at(out, TYPE, [message_type, code]);
        put_at(out, REST, rest.to_be_bytes());
        Icmpv6View { bytes: out }.fill_checksum(source, destination);
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn errors() -> impl Strategy<Value = Icmpv6Error> {
        prop_oneof![
            Just(Icmpv6Error::NoRoute),
            Just(Icmpv6Error::AdministrativelyProhibited),
            Just(Icmpv6Error::BeyondScope),
            Just(Icmpv6Error::AddressUnreachable),
            Just(Icmpv6Error::PortUnreachable),
            Just(Icmpv6Error::SourcePolicyFailed),
            Just(Icmpv6Error::RejectRoute),
            any::<u32>().prop_map(|mtu| Icmpv6Error::PacketTooBig { mtu }),
            Just(Icmpv6Error::HopLimitExceeded),
            Just(Icmpv6Error::ReassemblyTimeExceeded),
            any::<(u8, u32)>()
                .prop_map(|(code, pointer)| Icmpv6Error::ParameterProblem { code, pointer }),
        ]
    }

    fn messages() -> impl Strategy<Value = Icmpv6Repr> {
        prop_oneof![
            any::<(u16, u16)>().prop_map(|(identifier, sequence)| Icmpv6Repr::EchoRequest {
                identifier,
                sequence
            }),
            any::<(u16, u16)>().prop_map(|(identifier, sequence)| Icmpv6Repr::EchoReply {
                identifier,
                sequence
            }),
            errors().prop_map(Icmpv6Repr::Error),
            (130u8..160, any::<u8>(), any::<u32>()).prop_map(|(message_type, code, rest)| {
                Icmpv6Repr::Other {
                    message_type,
                    code,
                    rest,
                }
            }),
        ]
    }

    #[test]
    fn accessors_are_of_their_types_only() {
        let mut bytes = [128, 0, 0, 0, 1, 2, 3, 4, 0x60];
        let view = Icmpv6View::new_checked(bytes).unwrap();
        assert_eq!(
            (view.identifier(), view.sequence()),
            (Some(0x0102), Some(0x0304))
        );
        assert_eq!((view.mtu(), view.quoted_packet()), (None, None));
        bytes[0] = 2;
        let view = Icmpv6View::new_checked(bytes).unwrap();
        assert_eq!((view.identifier(), view.sequence()), (None, None));
        assert_eq!(
            (view.mtu(), view.quoted_packet()),
            (Some(0x0102_0304), Some(&[0x60][..]))
        );
        assert_eq!(
            Icmpv6View::new_checked(&bytes[..7]),
            Err(Icmpv6ParseError::TooShort { available: 7 })
        );
    }

    #[test]
    fn extensions_are_no_part_of_the_quote() {
        let mut bytes = [0; HEADER_LEN + 128 + 12];
        (bytes[0], bytes[4]) = (3, 16);
        assert_eq!(
            Icmpv6View::new_checked(bytes)
                .unwrap()
                .quoted_packet()
                .unwrap()
                .len(),
            128
        );
        // A packet too big has its MTU there.
        bytes[0] = 2;
        assert_eq!(
            Icmpv6View::new_checked(bytes)
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
            addresses: ([u8; 16], [u8; 16]),
        ) {
            let (source, destination) = (addresses.0.into(), addresses.1.into());
            let mut bytes = vec![0xaa; HEADER_LEN];
            bytes.extend(&payload);
            prop_assert_eq!(repr.emit(source, destination, &mut bytes), Ok(repr.buffer_len()));
            let mut view = Icmpv6View::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(Icmpv6Repr::parse(&view), repr);
            prop_assert_eq!(view.payload(), &payload);
            prop_assert!(view.verify_checksum(source, destination));
            view.set_message_type(129);
            view.set_identifier(7);
            prop_assert_eq!(view.identifier(), Some(7));
            view.fill_checksum(source, destination);
            prop_assert!(view.verify_checksum(source, destination));
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), message_type: u8) {
            let mut bytes = bytes;
            if let Some(first) = bytes.first_mut() {
                *first = message_type;
            }
            if let Ok(view) = Icmpv6View::new_checked(&bytes) {
                let _ = (Icmpv6Repr::parse(&view), view.identifier(), view.mtu(), view.sequence());
                let _ = view.verify_checksum(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
                prop_assert_eq!(view.quoted_packet().is_some(), is_error(message_type));
            }
        }
    }
}
