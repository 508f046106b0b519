//! Egress NAT: the last to decide. A connection that begins is finalized here, with the port that it is translated to,
//! and then the packet is rewritten once: destination, source, hop limit, checksums.
//!
//! *Uses* the connection, the egress interface. *Sets* the packet's bytes. *Next*: `ethernet_output`.

use std::sync::Arc;
use std::time::Duration;

use rewire_conntrack::recording::Shortage;
use rewire_conntrack::{
    Admission, Connections, Direction, Ends, Exhausted, FlowId, FlowKey, InsertError, Internal,
    KeyHash, Mapping, MappingRequest, NewFlow, Rewrite, Segment,
};
use rewire_packet::icmp_error::IcmpErrorKind;
use rewire_packet::nat::{self, Quoted};
use rewire_packet::{Fragment, Ip, Transport};
use rewire_tables::acl::RuleCounters;
use rewire_tables::{Crossing, Filtering, Interface, InterfaceIndex, VpcIndex};

use super::Node;
use super::acl_policy;
use super::burst::{Burst, Next, layer3, layer3_mut};
use super::context::{Context, Sinks};
use super::family::Family;
use super::filtering;
use super::hairpin::{self, Led, Turn};
use super::icmp_error::RateLimit;
use super::ingress_nat::{find, note_counters};
use super::limits;
use super::log_entry::{LogEntry, PortsExhausted};
use super::nat_policy::{self, Egress};
use super::packet::{Connection, Fate, Packet};
use super::segment::segment;
use super::steering::AT_HOME;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;

pub(super) fn run<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
    limit: &mut RateLimit,
    sinks: &mut dyn Sinks<B>,
) {
    for index in burst.inbox(Node::EgressNat) {
        let packet = &burst.packets[usize::from(*index)];
        if let Connection::New(original) = &packet.connection
            && let Some(interface) = cx.tables.interface(packet.egress)
        {
            // What its mapping is found by comes near while other packets are worked on.
            let request = connections.request_mapping(internal(original), interface.vpc);
            connections.prefetch_mapping(&request, None);
        }
    }
    burst.for_each(Node::EgressNat, cx.counters, |packet| {
        let decided = decide(cx, packet, connections);
        match decided.and_then(|()| Ok(rewrite(packet)?)) {
            Ok(()) => {
                let bytes = packet.header.packet_len as u64;
                cx.counters.rules.count(&packet.counters, bytes);
                Next::To(Node::EthernetOutput)
            }
            // The sender hears that it is not to have a connection now (RFC 5508, REQ-8).
            Err(NotHere::Dropped(reason @ DropReason::NatPortsExhausted)) => {
                let entry = exhausted(cx, packet, connections);
                if let Some(entry) = entry.filter(|_| limit.allows(cx.now)) {
                    sinks.log(LogEntry::PortsExhausted(entry));
                }
                Next::Refuse(reason, IcmpErrorKind::Prohibited.into())
            }
            Err(NotHere::Dropped(reason @ DropReason::NatPrefixUnmapped)) => {
                Next::Refuse(reason, IcmpErrorKind::HostUnreachable.into())
            }
            Err(NotHere::Dropped(reason)) => Next::Drop(reason),
            Err(NotHere::At(worker)) => {
                packet.fate = Fate::HandOver(worker);
                Next::Done
            }
        }
    });
}

/// Counts a packet for whose sender no external port is left; what is said of it.
fn exhausted<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
) -> Option<PortsExhausted> {
    let Connection::New(original) = packet.connection else {
        return None;
    };
    // Nothing is looked up by it.
    let opening = opening(packet, original, KeyHash::default());
    let interface = cx.tables.interface(opening.egress)?;
    match source_rule(cx, &opening, interface) {
        Egress::Masquerade(rule) => {
            if let Some(first) = rule.ranges::<A>().next() {
                let first = *first.start();
                connections.count_exhausted(interface.vpc, original.protocol, first);
                connections.record_shortage(Shortage::Ports, &original, Some(first), cx.now);
            }
            Some(PortsExhausted {
                rule: Arc::clone(&rule.name),
                from: original.vpc,
                to: interface.vpc,
                source: original.source.into(),
                protocol: original.protocol,
            })
        }
        Egress::None | Egress::Static(..) | Egress::Unmapped => None,
    }
}

fn decide<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
) -> Result<(), NotHere> {
    match packet.connection {
        Connection::Untracked | Connection::Related(..) => Ok(()),
        Connection::Established(id, direction) => {
            Ok(update(cx, packet, connections, id, direction)?)
        }
        // An earlier packet of this burst may have begun the connection since.
        Connection::New(key) => match find(cx, connections, &key) {
            Some((id, direction)) => Ok(update(cx, packet, connections, id, direction)?),
            None => begin(cx, packet, connections, key),
        },
    }
}

fn update<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
    id: FlowId,
    direction: Direction,
) -> Result<(), DropReason> {
    let bytes = packet.header.packet_len as u32;
    if packet.header.fragment == Fragment::Later {
        // All that it could say of the connection, the first fragment has said.
        connections.count(id, direction, bytes);
    } else {
        let segment = segment::<A>(&packet.header, &packet.transport, layer3(&packet.buffer));
        connections
            .update(id, direction, &segment, bytes, cx.now)
            .map_err(|_| DropReason::ConnectionStateInvalid)?;
    }
    let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
    packet.rewrite = flow.rewrite(direction);
    Ok(())
}

/// Begins the connection of a packet.
fn begin<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<B, A>,
    connections: &mut Connections<A>,
    original: FlowKey<A>,
) -> Result<(), NotHere> {
    let opening = opening(packet, original, connections.hash(&original));
    let segment = segment::<A>(&packet.header, &packet.transport, layer3(&packet.buffer));
    let bytes = packet.header.packet_len as u32;
    let interface = cx.tables.interface(opening.egress);
    let interface = interface.ok_or(DropReason::InterfaceUnknown)?;
    let sender = Sender::of(source_rule(cx, &opening, interface));
    let (id, _) = open(cx, connections, &opening, sender, &segment, bytes)?;
    let flow = connections.flow(id).ok_or(DropReason::ConnectionInvalid)?;
    packet.rewrite = flow.rewrite(Direction::Original);
    Ok(())
}

/// What is decided about a packet that begins a connection with this key.
pub(super) fn opening<B: PacketBuffer, A: Family>(
    packet: &Packet<B, A>,
    original: FlowKey<A>,
    hash: KeyHash,
) -> Opening<A> {
    let own = (original.destination, original.destination_port);
    Opening {
        original,
        hash,
        destination: packet.rewrite.destination.unwrap_or(own),
        route_vpc: packet.rewrite.route_vpc,
        crossing: packet.crossing,
        hairpin: packet.hairpin,
        egress: packet.egress,
        admission: acl_policy::admission(packet),
        counters: acl_policy::lasting(packet),
        is_query: matches!(packet.transport, Transport::IcmpQuery { .. }),
        joins: packet.joins,
        // The mapping that it joins is here.
        is_at_home: packet.hops == AT_HOME || packet.joins,
        is_later_fragment: packet.header.fragment == Fragment::Later,
    }
}

/// What was decided about the first packet of a connection.
pub(super) struct Opening<A> {
    pub original: FlowKey<A>,
    /// The hash of that key.
    pub hash: KeyHash,
    /// Where ingress NAT leads it, or its own destination.
    pub destination: (A, u16),
    /// The VPC that it is routed in.
    pub route_vpc: VpcIndex,
    pub crossing: Option<Crossing>,
    /// The interface that it would leave by, did it not turn round.
    pub hairpin: Option<InterfaceIndex>,
    pub egress: InterfaceIndex,
    pub admission: Admission,
    pub counters: RuleCounters,
    /// Whether it is an ICMP query.
    pub is_query: bool,
    /// Whether it comes from outside, for a mapping that lets it in.
    pub joins: bool,
    /// Whether it begins here, whoever would be its reply's owner.
    pub is_at_home: bool,
    /// Whether the packet is a fragment behind the first, which begins nothing.
    pub is_later_fragment: bool,
}

/// What is known of the sender of a connection before that begins.
pub(super) struct Sender<'a, A> {
    /// What the policy does with the source.
    pub egress: Egress<'a, A>,
    /// Its mapping, if that was asked for.
    pub request: Option<MappingRequest<A>>,
    /// The hash of the replies' key, where the source becomes this address and port.
    pub expected: Option<(A, u16, KeyHash)>,
}

impl<'a, A> Sender<'a, A> {
    /// Nothing was asked for ahead.
    pub(super) fn of(egress: Egress<'a, A>) -> Self {
        Sender {
            egress,
            request: None,
            expected: None,
        }
    }
}

/// Why a connection does not begin here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotHere {
    /// Its packet is dropped.
    Dropped(DropReason),
    /// It is to begin at this worker.
    At(u16),
}

impl From<DropReason> for NotHere {
    fn from(reason: DropReason) -> Self {
        NotHere::Dropped(reason)
    }
}

/// Begins a connection: chooses its translation, and puts both of its directions into the table. Answers what the ends of its first
/// packet become, too.
#[inline(always)]
pub(super) fn open<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    opening: &Opening<A>,
    sender: Sender<'_, A>,
    segment: &Segment,
    bytes: u32,
) -> Result<(FlowId, Ends<A>), NotHere> {
    let interface = cx.tables.interface(opening.egress);
    let interface = interface.ok_or(DropReason::InterfaceUnknown)?;
    let Sender {
        egress,
        request,
        expected,
    } = sender;
    if cx.steering.has_peers()
        && !opening.is_at_home
        && let Some(worker) = elsewhere(cx, opening, interface.vpc, &egress)
    {
        return Err(NotHere::At(worker));
    }
    if opening.is_later_fragment {
        return Err(DropReason::FragmentRefused.into());
    }
    limits::admit(cx, connections, &opening.original)?;
    let filtering = egress.filtering();
    let ((source, source_port), mapping, mut idle_timeout) =
        translate_source(cx, connections, opening, interface.vpc, (egress, request))?;
    if opening.joins {
        let internal = opening.internal();
        let rule = filtering::rule(cx, connections, &opening.original, &internal);
        idle_timeout = rule.and_then(|rule| rule.idle_timeout);
    } else if opening.is_led() {
        // Again, since no packet but these has use for it.
        let outer = opening.hairpin.and_then(|outer| cx.tables.interface(outer));
        let ingress = match outer {
            Some(outer) => match hairpin::turn(cx.tables, &opening.original, outer) {
                Some(Turn::Led(ingress)) => Some(ingress),
                Some(Turn::Back) | None => None,
            },
            None => nat_policy::ingress(cx.tables, &opening.original, true).ok(),
        };
        let of_ingress = ingress.and_then(|ingress| ingress.idle_timeout);
        idle_timeout = nat_policy::shorter(idle_timeout, of_ingress);
    }
    let vpc = cx.tables.vpc(opening.original.vpc);
    let timeouts = connections.timeout_class(vpc.timeouts(), idle_timeout);
    let reply = reply(opening, interface.vpc, (source, source_port));
    let flow = NewFlow {
        original: opening.original,
        reply,
        route_vpc: opening.route_vpc,
        policy_generation: cx.tables.policy_generation(),
        admission: Admission {
            timeouts,
            ..opening.admission
        },
        mapping,
    };
    let reply_hash = match expected {
        Some((address, port, hash)) if (address, port) == (source, source_port) => hash,
        _ => connections.hash(&reply),
    };
    let hashes = [opening.hash, reply_hash];
    let id = connections
        .insert_hashed(flow, hashes, segment, bytes, cx.now)
        .map_err(|error| {
            connections.release_unused_mapping();
            match error {
                InsertError::TableFull => DropReason::ConnectionTableFull,
                InsertError::Clash => DropReason::ConnectionClash,
            }
        })?;
    if opening.joins && !connections.join(id) {
        connections.undo_insert(id);
        return Err(DropReason::NatNoMapping.into());
    }
    if filtering != Filtering::default() {
        connections.open_mapping(id);
    }
    cx.counters.connections_created.add(1);
    limits::count(cx, connections, id, opening.original.vpc);
    note_counters(cx, connections, id, opening.counters);
    if connections.is_recording() {
        connections.record_begin(id, opening.egress);
    }
    let ends = (
        (reply.destination, reply.destination_port),
        (reply.source, reply.source_port),
    );
    Ok((id, ends))
}

/// The key of the packets that answer a connection whose source becomes `source`.
fn reply<A: Copy>(opening: &Opening<A>, vpc: VpcIndex, source: (A, u16)) -> FlowKey<A> {
    let (destination, destination_port) = opening.destination;
    // The identifier of an ICMP query is both of its ports, in either direction.
    let (source_port, reply_port) = match (opening.is_query, opening.joins) {
        (false, _) => (destination_port, source.1),
        (true, false) => (source.1, source.1),
        (true, true) => (destination_port, destination_port),
    };
    FlowKey {
        vpc,
        protocol: opening.original.protocol,
        source: destination,
        destination: source.0,
        source_port,
        destination_port: reply_port,
    }
}

/// The worker where the connection is to begin, if it is not this one. A masquerade's choice is not made yet, and does not
/// matter: it is made so that its reply comes to where it begins.
fn elsewhere<A: Family>(
    cx: &Context<'_>,
    opening: &Opening<A>,
    vpc: VpcIndex,
    egress: &Egress<'_, A>,
) -> Option<u16> {
    let original = &opening.original;
    let source = match egress {
        Egress::Static(external, _) => *external,
        Egress::None | Egress::Masquerade(_) | Egress::Unmapped => original.source,
    };
    let reply = reply(opening, vpc, (source, original.source_port));
    let home = cx.steering.home(cx.tables, original, &reply, egress);
    cx.steering.elsewhere(home)
}

impl<A: Copy + PartialEq> Opening<A> {
    /// The internal endpoint that it is led to.
    fn internal(&self) -> Internal<A> {
        Internal {
            vpc: self.route_vpc,
            protocol: self.original.protocol,
            address: self.destination.0,
            port: self.destination.1,
        }
    }

    /// Whether ingress NAT leads it elsewhere.
    fn is_led(&self) -> bool {
        self.destination != (self.original.destination, self.original.destination_port)
            || self.route_vpc != self.original.vpc
    }
}

/// Where a connection comes from, once it is translated; its mapping, if it has one; and how long it lives without packets, where the rule
/// says it.
type Source<A> = ((A, u16), Option<Mapping<A>>, Option<Duration>);

#[inline(always)]
fn translate_source<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    opening: &Opening<A>,
    external_vpc: VpcIndex,
    (egress, request): (Egress<'_, A>, Option<MappingRequest<A>>),
) -> Result<Source<A>, DropReason> {
    let original = &opening.original;
    let own = (original.source, original.source_port);
    match egress {
        Egress::None => Ok((own, None, None)),
        Egress::Unmapped => Err(DropReason::NatPrefixUnmapped),
        Egress::Static(external, rule) => {
            Ok(((external, original.source_port), None, rule.idle_timeout))
        }
        Egress::Masquerade(rule) => {
            let request = request
                .unwrap_or_else(|| connections.request_mapping(internal(original), external_vpc));
            let taken = |address, port| {
                let external = (address, port);
                nat_policy::is_port_forward(cx.tables, external_vpc, original.protocol, external)
            };
            let mapping = connections
                .acquire_requested(&request, rule.ranges(), &rule.ports, taken)
                .map_err(|Exhausted { .. }| DropReason::NatPortsExhausted)?;
            let source = (mapping.address, mapping.port);
            Ok((source, Some(mapping), rule.idle_timeout))
        }
    }
}

/// What the policy does with the source of a connection.
#[inline(always)]
pub(super) fn source_rule<'a, A: Family>(
    cx: &Context<'a>,
    opening: &Opening<A>,
    interface: &Interface,
) -> Egress<'a, A> {
    let original = &opening.original;
    // Who comes from outside keeps its source.
    if opening.joins {
        return Egress::None;
    }
    let outer = opening.hairpin.unwrap_or(opening.egress);
    let egress = (outer, cx.tables.interface(outer).unwrap_or(interface));
    let crossing = opening.crossing;
    let led = opening.is_led().then_some(Led {
        external: original.destination,
        ingress: opening.admission.ingress,
    });
    let key = nat_policy::egress_key(original, opening.destination, &opening.admission);
    nat_policy::egress(cx.tables, &key, egress, (crossing, led))
}

/// The internal endpoint of a connection that begins with this key.
pub(super) fn internal<A: Copy>(original: &FlowKey<A>) -> Internal<A> {
    Internal {
        vpc: original.vpc,
        protocol: original.protocol,
        address: original.source,
        port: original.source_port,
    }
}

/// Writes the decisions into the packet.
fn rewrite<B: PacketBuffer, A: Family>(packet: &mut Packet<B, A>) -> Result<(), DropReason> {
    let Rewrite {
        mut source,
        destination,
        ..
    } = packet.rewrite;
    let ported = matches!(
        packet.transport,
        Transport::Tcp { .. } | Transport::Udp { .. } | Transport::IcmpQuery { .. }
    );
    let failed = DropReason::NatRewriteFailed;
    let bytes = layer3_mut(&mut packet.buffer);
    let translated = source.is_some() || destination.is_some();
    if translated && !A::has_both_ends(bytes, &packet.header) {
        return Err(failed);
    }
    if translated && let Connection::Related(..) = packet.connection {
        let quoted = Quoted::find(bytes, &packet.header).map_err(|_| failed)?;
        let quoted_to: A = quoted.header.destination;
        // The quoted packet went the other way: its source is where this goes, its destination whence it comes.
        let endpoint = |(address, port): (A, u16)| (address, (port != 0).then_some(port));
        nat::nat_rewrite_quoted(bytes, destination.map(endpoint), source.map(endpoint))
            .map_err(|_| failed)?;
        // Whoever reports is hidden where the connection's end is; a router in between has its own address. That only a
        // port or an identifier differs is no reason to change who speaks.
        source = source.filter(|(address, _)| *address != quoted_to);
    }
    if translated {
        let endpoint = |(address, port): (A, u16)| (address, ported.then_some(port));
        nat::nat_rewrite(bytes, source.map(endpoint), destination.map(endpoint))
            .map_err(|_| failed)?;
    }
    <A::Version as Ip>::decrement_hop_limit(bytes).ok_or(failed)?;
    Ok(())
}
