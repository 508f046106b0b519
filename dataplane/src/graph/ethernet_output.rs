//! Ethernet out: the frame gets the MAC addresses of the link that it leaves by.
//!
//! *Uses* the egress interface and the next hop's MAC address. *Next*: the interface's port, or `fragment`
//! for what is too large.

use rewire_packet::ethernet::EthernetView;

use super::Node;
use super::burst::{Burst, Next};
use super::context::Context;
use super::family::Family;
use super::packet::Fate;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::EthernetOutput, cx.counters, |packet| {
        let Some(interface) = cx.tables.interface(packet.egress) else {
            return Next::Drop(DropReason::InterfaceUnknown);
        };
        let Ok(mut ethernet) = EthernetView::new_checked(packet.buffer.bytes_mut()) else {
            return Next::Drop(DropReason::FrameTooShort);
        };
        ethernet.set_source(interface.mac);
        ethernet.set_destination(packet.next_hop_mac);
        if packet.too_large {
            return Next::To(Node::Fragment);
        }
        packet.fate = match packet.comes_back {
            false => Fate::Transmit(packet.egress),
            true => Fate::ComeBack(packet.egress),
        };
        Next::Done
    });
}
