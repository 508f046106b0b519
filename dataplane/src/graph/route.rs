//! Route: the longest prefix of the packet's VPC that its destination matches, or of the VPC that this leads into, and one of
//! the next hops there.
//!
//! *Uses* the VPC and the destination behind ingress NAT. *Sets* egress interface and next hop. *Next*: `acl`, and behind it
//! `hop_limit` or `local`; for the gateway's own packets `neighbor`.

use rewire_conntrack::{Admission, Connections, FlowKey};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_tables::{AclKey, NextHops, Route, Stop, Traveller};

use super::Node;
use super::burst::{Burst, IcmpErrorOf, Next};
use super::context::Context;
use super::family::Family;
use super::hairpin::{self, Turn};
use super::nat_policy::{self, Egress};
use super::packet::{Connection, Origin, Packet};
use super::{acl, acl_policy, filtering, segment};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

/// The packets that are looked up at a time.
const BATCH: usize = 64;

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
) {
    let inbox = burst.take_inbox(Node::Route, cx.counters);
    for batch in inbox.chunks(BATCH) {
        let mut routes = [None; BATCH];
        look_up(cx, burst, batch, &mut routes);
        for (&index, route) in batch.iter().zip(routes) {
            let packet = &mut burst.packets[usize::from(index)];
            let next = decide(cx, packet, route, connections);
            let next = acl::asks(cx, packet, next);
            burst.dispatch(index, next);
        }
    }
    burst.return_inbox(inbox, cx.counters);
}

/// Looks the destinations of up to [`BATCH`] packets up in their own VPCs' tables, neighbors of one VPC together.
fn look_up<'a, B: PacketBuffer, A: Family>(
    cx: &Context<'a>,
    burst: &Burst<B, A>,
    batch: &[u16],
    routes: &mut [Option<&'a Route>; BATCH],
) {
    let packet = |index: &u16| &burst.packets[usize::from(*index)];
    let mut destinations = [A::Key::default(); BATCH];
    for (destination, index) in destinations.iter_mut().zip(batch) {
        *destination = packet(index).destination().key();
    }
    let mut start = 0;
    for group in batch.chunk_by(|one, next| packet(one).vpc == packet(next).vpc) {
        let range = start..start + group.len();
        let vpc = cx.tables.vpc(packet(&group[0]).vpc);
        vpc.route_batch::<A>(&destinations[range.clone()], &mut routes[range]);
        start += group.len();
    }
}

/// What becomes of a packet that has this route in its own VPC's table.
fn decide<'a, B: PacketBuffer, A: Family>(
    cx: &Context<'a>,
    packet: &mut Packet<B, A>,
    route: Option<&'a Route>,
    connections: &mut Connections<A>,
) -> Next<IcmpErrorOf<A>> {
    let destination = packet.destination();
    let way = match cx.tables.follow(packet.vpc, route, &traveller(packet)) {
        Ok(way) => way,
        Err(stop) => return Next::Drop(stopped(stop)),
    };
    // Who sends a packet that has changed its family, no peering knows.
    if way.crossing.is_some() && packet.foreign.is_some() {
        return Next::Drop(DropReason::PeeringNotAdmitted);
    }
    packet.crossing = way.crossing;
    if let Connection::New(_) | Connection::Untracked = packet.connection {
        packet.peering = way.crossing.map(|crossing| crossing.peering);
    }
    match way.route {
        Some(Route::Forward(hops)) => {
            let next = forward(packet, hops, destination);
            match turn(cx, packet) {
                Some(route) => decide(cx, packet, route, connections),
                None => next,
            }
        }
        route if come_back(cx, packet, route, connections) => Next::To(Node::HopLimit),
        route if join(cx, packet, route, connections) => {
            let route = cx.tables.vpc(packet.vpc).route(packet.destination());
            decide(cx, packet, route, connections)
        }
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

/// Whether a packet turns round, instead of leaving by the interface that its route says: the route that it has then. One that comes
/// back has that from its connection from then on.
fn turn<'a, B: PacketBuffer, A: Family>(
    cx: &Context<'a>,
    packet: &mut Packet<B, A>,
) -> Option<Option<&'a Route>> {
    let Connection::New(key) = packet.connection else {
        return None;
    };
    if packet.crossing.is_some() || packet.rewrite.destination.is_some() || packet.foreign.is_some()
    {
        return None;
    }
    let outer = cx.tables.interface(packet.egress)?;
    match hairpin::turn(cx.tables, &key, outer)? {
        Turn::Led(led) => {
            packet.hairpin = Some(packet.egress);
            packet.rewrite.destination = led.destination;
            packet.rewrite.route_vpc = led.vpc;
            packet.vpc = led.vpc;
            Some(cx.tables.vpc(led.vpc).route(packet.destination()))
        }
        Turn::Back => {
            let seen = seen(packet, &key);
            let egress = (packet.egress, outer);
            let egress = nat_policy::egress(cx.tables, &seen, egress, (None, None));
            if !matches!(egress, Egress::None) {
                packet.comes_back = true;
                packet.next_hop_mac = outer.mac;
                packet.rewrite.route_vpc = outer.vpc;
            }
            None
        }
    }
}

/// What egress NAT sees of a packet whose destination stays.
fn seen<B: PacketBuffer, A: Family>(packet: &Packet<B, A>, key: &FlowKey<A>) -> AclKey<A> {
    let admission = Admission {
        ports: acl_policy::ports(packet),
        ..Admission::default()
    };
    let destination = (key.destination, key.destination_port);
    nat_policy::egress_key(key, destination, &admission)
}

/// Whether a packet from inside for an address of the gateway's own, or of its NAT, comes back as if from outside: by which
/// interface is known then. Echo requests to the gateway's own addresses are for itself, where no connection has them.
fn come_back<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    route: Option<&Route>,
    connections: &Connections<A>,
) -> bool {
    let Origin::Received(ingress) = packet.origin else {
        return false;
    };
    let is_ours = matches!(route, Some(Route::Local | Route::NatExternal));
    if packet.foreign.is_some() {
        return translated_comes_back(cx, packet, route);
    }
    let is_led = packet.rewrite.destination.is_some() || packet.crossing.is_some();
    if !is_ours || is_led {
        return false;
    }
    let key = match packet.connection {
        Connection::Untracked => return false,
        Connection::New(key) if filtering::may_join::<A>(route, &packet.transport) => key,
        Connection::New(_) => return false,
        Connection::Established(id, direction) | Connection::Related(id, direction) => {
            match connections.flow(id) {
                Some(flow) => *flow.key(direction),
                None => return false,
            }
        }
    };
    let seen = seen(packet, &key);
    let Some((index, _)) = hairpin::outer(cx.tables, &key, &seen, ingress) else {
        return false;
    };
    let Some(outer) = cx.tables.interface(index) else {
        return false;
    };
    packet.comes_back = true;
    packet.egress = index;
    packet.next_hop_mac = outer.mac;
    packet.rewrite.route_vpc = outer.vpc;
    true
}

/// The same, of one that NAT64 makes a packet of IPv4 of.
fn translated_comes_back<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    route: Option<&Route>,
) -> bool {
    if A::BITS != 32 || packet.crossing.is_some() {
        return false;
    }
    let port = packet.transport.ports().map(|(_, destination)| destination);
    let end = (packet.header.protocol.0, packet.header.destination, port);
    let outer = hairpin::outer_of_nat64(cx.tables, packet.vpc, route, end);
    let outer = outer.and_then(|index| Some((index, cx.tables.interface(index)?)));
    let Some((index, interface)) = outer else {
        return false;
    };
    packet.comes_back = true;
    packet.egress = index;
    packet.next_hop_mac = interface.mac;
    true
}

/// Whether a packet is for a mapping that lets it in: it is led to the mapping's internal endpoint then.
fn join<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    route: Option<&Route>,
    connections: &mut Connections<A>,
) -> bool {
    let Connection::New(key) = packet.connection else {
        return false;
    };
    let is_led = packet.rewrite.destination.is_some()
        || packet.crossing.is_some()
        || packet.foreign.is_some();
    if is_led || !filtering::may_join::<A>(route, &packet.transport) {
        return false;
    }
    let Some(internal) = filtering::internal(cx, connections, &key) else {
        return false;
    };
    packet.joins = true;
    packet.rewrite.destination = Some((internal.address, internal.port));
    packet.rewrite.route_vpc = internal.vpc;
    packet.vpc = internal.vpc;
    true
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
        Stop::Unmapped => DropReason::NatPrefixUnmapped,
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
