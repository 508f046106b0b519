//! Fragment: a packet that is larger than its link takes leaves as several (RFC 791, section 3.2; RFC 1812, section
//! 5.2.6). `mtu` has seen that it may.
//!
//! The packet's own buffer becomes the first fragment; the others take buffers from the pool. Where one is missing, the
//! packet is dropped whole: a datagram that lacks a part is of no use to anybody.
//!
//! *Uses* the packet as it is to leave. *Sets* its length, its other fragments. *Next*: the interface's port.

use std::ops::Range;

use rewire_packet::{ethernet, ipv4, ipv6};

use super::Node;
use super::burst::{Burst, Next, layer3_mut};
use super::context::Context;
use super::family::Family;
use super::packet::Fate;
use crate::buffer::{BufferPool, LARGEST_FRAME, PacketBuffer};
use crate::drop_reason::DropReason;

/// How a packet is cut: each family has its own.
pub(super) trait Fragmentation {
    /// One fragment to be.
    type Piece: Copy;
    /// The fragment that the packet itself becomes.
    fn first(&self) -> Self::Piece;
    /// The fragments behind the first, in order.
    fn later(&self) -> impl Iterator<Item = Self::Piece>;
    /// Bytes of a fragment.
    fn length(piece: Self::Piece) -> usize;
    /// Writes a later fragment; its length.
    fn emit(&self, piece: Self::Piece, packet: &[u8], out: &mut [u8]) -> Option<usize>;
    /// Makes the header at the front of a packet that of this fragment.
    fn finish(piece: Self::Piece, packet: &mut [u8]);
}

macro_rules! fragmentation {
    ($($family:ident),+) => {$(
        impl Fragmentation for $family::fragment::Fragmentation {
            type Piece = $family::fragment::Piece;
            fn first(&self) -> Self::Piece {
                self.first()
            }
            fn later(&self) -> impl Iterator<Item = Self::Piece> {
                self.later()
            }
            fn length(piece: Self::Piece) -> usize {
                piece.packet_len()
            }
            fn emit(&self, piece: Self::Piece, packet: &[u8], out: &mut [u8]) -> Option<usize> {
                self.emit(piece, packet, out)
            }
            fn finish(piece: Self::Piece, packet: &mut [u8]) {
                piece.finish(packet);
            }
        }
    )+};
}

fragmentation!(ipv4, ipv6);

/// The smallest MTU, less the longest header that has options, in whole units of 8 bytes: what a fragment carries at
/// least, unless it is the last.
const SMALLEST_PAYLOAD: usize = (576 - 60) / 8 * 8;
/// Fragments behind the first that one packet can have, at most.
const MOST_LATER: usize = LARGEST_FRAME / SMALLEST_PAYLOAD;

/// The later fragments of a burst's packets. Each packet knows which are its own.
pub(super) struct LaterFragments<B>(Vec<Option<B>>);

impl<B> LaterFragments<B> {
    /// Room for the fragments of so many packets, so that no burst allocates.
    pub(super) fn with_capacity(packets: usize) -> Self {
        LaterFragments(Vec::with_capacity(packets * MOST_LATER))
    }

    /// Takes those of one packet out, in their order.
    pub(super) fn take(&mut self, which: Range<usize>) -> impl Iterator<Item = B> {
        let which = self.0.get_mut(which).unwrap_or_default();
        which.iter_mut().filter_map(Option::take)
    }

    /// Makes room for the next burst.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

pub(super) fn run<P: BufferPool, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<P::Buffer, A>,
    pool: &mut P,
    fragments: &mut LaterFragments<P::Buffer>,
) {
    burst.for_each(Node::Fragment, cx.counters, |packet| {
        let Some(interface) = cx.tables.interface(packet.egress) else {
            return Next::Drop(DropReason::InterfaceUnknown);
        };
        let before = fragments.0.len();
        let foreign = packet.foreign.as_ref();
        let mtu = usize::from(interface.mtu);
        let mtu = mtu.min(foreign.map_or(mtu, |foreign| foreign.cut_at));
        match cut::<P, A>(&mut packet.buffer, mtu, pool, &mut fragments.0) {
            Ok(()) => {
                packet.fragments = before..fragments.0.len();
                cx.counters.generated.add(packet.fragments.len() as u64);
                packet.fate = Fate::Transmit(packet.egress);
                Next::Done
            }
            Err(reason) => {
                fragments.0.truncate(before);
                Next::Drop(reason)
            }
        }
    });
}

/// Cuts a frame: it becomes its first fragment, the others are added to `later`.
fn cut<P: BufferPool, A: Family>(
    frame: &mut P::Buffer,
    mtu: usize,
    pool: &mut P,
    later: &mut Vec<Option<P::Buffer>>,
) -> Result<(), DropReason> {
    let (link, packet) = frame
        .bytes()
        .split_at_checked(ethernet::HEADER_LEN)
        .ok_or(DropReason::FrameTooShort)?;
    let plan = A::fragmentation(packet, mtu).ok_or(DropReason::MtuExceeded)?;
    for piece in plan.later() {
        let mut buffer = pool.allocate().ok_or(DropReason::NoBuffer)?;
        if !buffer.resize(ethernet::HEADER_LEN + A::Fragmentation::length(piece)) {
            return Err(DropReason::NoBuffer);
        }
        let (head, body) = buffer.bytes_mut().split_at_mut(ethernet::HEADER_LEN);
        head.copy_from_slice(link);
        plan.emit(piece, packet, body)
            .ok_or(DropReason::IpBadTotalLength)?;
        later.push(Some(buffer));
    }
    let first = plan.first();
    A::Fragmentation::finish(first, layer3_mut(frame));
    frame.truncate(ethernet::HEADER_LEN + A::Fragmentation::length(first));
    Ok(())
}
