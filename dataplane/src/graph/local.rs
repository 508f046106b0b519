//! Local: packets for the gateway itself. It answers echo requests (RFC 1122, section 3.2.2.6; RFC 4443, section
//! 4.2), and tells everybody else that nothing listens here.
//!
//! *Uses* header and transport. *Sets* the whole packet, where it is turned round. *Next*: `route`, or
//! `neighbor` for an answer that stays on its link.

use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::{Fragment, Transport, ethernet};

use super::Node;
use super::burst::{Burst, Next, layer3, layer3_mut};
use super::context::{Context, vpc_of};
use super::family::Family;
use super::packet::{Connection, Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::Local, cx.counters, |packet| {
        // A translation that leads to the gateway's own address leads nowhere.
        if packet.rewrite.destination.is_some() || packet.foreign.is_some() {
            return Next::Drop(DropReason::LocalNoService);
        }
        match packet.transport {
            _ if packet.header.fragment != Fragment::Whole => {
                Next::Drop(DropReason::LocalNoService)
            }
            Transport::IcmpQuery { message_type, .. } if message_type == A::ECHO_REQUEST => {
                match answer_echo(cx, packet) {
                    Some(node) => Next::To(node),
                    None => Next::Drop(DropReason::TransportMalformed),
                }
            }
            // A TCP segment that is not the first of a connection may belong to one that was forgotten: its sender is
            // left to try again, and not told that its connection is dead.
            Transport::Tcp { flags, .. } if !flags.contains(rewire_packet::tcp::TcpFlags::SYN) => {
                Next::Drop(DropReason::LocalNoService)
            }
            Transport::Tcp { .. } if is_masquerade(cx, packet.header.destination) => {
                Next::Drop(DropReason::LocalNoService)
            }
            Transport::Tcp { .. } | Transport::Udp { .. } => Next::Refuse(
                DropReason::LocalNoService,
                IcmpErrorKind::PortUnreachable.into(),
            ),
            Transport::Sctp { .. } | Transport::Other { .. } => Next::Refuse(
                DropReason::LocalNoService,
                A::unknown_protocol(layer3(&packet.buffer), &packet.header),
            ),
            _ => Next::Drop(DropReason::LocalNoService),
        }
    });
}

/// Whether an own address is one that connections are translated to. A SYN to it may be that of a simultaneous open which is
/// faster than the one from inside: an answer would end the attempt (RFC 5382, REQ-4). It costs a look at each VPC that
/// masquerades, and that only where a SYN is for the gateway itself.
fn is_masquerade<A: Family>(cx: &Context<'_>, address: A) -> bool {
    let owns = |index| {
        let interface = cx.tables.interface(index);
        interface.is_some_and(|interface| address.is_own(interface))
    };
    cx.tables.nat().masquerading_interfaces().any(owns)
}

/// Turns an echo request into its answer, in place; where it goes from here.
fn answer_echo<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
) -> Option<Node> {
    let Origin::Received(index) = packet.origin else {
        return None;
    };
    let header = A::answer_echo(layer3_mut(&mut packet.buffer), &packet.header)?;
    packet
        .buffer
        .truncate(ethernet::HEADER_LEN + header.packet_len);
    packet.header = header;
    packet.vpc = vpc_of(cx.tables, packet.origin).unwrap_or(packet.vpc);
    let ends = (header.source, header.destination);
    packet.origin = Origin::of_answer(index, packet.vpc, ends);
    packet.connection = Connection::Untracked;
    Some(packet.first_node())
}
