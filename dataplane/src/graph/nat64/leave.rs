//! How a packet gets its place in its connection, and its bytes in the other family.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use rewire_conntrack::recording::Shortage;
use rewire_conntrack::{Connections, Direction, FlowId, FlowKey};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::translate::{self, DIFFERENCE, MOST_GROWTH};
use rewire_packet::{EtherType, Ip, IpHeader, Ipv4, Ipv6, ethernet};
use rewire_tables::{InterfaceIndex, Tables, VpcIndex};

use super::begin::{begin, begin_from_outside};
use super::{Foreign, policy};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;
use crate::graph::Node;
use crate::graph::burst::{Burst, Next, layer3_mut};
use crate::graph::context::{Context, Sinks};
use crate::graph::egress_nat::NotHere;
use crate::graph::family::Family;
use crate::graph::ingress_nat::find;
use crate::graph::log_entry::{LogEntry, PortsExhausted};
use crate::graph::packet::{Connection, Fate, Origin, Packet};
use crate::graph::pipeline::Limits;

/// Translates the IPv6 packets that have come to the end of their walk in IPv4.
pub(super) fn to_ipv4<B: PacketBuffer>(
    cx: &Context<'_>,
    burst: &mut Burst<B, Ipv4Addr>,
    connections: &mut Connections<Ipv6Addr>,
    limits: &mut Limits<'_>,
    sinks: &mut dyn Sinks<B>,
) {
    burst.for_each(Node::Nat64, cx.counters, |packet| {
        let decided = decide(cx, packet, connections);
        let written = decided.and_then(|flow| Ok(write_ipv4(cx, packet, connections, flow)?));
        match written {
            Ok(()) => sent(cx, packet),
            Err(NotHere::Dropped(reason @ DropReason::NatPortsExhausted)) => {
                let entry = exhausted(cx, packet, connections);
                if let Some(entry) = entry.filter(|_| limits.exhaustion.allows(cx.now)) {
                    sinks.log(LogEntry::PortsExhausted(entry));
                }
                Next::Refuse(reason, IcmpErrorKind::Prohibited.into())
            }
            Err(NotHere::Dropped(reason)) => Next::Drop(reason),
            Err(NotHere::At(worker)) => {
                packet.fate = Fate::HandOver(worker);
                Next::Done
            }
        }
    });
}

/// Translates the IPv4 packets that have come to the end of their walk in IPv6.
pub(super) fn to_ipv6<B: PacketBuffer>(
    cx: &Context<'_>,
    burst: &mut Burst<B, Ipv6Addr>,
    connections: &mut Connections<Ipv6Addr>,
) {
    burst.for_each(Node::Nat64, cx.counters, |packet| {
        let decided = decide(cx, packet, connections);
        match decided.and_then(|flow| Ok(write_ipv6(cx, packet, connections, flow)?)) {
            Ok(()) => sent(cx, packet),
            Err(NotHere::Dropped(reason)) => Next::Drop(reason),
            Err(NotHere::At(worker)) => {
                packet.fate = Fate::HandOver(worker);
                Next::Done
            }
        }
    });
}

fn sent<B, A: Family, I>(cx: &Context<'_>, packet: &Packet<B, A>) -> Next<I> {
    let bytes = packet.header.packet_len as u64;
    cx.counters.rules.count(&packet.counters, bytes);
    Next::To(Node::EthernetOutput)
}

/// The connection of a packet, which begins or goes on with it, and the way that it goes.
fn decide<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<Ipv6Addr>,
) -> Result<(FlowId, Direction), NotHere> {
    let foreign = packet.foreign.as_ref().ok_or(DropReason::GraphFault)?;
    match foreign.connection {
        Connection::Established(id, direction) => update(cx, foreign, connections, (id, direction)),
        Connection::Related(id, direction) => Ok((id, direction)),
        // An earlier packet of this burst may have begun the connection since.
        Connection::New(key) => match find(cx, connections, &key) {
            Some(found) => update(cx, foreign, connections, found),
            None if key.is_of_other_family() => {
                begin_from_outside(cx, packet, foreign, connections, key)
            }
            None => begin(cx, packet, foreign, connections, key),
        },
        Connection::Untracked => Err(DropReason::GraphFault.into()),
    }
}

fn update(
    cx: &Context<'_>,
    foreign: &Foreign,
    connections: &mut Connections<Ipv6Addr>,
    (id, direction): (FlowId, Direction),
) -> Result<(FlowId, Direction), NotHere> {
    let bytes = foreign.length as u32;
    match &foreign.segment {
        Some(segment) => {
            connections
                .update(id, direction, segment, bytes, cx.now)
                .map_err(|_| DropReason::ConnectionStateInvalid)?;
        }
        // All that it could say of the connection, the first fragment has said.
        None => connections.count(id, direction, bytes),
    }
    Ok((id, direction))
}

/// What is said of a packet for whose sender no external port is left.
fn exhausted<B, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<Ipv6Addr>,
) -> Option<PortsExhausted> {
    let Connection::New(original) = packet.foreign.as_ref()?.connection else {
        return None;
    };
    let (rule, _) = policy::rule(cx.tables, &original)?;
    let first = rule.ranges().next().map(|range| *range.start());
    connections.record_shortage(Shortage::Ports, &original, first, cx.now);
    Some(PortsExhausted {
        rule: Arc::clone(&rule.name),
        from: original.vpc,
        to: rule.vpc,
        source: original.source.into(),
        protocol: original.protocol,
    })
}

/// The ends that packets of a key have.
fn ends<A: Copy>(key: &FlowKey<A>) -> translate::Ends<A> {
    (
        (key.source, key.source_port),
        (key.destination, key.destination_port),
    )
}

fn ipv4_ends(
    ((source, from), (destination, to)): translate::Ends<Ipv6Addr>,
) -> Option<translate::Ends<Ipv4Addr>> {
    Some((
        (policy::ipv4(source)?, from),
        (policy::ipv4(destination)?, to),
    ))
}

/// Bytes that a link takes.
fn mtu(tables: &Tables, interface: InterfaceIndex) -> u32 {
    tables
        .interface(interface)
        .map_or(u32::MAX, |i| i.mtu.into())
}

/// Bytes that the link takes which a packet came in by.
fn mtu_behind<B, A: Family>(tables: &Tables, packet: &Packet<B, A>) -> u32 {
    match packet.origin {
        Origin::Received(interface) => mtu(tables, interface),
        Origin::Own(_) | Origin::OwnOnLink(_) => u32::MAX,
    }
}

fn write_ipv4<B: PacketBuffer>(
    cx: &Context<'_>,
    packet: &mut Packet<B, Ipv4Addr>,
    connections: &Connections<Ipv6Addr>,
    (id, direction): (FlowId, Direction),
) -> Result<(), DropReason> {
    let failed = |_| DropReason::Nat64Untranslatable;
    let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
    let answered = flow.key(direction.other()).reversed(VpcIndex(0));
    let new = ipv4_ends(ends(&answered)).ok_or(DropReason::GraphFault)?;
    let is_error = is_related(packet);
    // What is larger may say that nobody cuts it; what is smaller gets a number that tells its fragments from others'.
    let identification = cx.identification();
    let limit = mtu_behind(cx.tables, packet).saturating_sub(DIFFERENCE as u32);
    let limit = limit.min(mtu(cx.tables, packet.egress));
    let bytes = layer3_mut(&mut packet.buffer);
    let header: IpHeader<Ipv6> = Ipv6::parse(bytes).map_err(|_| DropReason::GraphFault)?;
    let length = match is_error {
        false => translate::to_ipv4(bytes, &header, new, identification).map_err(failed)?,
        true => {
            let quoted = ipv4_ends(ends(flow.key(direction.other())));
            let quoted = quoted.ok_or(DropReason::GraphFault)?;
            // Whoever reports: no IPv4 address stands for a router of IPv6.
            let outer = (new.0.0, new.1.0);
            translate::error_to_ipv4(bytes, &header, outer, quoted, limit).map_err(failed)?
        }
    };
    finish(packet, length, Ipv4::ETHER_TYPE)
}

fn write_ipv6<B: PacketBuffer>(
    cx: &Context<'_>,
    packet: &mut Packet<B, Ipv6Addr>,
    connections: &Connections<Ipv6Addr>,
    (id, direction): (FlowId, Direction),
) -> Result<(), DropReason> {
    let failed = |_| DropReason::Nat64Untranslatable;
    let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
    let new = ends(&flow.key(direction.other()).reversed(VpcIndex(0)));
    let is_error = is_related(packet);
    let limit = mtu_behind(cx.tables, packet).saturating_add(DIFFERENCE as u32);
    let limit = limit.min(mtu(cx.tables, packet.egress));
    let longer = packet.buffer.bytes().len() + MOST_GROWTH;
    if !packet.buffer.resize(longer) {
        return Err(DropReason::NoBuffer);
    }
    let (egress, is_cut) = (packet.egress, packet.too_large);
    let bytes = layer3_mut(&mut packet.buffer);
    let header: IpHeader<Ipv4> = Ipv4::parse(bytes).map_err(|_| DropReason::GraphFault)?;
    let length = match is_error {
        false => translate::to_ipv6(bytes, &header, new, is_cut).map_err(failed)?,
        true => {
            let quoted = ends(flow.key(direction.other()));
            let outer = (
                reporter(cx.tables, policy::own_side(&flow), header.source, egress),
                new.1.0,
            );
            translate::error_to_ipv6(bytes, &header, outer, quoted, limit).map_err(failed)?
        }
    };
    finish(packet, length, Ipv6::ETHER_TYPE)
}

/// Who an IPv4 router is to a client of IPv6. One that no address of the prefix stands for (RFC 6052 section 3.1) speaks with the
/// gateway's own.
fn reporter(
    tables: &Tables,
    own_side: &FlowKey<Ipv6Addr>,
    router: Ipv4Addr,
    egress: InterfaceIndex,
) -> Ipv6Addr {
    let mut rules = tables.nat().nat64s_at(own_side.vpc, own_side.destination);
    let embedded = rules.next().map(|rule| rule.prefix);
    let embedded = embedded.filter(|prefix| prefix.may_stand_for(router));
    let own = || {
        let interface = tables.interface(egress)?;
        Ipv6Addr::source_for(interface, own_side.source)
    };
    match embedded {
        Some(prefix) => prefix.embed(router),
        None => own().unwrap_or(own_side.destination),
    }
}

fn is_related<B, A: Family>(packet: &Packet<B, A>) -> bool {
    let connection = packet.foreign.as_ref().map(|foreign| foreign.connection);
    matches!(connection, Some(Connection::Related(..)))
}

/// Cuts the frame to the packet's new length, and says what it is.
fn finish<B: PacketBuffer, A: Family>(
    packet: &mut Packet<B, A>,
    length: usize,
    ether_type: EtherType,
) -> Result<(), DropReason> {
    packet.buffer.truncate(ethernet::HEADER_LEN + length);
    let frame = packet.buffer.bytes_mut();
    let field = frame.get_mut(12..ethernet::HEADER_LEN);
    let field = field.ok_or(DropReason::FrameTooShort)?;
    field.copy_from_slice(&ether_type.0.to_be_bytes());
    Ok(())
}
