//! Local: packets for the gateway itself. It answers echo requests (RFC 1122, section 3.2.2.6), and tells everybody
//! else that nothing listens here.
//!
//! *Uses* header and transport. *Sets* the whole packet, where it is turned round. *Next*: `route`.

use std::net::Ipv4Addr;

use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::icmpv4::{self, Icmpv4Error, Icmpv4View};
use rewire_packet::ipv4::Ipv4View;
use rewire_packet::{Fragment, Transport};

use super::Node;
use super::burst::{Burst, Next, layer3_mut};
use super::context::{Context, vpc_of};
use super::packet::{Connection, Origin, Packet};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// The time to live of packets that the gateway makes (RFC 1700).
pub(super) const DEFAULT_TTL: u8 = 64;

pub(super) fn run<B: PacketBuffer>(cx: &Context<'_>, burst: &mut Burst<B, Ipv4Addr>) {
    burst.for_each(Node::Local, cx.counters, |packet| {
        // A translation that leads to the gateway's own address leads nowhere.
        if packet.rewrite.destination.is_some() {
            return Next::Drop(DropReason::LocalNoService);
        }
        match packet.transport {
            _ if packet.header.fragment != Fragment::Whole => {
                Next::Drop(DropReason::LocalNoService)
            }
            Transport::IcmpQuery {
                message_type: icmpv4::message_type::ECHO_REQUEST,
                ..
            } => match answer_echo(packet) {
                Some(()) => {
                    let vpc = vpc_of(cx.tables, packet.origin).unwrap_or(packet.vpc);
                    packet.origin = Origin::Own(vpc);
                    packet.vpc = vpc;
                    packet.connection = Connection::Untracked;
                    Next::To(Node::Route)
                }
                None => Next::Drop(DropReason::TransportMalformed),
            },
            // A TCP segment that is not the first of a connection may belong to one that was forgotten: its sender is
            // left to try again, and not told that its connection is dead.
            Transport::Tcp { flags, .. } if !flags.contains(rewire_packet::tcp::TcpFlags::SYN) => {
                Next::Drop(DropReason::LocalNoService)
            }
            Transport::Tcp { .. } | Transport::Udp { .. } => Next::Refuse(
                DropReason::LocalNoService,
                IcmpErrorKind::PortUnreachable.into(),
            ),
            Transport::Sctp { .. } | Transport::Other { .. } => {
                Next::Refuse(DropReason::LocalNoService, Icmpv4Error::ProtocolUnreachable)
            }
            _ => Next::Drop(DropReason::LocalNoService),
        }
    });
}

/// Turns an echo request into its answer, in place.
fn answer_echo<B: PacketBuffer>(packet: &mut Packet<B, Ipv4Addr>) -> Option<()> {
    let header = packet.header;
    let bytes = layer3_mut(&mut packet.buffer);
    let mut icmp = Icmpv4View::new_checked(bytes.get_mut(header.header_len..)?).ok()?;
    if !icmp.verify_checksum() {
        return None;
    }
    icmp.set_message_type(icmpv4::message_type::ECHO_REPLY);
    icmp.fill_checksum();
    let mut ip = Ipv4View::new_checked(bytes).ok()?;
    ip.set_source(header.destination);
    ip.set_destination(header.source);
    ip.set_ttl(DEFAULT_TTL);
    ip.fill_checksum();
    packet.header.source = header.destination;
    packet.header.destination = header.source;
    packet.header.hop_limit = DEFAULT_TTL;
    Some(())
}
