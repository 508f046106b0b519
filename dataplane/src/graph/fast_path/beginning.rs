//! How connections begin on the fast path: what their first packets need of the memory, and whether they may.

use rewire_conntrack::{Admission, Connections, Ends, FlowKey, Known, Passage, TimeoutClass};
use rewire_packet::IpAddress;
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::{InterfaceIndex, Route, VpcIndex};

use super::packet::{Packet, Way, segment};
use super::{BATCH, FastPath, pass};
use crate::graph::acl_policy::{self, To};
use crate::graph::context::Context;
use crate::graph::egress_nat::{self, Opening};
use crate::graph::family::Family;
use crate::graph::{hairpin, nat_policy};

impl<A: Family> FastPath<A> {
    /// Asks for what a packet that begins a connection is translated by.
    #[inline(always)]
    pub(super) fn prefetch_mapping(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
        connections: &Connections<A>,
    ) {
        if let Some((packet, _, vpc)) = self.beginning(cx, number, routes) {
            connections.prefetch_mapping(&egress_nat::internal(&packet.key()), vpc);
        }
    }

    /// Asks for where its replies go in the index: most connections keep their port, and have the external address of their host.
    #[inline(always)]
    pub(super) fn prefetch_reply(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
        connections: &mut Connections<A>,
    ) {
        if let Some((packet, port, vpc)) = self.beginning(cx, number, routes)
            && let key = packet.key()
            && let internal = egress_nat::internal(&key)
            && let Some(source) = connections.expect_mapping(&internal, vpc)
        {
            let reply = FlowKey {
                source: packet.destination,
                source_port: port,
                destination: source,
                destination_port: key.source_port,
                vpc,
                ..key
            };
            connections.prefetch_change(connections.hash(&reply));
        }
    }

    /// A packet of the batch, if it is one that begins a connection: to which port, and the VPC that it leaves into.
    #[inline(always)]
    fn beginning(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
    ) -> Option<(&Packet<A>, u16, VpcIndex)> {
        let packet = self.packets.get(number)?;
        let (Way::New(port), Some(Route::Forward(hops))) = (packet.way, routes.get(number)?) else {
            return None;
        };
        let exit = self.exits.find(cx, hops, packet);
        Some((packet, port, exit.vpc))
    }
}

/// Finds the way of a packet that has no connection (it is new), or not the one that was likely.
#[inline(never)]
pub(super) fn look_closer<A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<A>,
    is_new: bool,
    bytes: &[u8],
    connections: &Connections<A>,
) {
    let key = packet.key();
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
            .admits_new(&segment(&packet.plain, bytes))
            .is_err()
    {
        return;
    }
    if let Ok(ingress) = nat_policy::ingress(cx.tables, &key, true)
        && ingress.crossing.is_none()
    {
        let own = (destination, key.destination_port);
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
    port: u16,
    egress: InterfaceIndex,
    bytes: &[u8],
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let to = To::Leaving(egress);
    if cx.tables.has_acls()
        && acl_policy::filters(cx.tables, packet.ingress, None, to)
            .next()
            .is_some()
    {
        return None;
    }
    let original = packet.key();
    // An earlier packet of this burst may have begun it since.
    if connections.has_begun(packet.hash) {
        let generation = cx.tables.policy_generation();
        match connections.any_passage(packet.hash, &original, generation, cx.now) {
            Known::Nothing => {}
            Known::Passes(Passage {
                flow, direction, ..
            }) if !packet.is_turn() => {
                return pass(cx, &packet.plain, (flow, direction), bytes, connections);
            }
            Known::Passes(_) | Known::Unresolved | Known::Perhaps => return None,
        }
    }
    let plain = &packet.plain;
    let is_led = (packet.destination, port) != (plain.destination, plain.destination_port);
    let outer = cx.tables.interface(egress)?;
    if !is_led && hairpin::turn(cx.tables, &original, outer).is_some() {
        return None;
    }
    let opening = Opening {
        original,
        hash: packet.hash,
        destination: (packet.destination, port),
        route_vpc: packet.route_vpc,
        crossing: None,
        hairpin: None,
        egress,
        admission: Admission {
            ingress: packet.ingress,
            ports: Some((plain.source_port, plain.destination_port)),
            peering: None,
            whole: true,
            timeouts: TimeoutClass::default(),
        },
        counters: UNCOUNTED,
        is_query: false,
        joins: false,
        is_at_home: false,
        is_later_fragment: false,
    };
    let segment = segment(plain, bytes);
    let opened = egress_nat::open(cx, connections, &opening, &segment, plain.packet_len);
    opened.ok().map(|(_, ends)| ends)
}
