//! UDP headers (RFC 768).

use thiserror::Error;

use crate::bytes::{between, put_at, u16_at};
use crate::checksum::pseudo_header;
use crate::error::EmitError;
use crate::ip::{IpAddress, Protocol};

/// Length of the header, in bytes.
pub const HEADER_LEN: usize = 8;

const SOURCE: usize = 0;
const DESTINATION: usize = 2;
pub(crate) const LENGTH: usize = 4;
pub(crate) const CHECKSUM: usize = 6;

/// Why bytes are not a UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UdpError {
    /// Fewer bytes than the header has.
    #[error("a UDP header has {HEADER_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
    /// The datagram says that it is shorter than its header, or longer than what is there.
    #[error("a UDP length of {length} bytes, {available} are there")]
    BadLength {
        /// What it says.
        length: usize,
        /// Bytes that are there.
        available: usize,
    },
}

/// A UDP datagram. What lies behind its length is out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpView<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> UdpView<T> {
    /// A view over a datagram whose length is right.
    ///
    /// # Errors
    /// See [`UdpError`].
    pub fn new_checked(bytes: T) -> Result<Self, UdpError> {
        let available = bytes.as_ref().len();
        if available < HEADER_LEN {
            return Err(UdpError::TooShort { available });
        }
        let view = Self { bytes };
        let length = view.length();
        if length < HEADER_LEN || length > available {
            return Err(UdpError::BadLength { length, available });
        }
        Ok(view)
    }

    /// The bytes again.
    pub fn into_inner(self) -> T {
        self.bytes
    }

    /// From which port.
    pub fn source(&self) -> u16 {
        u16_at(self.bytes.as_ref(), SOURCE)
    }

    /// To which port.
    pub fn destination(&self) -> u16 {
        u16_at(self.bytes.as_ref(), DESTINATION)
    }

    /// Bytes of the datagram, header included, by its own account.
    pub fn length(&self) -> usize {
        u16_at(self.bytes.as_ref(), LENGTH).into()
    }

    /// The checksum as it stands there; 0 is none.
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes.as_ref(), CHECKSUM)
    }

    /// The data.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), HEADER_LEN, self.length())
    }

    /// Whether the checksum is right, between these addresses. None counts as right; over IPv6,
    /// none is only allowed to some tunnels (RFC 6935). Costs a pass over the datagram.
    pub fn verify_checksum<A: IpAddress>(&self, source: A, destination: A) -> bool {
        let bytes = between(self.bytes.as_ref(), 0, self.length());
        self.checksum() == 0
            || pseudo_header(source, destination, Protocol::UDP, bytes.len())
                .bytes(bytes)
                .is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> UdpView<T> {
    /// Sets from which port. The checksum is left stale: see
    /// [`fill_checksum`](Self::fill_checksum).
    pub fn set_source(&mut self, port: u16) {
        put_at(self.bytes.as_mut(), SOURCE, port.to_be_bytes());
    }

    /// Sets to which port. The checksum is left stale.
    pub fn set_destination(&mut self, port: u16) {
        put_at(self.bytes.as_mut(), DESTINATION, port.to_be_bytes());
    }

    /// Sets the checksum; 0 is none.
    pub fn set_checksum(&mut self, checksum: u16) {
        put_at(self.bytes.as_mut(), CHECKSUM, checksum.to_be_bytes());
    }

    /// Computes the checksum anew. Costs a pass over the datagram.
    pub fn fill_checksum<A: IpAddress>(&mut self, source: A, destination: A) {
        self.set_checksum(0);
        let bytes = between(self.bytes.as_ref(), 0, self.length());
        let sum = pseudo_header(source, destination, Protocol::UDP, bytes.len()).bytes(bytes);
        self.set_checksum(never_absent(sum.checksum()));
    }
}

/// The other zero for a checksum that came out as 0, which would say that there is none.
#[inline]
pub(crate) const fn never_absent(checksum: u16) -> u16 {
    if checksum == 0 { 0xffff } else { checksum }
}

/// A UDP header as a value. The length is that of the buffer it is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UdpRepr {
    /// From which port.
    pub source: u16,
    /// To which port.
    pub destination: u16,
}

impl UdpRepr {
    /// The header of a datagram.
    pub fn parse<T: AsRef<[u8]>>(view: &UdpView<T>) -> Self {
        Self {
            source: view.source(),
            destination: view.destination(),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes, before the data.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header to the front of `out`, which is the whole datagram, its data already in
    /// place, and the checksum over all of it; answers the header's length.
    ///
    /// # Errors
    /// [`EmitError`]: no room for the header, or too much data.
    pub fn emit<A: IpAddress>(
        &self,
        source: A,
        destination: A,
        out: &mut [u8],
    ) -> Result<usize, EmitError> {
        EmitError::check_room(out, HEADER_LEN)?;
        let length = EmitError::check_u16(out.len())?;
        put_at(out, SOURCE, self.source.to_be_bytes());
        put_at(out, DESTINATION, self.destination.to_be_bytes());
        put_at(out, LENGTH, length.to_be_bytes());
        UdpView { bytes: out }.fill_checksum(source, destination);
        Ok(HEADER_LEN)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    #[test]
    fn each_refusal_has_its_reason() {
        let mut bytes = [0; 12];
        assert_eq!(
            UdpView::new_checked(&bytes[..7]),
            Err(UdpError::TooShort { available: 7 })
        );
        for length in [0, 7, 13] {
            bytes[5] = length;
            let error = UdpError::BadLength {
                length: length.into(),
                available: 12,
            };
            assert_eq!(UdpView::new_checked(bytes), Err(error));
        }
        assert_eq!(
            UdpRepr {
                source: 1,
                destination: 2
            }
            .emit(A, B, &mut [0; 65_536]),
            Err(EmitError::TooLong {
                length: 65_536,
                limit: 65_535
            })
        );
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_ffff() {
        let mut bytes = [0; 10];
        let repr = UdpRepr {
            source: 1,
            destination: 2,
        };
        repr.emit(A, B, &mut bytes).unwrap();
        // Put the checksum so far into the data: the sum with it is the one that complements to 0.
        let so_far = UdpView::new_checked(bytes).unwrap().checksum();
        bytes[8..].copy_from_slice(&so_far.to_be_bytes());
        repr.emit(A, B, &mut bytes).unwrap();
        let mut view = UdpView::new_checked(bytes).unwrap();
        assert_eq!(view.checksum(), 0xffff);
        assert!(view.verify_checksum(A, B));
        view.set_checksum(0);
        assert!(view.verify_checksum(A, B));
        view.set_checksum(1);
        assert!(!view.verify_checksum(A, B));
    }

    proptest! {
        #[test]
        fn build_then_parse(
            source: u16,
            destination: u16,
            data in prop::collection::vec(any::<u8>(), 0..50),
            other: (u16, u16),
            v6: ([u8; 16], [u8; 16]),
        ) {
            let repr = UdpRepr { source, destination };
            let mut bytes = vec![0xaa; repr.buffer_len()];
            bytes.extend(&data);
            prop_assert_eq!(repr.emit(A, B, &mut bytes), Ok(repr.buffer_len()));
            let mut view = UdpView::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(UdpRepr::parse(&view), repr);
            prop_assert_eq!(view.payload(), &data);
            prop_assert!(view.verify_checksum(A, B));
            view.set_source(other.0);
            view.set_destination(other.1);
            let (from, to) = (Ipv6Addr::from(v6.0), Ipv6Addr::from(v6.1));
            view.fill_checksum(from, to);
            prop_assert!(view.checksum() != 0 && view.verify_checksum(from, to));
            prop_assert_eq!((view.source(), view.destination()), other);
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64), plausible: bool) {
            let mut bytes = bytes;
            if plausible && bytes.len() > 4 {
                bytes[4] = 0;
            }
            if let Ok(mut view) = UdpView::new_checked(&mut bytes) {
                let _ = UdpRepr::parse(&view);
                prop_assert_eq!(HEADER_LEN + view.payload().len(), view.length());
                view.fill_checksum(A, B);
                prop_assert!(view.verify_checksum(A, B));
            }
        }
    }
}
