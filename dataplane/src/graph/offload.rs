//! Offload, as the graph sees it: which flows are handed to the card, and whether what the card was told still holds.
//!
//! A direction is offered with a packet that the fast path has just forwarded: its rule says what became of that packet. The
//! tables that said so may change. Whenever there is a new generation, a worker goes over its offloaded flows, a few with each
//! burst, and takes back those that would go another way now, or are forbidden; those that go another way are offered again
//! with one of their next packets.

use rewire_conntrack::offload::{Merged, Path};
use rewire_conntrack::{Connections, Direction, FlowId, FlowKey};
use rewire_packet::{MacAddress, ethernet};
use rewire_tables::acl::RuleCounters;
use rewire_tables::{Interface, InterfaceIndex, Route};

use super::context::Context;
use super::family::Family;
use super::{acl_policy, ingress_nat, nat_policy, resolution};

/// Offloaded flows that are looked at with one burst, at most: each costs what a packet costs.
const REVALIDATED_PER_BURST: usize = 32;

/// How far a worker is with what changed tables say about its offloaded flows.
#[derive(Debug, Default)]
pub(super) struct Revalidation {
    /// The generation that it is about.
    generation: u64,
    /// Places that it has not come to.
    left: usize,
    next: usize,
}

impl Revalidation {
    /// Looks at some more flows.
    pub(super) fn run<A: Family>(&mut self, cx: &Context<'_>, connections: &mut Connections<A>) {
        let places = connections.offload_places();
        if self.generation != cx.tables.generation() {
            self.generation = cx.tables.generation();
            self.left = places;
        }
        for _ in 0..self.left.min(REVALIDATED_PER_BURST) {
            self.next = (self.next + 1) % places.max(1);
            self.left -= 1;
            revalidate(cx, connections, self.next);
        }
    }

    /// Whether every flow was looked at since the last change.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}

/// Takes the flow in a place back, if its rules do not say what these tables say.
fn revalidate<A: Family>(cx: &Context<'_>, connections: &mut Connections<A>, place: usize) {
    let Some((id, paths)) = connections.offloaded(place) else {
        return;
    };
    let Some(flow) = connections.flow(id) else {
        return;
    };
    if !resolution::resolve(cx, connections, id, &flow) {
        return;
    }
    for (direction, installed) in [Direction::Original, Direction::Reply]
        .into_iter()
        .zip(paths)
    {
        if let Some(installed) = installed
            && path_of(cx, connections, id, direction, installed.ingress) != Some(installed)
        {
            connections.take_outdated_back(id, cx.now);
            return;
        }
    }
}

/// The path of a packet of a connection that was let in as a whole, and came in by this interface; none where each packet has to
/// be looked at.
fn path_of<A: Family>(
    cx: &Context<'_>,
    connections: &Connections<A>,
    id: FlowId,
    direction: Direction,
    ingress: InterfaceIndex,
) -> Option<Path> {
    let tables = cx.tables;
    let flow = connections.flow(id)?;
    let arriving = flow.key(direction);
    let answered = flow.key(direction.other());
    let vpc = flow.rewrite(direction).route_vpc;
    let destination = answered.source;
    let entered = tables
        .interface(ingress)
        .filter(|interface| interface.offload)?;
    let peering = flow
        .admission
        .peering
        .map(|peering| tables.peering(peering));
    let is_asked = acl_policy::has_packet_rules(tables, entered.acl_in)
        || peering.is_some_and(|peering| acl_policy::has_packet_rules(tables, peering.acl()));
    if is_asked || !flow.admission.whole || entered.vpc != arriving.vpc {
        return None;
    }
    let Some(Route::Forward(hops)) = tables.vpc(vpc).route(destination) else {
        return None;
    };
    // All packets of a connection take the same way.
    let hop = hops.select(|| nat_policy::flow_hash(&FlowKey { vpc, ..*arriving }));
    let egress = hop.interface();
    let left = tables
        .interface(egress)
        .filter(|interface| interface.offload)?;
    if acl_policy::has_packet_rules(tables, left.acl_out) {
        return None;
    }
    let next_hop = match hop.via() {
        Some(via) => A::from_ip(via)?,
        None => destination,
    };
    let mac = tables.neighbor(egress, next_hop.into())?;
    let counters = ingress_nat::counters(cx, connections, id);
    Some(path((ingress, entered), (egress, left), mac, counters))
}

type Named<'a> = (InterfaceIndex, &'a Interface);

fn path(
    (ingress, entered): Named<'_>,
    (egress, left): Named<'_>,
    mac: MacAddress,
    counters: RuleCounters,
) -> Path {
    Path {
        ingress,
        ingress_mac: entered.mac,
        egress,
        source_mac: left.mac,
        destination_mac: mac,
        longest: entered.mtu.min(left.mtu),
        counters,
    }
}

/// Offers a direction to the card, with a packet of it that was forwarded: from one interface to another, with these Ethernet
/// addresses (its new destination, and its new source).
#[inline(never)]
pub(super) fn offer<A: Family>(
    cx: &Context<'_>,
    (flow, direction): (FlowId, Direction),
    (ingress, egress, addresses): (InterfaceIndex, InterfaceIndex, [u8; 12]),
    connections: &mut Connections<A>,
) {
    if connections.is_offload_due(flow, direction)
        && let Some(entered) = cx.tables.interface(ingress)
        && let Some(left) = cx.tables.interface(egress)
        && entered.offload
        && left.offload
        && let Some(neighbor) = addresses.first_chunk()
    {
        let counters = ingress_nat::counters(cx, connections, flow);
        let mac = MacAddress(*neighbor);
        let path = path((ingress, entered), (egress, left), mac, counters);
        connections.offload(flow, direction, &path, cx.now);
    }
}

/// Counts what the card has forwarded where the packets of a worker are counted.
pub(super) fn count(cx: &Context<'_>, merged: &Merged) {
    let Merged {
        path,
        packets,
        bytes,
        ..
    } = *merged;
    let frames = bytes + packets * ethernet::HEADER_LEN as u64;
    let entered = cx.counters.interface(path.ingress);
    entered.received_packets.add(packets);
    entered.received_bytes.add(frames);
    let left = cx.counters.interface(path.egress);
    left.transmitted_packets.add(packets);
    left.transmitted_bytes.add(frames);
    cx.counters.rules.count_all(&path.counters, packets, bytes);
}
