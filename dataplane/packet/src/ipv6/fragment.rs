//! Cutting an IPv6 packet that has a fragment header (RFC 8200 section 4.5): for who makes packets of IPv4's, which may be cut on their way.
//! A router must not do it to packets of others.

use super::{HEADER_LEN, Ipv6View};
use crate::bytes::{array_at, put_at, u16_at};
use crate::ip::Protocol;

/// Bytes of a fragment header.
pub const FRAGMENT_HEADER_LEN: usize = 8;

const PAYLOAD_LENGTH: usize = 4;
/// Offset and flag, from the start of the packet.
const PLACE: usize = HEADER_LEN + 2;
const MORE_FRAGMENTS: u16 = 1;
const HEADERS_LEN: usize = HEADER_LEN + FRAGMENT_HEADER_LEN;
/// What offsets count in.
const UNIT: usize = 8;

/// How a packet is cut. Every fragment keeps both headers; one that is a fragment itself keeps its place in the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragmentation {
    mtu: usize,
    payload_len: usize,
    /// Offset and flag as they are in the packet.
    place: u16,
    headers: [u8; HEADERS_LEN],
}

/// One fragment to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins behind the headers, in bytes.
    at: usize,
    payload_len: usize,
    place: u16,
}

impl Fragmentation {
    /// Plans to cut a packet for a link that takes `mtu` bytes. None, where it is no packet, its fragment header does not follow the
    /// IPv6 header, or nothing fits.
    pub fn new(packet: &[u8], mtu: usize) -> Option<Self> {
        let view = Ipv6View::new_checked(packet).ok()?;
        let payload_len = view.total_len().checked_sub(HEADERS_LEN)?;
        let is_cut = view.next_header() == Protocol::FRAGMENT && mtu >= HEADERS_LEN + UNIT;
        is_cut.then(|| Fragmentation {
            mtu,
            payload_len,
            place: u16_at(packet, PLACE),
            headers: array_at(packet, 0),
        })
    }

    /// The fragment that the packet itself becomes.
    pub fn first(&self) -> Piece {
        self.piece(0)
    }

    /// The fragments behind the first, in order.
    pub fn later(&self) -> impl Iterator<Item = Piece> + use<> {
        let plan = *self;
        let mut at = plan.first().payload_len;
        std::iter::from_fn(move || {
            let piece = (at < plan.payload_len).then(|| plan.piece(at))?;
            at += piece.payload_len;
            Some(piece)
        })
    }

    fn piece(&self, at: usize) -> Piece {
        let rest = self.payload_len.saturating_sub(at);
        let room = self.mtu.saturating_sub(HEADERS_LEN);
        let fits = rest <= room;
        Piece {
            at,
            payload_len: if fits { rest } else { room - room % UNIT },
            // The offset is in units of 8 bytes and stands 3 bits from the right: as many bytes.
            place: self.place.wrapping_add(at as u16) | if fits { 0 } else { MORE_FRAGMENTS },
        }
    }

    /// Writes a later fragment of `packet`, which is the one that was planned for, to the front of `out`; answers its length. `None`, when
    /// it does not fit or the packet is a shorter one.
    pub fn emit(&self, piece: Piece, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let from = HEADERS_LEN + piece.at;
        let payload = packet.get(from..from + piece.payload_len)?;
        let out = out.get_mut(..piece.packet_len())?;
        let (headers, rest) = out.split_at_mut_checked(HEADERS_LEN)?;
        headers.copy_from_slice(&self.headers);
        rest.copy_from_slice(payload);
        piece.finish(out);
        Some(piece.packet_len())
    }
}

impl Piece {
    /// Bytes of the fragment, with its headers.
    pub const fn packet_len(&self) -> usize {
        HEADERS_LEN + self.payload_len
    }

    /// Writes into the headers at the front of `packet` what they say of this fragment. It makes a packet its own
    /// [first](Fragmentation::first) fragment, in place.
    pub fn finish(&self, packet: &mut [u8]) {
        let length = (FRAGMENT_HEADER_LEN + self.payload_len) as u16;
        put_at(packet, PAYLOAD_LENGTH, length.to_be_bytes());
        put_at(packet, PLACE, self.place.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipv6::Ipv6Repr;

    proptest! {
        /// All pieces put together are the packet.
        #[test]
        fn nothing_is_lost(length in 0usize..4000, mtu in 56usize..2000, offset in 0u16..4000, more: bool) {
            let source = "2001:db8::1".parse().unwrap();
            let mut packet = vec![0; 48];
            Ipv6Repr::new(source, source, Protocol::FRAGMENT, 8 + length).emit(&mut packet).unwrap();
            let place = offset << 3 | u16::from(more);
            packet[40..48].copy_from_slice(&[17, 0, 0, 0, 1, 2, 3, 4]);
            packet[42..44].copy_from_slice(&place.to_be_bytes());
            packet.extend((0..length).map(|n| n as u8));
            let plan = Fragmentation::new(&packet, mtu).unwrap();
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            let mut first = packet.clone();
            plan.first().finish(&mut first);
            first.truncate(plan.first().packet_len());
            pieces.push(first);
            for piece in plan.later() {
                let mut out = vec![0; piece.packet_len()];
                plan.emit(piece, &packet, &mut out).unwrap();
                pieces.push(out);
            }
            let mut joined: Vec<u8> = Vec::new();
            let last = pieces.len() - 1;
            for (number, piece) in pieces.iter().enumerate() {
                prop_assert!(piece.len() <= mtu);
                let upper = Ipv6View::new_checked(&piece[..]).unwrap().upper_layer().unwrap();
                let header = upper.fragment.unwrap();
                prop_assert_eq!(usize::from(header.offset), usize::from(offset) + joined.len() / 8);
                prop_assert_eq!(header.more, more || number < last);
                prop_assert_eq!(header.identification, 0x0102_0304);
                joined.extend(&piece[48..]);
            }
            prop_assert_eq!(&joined[..], &packet[48..]);
        }
    }

    #[test]
    fn what_has_no_fragment_header_is_not_cut() {
        let source = "2001:db8::1".parse().unwrap();
        let mut packet = vec![0; 200];
        Ipv6Repr::new(source, source, Protocol::UDP, 160)
            .emit(&mut packet)
            .unwrap();
        assert_eq!(Fragmentation::new(&packet, 100), None);
    }
}
