//! TCP headers (RFC 9293 section 3.1).

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use thiserror::Error;

use crate::bytes::{between, put_at, u8_at, u16_at, u32_at};
use crate::checksum::{Sum, pseudo_header};
use crate::error::EmitError;
use crate::ip::{IpAddress, Protocol};
use crate::options::Options;

/// Length of a header without options, in bytes.
pub const MIN_HEADER_LEN: usize = 20;

const SOURCE: usize = 0;
const DESTINATION: usize = 2;
const SEQUENCE: usize = 4;
const ACKNOWLEDGMENT: usize = 8;
const DATA_OFFSET: usize = 12;
const FLAGS: usize = 13;
const WINDOW: usize = 14;
pub(crate) const CHECKSUM: usize = 16;
const URGENT: usize = 18;

const OPTION_MAX_SEGMENT_SIZE: u8 = 2;
const OPTION_WINDOW_SCALE: u8 = 3;

/// The control bits of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No bit.
    pub const NONE: TcpFlags = TcpFlags(0);
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgment number is meant.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer is meant.
    pub const URG: TcpFlags = TcpFlags(0x20);
    /// ECN echo (RFC 3168).
    pub const ECE: TcpFlags = TcpFlags(0x40);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: TcpFlags = TcpFlags(0x80);

    /// All bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: TcpFlags) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl BitOrAssign for TcpFlags {
    fn bitor_assign(&mut self, other: TcpFlags) {
        self.0 |= other.0;
    }
}

impl fmt::Display for TcpFlags {
    /// Names with commas between, `SYN,ACK`; a dash for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut separator = "";
        for (bit, name) in NAMES.into_iter().enumerate() {
            if self.0 & 1 << bit != 0 {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        if self.0 == 0 {
            f.write_str("-")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why bytes are not a TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TcpError {
    /// Fewer bytes than a header has.
    #[error("a TCP header has at least {MIN_HEADER_LEN} bytes, {available} are there")]
    TooShort {
        /// Bytes that are there.
        available: usize,
    },
    /// The header says that it is shorter than any, or longer than what is there.
    #[error("a TCP header length of {header_len} bytes, {available} are there")]
    BadDataOffset {
        /// What it says, in bytes.
        header_len: usize,
        /// Bytes that are there.
        available: usize,
    },
}

/// A TCP segment: the whole payload of its IP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpView<T> {
    bytes: T,
}

impl<T: AsRef<[u8]>> TcpView<T> {
    /// A view over a segment whose header is there.
    ///
    /// # Errors
    /// See [`TcpError`].
    pub fn new_checked(bytes: T) -> Result<Self, TcpError> {
        let available = bytes.as_ref().len();
        if available < MIN_HEADER_LEN {
            return Err(TcpError::TooShort { available });
        }
        let view = Self { bytes };
        let header_len = view.header_len();
        if header_len < MIN_HEADER_LEN || header_len > available {
            return Err(TcpError::BadDataOffset {
                header_len,
                available,
            });
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

    /// Sequence number of the first byte.
    pub fn sequence(&self) -> u32 {
        u32_at(self.bytes.as_ref(), SEQUENCE)
    }

    /// Next sequence number that the sender expects; meant with [`TcpFlags::ACK`].
    pub fn acknowledgment(&self) -> u32 {
        u32_at(self.bytes.as_ref(), ACKNOWLEDGMENT)
    }

    /// Bytes of the header, options included.
    pub fn header_len(&self) -> usize {
        usize::from(u8_at(self.bytes.as_ref(), DATA_OFFSET) >> 4) * 4
    }

    /// The control bits.
    pub fn flags(&self) -> TcpFlags {
        TcpFlags(u8_at(self.bytes.as_ref(), FLAGS))
    }

    /// The window, not scaled.
    pub fn window(&self) -> u16 {
        u16_at(self.bytes.as_ref(), WINDOW)
    }

    /// The checksum as it stands there.
    pub fn checksum(&self) -> u16 {
        u16_at(self.bytes.as_ref(), CHECKSUM)
    }

    /// The urgent pointer; meant with [`TcpFlags::URG`].
    pub fn urgent(&self) -> u16 {
        u16_at(self.bytes.as_ref(), URGENT)
    }

    /// The options, in order.
    pub fn options(&self) -> Options<'_> {
        Options::new(between(
            self.bytes.as_ref(),
            MIN_HEADER_LEN,
            self.header_len(),
        ))
    }

    /// The maximum segment size option, if the segment has a right one.
    pub fn max_segment_size(&self) -> Option<u16> {
        let size = self.option(OPTION_MAX_SEGMENT_SIZE)?;
        size.try_into().ok().map(u16::from_be_bytes)
    }

    /// The window scale option, if the segment has a right one: how far its sender shifts the windows that it tells (RFC 7323
    /// section 2). Only meant in a SYN. As it stands there: more than 14 is to be taken for 14.
    pub fn window_scale(&self) -> Option<u8> {
        match self.option(OPTION_WINDOW_SCALE)? {
            [shift] => Some(*shift),
            _ => None,
        }
    }

    /// What the first option of a kind says.
    fn option(&self, kind: u8) -> Option<&[u8]> {
        self.options()
            .map_while(Result::ok)
            .find_map(|option| (option.kind == kind).then_some(option.data))
    }

    /// The data.
    pub fn payload(&self) -> &[u8] {
        between(self.bytes.as_ref(), self.header_len(), usize::MAX)
    }

    /// Whether the checksum is right, between these addresses. Costs a pass over the segment.
    pub fn verify_checksum<A: IpAddress>(&self, source: A, destination: A) -> bool {
        let bytes = self.bytes.as_ref();
        pseudo_header(source, destination, Protocol::TCP, bytes.len())
            .bytes(bytes)
            .is_valid()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> TcpView<T> {
    /// Sets from which port. The checksum is left stale: see
    /// [`fill_checksum`](Self::fill_checksum).
    pub fn set_source(&mut self, port: u16) {
        put_at(self.bytes.as_mut(), SOURCE, port.to_be_bytes());
    }

    /// Sets to which port. The checksum is left stale.
    pub fn set_destination(&mut self, port: u16) {
        put_at(self.bytes.as_mut(), DESTINATION, port.to_be_bytes());
    }

    /// Sets the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put_at(self.bytes.as_mut(), CHECKSUM, checksum.to_be_bytes());
    }

    /// Computes the checksum anew. Costs a pass over the segment.
    pub fn fill_checksum<A: IpAddress>(&mut self, source: A, destination: A) {
        self.set_checksum(0);
        let bytes = self.bytes.as_ref();
        let sum: Sum = pseudo_header(source, destination, Protocol::TCP, bytes.len()).bytes(bytes);
        self.set_checksum(sum.checksum());
    }
}

/// A TCP header as a value, with no option but the maximum segment size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TcpRepr {
    /// From which port.
    pub source: u16,
    /// To which port.
    pub destination: u16,
    /// Sequence number of the first byte.
    pub sequence: u32,
    /// Next sequence number expected.
    pub acknowledgment: u32,
    /// The control bits.
    pub flags: TcpFlags,
    /// The window, not scaled.
    pub window: u16,
    /// The urgent pointer.
    pub urgent: u16,
    /// The maximum segment size option.
    pub max_segment_size: Option<u16>,
}

impl TcpRepr {
    /// The header of a segment. Other options are left out.
    pub fn parse<T: AsRef<[u8]>>(view: &TcpView<T>) -> Self {
        Self {
            source: view.source(),
            destination: view.destination(),
            sequence: view.sequence(),
            acknowledgment: view.acknowledgment(),
            flags: view.flags(),
            window: view.window(),
            urgent: view.urgent(),
            max_segment_size: view.max_segment_size(),
        }
    }

    /// Bytes that [`emit`](Self::emit) writes, before the data.
    pub const fn buffer_len(&self) -> usize {
        match self.max_segment_size {
            None => MIN_HEADER_LEN,
            Some(_) => MIN_HEADER_LEN + 4,
        }
    }

    /// Writes the header to the front of `out`, which is the whole segment, its data already in
    /// place, and the checksum over all of it; answers the header's length.
    ///
    /// # Errors
    /// [`EmitError::TooShort`].
    pub fn emit<A: IpAddress>(
        &self,
        source: A,
        destination: A,
        out: &mut [u8],
    ) -> Result<usize, EmitError> {
        let header_len = self.buffer_len();
        EmitError::check_room(out, header_len)?;
        put_at(out, SOURCE, self.source.to_be_bytes());
        put_at(out, DESTINATION, self.destination.to_be_bytes());
        put_at(out, SEQUENCE, self.sequence.to_be_bytes());
        put_at(out, ACKNOWLEDGMENT, self.acknowledgment.to_be_bytes());
        put_at(out, DATA_OFFSET, [(header_len << 2) as u8, self.flags.0]);
        put_at(out, WINDOW, self.window.to_be_bytes());
        put_at(out, URGENT, self.urgent.to_be_bytes());
        if let Some(size) = self.max_segment_size {
            let [high, low] = size.to_be_bytes();
            put_at(out, MIN_HEADER_LEN, [OPTION_MAX_SEGMENT_SIZE, 4, high, low]);
        }
        TcpView { bytes: out }.fill_checksum(source, destination);
        Ok(header_len)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flags_read_like_flags() {
        assert_eq!((TcpFlags::SYN | TcpFlags::ACK).to_string(), "SYN,ACK");
        assert_eq!(TcpFlags::NONE.to_string(), "-");
        assert_eq!(
            TcpFlags(0xff).to_string(),
            "FIN,SYN,RST,PSH,ACK,URG,ECE,CWR"
        );
        let mut flags = TcpFlags::FIN;
        flags |= TcpFlags::ACK;
        assert!(flags.contains(TcpFlags::ACK) && !flags.contains(TcpFlags::ACK | TcpFlags::RST));
        assert!(flags.intersects(TcpFlags::ACK | TcpFlags::RST));
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let mut bytes = [0; 24];
        assert_eq!(
            TcpView::new_checked(&bytes[..19]),
            Err(TcpError::TooShort { available: 19 })
        );
        for (words, header_len) in [(4, 16), (7, 28)] {
            bytes[12] = words << 4;
            let error = TcpError::BadDataOffset {
                header_len,
                available: 24,
            };
            assert_eq!(TcpView::new_checked(bytes), Err(error));
        }
        bytes[12] = 6 << 4;
        bytes[20..].copy_from_slice(&[2, 4, 5, 0xb4]);
        assert_eq!(
            TcpView::new_checked(bytes).unwrap().max_segment_size(),
            Some(1460)
        );
        // An option of that kind, but not of that length.
        bytes[20..].copy_from_slice(&[2, 3, 5, 0]);
        assert_eq!(
            TcpView::new_checked(bytes).unwrap().max_segment_size(),
            None
        );
        for (options, scale) in [
            ([1, 3, 3, 7], Some(7)),
            ([3, 3, 255, 0], Some(255)),
            ([3, 4, 7, 7], None),
            ([0, 3, 3, 7], None),
            ([2, 4, 3, 3], None),
        ] {
            bytes[20..].copy_from_slice(&options);
            let view = TcpView::new_checked(bytes).unwrap();
            assert_eq!(view.window_scale(), scale, "{options:?}");
        }
    }

    prop_compose! {
        fn repr()(
            ports: (u16, u16),
            numbers: (u32, u32),
            flags: u8,
            window: u16,
            urgent: u16,
            max_segment_size: Option<u16>,
        ) -> TcpRepr {
            TcpRepr {
                source: ports.0,
                destination: ports.1,
                sequence: numbers.0,
                acknowledgment: numbers.1,
                flags: TcpFlags(flags),
                window,
                urgent,
                max_segment_size,
            }
        }
    }

    proptest! {
        #[test]
        fn build_then_parse(
            repr in repr(),
            data in prop::collection::vec(any::<u8>(), 0..50),
            v4: ([u8; 4], [u8; 4]),
            v6: ([u8; 16], [u8; 16]),
            ports: (u16, u16),
        ) {
            let mut bytes = vec![0xaa; repr.buffer_len()];
            bytes.extend(&data);
            let (source, destination) = (Ipv4Addr::from(v4.0), Ipv4Addr::from(v4.1));
            prop_assert_eq!(repr.emit(source, destination, &mut bytes), Ok(repr.buffer_len()));
            let mut view = TcpView::new_checked(&mut bytes).unwrap();
            prop_assert_eq!(TcpRepr::parse(&view), repr);
            prop_assert_eq!(view.payload(), &data);
            prop_assert!(view.verify_checksum(source, destination));
            view.set_source(ports.0);
            view.set_destination(ports.1);
            let (source, destination) = (Ipv6Addr::from(v6.0), Ipv6Addr::from(v6.1));
            view.fill_checksum(source, destination);
            prop_assert!(view.verify_checksum(source, destination));
            prop_assert_eq!((view.source(), view.destination()), ports);
            view.set_checksum(view.checksum() ^ 1);
            prop_assert!(!view.verify_checksum(source, destination));
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..96)) {
            if let Ok(view) = TcpView::new_checked(&bytes) {
                let _ = (TcpRepr::parse(&view), view.options().count());
                prop_assert_eq!(view.header_len() + view.payload().len(), bytes.len());
                let _ = view.verify_checksum(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
            }
        }
    }
}
