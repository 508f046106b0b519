//! Cutting a packet to the size that a link takes, as a router must (RFC 791 section 3.2, RFC 1812
//! section 5.2.6).
//!
//! The bytes of the packet are not touched until all later fragments are written, so that whoever
//! runs out of buffers half way can still drop the packet whole.

use thiserror::Error;

use super::{
    CHECKSUM, FLAGS_OFFSET, Ipv4View, MIN_HEADER_LEN, MORE_FRAGMENTS, OFFSET_MASK, TOTAL_LENGTH,
    VERSION_IHL,
};
use crate::bytes::{between, put_at, u16_at};
use crate::checksum::checksum;

/// Length of the longest header, in bytes.
const MAX_HEADER_LEN: usize = 60;
/// Fragments begin at multiples of this many bytes of the payload.
const UNIT: usize = 8;
/// Bytes of the largest datagram (RFC 791, section 3.1), which no fragment may reach beyond.
const MAX_DATAGRAM: usize = 65_535;
/// An option of this kind goes into every fragment.
const COPIED: u8 = 0x80;

/// Why a packet cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FragmentError {
    /// Its sender forbids it.
    #[error("the packet must not be fragmented")]
    DontFragment,
    /// A fragment would carry no payload.
    #[error("an MTU of {mtu} bytes has no room for {UNIT} bytes behind a header of {header_len}")]
    MtuTooSmall {
        /// Bytes that the link takes.
        mtu: usize,
        /// Bytes of the packet's header.
        header_len: usize,
    },
    /// It is a fragment that ends where no datagram can.
    #[error(
        "the fragment ends at byte {end} of a payload, no datagram has more than {MAX_DATAGRAM}"
    )]
    BeyondEnd {
        /// Where it ends in the payload of its datagram.
        end: usize,
    },
}

/// How a packet is cut: the fragments have its identification, hops to live, addresses and
/// protocol. The first keeps all options, the later ones those whose copied flag is set. A packet
/// that is a fragment itself keeps its place in the datagram, and where more fragments follow it,
/// they follow its last piece too.
///
/// The plan is made from the header alone and costs no look at the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragmentation {
    mtu: usize,
    /// The packet's own header, which the first fragment keeps.
    header_len: usize,
    payload_len: usize,
    /// Flags and offset as they are in the packet.
    flags_offset: u16,
    /// The later fragments' header; lengths, flags, offset and checksum come with each of them.
    later_header: [u8; MAX_HEADER_LEN],
    later_header_len: usize,
}

/// One fragment to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    header_len: usize,
    /// Where it begins in the packet's payload, in bytes.
    at: usize,
    payload_len: usize,
    flags_offset: u16,
}

impl Fragmentation {
    /// Plans to cut a packet for a link that takes `mtu` bytes. One that fits already has no later
    /// fragments.
    ///
    /// # Errors
    /// [`FragmentError`].
    pub fn new<T: AsRef<[u8]>>(packet: &Ipv4View<T>, mtu: usize) -> Result<Self, FragmentError> {
        let header_len = packet.header_len();
        let payload_len = packet.total_len().saturating_sub(header_len);
        if packet.dont_fragment() {
            return Err(FragmentError::DontFragment);
        }
        if mtu < header_len + UNIT {
            return Err(FragmentError::MtuTooSmall { mtu, header_len });
        }
        let end = usize::from(packet.fragment_offset()) * UNIT + payload_len;
        if end > MAX_DATAGRAM {
            return Err(FragmentError::BeyondEnd { end });
        }
        let (later_header, later_header_len) = later_header(packet);
        Ok(Self {
            mtu,
            header_len,
            payload_len,
            flags_offset: u16_at(packet.bytes.as_ref(), FLAGS_OFFSET),
            later_header,
            later_header_len,
        })
    }

    /// The fragment that the packet itself becomes.
    pub fn first(&self) -> Piece {
        self.piece(self.header_len, 0)
    }

    /// The fragments behind the first, in order.
    pub fn later(&self) -> impl Iterator<Item = Piece> + use<> {
        let plan = *self;
        let mut at = plan.first().end();
        std::iter::from_fn(move || {
            let piece = (at < plan.payload_len).then(|| plan.piece(plan.later_header_len, at))?;
            at = piece.end();
            Some(piece)
        })
    }

    /// As much as fits from `at` on. Not nothing: [`new`](Self::new) has seen that there is room.
    fn piece(&self, header_len: usize, at: usize) -> Piece {
        let rest = self.payload_len.saturating_sub(at);
        let room = self.mtu.saturating_sub(header_len);
        let payload_len = if rest <= room {
            rest
        } else {
            room - room % UNIT
        };
        let more = if payload_len < rest {
            MORE_FRAGMENTS
        } else {
            0
        };
        // Offsets stay below the flags, since no datagram is longer than they can count.
        let flags_offset = (self.flags_offset | more).wrapping_add((at / UNIT) as u16);
        Piece {
            header_len,
            at,
            payload_len,
            flags_offset,
        }
    }

    /// Writes a later fragment of `packet`, which is the one that was planned for, to the front of
    /// `out`; answers its length. `None`, when it does not fit or the packet is a shorter one.
    pub fn emit(&self, piece: Piece, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let from = self.header_len + piece.at;
        let payload = packet.get(from..from + piece.payload_len)?;
        let out = out.get_mut(..piece.packet_len())?;
        let (header, rest) = out.split_at_mut_checked(piece.header_len)?;
        header.copy_from_slice(self.later_header.get(..piece.header_len)?);
        rest.copy_from_slice(payload);
        piece.finish(out);
        Some(piece.packet_len())
    }
}

impl Piece {
    /// Bytes of the fragment, with its header.
    pub const fn packet_len(&self) -> usize {
        self.header_len + self.payload_len
    }

    /// Where the fragment ends in the packet's payload.
    const fn end(&self) -> usize {
        self.at + self.payload_len
    }

    /// Writes into the header at the front of `packet` what it says of this fragment: length, flags,
    /// offset, checksum. It makes a packet its own [first](Fragmentation::first) fragment, in place:
    /// what lies behind [`packet_len`](Self::packet_len) is no part of it any more.
    pub fn finish(&self, packet: &mut [u8]) {
        put_at(
            packet,
            TOTAL_LENGTH,
            (self.packet_len() as u16).to_be_bytes(),
        );
        put_at(packet, FLAGS_OFFSET, self.flags_offset.to_be_bytes());
        put_at(packet, CHECKSUM, [0; 2]);
        let checksum = checksum(between(packet, 0, self.header_len));
        put_at(packet, CHECKSUM, checksum.to_be_bytes());
    }
}

/// The header of the later fragments: the packet's own, with those options alone that are copied.
/// What comes behind a malformed option is nobody's option, and left out.
fn later_header<T: AsRef<[u8]>>(packet: &Ipv4View<T>) -> ([u8; MAX_HEADER_LEN], usize) {
    let mut header = [0; MAX_HEADER_LEN];
    let mut length = MIN_HEADER_LEN;
    let fixed = between(packet.bytes.as_ref(), 0, MIN_HEADER_LEN);
    for (to, from) in header.iter_mut().zip(fixed) {
        *to = *from;
    }
    for option in packet.options().flatten() {
        let option_len = 2 + option.data.len();
        let room = header.get_mut(length..length + option_len);
        if let (true, Some([kind, len, data @ ..])) = (option.kind & COPIED != 0, room) {
            (*kind, *len) = (option.kind, option_len as u8);
            data.copy_from_slice(option.data);
            length += option_len;
        }
    }
    // What pads them is zero: the end of the list.
    let length = length.next_multiple_of(4);
    put_at(&mut header, VERSION_IHL, [0x40 | (length / 4) as u8]);
    (header, length)
}

const _: () = assert!(MAX_DATAGRAM / UNIT <= OFFSET_MASK as usize);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;
    use crate::ip::Protocol;
    use crate::ipv4::Ipv4Repr;

    /// A packet with options and a payload.
    fn packet(repr: Ipv4Repr, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let payload_len = options.len() + payload.len();
        let mut bytes = vec![0; MIN_HEADER_LEN];
        let repr = Ipv4Repr {
            payload_len,
            ..repr
        };
        repr.emit(&mut bytes).unwrap();
        bytes[0] += (options.len() / 4) as u8;
        bytes.extend_from_slice(options);
        bytes.extend_from_slice(payload);
        Ipv4View::new_checked(&mut bytes).unwrap().fill_checksum();
        bytes
    }

    fn repr() -> Ipv4Repr {
        let ends = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 2)];
        Ipv4Repr {
            identification: 0x1234,
            dont_fragment: false,
            ..Ipv4Repr::new(ends[0], ends[1], Protocol::UDP, 0)
        }
    }

    fn cut(packet: &[u8], mtu: usize) -> Result<Vec<Vec<u8>>, FragmentError> {
        let plan = Fragmentation::new(&Ipv4View::new_checked(packet).unwrap(), mtu)?;
        let mut first = packet.to_vec();
        plan.first().finish(&mut first);
        first.truncate(plan.first().packet_len());
        let later = plan.later().map(|piece| {
            let mut out = vec![0xee; piece.packet_len()];
            assert_eq!(plan.emit(piece, packet, &mut out), Some(out.len()));
            assert_eq!(plan.emit(piece, packet, &mut vec![0; out.len() - 1]), None);
            out
        });
        Ok(std::iter::once(first).chain(later).collect())
    }

    /// What fragments say: where each begins in bytes, whether more follow, its payload.
    fn said(fragments: &[Vec<u8>]) -> Vec<(usize, bool, &[u8])> {
        let say = |fragment: &Vec<u8>| {
            let view = Ipv4View::new_checked(fragment.as_slice()).unwrap();
            view.check_checksum().unwrap();
            assert!(!view.dont_fragment());
            (
                usize::from(view.fragment_offset()) * 8,
                view.more_fragments(),
            )
        };
        let payload = |fragment| Ipv4View::new_checked(fragment).unwrap().header_len();
        let fragments = fragments.iter();
        fragments
            .map(|f| (say(f).0, say(f).1, &f[payload(f.as_slice())..]))
            .collect()
    }

    #[test]
    fn the_example_of_rfc_791() {
        // Appendix A, example 2: 452 bytes of data over a link that takes 280.
        let data: Vec<u8> = (0..452).map(|n| n as u8).collect();
        let fragments = cut(&packet(repr(), &[], &data), 280).unwrap();
        let expected = [(0, true, &data[..256]), (256, false, &data[256..])];
        assert_eq!(said(&fragments), expected);
    }

    #[test]
    fn a_packet_shorter_than_the_planned_one_is_not_read_beyond_its_end() {
        let packet = packet(repr(), &[], &[0; 100]);
        let plan = Fragmentation::new(&Ipv4View::new_checked(&packet).unwrap(), 60).unwrap();
        let last = plan.later().last().unwrap();
        assert_eq!(plan.emit(last, &packet[..119], &mut [0; 60]), None);
        assert_eq!(plan.emit(last, &packet, &mut [0; 60]), Some(40));
    }

    #[test]
    fn only_options_with_the_copied_flag_are_in_later_fragments() {
        // Record route (7), no operation, router alert (148), end of the list.
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0, 1, 0, 0, 0];
        let fragments = cut(&packet(repr(), &options, &[1; 100]), 100).unwrap();
        assert_eq!(fragments.len(), 2);
        assert_eq!(fragments[0][20..36], options);
        assert_eq!(fragments[1][0], 0x46);
        assert_eq!(fragments[1][20..24], [148, 4, 0, 0]);
        assert_eq!((fragments[0].len(), fragments[1].len()), (36 + 64, 24 + 36));
        // A malformed one is not copied, nor what may be behind it; the length is padded.
        let options = [0x88, 3, 9, 0x94, 99, 0, 0, 0];
        let fragments = cut(&packet(repr(), &options, &[1; 100]), 100).unwrap();
        assert_eq!(fragments[1][20..24], [0x88, 3, 9, 0]);
        assert_eq!(fragments[1][0], 0x46);
    }

    #[test]
    fn what_cannot_be_cut() {
        let forbidden = Ipv4Repr {
            dont_fragment: true,
            ..repr()
        };
        let refused = |repr, mtu| cut(&packet(repr, &[], &[0; 100]), mtu).unwrap_err();
        assert_eq!(refused(forbidden, 60), FragmentError::DontFragment);
        let small = FragmentError::MtuTooSmall {
            mtu: 27,
            header_len: 20,
        };
        assert_eq!(refused(repr(), 27), small);
        let far = Ipv4Repr {
            fragment_offset: 8191,
            ..repr()
        };
        let end = 8191 * 8 + 100;
        assert_eq!(refused(far, 60), FragmentError::BeyondEnd { end });
    }

    fn options() -> impl Strategy<Value = Vec<u8>> {
        let one = (2..=255u8, prop::collection::vec(any::<u8>(), 0..6)).prop_map(|(kind, data)| {
            let mut option = vec![kind, 2 + data.len() as u8];
            option.extend(data);
            option
        });
        let one = prop_oneof![4 => one, 1 => Just(vec![1])];
        prop::collection::vec(one, 0..5).prop_map(|options| {
            let mut options = options.concat();
            options.resize(options.len().next_multiple_of(4), 0);
            options
        })
    }

    proptest! {
        #[test]
        fn fragments_make_the_packet_again(
            options in options(),
            data in prop::collection::vec(any::<u8>(), 0..2000),
            mtu in 68..1500usize,
            again in 68..1500usize,
            more: bool,
            fragment_offset in 0u16..7800,
            identification: u16,
        ) {
            // Only the last fragment of a datagram has a length that is no multiple of 8.
            let length = if more { data.len() / 8 * 8 } else { data.len() };
            let data = &data[..length];
            let whole = Ipv4Repr { identification, more_fragments: more, fragment_offset, ..repr() };
            let whole = packet(whole, &options, data);
            let fragments = cut(&whole, mtu).unwrap();
            prop_assert_eq!(fragments.len() == 1, whole.len() <= mtu);
            if whole.len() <= mtu {
                prop_assert_eq!(&fragments[0], &whole);
            }
            // Once more, over a link that may be smaller.
            let twice: Vec<_> = fragments.iter().flat_map(|f| cut(f, again).unwrap()).collect();
            for (fragments, mtu) in [(fragments, mtu), (twice, again.min(mtu))] {
                let mut at = usize::from(fragment_offset) * 8;
                let mut reassembled = Vec::new();
                for (offset, _, payload) in said(&fragments) {
                    prop_assert_eq!(offset, at);
                    at += payload.len();
                    reassembled.extend_from_slice(payload);
                }
                prop_assert_eq!(&reassembled, data);
                let (last, before) = said(&fragments).split_last().map(|(l, b)| (l.1, b.iter().all(|f| f.1))).unwrap();
                prop_assert_eq!((last, before), (more, true));
                let same = |bytes: &[u8]| {
                    let repr = Ipv4Repr::parse(&Ipv4View::new_checked(bytes).unwrap());
                    Ipv4Repr { more_fragments: false, fragment_offset: 0, payload_len: 0, ..repr }
                };
                let kinds = |bytes: &[u8]| {
                    let view = Ipv4View::new_checked(bytes).unwrap();
                    view.options().map(|o| o.map(|o| (o.kind, o.data.to_vec()))).collect::<Vec<_>>()
                };
                let copied: Vec<_> = kinds(&whole)
                    .into_iter()
                    .filter(|o| o.as_ref().is_ok_and(|o| o.0 & 0x80 != 0))
                    .collect();
                prop_assert_eq!(kinds(&fragments[0]), kinds(&whole));
                for (index, fragment) in fragments.iter().enumerate() {
                    prop_assert!(fragment.len() <= mtu);
                    prop_assert_eq!(same(fragment), same(&whole));
                    if index > 0 {
                        prop_assert!(fragment.len() > 20 && kinds(fragment) == copied);
                    }
                }
            }
        }

        #[test]
        fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 20..300), mtu in 0..300usize) {
            let mut bytes = bytes;
            (bytes[0], bytes[2]) = (0x40 | bytes[0] & 0x0f, bytes[2] & 1);
            bytes[6] &= !0x40;
            if Ipv4View::new_checked(&bytes).is_ok() {
                let _ = cut(&bytes, mtu);
            }
        }
    }
}
