//! Which packets must not overtake others.

use rewire_packet::Ip;
use rewire_packet::ethernet::{self, EthernetView};

use super::packet::Packet;
use crate::graph::family::Family;

/// Which pairs of addresses have packets of this burst on the long way, so that later ones follow them. A pair may be taken
/// for another: it costs time, no more.
#[derive(Default)]
pub(in crate::graph) struct Order {
    pairs: [u64; 4],
    /// Whether there is any.
    has_pairs: bool,
}

impl Order {
    /// A packet goes the long way: with it all that come behind it between the same addresses.
    pub(in crate::graph) fn goes_the_long_way<A: Family>(&mut self, frame: &[u8]) {
        let at = ethernet::HEADER_LEN + A::Version::SOURCE_OFFSET;
        let is_ours = EthernetView::new_checked(frame)
            .is_ok_and(|ethernet| ethernet.ether_type() == A::Version::ETHER_TYPE);
        if is_ours
            && let Some(source) = A::read(frame, at)
            && let Some(destination) = A::read(frame, at + A::LEN)
        {
            self.follows(source, destination);
        }
    }

    /// All that come between these addresses follow a packet that goes the long way: of a connection, those of the other
    /// direction do, too, lest one of them change its state first.
    pub(super) fn follows<A: Family>(&mut self, source: A, destination: A) {
        let bit = pair(source, destination);
        self.pairs[bit / 64] |= 1 << (bit % 64);
        self.has_pairs = true;
    }

    /// Whether any packet goes the long way.
    #[inline(always)]
    pub(super) fn has_pairs(&self) -> bool {
        self.has_pairs
    }

    #[inline(always)]
    pub(super) fn is_behind<A: Family>(&self, packet: &Packet<A>) -> bool {
        if !self.has_pairs {
            return false;
        }
        let bit = pair(packet.key.source, packet.key.destination);
        self.pairs[bit / 64] & 1 << (bit % 64) != 0
    }
}

/// One of 256, for a pair of addresses.
fn pair<A: Family>(source: A, destination: A) -> usize {
    let (source, destination) = (source.to_number(), destination.to_number());
    let mixed = source.rotate_left(17) ^ destination;
    let folded = (mixed ^ mixed >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}
