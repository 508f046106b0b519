//! Hop limit: a packet that may not go one hop further ends here (RFC 1812, section 5.3.1). The count itself is taken
//! down where the packet is rewritten.
//!
//! *Uses* the header. *Next*: `neighbor`; `egress_nat` or `nat64` for what comes back.

use rewire_packet::icmp_error::IcmpErrorKind;

use super::Node;
use super::burst::{Burst, Next};
use super::context::Context;
use super::family::Family;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::HopLimit, cx.counters, |packet| {
        if packet.header.hop_limit <= 1 {
            Next::Refuse(
                DropReason::TtlExpired,
                IcmpErrorKind::HopLimitExceeded.into(),
            )
        } else if packet.comes_back && packet.foreign.is_some() {
            Next::To(Node::Nat64)
        } else if packet.comes_back {
            Next::To(Node::EgressNat)
        } else {
            Next::To(Node::Neighbor)
        }
    });
}
