//! ARP for IPv4 over Ethernet (RFC 826). Other hardware and protocols are refused by name.

use std::fmt;
use std::net::Ipv4Addr;

use thiserror::Error;

use crate::bytes::{array_at, put_at, u8_at, u16_at};
use crate::error::EmitError;
use crate::ethernet::{EtherType, MacAddress};

/// Length of an ARP packet for IPv4 over Ethernet, in bytes.
pub const PACKET_LEN: usize = 28;

const HARDWARE_ETHERNET: u16 = 1;

const HARDWARE_TYPE: usize = 0;
const PROTOCOL_TYPE: usize = 2;
const HARDWARE_LENGTH: usize = 4;
const PROTOCOL_LENGTH: usize = 5;
const OPERATION: usize = 6;
const SENDER_HARDWARE: usize = 8;
const SENDER_PROTOCOL: usize = 14;
const TARGET_HARDWARE: usize = 18;
const TARGET_PROTOCOL: usize = 24;

/// What an ARP packet wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArpOperation(pub u16);

impl ArpOperation {
    /// Who has the target address?
    pub const REQUEST: ArpOperation = ArpOperation(1);
    /// The sender has it.
    pub const REPLY: ArpOperation = ArpOperation(2);
}

impl fmt::Display for ArpOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ArpOperation::REQUEST => f.write_str("request"),
            ArpOperation::REPLY => f.write_str("reply"),
            ArpOperation(other) => write!(f, "operation {other}"),
        }
    }
}

/// Why bytes are not ARP for IPv4 over Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ArpError {
    /// Fewer bytes than such a packet has.
    #[error("an ARP packet has {PACKET_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
    /// Not Ethernet.
    #[error("ARP hardware type {hardware} is not Ethernet (1)")]
    BadHardwareType {
        /// What it says.
        hardware: u16,
    },
    /// Not IPv4.
    #[error("ARP protocol type {protocol:#06x} is not IPv4 (0x0800)")]
    BadProtocolType {
        /// What it says.
        protocol: u16,
    },
    /// A hardware address that is not 6 bytes long.
    #[error("ARP hardware address length {length} is not 6")]
    BadHardwareLength {
        /// What it says.
        length: u8,
    },
    /// A protocol address that is not 4 bytes long.
    #[error("ARP protocol address length {length} is not 4")]
    BadProtocolLength {
        /// What it says.
        length: u8,
    },
}

/// An ARP packet for IPv4 over Ethernet; what follows it is padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArpView<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> ArpView<T> {
    /// A view over the payload of an ARP frame.
    ///
    /// # Errors
    /// See [`ArpError`].
    pub fn new_checked(bytes: T) -> Result<Self, ArpError> {
        let b = bytes.as_ref();
        // The fields first that say what this is: "not Ethernet" is a better reason than "too
        // short".
        if b.len() >= OPERATION {
            let hardware = u16_at(b, HARDWARE_TYPE);
            if hardware != HARDWARE_ETHERNET {
                return Err(ArpError::BadHardwareType { hardware });
            }
            let protocol = u16_at(b, PROTOCOL_TYPE);
            if protocol != EtherType::IPV4.0 {
                return Err(ArpError::BadProtocolType { protocol });
            }
            let length = u8_at(b, HARDWARE_LENGTH);
            if length != 6 {
                return Err(ArpError::BadHardwareLength { length });
            }
            let length = u8_at(b, PROTOCOL_LENGTH);
            if length != 4 {
                return Err(ArpError::BadProtocolLength { length });
            }
        }
        match b.len() {
            available if available < PACKET_LEN => Err(ArpError::TooShort { available }),
            _ => Ok(Self { bytes }),
        }
    }

    /// Request, reply or something else.
    pub fn operation(&self) -> ArpOperation {
        ArpOperation(u16_at(self.bytes.as_ref(), OPERATION))
    }

    /// Who speaks: the hardware address.
    pub fn sender_hardware(&self) -> MacAddress {
        MacAddress(array_at(self.bytes.as_ref(), SENDER_HARDWARE))
    }

    /// Who speaks: the IPv4 address. Zero in a probe (RFC 5227).
    pub fn sender_protocol(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at::<4>(self.bytes.as_ref(), SENDER_PROTOCOL))
    }

    /// To whom: the hardware address. Meaningless in a request.
    pub fn target_hardware(&self) -> MacAddress {
        MacAddress(array_at(self.bytes.as_ref(), TARGET_HARDWARE))
    }

    /// To whom: the IPv4 address.
    pub fn target_protocol(&self) -> Ipv4Addr {
        Ipv4Addr::from(array_at::<4>(self.bytes.as_ref(), TARGET_PROTOCOL))
    }
}

/// An ARP packet as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ArpRepr {
    /// Request, reply or something else.
    pub operation: ArpOperation,
    /// Who speaks: the hardware address.
    pub sender_hardware: MacAddress,
    /// Who speaks: the IPv4 address.
    pub sender_protocol: Ipv4Addr,
    /// To whom: the hardware address, zero in a request.
    pub target_hardware: MacAddress,
    /// To whom: the IPv4 address.
    pub target_protocol: Ipv4Addr,
}

impl ArpRepr {
    /// A question: who has `target`? The answer goes to `hardware` and `address`.
    pub const fn request(hardware: MacAddress, address: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self {
            operation: ArpOperation::REQUEST,
            sender_hardware: hardware,
            sender_protocol: address,
            target_hardware: MacAddress::ZERO,
            target_protocol: target,
        }
    }

    /// The answer of the owner of `hardware` to this question.
    pub const fn reply(&self, hardware: MacAddress) -> Self {
        Self {
            operation: ArpOperation::REPLY,
            sender_hardware: hardware,
            sender_protocol: self.target_protocol,
            target_hardware: self.sender_hardware,
            target_protocol: self.sender_protocol,
        }
    }

    /// The value of a packet.
    pub fn parse<T: AsRef<[u8]>>(view: &ArpView<T>) -> Self {
        Self {
            operation: view.operation(),
            sender_hardware: view.sender_hardware(),
            sender_protocol: view.sender_protocol(),
            target_hardware: view.target_hardware(),
            target_protocol: view.target_protocol(),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes.
    pub const fn buffer_len(&self) -> usize {
        PACKET_LEN
    }

    /// Writes the packet to the front of `out`; answers its length.
    ///
    /// # Errors
    /// [`EmitError::TooShort`].
    pub fn emit(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        EmitError::check_room(out, PACKET_LEN)?;
        put_at(out, HARDWARE_TYPE, HARDWARE_ETHERNET.to_be_bytes());
        put_at(out, PROTOCOL_TYPE, EtherType::IPV4.0.to_be_bytes());
        put_at(out, HARDWARE_LENGTH, [6, 4]);
        put_at(out, OPERATION, self.operation.0.to_be_bytes());
        put_at(out, SENDER_HARDWARE, self.sender_hardware.0);
        put_at(out, SENDER_PROTOCOL, self.sender_protocol.octets());
        put_at(out, TARGET_HARDWARE, self.target_hardware.0);
        put_at(out, TARGET_PROTOCOL, self.target_protocol.octets());
        Ok(PACKET_LEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request() -> [u8; PACKET_LEN] {
        let mut bytes = [0; PACKET_LEN];
        let repr = ArpRepr::request(
            MacAddress([2, 0, 0, 0, 0, 1]),
            Ipv4Addr::new(192, 0, 2, 1),
            Ipv4Addr::new(192, 0, 2, 2),
        );
        repr.emit(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_request_on_the_wire() {
        assert_eq!(
            request(),
            [
                0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0,
                2, 2
            ]
        );
    }

    #[test]
    fn a_reply_turns_the_question_round() {
        let question = ArpRepr::parse(&ArpView::new_checked(request()).unwrap());
        let us = MacAddress([2, 0, 0, 0, 0, 2]);
        let answer = question.reply(us);
        assert_eq!(answer.operation, ArpOperation::REPLY);
        assert_eq!(
            (answer.sender_hardware, answer.sender_protocol),
            (us, question.target_protocol)
        );
        assert_eq!(
            (answer.target_hardware, answer.target_protocol),
            (question.sender_hardware, question.sender_protocol)
        );
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let with = |at: usize, value: u8| {
            let mut bytes = request();
            bytes[at] = value;
            ArpView::new_checked(bytes).unwrap_err()
        };
        assert_eq!(with(1, 6), ArpError::BadHardwareType { hardware: 6 });
        assert_eq!(with(2, 9), ArpError::BadProtocolType { protocol: 0x0900 });
        assert_eq!(with(4, 255), ArpError::BadHardwareLength { length: 255 });
        assert_eq!(with(5, 16), ArpError::BadProtocolLength { length: 16 });
        assert_eq!(
            ArpView::new_checked(&request()[..27]),
            Err(ArpError::TooShort { available: 27 })
        );
        assert_eq!(
            ArpView::new_checked(&[][..]),
            Err(ArpError::TooShort { available: 0 })
        );
    }

    proptest! {
        #[test]
        fn build_then_parse(
            operation: u16,
            sender_hardware: [u8; 6],
            sender_protocol: [u8; 4],
            target_hardware: [u8; 6],
            target_protocol: [u8; 4],
        ) {
            let repr = ArpRepr {
                operation: ArpOperation(operation),
                sender_hardware: MacAddress(sender_hardware),
                sender_protocol: sender_protocol.into(),
                target_hardware: MacAddress(target_hardware),
                target_protocol: target_protocol.into(),
            };
            let mut bytes = [0xaa; PACKET_LEN + 18];
            prop_assert_eq!(repr.emit(&mut bytes), Ok(repr.buffer_len()));
            prop_assert_eq!(ArpRepr::parse(&ArpView::new_checked(bytes).unwrap()), repr);
        }

        #[test]
        fn arbitrary_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            plausible: bool,
        ) {
            let mut bytes = bytes;
            if plausible && bytes.len() >= OPERATION {
                bytes[..OPERATION].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
            }
            if let Ok(view) = ArpView::new_checked(&bytes) {
                let _ = ArpRepr::parse(&view);
            }
        }
    }
}
