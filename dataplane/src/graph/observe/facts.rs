//! What each node of a family has decided about a packet.

use rewire_conntrack::{Connections, Direction, Flow};
use rewire_packet::{IpHeader, MacAddress, Protocol, Transport};
use rewire_tables::Address;

use super::{Before, Teller, interface, is_own, routes, translations, vpc};
use crate::buffer::PacketBuffer;
use crate::graph::acl;
use crate::graph::context::Context;
use crate::graph::family::Family;
use crate::graph::packet::{Connection, Packet};
use crate::graph::{Node, acl_policy};
use crate::walk::{
    AclPlace, ConnectionFact, Endpoint, Fact, Header, Onward, Relation, Translation,
};

/// Tells what a packet's node has decided.
pub(super) fn tell<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    before: &Before<A>,
    onward: &Onward,
    connections: &mut Connections<A>,
    teller: &mut Teller<'_, B>,
) {
    match teller.node {
        // What could not be read is not told.
        Node::IpInput if packet.header.packet_len > 0 => teller.say(Fact::Header(header(packet))),
        Node::VirtualReassembly if matches!(onward, Onward::Node(_)) => {
            teller.say(Fact::FragmentOf {
                protocol: packet.header.protocol,
                ports: packet.transport.ports(),
            });
        }
        Node::IngressNat => ingress_nat(cx, packet, before, onward, connections, teller),
        Node::Route => routes::tell(cx, packet, before, onward, teller),
        Node::Acl => acls(cx, packet, connections, teller),
        Node::Local if is_own(packet.origin) && !before.is_own => teller.say(Fact::Answered),
        Node::HopLimit => teller.say(Fact::HopLimit(packet.header.hop_limit)),
        Node::Neighbor => neighbor(cx, packet, onward, teller),
        Node::Mtu => teller.say(Fact::Length {
            packet: packet.header.packet_len,
            mtu: cx.tables.interface(packet.egress).map_or(0, |i| i.mtu),
            is_cut: packet.too_large && matches!(onward, Onward::Node(_)),
        }),
        Node::EgressNat => egress_nat(cx, packet, before, onward, connections, teller),
        Node::EthernetOutput => {
            let own = cx.tables.interface(packet.egress);
            teller.say(Fact::Link {
                source: own.map_or(MacAddress::ZERO, |interface| interface.mac),
                destination: packet.next_hop_mac,
            });
        }
        Node::Fragment if matches!(onward, Onward::Transmit(_)) => teller.say(Fact::Cut {
            fragments: 1 + packet.fragments.len(),
        }),
        _ => {}
    }
}

/// The headers of a packet.
fn header<B: PacketBuffer, A: Family>(packet: &Packet<B, A>) -> Header {
    let IpHeader {
        source,
        destination,
        protocol,
        fragment,
        hop_limit,
        packet_len,
        ..
    } = packet.header;
    let transport = packet.transport;
    let icmp = acl_policy::ports(packet).map(|(_, message)| message.to_be_bytes());
    let is_icmp = matches!(
        transport,
        Transport::IcmpQuery { .. } | Transport::IcmpError { .. } | Transport::IcmpOther { .. }
    );
    Header {
        source: source.into(),
        destination: destination.into(),
        protocol,
        ports: transport.ports(),
        flags: match transport {
            Transport::Tcp { flags, .. } => Some(flags),
            _ => None,
        },
        icmp: icmp
            .filter(|_| is_icmp)
            .map(|[message, code]| (message, code)),
        identifier: match transport {
            Transport::IcmpQuery { identifier, .. } => Some(identifier),
            _ => None,
        },
        hop_limit,
        length: packet_len,
        fragment,
    }
}

fn ingress_nat<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    before: &Before<A>,
    onward: &Onward,
    connections: &Connections<A>,
    teller: &mut Teller<'_, B>,
) {
    let (relation, id) = match packet.connection {
        Connection::New(_) => (Relation::New, None),
        Connection::Established(id, direction) => (Relation::Established(direction), Some(id)),
        Connection::Related(id, direction) => (Relation::Related(direction), Some(id)),
        Connection::Untracked => (Relation::Untracked, None),
    };
    let flow = id.and_then(|id| connections.flow(id));
    // What is dropped here may belong to none, or begin none.
    if matches!(onward, Onward::Drop { .. }) && flow.is_none() {
        return;
    }
    teller.say(Fact::Connection {
        relation,
        connection: flow.map(|flow| connection(cx, &flow)),
    });
    if let Connection::New(key) = &packet.connection {
        translations::excluded(cx, key, teller);
    }
    if let Some(to) = packet.rewrite.destination
        && !matches!(onward, Onward::ChangeFamily)
    {
        let by = translations::of_destination(cx, packet, before.vpc);
        destination(cx, packet, by, to, teller);
    }
    if packet.crossing != before.crossing {
        routes::crossing(cx, packet.crossing, teller);
    }
}

/// A packet's destination is another one from here on.
pub(super) fn destination<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    by: Translation,
    to: (A, u16),
    teller: &mut Teller<'_, B>,
) {
    teller.say(Fact::Destination {
        by,
        from: (packet.header.destination.into(), port(packet).1),
        to: endpoint(to),
        vpc: vpc(cx, packet.vpc),
    });
}

fn acls<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<A>,
    teller: &mut Teller<'_, B>,
) {
    let mut were_asked = false;
    acl::retrace(cx, packet, connections, |filter, verdict| {
        were_asked = true;
        tell_acl(cx, filter, verdict, teller);
    });
    if !were_asked {
        teller.say(Fact::AclsPassed);
    }
}

/// What an ACL has said.
pub(super) fn tell_acl<B>(
    cx: &Context<'_>,
    filter: acl_policy::Filter,
    verdict: rewire_tables::acl::AclVerdict,
    teller: &mut Teller<'_, B>,
) {
    let decision = filter.decision(cx.tables, verdict);
    teller.say(Fact::Acl {
        acl: cx.tables.acl(filter.acl).shared_name().into(),
        place: match filter.place {
            acl_policy::Place::In => AclPlace::In,
            acl_policy::Place::Peering => AclPlace::Peering,
            acl_policy::Place::Out => AclPlace::Out,
        },
        rule: verdict.rule,
        action: decision.action,
        scope: decision.scope,
    });
}

fn neighbor<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    onward: &Onward,
    teller: &mut Teller<'_, B>,
) {
    let address = packet.next_hop.into();
    let known = cx.tables.neighbor(packet.egress, address);
    let went_on = matches!(onward, Onward::Node(_));
    teller.say(Fact::Neighbor {
        interface: interface(cx, packet.egress),
        address,
        mac: known.or(went_on.then_some(packet.next_hop_mac)),
        is_assumed: known.is_none() && went_on,
    });
}

fn egress_nat<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    before: &Before<A>,
    onward: &Onward,
    connections: &mut Connections<A>,
    teller: &mut Teller<'_, B>,
) {
    let flow = match packet.connection {
        Connection::New(key) => connections
            .lookup(&key, cx.now)
            .and_then(|(id, _)| connections.flow(id)),
        Connection::Established(id, _) | Connection::Related(id, _) => connections.flow(id),
        Connection::Untracked => None,
    };
    if let Connection::New(key) = &packet.connection {
        translations::excluded_on_exit(cx, packet, key, teller);
    }
    if let Some(to) = packet.rewrite.source
        && matches!(onward, Onward::Node(_))
    {
        let from = (packet.header.source.into(), port(packet).0);
        teller.say(Fact::Source {
            by: translations::of_source(cx, packet, before),
            from,
            to: endpoint(to),
        });
    }
    let Some(flow) = flow else { return };
    let connection = connection(cx, &flow);
    match (packet.connection, before.state) {
        (Connection::Related(..), _) => {}
        (_, Some(state)) => teller.say(Fact::WentOn {
            before: state,
            connection,
        }),
        (_, None) => teller.say(Fact::Began(connection)),
    }
}

/// A connection, in both directions.
pub(super) fn connection<A: Address>(cx: &Context<'_>, flow: &Flow<A>) -> ConnectionFact {
    let ends = |direction: Direction| {
        let key = flow.key(direction);
        (
            vpc(cx, key.vpc),
            endpoint((key.source, key.source_port)),
            endpoint((key.destination, key.destination_port)),
        )
    };
    ConnectionFact {
        protocol: Protocol(flow.original.protocol),
        original: ends(Direction::Original),
        reply: ends(Direction::Reply),
        state: flow.state,
        expires: flow.expires.duration_since(cx.now),
    }
}

/// An end; of NAT64, the far one is of IPv4.
pub(super) fn endpoint<A: Address>((address, port): (A, u16)) -> Endpoint {
    (Into::<std::net::IpAddr>::into(address).to_canonical(), port)
}

/// The ports of a packet, as connections have them.
pub(super) fn port<B, A: Family>(packet: &Packet<B, A>) -> (u16, u16) {
    match packet.transport {
        Transport::IcmpQuery { identifier, .. } => (identifier, identifier),
        transport => transport.ports().unwrap_or_default(),
    }
}
