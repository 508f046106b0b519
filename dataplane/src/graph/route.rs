//! Route: the longest prefix of the packet's VPC that its destination matches, or of the VPC that this leads into, and one of
//! the next hops there.
//!
//! *Uses* the VPC and the destination behind ingress NAT. *Sets* egress interface and next hop. *Next*: `hop_limit`,
//! `local`, or for the gateway's own packets `neighbor`.

use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_tables::{NextHop, Route, Stop};

use super::Node;
use super::burst::{Burst, Next};
use super::context::Context;
use super::family::Family;
use super::packet::{Connection, Origin, Packet};
use super::{nat_policy, segment};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::Route, cx.counters, |packet| {
        let destination = packet.destination();
        let way = match cx.tables.way(packet.vpc, destination) {
            Ok(way) => way,
            Err(stop) => return Next::Drop(stopped(stop)),
        };
        match way.route {
            Some(Route::Forward(hops)) => forward(packet, hops, destination),
            Some(Route::Local) => match packet.origin {
                Origin::Received(_) => Next::To(Node::Local),
                // The gateway does not talk to itself.
                Origin::Own(_) | Origin::OwnOnLink(_) => Next::Drop(DropReason::LocalNoService),
            },
            Some(Route::NatExternal) => Next::Drop(DropReason::NatNoMapping),
            Some(Route::SubnetBroadcast) => Next::Drop(DropReason::SubnetBroadcast),
            Some(Route::Blackhole) => Next::Drop(DropReason::RouteBlackhole),
            Some(Route::Unreachable) => Next::Refuse(
                DropReason::RouteUnreachable,
                IcmpErrorKind::HostUnreachable.into(),
            ),
            // A way has an end.
            Some(Route::Vpc(_)) => Next::Drop(DropReason::GraphFault),
            None => Next::Refuse(DropReason::NoRoute, IcmpErrorKind::NoRoute.into()),
        }
    });
}

fn stopped(stop: Stop) -> DropReason {
    match stop {
        Stop::TooManyLookups => DropReason::RouteTooLong,
    }
}

fn forward<B, A: Family>(
    packet: &mut Packet<B, A>,
    hops: &[NextHop],
    destination: A,
) -> Next<super::burst::IcmpErrorOf<A>> {
    // All packets of a connection take the same way: the hash is that of its first packet's key.
    let key = match packet.connection {
        Connection::New(key) => key,
        _ => segment::key(packet.vpc, &packet.header, &packet.transport),
    };
    let Some(hop) = Route::next_hop(hops, nat_policy::flow_hash(&key)) else {
        return Next::Drop(DropReason::NoRoute);
    };
    packet.egress = hop.interface;
    packet.next_hop = hop.via.and_then(A::from_ip).unwrap_or(destination);
    match packet.origin {
        Origin::Received(_) => Next::To(Node::HopLimit),
        Origin::Own(_) | Origin::OwnOnLink(_) => Next::To(Node::Neighbor),
    }
}
