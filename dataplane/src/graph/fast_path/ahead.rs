//! What the packets that begin connections need of the memory and of the policy, found ahead of that.

use arrayvec::ArrayVec;
use rewire_conntrack::{Connections, FlowKey, KeyHash, MappingRequest};
use rewire_tables::nat::{Masquerade, MasqueradeList, first_for, is_first_for_all};
use rewire_tables::{InterfaceIndex, Route, VpcIndex};

use super::packet::{Packet, Way};
use super::{BATCH, FastPath, SOON, take_alike};
use crate::graph::context::Context;
use crate::graph::family::Family;
use crate::graph::nat_policy::Egress;
use crate::graph::{hairpin, nat_policy};

/// A packet that begins a connection, and what was found for it ahead of that.
pub(super) struct Beginning<'a, A> {
    /// Its place among the packets of the batch.
    pub(super) packet: u8,
    /// The interface that it leaves by, and the VPC of that.
    pub(super) egress: InterfaceIndex,
    pub(super) vpc: VpcIndex,
    /// The port that it goes to.
    pub(super) port: u16,
    /// Whether it is for an external address of the VPC that it would leave into, and turns round.
    pub(super) turns: bool,
    /// What the policy does with its source; none, where more has to be asked than was.
    pub(super) source: Option<Egress<'a, A>>,
    /// Whether nothing is asked about it but where its source's mapping is: for [`Connections::begin_foreseen`].
    pub(super) is_usual: bool,
    pub(super) request: MappingRequest<A>,
    /// Whether its rule has the external address that it will most likely have.
    pub(super) is_owned: bool,
    /// The hash of its replies' key, where its source becomes this address and port.
    pub(super) expected: Option<(A, u16, KeyHash)>,
    /// That, where it is not its own port, as it cannot have that.
    foreseen: Option<(A, u16)>,
}

impl<A: Family> Beginning<'_, A> {
    /// Whether it has this rule, and will most likely have this external address.
    #[inline(always)]
    fn has_ends_of(&self, rule: &Masquerade, external: A) -> bool {
        let (Some(Egress::Masquerade(own)), Some((address, ..))) = (self.source, self.expected)
        else {
            return false;
        };
        std::ptr::eq(own, rule) && address == external
    }
}

/// Those of a batch, in its order.
pub(super) type Beginnings<'a, A> = ArrayVec<Beginning<'a, A>, BATCH>;

impl<B, A: Family> FastPath<B, A> {
    /// The packets of the batch that begin a connection and have a route. Asks for what they are translated by.
    pub(super) fn beginnings<'a>(
        &mut self,
        cx: &Context<'a>,
        routes: &[Option<&Route>; BATCH],
        connections: &Connections<A>,
    ) -> Beginnings<'a, A> {
        let mut beginnings = Beginnings::new();
        let mut before = None;
        let mut are_alike = true;
        let routes = &routes[..self.packets.len().min(BATCH)];
        for ((number, packet), route) in (0..).zip(&mut self.packets).zip(routes) {
            if let (Way::New(port), Some(route @ Route::Forward(_))) = (packet.way, route)
                && let Some(exit) = self.exits.follow(cx, route, packet, &mut before)
            {
                let request = connections.request_mapping_for(&packet.key, packet.hash, exit.vpc);
                let earlier = beginnings.last().map(|before| &before.request);
                connections.prefetch_mapping(&request, earlier);
                packet.way = Way::Begins(beginnings.len() as u8);
                let beginning = Beginning {
                    packet: number,
                    egress: exit.interface,
                    vpc: exit.vpc,
                    port,
                    turns: false,
                    source: None,
                    is_usual: false,
                    request,
                    is_owned: false,
                    expected: None,
                    foreseen: None,
                };
                are_alike &= beginnings
                    .first()
                    .is_none_or(|first| is_like(&beginning, first));
                beginnings.push(beginning);
            }
        }
        self.decide(cx, &mut beginnings, are_alike);
        beginnings
    }

    /// Finds what the policy does with the sources, and who turns round, for all of a VPC together that leave by one interface.
    fn decide<'a>(&self, cx: &Context<'a>, beginnings: &mut Beginnings<'a, A>, are_alike: bool) {
        let number = beginnings.len();
        // Mostly it is all of them.
        if are_alike {
            return self.decide_alike(cx, beginnings, 0..number);
        }
        let all = u64::MAX.checked_shr((BATCH - number) as u32);
        let mut waiting = all.unwrap_or(0);
        while waiting != 0 {
            let group = take_alike(&mut waiting, |one, other| {
                is_like(&beginnings[one], &beginnings[other])
            });
            self.decide_alike(
                cx,
                beginnings,
                group.iter().map(|index| usize::from(*index)),
            );
        }
    }

    /// Finds them for some of the beginnings, which are alike.
    #[inline(always)]
    fn decide_alike<'a>(
        &self,
        cx: &Context<'a>,
        beginnings: &mut Beginnings<'a, A>,
        group: impl ExactSizeIterator<Item = usize> + Clone,
    ) {
        let Some(first) = group.clone().next() else {
            return;
        };
        let (from, egress) = (beginnings[first].request.vpc(), beginnings[first].egress);
        let (to, nat) = (beginnings[first].vpc, cx.tables.nat());
        let mut sources = [A::Key::default(); BATCH];
        let mut destinations = [A::Key::default(); BATCH];
        let number = group.len().min(BATCH);
        let keys = sources.iter_mut().zip(&mut destinations);
        for ((source, destination), index) in keys.zip(group.clone()) {
            let key = &self.packets[usize::from(beginnings[index].packet)].key;
            *source = key.source.key();
            *destination = key.destination.key();
        }
        let mut there = [None; BATCH];
        if to != from {
            let table = cx.tables.vpc(to);
            table.route_batch::<A>(&destinations[..number], &mut there[..number]);
        }
        let mut rules = [None; BATCH];
        let asks_more = nat.asks_before_masquerades(from, to);
        if !asks_more && let Some(masquerades) = nat.masquerade_rules(from, egress) {
            masquerades.find_batch::<A>(&sources[..number], &mut rules[..number]);
        }
        let vpc = cx.tables.vpc(from);
        // Of several workers, the one that may preserve a port is the one where its connection begins.
        let is_usual = vpc.connection_limits().is_none() && vpc.timeouts().is_none();
        // The rules of the packet before, and what was found among them: mostly all senders have the same.
        let mut before: Option<(&MasqueradeList, (Egress<'a, A>, bool))> = None;
        for ((index, there), rules) in group.zip(there).zip(rules) {
            let beginning = &mut beginnings[index];
            let packet = &self.packets[usize::from(beginning.packet)];
            if packet.is_led(beginning.port) {
                continue;
            }
            beginning.turns = hairpin::is_external(there);
            if asks_more {
                continue;
            }
            let (source, is_usual) = match (rules, before) {
                (None, _) => (Egress::None, false),
                (Some(rules), Some((same, found))) if std::ptr::eq(rules, same) => found,
                (Some(rules), _) => {
                    let key = || {
                        let key = packet.key;
                        let destination = (key.destination, key.destination_port);
                        nat_policy::egress_key(&key, destination, &packet.admission())
                    };
                    let found = match first_for(rules, key) {
                        Some(rule) => (Egress::Masquerade(rule), is_usual && rule.is_plain()),
                        None => (Egress::None, false),
                    };
                    before = is_first_for_all(rules).then_some((rules, found));
                    found
                }
            };
            beginning.is_usual = is_usual;
            beginning.source = Some(source);
        }
    }
}

/// Whether the policy is asked the same about both.
#[inline(always)]
fn is_like<A: Family>(one: &Beginning<'_, A>, other: &Beginning<'_, A>) -> bool {
    (one.egress == other.egress) & (one.request.vpc() == other.request.vpc())
}

/// Asks for where the replies of the beginning at a place go in the index, if there is one: most connections keep their port, and have the external
/// address of their host. Call it for one after the other.
#[inline(always)]
pub(super) fn prefetch_reply<A: Family>(
    packets: &[Packet<A>],
    beginnings: &mut [Beginning<'_, A>],
    place: usize,
    connections: &mut Connections<A>,
) {
    let Some((beginning, before)) = beginnings
        .get_mut(..=place)
        .and_then(|some| some.split_last_mut())
    else {
        return;
    };
    let earlier = before.last().map(|before| &before.request);
    if let Some(source) = connections.expect_mapping(&mut beginning.request, earlier) {
        if let Some(Egress::Masquerade(rule)) = beginning.source {
            beginning.is_owned = match before.last() {
                Some(before) if before.has_ends_of(rule, source) => before.is_owned,
                _ => rule.owns(source),
            };
        }
        let packet = &packets[usize::from(beginning.packet)];
        expect_reply(
            packet,
            beginning,
            (source, packet.key.source_port),
            connections,
        );
    }
}

/// As [`prefetch_reply`], of the beginning at a place, if there is one: where it will not keep its port, as another connection has that.
#[inline(always)]
pub(super) fn prefetch_other_reply<A: Family>(
    packets: &[Packet<A>],
    beginnings: &mut [Beginning<'_, A>],
    place: usize,
    connections: &Connections<A>,
) {
    let Some((beginning, before)) = beginnings
        .get_mut(..=place)
        .and_then(|some| some.split_last_mut())
    else {
        return;
    };
    let Some((source, ..)) = beginning.expected else {
        return;
    };
    // What those will have that come before it, and have not begun yet: mostly they are of the same host.
    let behind = || {
        let before = before.iter().rev().take(SOON);
        let mut foreseen = before.filter_map(|before| before.foreseen);
        foreseen.find_map(|(address, port)| (address == source).then_some(port))
    };
    if let Some(port) = connections.foresee_port(&beginning.request, behind) {
        let packet = &packets[usize::from(beginning.packet)];
        beginning.foreseen = Some((source, port));
        expect_reply(packet, beginning, (source, port), connections);
    }
}

#[inline(always)]
fn expect_reply<A: Family>(
    packet: &Packet<A>,
    beginning: &mut Beginning<'_, A>,
    (source, port): (A, u16),
    connections: &Connections<A>,
) {
    let reply = FlowKey {
        source: packet.destination,
        source_port: beginning.port,
        destination: source,
        destination_port: port,
        vpc: beginning.vpc,
        protocol: packet.key.protocol,
    };
    let hash = connections.hash(&reply);
    connections.prefetch_change(hash);
    beginning.expected = Some((source, port, hash));
}
