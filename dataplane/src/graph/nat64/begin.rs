//! How a connection begins that NAT64 translates: from inside with an external endpoint of its own, from outside where it is
//! [led](super::inbound).

use std::net::Ipv6Addr;

use rewire_conntrack::{
    Admission, Connections, Direction, Exhausted, FlowId, FlowKey, InsertError, NewFlow, Segment,
    owner, owner_within,
};
use rewire_packet::{Ip, Ipv6};
use rewire_tables::nat::{Nat64, mapped};
use rewire_tables::{Filtering, VpcIndex};

use super::{Foreign, inbound, policy};
use crate::drop_reason::DropReason;
use crate::graph::acl_policy;
use crate::graph::context::Context;
use crate::graph::egress_nat::{NotHere, internal};
use crate::graph::family::Family;
use crate::graph::ingress_nat::note_counters;
use crate::graph::limits;
use crate::graph::packet::Packet;
use crate::graph::steering::AT_HOME;

/// Begins the connection of a packet: chooses its external endpoint, and puts both of its directions into the table.
pub(super) fn begin<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    foreign: &Foreign,
    connections: &mut Connections<Ipv6Addr>,
    original: FlowKey<Ipv6Addr>,
) -> Result<(FlowId, Direction), NotHere> {
    let interface = cx.tables.interface(packet.egress);
    let vpc = interface.ok_or(DropReason::InterfaceUnknown)?.vpc;
    let (rule, destination) = policy::rule(cx.tables, &original).ok_or(DropReason::NatNoMapping)?;
    // The answer would come in where the external address is nobody's.
    if vpc != rule.vpc {
        return Err(DropReason::NatNoMapping.into());
    }
    if cx.steering.has_peers()
        && packet.hops != AT_HOME
        && let Some(worker) = cx.steering.elsewhere(home(cx, rule, &original))
    {
        return Err(NotHere::At(worker));
    }
    let segment = foreign.segment.as_ref();
    let segment = segment.ok_or(DropReason::FragmentRefused)?;
    limits::admit(cx, connections, &original)?;
    let protocol = original.protocol;
    let taken =
        |address, port| policy::is_port_forward(cx.tables, (vpc, protocol), (address, port));
    let mapping = connections
        .acquire_mapping(internal(&original), vpc, rule.ranges(), &rule.ports, taken)
        .map_err(|Exhausted { .. }| DropReason::NatPortsExhausted)?;
    let of_vpc = cx.tables.vpc(original.vpc).timeouts();
    let timeouts = connections.timeout_class(of_vpc, rule.idle_timeout);
    let is_query = protocol == Ipv6::ICMP.0;
    let reply = FlowKey {
        vpc,
        protocol,
        source: mapped(destination),
        destination: mapping.address,
        // The identifier of an ICMP query is both of its ports, in either direction.
        source_port: if is_query {
            mapping.port
        } else {
            original.destination_port
        },
        destination_port: mapping.port,
    };
    let flow = NewFlow {
        original,
        reply,
        route_vpc: rule.vpc,
        policy_generation: cx.tables.policy_generation(),
        admission: Admission {
            timeouts,
            whole: packet.whole,
            ..foreign.admission
        },
        mapping: Some(mapping),
    };
    let id = insert(cx, connections, flow, (segment, foreign.length))?;
    if rule.filtering != Filtering::default() {
        connections.open_mapping(id);
    }
    begun(cx, packet, connections, id, original.vpc);
    Ok((id, Direction::Original))
}

/// Begins the connection of a packet from outside: leads it to its host, and puts both of its directions into the table.
pub(super) fn begin_from_outside<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    foreign: &Foreign,
    connections: &mut Connections<Ipv6Addr>,
    original: FlowKey<Ipv6Addr>,
) -> Result<(FlowId, Direction), NotHere> {
    let interface = cx.tables.interface(packet.egress);
    let vpc = interface.ok_or(DropReason::InterfaceUnknown)?.vpc;
    let inbound = inbound::of(cx, connections, &original).ok_or(DropReason::NatNoMapping)?;
    let (internal, internal_port) = inbound.destination;
    let joins = inbound.forward.is_none();
    // The mapping that it joins is here. What a port forward leads is answered from the forward's port.
    if cx.steering.has_peers()
        && packet.hops != AT_HOME
        && !joins
        && let Some(worker) = cx
            .steering
            .elsewhere(owner(internal_port, cx.steering.workers()))
    {
        return Err(NotHere::At(worker));
    }
    let segment = foreign.segment.as_ref();
    let segment = segment.ok_or(DropReason::FragmentRefused)?;
    limits::admit(cx, connections, &original)?;
    let of_vpc = cx.tables.vpc(original.vpc).timeouts();
    let timeouts = connections.timeout_class(of_vpc, inbound.idle_timeout());
    let is_query = original.protocol == Ipv6::ICMP.0;
    let flow = NewFlow {
        original,
        reply: FlowKey {
            vpc,
            protocol: original.protocol,
            source: internal,
            destination: inbound.source,
            source_port: internal_port,
            // The identifier of an ICMP query is both of its ports, in either direction.
            destination_port: if is_query {
                internal_port
            } else {
                original.source_port
            },
        },
        route_vpc: inbound.vpc,
        policy_generation: cx.tables.policy_generation(),
        admission: Admission {
            timeouts,
            whole: packet.whole,
            ..foreign.admission
        },
        mapping: None,
    };
    let id = insert(cx, connections, flow, (segment, foreign.length))?;
    if joins && !connections.join(id) {
        connections.undo_insert(id);
        return Err(DropReason::NatNoMapping.into());
    }
    begun(cx, packet, connections, id, original.vpc);
    Ok((id, Direction::Original))
}

fn insert(
    cx: &Context<'_>,
    connections: &mut Connections<Ipv6Addr>,
    flow: NewFlow<Ipv6Addr>,
    (segment, length): (&Segment, usize),
) -> Result<FlowId, DropReason> {
    connections
        .insert(flow, segment, length as u32, cx.now)
        .map_err(|error| {
            connections.release_unused_mapping();
            match error {
                InsertError::TableFull => DropReason::ConnectionTableFull,
                InsertError::Clash => DropReason::ConnectionClash,
            }
        })
}

/// Counts a connection that has just begun, and tells of it.
fn begun<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<Ipv6Addr>,
    id: FlowId,
    vpc: VpcIndex,
) {
    cx.counters.connections_created.add(1);
    limits::count(cx, connections, id, vpc);
    note_counters(cx, connections, id, acl_policy::lasting(packet));
    if connections.is_recording() {
        connections.record_begin(id, packet.egress);
    }
}

/// The worker where a connection begins: the one that its external port is dealt to.
fn home(cx: &Context<'_>, rule: &Nat64, original: &FlowKey<Ipv6Addr>) -> u16 {
    match &rule.ports.within {
        Some(set) => owner_within(set, original.source_port, cx.steering.workers()),
        None => owner(original.source_port, cx.steering.workers()),
    }
}
