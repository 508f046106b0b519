//! MTU: does the packet fit the outgoing interface? One that does not is fragmented at the end of its walk, where its
//! sender allows it: an IPv4 packet without "don't fragment". Else the sender is told.
//!
//! *Uses* the packet's length and the egress interface. *Sets* whether it is too large. *Next*: `egress_nat`, or for the gateway's own packets
//! `ethernet_output`.

use rewire_packet::icmp_error::IcmpErrorKind;

use super::Node;
use super::burst::{Burst, Next, layer3};
use super::context::Context;
use super::family::Family;
use super::packet::Origin;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::Mtu, cx.counters, |packet| {
        let Some(interface) = cx.tables.interface(packet.egress) else {
            return Next::Drop(DropReason::InterfaceUnknown);
        };
        let link = usize::from(interface.mtu);
        let (mtu, may_be_cut) = match &packet.foreign {
            Some(foreign) => (link.min(foreign.cut_at), foreign.cut_at < usize::MAX),
            None => (link, A::may_be_cut(layer3(&packet.buffer), link)),
        };
        packet.too_large = packet.header.packet_len > mtu;
        if packet.too_large && !may_be_cut {
            let error = IcmpErrorKind::TooBig {
                mtu: interface.mtu.into(),
            };
            return Next::Refuse(DropReason::MtuExceeded, error.into());
        }
        match packet.origin {
            Origin::Received(_) if packet.foreign.is_some() => Next::To(Node::Nat64),
            Origin::Received(_) => Next::To(Node::EgressNat),
            Origin::Own(_) | Origin::OwnOnLink(_) => Next::To(Node::EthernetOutput),
        }
    });
}
