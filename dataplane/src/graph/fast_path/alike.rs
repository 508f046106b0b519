//! Packets of connections that are there, one behind the other by one exit: nearly all are.

use rewire_conntrack::{Connections, Ends};
use rewire_packet::Protocol;
use rewire_tables::Route;

use super::exits::Exit;
use super::packet::{Packet, Way};
use super::{AHEAD, pass, rewrite};
use crate::buffer::PacketBuffer;
use crate::graph::burst::layer3;
use crate::graph::context::{Context, Received};
use crate::graph::family::Family;
use crate::graph::offload;

/// Packets of a batch from one on, with their routes and their frames.
pub(super) struct Alike<'b, 'a, B, A> {
    pub(super) packets: &'b [Packet<A>],
    pub(super) routes: &'b [Option<&'a Route>],
    pub(super) frames: &'b mut [Received<B>],
}

impl<B: PacketBuffer, A: Family> Alike<'_, '_, B, A> {
    /// Forwards packets as long as they have this route, which leads all by one exit, and their connections let them pass. Answers how many.
    // A loop of its own, with the registers to itself.
    #[inline(never)]
    pub(super) fn forward(
        self,
        cx: &Context<'_>,
        (route, exit): (&Route, &Exit),
        connections: &mut Connections<A>,
    ) -> usize {
        let is_asked = cx.tables.has_acls() | connections.is_offloading();
        let mut later = self.packets.get(AHEAD..).unwrap_or_default().iter();
        let first = self.packets.first().map_or(0, |packet| packet.frame);
        let mut number = 0;
        let packets = self.packets.iter().zip(self.routes).zip(self.frames);
        for (place, ((packet, found), frame)) in (first..).zip(packets) {
            let Way::Established(flow, direction) = packet.way else {
                break;
            };
            let is_alike = found.is_some_and(|found| std::ptr::eq(found, route))
                && packet.frame == place
                && packet.length <= exit.mtu;
            if !is_alike {
                break;
            }
            if let Some(later) = later.next() {
                later.expect_to_pass(connections);
            }
            let mut ends = None;
            if packet.key.protocol == Protocol::UDP.0 && !is_asked {
                ends = connections.pass_datagram(flow, direction, packet.length, cx.now);
            }
            let ends = match ends {
                Some(ends) => ends,
                None => match pass_and_tell(cx, packet, exit, layer3(&frame.buffer), connections) {
                    Some(ends) => ends,
                    None => break,
                },
            };
            rewrite(packet, exit, ends, &mut frame.buffer);
            number += 1;
        }
        number
    }
}

/// Lets any packet pass with its connection, and tells whoever wants to know.
#[inline(never)]
pub(super) fn pass_and_tell<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    exit: &Exit,
    bytes: &[u8],
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let Way::Established(flow, direction) = packet.way else {
        return None;
    };
    let ends = pass(cx, &packet.plain(), (flow, direction), bytes, connections)?;
    if connections.is_offloading() {
        let way = (packet.ingress, exit.interface, exit.addresses);
        offload::offer(cx, (flow, direction), way, connections);
    }
    Some(ends)
}
