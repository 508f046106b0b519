//! IP in: the checks that a router makes before it believes a header (RFC 1812, sections 5.2.2 and 5.3).
//!
//! *Uses* the packet's bytes. *Sets* its header and transport. *Next*: `ingress_nat`, or `route` for the gateway's own.

use super::Node;
use super::burst::{Burst, Next, layer3};
use super::context::Context;
use super::family::Family;
use super::packet::{Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::IpInput, cx.counters, |packet| match check(packet) {
        Ok(next) => Next::To(next),
        Err(reason) => Next::Drop(reason),
    });
}

fn check<B: PacketBuffer, A: Family>(packet: &mut Packet<B, A>) -> Result<Node, DropReason> {
    let bytes = layer3(&packet.buffer);
    let header = A::check(bytes)?;
    packet.transport = header
        .transport(bytes)
        .map_err(|_| DropReason::TransportMalformed)?;
    packet.header = header;
    // What lies behind the packet is Ethernet's padding: it is not forwarded.
    let length = rewire_packet::ethernet::HEADER_LEN + header.packet_len;
    packet.buffer.truncate(length);
    if let Origin::Own(_) = packet.origin {
        return Ok(Node::Route);
    }
    if header.source.is_martian_source() {
        return Err(DropReason::IpMartianSource);
    }
    if header.destination.is_martian_destination() {
        return Err(DropReason::IpMartianDestination);
    }
    if rewire_packet::IpAddress::is_multicast(header.destination) {
        return Err(DropReason::Multicast);
    }
    if packet.link_destination.is_multicast() {
        return Err(DropReason::LinkBroadcast);
    }
    Ok(Node::IngressNat)
}
