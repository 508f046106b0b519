//! Neighbor: the next hop's MAC address, from the tables; or the packet waits until it is resolved.
//!
//! *Uses* egress interface and next hop. *Sets* the next hop's MAC address. *Next*: `mtu`.

use rewire_packet::icmp_error::IcmpErrorKind;

use super::Node;
use super::burst::{Burst, Next};
use super::context::{Context, Sinks};
use super::family::Family;
use super::packet::Fate;
use super::resolver::{Resolution, Resolver};
use crate::buffer::BufferPool;
use crate::drop_reason::DropReason;

pub(super) fn run<P: BufferPool, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<P::Buffer, A>,
    resolver: &mut Resolver<P::Buffer, A>,
    pool: &mut P,
    sinks: &mut dyn Sinks<P::Buffer>,
) {
    burst.for_each(Node::Neighbor, cx.counters, |packet| {
        if let Some(mac) = cx.tables.neighbor(packet.egress, packet.next_hop.into()) {
            packet.next_hop_mac = mac;
            return Next::To(Node::Mtu);
        }
        match resolver.resolve(cx, (packet.egress, packet.next_hop), pool, sinks) {
            Resolution::Wait => {
                packet.fate = Fate::Hold;
                Next::Done
            }
            Resolution::Assumed(mac) => {
                packet.next_hop_mac = mac;
                Next::To(Node::Mtu)
            }
            Resolution::Full => Next::Drop(DropReason::NeighborQueueFull),
            Resolution::Failed => Next::Refuse(
                DropReason::NeighborUnreachable,
                IcmpErrorKind::HostUnreachable.into(),
            ),
        }
    });
}
