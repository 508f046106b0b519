//! IP in: the checks that a router makes before it believes a header (RFC 1812, sections 5.2.2 and 5.3; RFC 8200;
//! RFC 4291, section 2.5).
//!
//! *Uses* the packet's bytes. *Sets* its header and transport. *Next*: `ingress_nat`, for a fragment `virtual_reassembly`; `route` for the
//! gateway's own; `ndp`, `acl` or `local` for what stays on its link.

use rewire_packet::Fragment;
use rewire_tables::{InterfaceIndex, Route};

use super::Node;
use super::acl;
use super::burst::{Burst, Next, layer3};
use super::context::Context;
use super::family::Family;
use super::packet::{Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::IpInput, cx.counters, |packet| {
        match check(cx, packet) {
            Ok(next) => Next::To(next),
            Err(reason) => Next::Drop(reason),
        }
    });
}

fn check<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
) -> Result<Node, DropReason> {
    let bytes = layer3(&packet.buffer);
    let header = A::check(bytes)?;
    packet.transport = header
        .transport(bytes)
        .map_err(|_| DropReason::TransportMalformed)?;
    packet.header = header;
    // What lies behind the packet is Ethernet's padding: it is not forwarded.
    let length = rewire_packet::ethernet::HEADER_LEN + header.packet_len;
    packet.buffer.truncate(length);
    let Origin::Received(index) = packet.origin else {
        return Ok(packet.first_node());
    };
    // Ahead of the martians: who probes for duplicates has no address yet.
    if A::is_link_control(&packet.transport) {
        return Ok(Node::Ndp);
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
    if header.source.is_link_local() || header.destination.is_link_local() {
        on_link(cx, index, header.destination)?;
        return Ok(match acl::asks(cx, packet, Next::To(Node::Local)) {
            Next::To(node) => node,
            _ => Node::Local,
        });
    }
    Ok(match header.fragment {
        Fragment::Whole => Node::IngressNat,
        Fragment::First | Fragment::Later => Node::VirtualReassembly,
    })
}

/// A packet that must not leave its link (RFC 4291, section 2.5.6): it is for the gateway itself, or goes nowhere.
fn on_link<A: Family>(
    cx: &Context<'_>,
    index: InterfaceIndex,
    destination: A,
) -> Result<(), DropReason> {
    let interface = cx
        .tables
        .interface(index)
        .ok_or(DropReason::InterfaceUnknown)?;
    let local = || {
        let route = cx.tables.vpc(interface.vpc).route(destination);
        matches!(route, Some(Route::Local))
    };
    if destination.is_own(interface) || local() {
        Ok(())
    } else {
        Err(DropReason::LinkLocalNotForwarded)
    }
}
