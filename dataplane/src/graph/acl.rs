//! ACLs: may the packet come in here, and leave there? Asked once both are known, and before anybody is told anything.
//!
//! *Uses* header, transport, the connection, what the route says. *Sets* whether the connection that the packet begins is
//! let through as a whole. *Next*: what the route says.

use rewire_conntrack::{Connections, Direction, FlowId, FlowKey};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::{Fragment, Transport};

use super::Node;
use super::acl_log::{self, AclLogger};
use super::acl_policy::{self, Denied, Kind, To};
use super::burst::{Burst, IcmpErrorOf, Next};
use super::context::{Context, Sinks};
use super::family::Family;
use super::ingress_nat::find;
use super::nat_policy::Leaving;
use super::packet::{Connection, Origin, Packet};
use crate::buffer::PacketBuffer;

/// Where a packet goes for which the route says `next`: to the ACLs first, if there are any on its way.
pub(super) fn asks<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    next: Next<IcmpErrorOf<A>>,
) -> Next<IcmpErrorOf<A>> {
    let Origin::Received(ingress) = packet.origin else {
        return next;
    };
    if !cx.tables.has_acls() {
        return next;
    }
    packet.routed = next;
    match acl_policy::filters(cx.tables, ingress, to(packet)).next() {
        Some(_) => Next::To(Node::Acl),
        None => next,
    }
}

/// Where the route leads a packet.
fn to<B, A: Family>(packet: &Packet<B, A>) -> To {
    match packet.routed {
        Next::To(Node::HopLimit) => To::Leaving(Leaving {
            interface: packet.egress,
            crossing: packet.crossing,
        }),
        Next::To(_) => To::Local(packet.vpc),
        Next::Done | Next::Drop(_) | Next::Refuse(..) | Next::Reset(_) => To::Nowhere,
    }
}

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) {
    burst.for_each(Node::Acl, cx.counters, |packet| {
        match ask(cx, packet, connections, logger, sinks) {
            Ok(()) => packet.routed,
            Err(Denied { reason, reject }) => match reject {
                false => Next::Drop(reason),
                true if is_segment(packet) => Next::Reset(reason),
                true => Next::Refuse(reason, IcmpErrorKind::Prohibited.into()),
            },
        }
    });
}

fn ask<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
    logger: &mut AclLogger,
    sinks: &mut dyn Sinks<B>,
) -> Result<(), Denied> {
    let Origin::Received(ingress) = packet.origin else {
        return Ok(());
    };
    let Some(interface) = cx.tables.interface(ingress) else {
        return Ok(());
    };
    let Some(kind) = kind(cx, packet, connections) else {
        return Ok(());
    };
    let to = to(packet);
    let key = acl_policy::key(packet, interface.vpc, to.vpc(cx.tables));
    let filters = acl_policy::filters(cx.tables, ingress, to);
    packet.whole = acl_policy::judge(cx.tables, filters, &key, kind, |filter, verdict| {
        if verdict.decision.log {
            logger.log(
                cx,
                acl_log::entry(ingress, filter.acl, &key, verdict),
                sinks,
            );
        }
    })?;
    Ok(())
}

/// Whether a packet is a whole TCP segment.
fn is_segment<B, A: Family>(packet: &Packet<B, A>) -> bool {
    packet.header.fragment == Fragment::Whole && matches!(packet.transport, Transport::Tcp { .. })
}

/// What kind of packet it is; none for one that passes with its connection, unasked.
fn kind<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
) -> Option<Kind> {
    let of_flow = |connections: &Connections<A>, id| {
        let whole = connections
            .flow(id)
            .is_some_and(|flow| flow.admission.whole);
        Some(if whole { Kind::Following } else { Kind::First })
    };
    match packet.connection {
        Connection::Related(..) => None,
        Connection::Established(id, direction) if is_of(packet, connections, id, direction) => {
            of_flow(connections, id)
        }
        // A first fragment is known by its addresses alone; the connection that it is part of, by its ports as well.
        _ if packet.header.fragment == Fragment::First => match part_of(cx, packet, connections) {
            Some(id) => of_flow(connections, id),
            None => Some(Kind::First),
        },
        _ => Some(Kind::First),
    }
}

/// Whether a packet that has a connection's key also has its ports: the key has none of SCTP, of ICMP other than queries, and
/// of fragments. One without ports passes with its connection: a fragment after the first is nothing without that one.
fn is_of<B: PacketBuffer, A: Family>(
    packet: &Packet<B, A>,
    connections: &Connections<A>,
    id: FlowId,
    direction: Direction,
) -> bool {
    let Some(flow) = connections.flow(id) else {
        return false;
    };
    let has_ports = flow.original.source_port != 0 || flow.original.destination_port != 0;
    if has_ports || matches!(packet.transport, Transport::IcmpQuery { .. }) {
        return true;
    }
    match (acl_policy::ports(packet), direction) {
        (None, _) => true,
        (ports, Direction::Original) => flow.admission.ports == ports,
        (Some((source, destination)), Direction::Reply) => {
            flow.admission.ports == Some((destination, source))
        }
    }
}

/// The connection that a first fragment belongs to by its ports.
fn part_of<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
) -> Option<FlowId> {
    let Origin::Received(ingress) = packet.origin else {
        return None;
    };
    let (source_port, destination_port) = packet.transport.ports()?;
    let key = FlowKey {
        vpc: cx.tables.interface(ingress)?.vpc,
        protocol: packet.header.protocol.0,
        source: packet.header.source,
        destination: packet.header.destination,
        source_port,
        destination_port,
    };
    find(cx, connections, &key).map(|(id, _)| id)
}
