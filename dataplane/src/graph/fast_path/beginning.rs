//! How connections begin on the fast path: whether their first packets may, and what they become.

use rewire_conntrack::{Connections, Ends, FlowKey, Known, NewForeseen, Passage, Segment};
use rewire_packet::IpAddress;
use rewire_tables::acl::UNCOUNTED;

use super::ahead::Beginning;
use super::packet::{Packet, Way, segment};
use super::pass;
use crate::graph::acl_policy::{self, To};
use crate::graph::context::Context;
use crate::graph::egress_nat::{self, Opening, Sender};
use crate::graph::family::Family;
use crate::graph::ingress_nat::note_counters;
use crate::graph::nat_policy;

/// Finds the way of a packet that has no connection (it is new), or not the one that was likely.
#[inline(never)]
pub(super) fn look_closer<A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<A>,
    (is_new, may_be_led): (bool, bool),
    bytes: &[u8],
    connections: &Connections<A>,
) {
    let key = packet.key;
    if !is_new {
        let generation = cx.tables.policy_generation();
        match connections.any_passage(packet.hash, &key, generation, cx.now) {
            Known::Passes(passage) => return packet.follow(cx, passage),
            Known::Unresolved => return,
            Known::Nothing | Known::Perhaps => {}
        }
    }
    let FlowKey {
        source,
        destination,
        ..
    } = key;
    let is_odd = source.is_martian_source()
        || source.is_link_local()
        || destination.is_martian_destination()
        || destination.is_link_local()
        || IpAddress::is_multicast(destination);
    if is_odd
        || connections
            .admits_new(&segment(&packet.plain(), bytes))
            .is_err()
    {
        return;
    }
    let own = (destination, key.destination_port);
    if !may_be_led {
        packet.way = Way::New(own.1);
    } else if let Ok(ingress) = nat_policy::ingress(cx.tables, &key, true)
        && ingress.crossing.is_none()
    {
        let (destination, port) = ingress.destination.unwrap_or(own);
        packet.way = Way::New(port);
        packet.destination = destination;
        packet.route_vpc = ingress.vpc;
    }
}

/// Begins the connection of a packet, if no ACL is asked about it.
#[inline(never)]
pub(super) fn begin<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    beginning: &Beginning<'_, A>,
    bytes: &[u8],
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let egress = beginning.egress;
    let to = To::Leaving(egress);
    if cx.tables.has_acls()
        && acl_policy::filters(cx.tables, packet.ingress, None, to)
            .next()
            .is_some()
    {
        return None;
    }
    // An earlier packet of this burst may have begun it since.
    if connections.has_begun(packet.hash) {
        let generation = cx.tables.policy_generation();
        match connections.any_passage(packet.hash, &packet.key, generation, cx.now) {
            Known::Nothing => {}
            Known::Passes(Passage {
                flow, direction, ..
            }) if !packet.is_turn() => {
                return pass(cx, &packet.plain(), (flow, direction), bytes, connections);
            }
            Known::Passes(_) | Known::Unresolved | Known::Perhaps => return None,
        }
    }
    if beginning.turns {
        return None;
    }
    let segment = segment(&packet.plain(), bytes);
    if beginning.is_usual
        && let Some(ends) = begin_usually(cx, packet, beginning, &segment, connections)
    {
        return Some(ends);
    }
    begin_otherwise(cx, packet, beginning, &segment, connections)
}

/// Begins it, if all is as it mostly is; otherwise nothing has changed.
#[inline(always)]
fn begin_usually<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    beginning: &Beginning<'_, A>,
    segment: &Segment,
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let key = &packet.key;
    let (external, port, reply) = beginning.expected?;
    let source = (external, port);
    let may_be = beginning.is_owned
        && !nat_policy::is_port_forward(cx.tables, beginning.vpc, key.protocol, source);
    if !may_be {
        return None;
    }
    let new = NewForeseen {
        original: key,
        hashes: [packet.hash, reply],
        request: &beginning.request,
        external: source,
        external_vpc: beginning.vpc,
        policy_generation: cx.tables.policy_generation(),
        ingress: packet.ingress,
    };
    let id = connections.begin_foreseen(&new, segment, packet.length, cx.now)?;
    cx.counters.connections_created.add(1);
    note_counters(cx, connections, id, UNCOUNTED);
    Some((source, (key.destination, key.destination_port)))
}

/// Begins it whatever there is to be asked.
#[inline(never)]
fn begin_otherwise<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    beginning: &Beginning<'_, A>,
    segment: &Segment,
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let egress = beginning.egress;
    let opening = Opening {
        original: packet.key,
        hash: packet.hash,
        destination: (packet.destination, beginning.port),
        route_vpc: packet.route_vpc,
        crossing: None,
        hairpin: None,
        egress,
        admission: packet.admission(),
        counters: UNCOUNTED,
        is_query: false,
        joins: false,
        is_at_home: false,
        is_later_fragment: false,
    };
    let source = match beginning.source {
        Some(source) => source,
        None => egress_nat::source_rule(cx, &opening, cx.tables.interface(egress)?),
    };
    let sender = Sender {
        egress: source,
        request: Some(beginning.request),
        expected: beginning.expected,
    };
    let opened = egress_nat::open(cx, connections, &opening, sender, segment, packet.length);
    opened.ok().map(|(_, ends)| ends)
}
