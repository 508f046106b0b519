//! MTU: does the packet fit the outgoing interface? The gateway does not fragment: the sender is told, whether it
//! allowed fragments or not.
//!
//! *Uses* the packet's length and the egress interface. *Next*: `egress_nat`, or for the gateway's own packets
//! `ethernet_output`.

use rewire_packet::icmp_error::IcmpErrorKind;

use super::Node;
use super::burst::{Burst, Next};
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
        if packet.header.packet_len > usize::from(interface.mtu) {
            let error = IcmpErrorKind::TooBig {
                mtu: interface.mtu.into(),
            };
            return Next::Refuse(DropReason::MtuExceeded, error.into());
        }
        match packet.origin {
            Origin::Received(_) => Next::To(Node::EgressNat),
            Origin::Own(_) | Origin::OwnOnLink(_) => Next::To(Node::EthernetOutput),
        }
    });
}
