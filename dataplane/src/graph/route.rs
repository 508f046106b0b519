//! Route: the longest prefix of the packet's VPC that its destination matches, or of the VPC that this leads into, and one of
//! the next hops there.
//!
//! *Uses* the VPC and the destination behind ingress NAT. *Sets* egress interface and next hop. *Next*: `acl`, and behind it
//! `hop_limit` or `local`; for the gateway's own packets `neighbor`.

use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_tables::{NextHops, Route, Stop, Traveller};

use super::Node;
use super::burst::{Burst, IcmpErrorOf, Next};
use super::context::Context;
use super::family::Family;
use super::packet::{Connection, Origin, Packet};
use super::{acl, nat_policy, segment};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &mut Burst<B, A>) {
    burst.for_each(Node::Route, cx.counters, |packet| {
        let next = decide(cx, packet);
        acl::asks(cx, packet, next)
    });
}

fn decide<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
) -> Next<IcmpErrorOf<A>> {
    let destination = packet.destination();
    let way = match cx.tables.way(packet.vpc, &traveller(packet)) {
        Ok(way) => way,
        Err(stop) => return Next::Drop(stopped(stop)),
    };
    packet.crossing = way.crossing;
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
        Some(Route::Vpc(_) | Route::Peering { .. }) => Next::Drop(DropReason::GraphFault),
        Some(Route::NotExposed) => {
            Next::Refuse(DropReason::PeeringNotExposed, IcmpErrorKind::NoRoute.into())
        }
        None => Next::Refuse(DropReason::NoRoute, IcmpErrorKind::NoRoute.into()),
    }
}

/// A peering admits the packet that begins a connection. The others of that connection follow it, for as long as the
/// policy is the same (see [`nat_policy::still_leads`]).
fn traveller<B, A: Family>(packet: &Packet<B, A>) -> Traveller<A> {
    Traveller {
        destination: packet.destination(),
        source: match packet.connection {
            Connection::New(_) => Some(packet.header.source),
            _ => None,
        },
        crossing: packet.crossing,
    }
}

/// What a way that ends between the tables is counted as.
pub(super) fn stopped(stop: Stop) -> DropReason {
    match stop {
        Stop::TooManyLookups => DropReason::RouteTooLong,
        Stop::NotAdmitted => DropReason::PeeringNotAdmitted,
        Stop::Transit => DropReason::PeeringTransit,
    }
}

fn forward<B, A: Family>(
    packet: &mut Packet<B, A>,
    hops: &NextHops,
    destination: A,
) -> Next<IcmpErrorOf<A>> {
    // All packets of a connection take the same way: the hash is that of its first packet's key.
    let flow_hash = || {
        nat_policy::flow_hash(&match packet.connection {
            Connection::New(key) => key,
            _ => segment::key(packet.vpc, &packet.header, &packet.transport),
        })
    };
    let hop = hops.select(flow_hash);
    packet.egress = hop.interface();
    packet.next_hop = hop.via().and_then(A::from_ip).unwrap_or(destination);
    match packet.origin {
        Origin::Received(_) => Next::To(Node::HopLimit),
        Origin::Own(_) | Origin::OwnOnLink(_) => Next::To(Node::Neighbor),
    }
}
