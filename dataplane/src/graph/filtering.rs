//! Filtering: which connections from outside reach an external address and port that a masquerade has given out (RFC 4787,
//! REQ-8; RFC 5382, REQ-3).
//!
//! The rule that is asked is the one by which an answer would leave: what its mapping is, and whom it lets in, is the policy
//! of this generation, whatever it was when the mapping came to be. Asked of packets alone that are for an address of the
//! gateway's own or of its NAT, and that no connection and no other rule explains; and of connections that came in so, when
//! the policy has changed.

use rewire_conntrack::{Admission, Connections, Flow, FlowKey, Internal};
use rewire_packet::{Protocol, Transport};
use rewire_tables::{AclFamily, Filtering, Masquerade, Route, Tables};

use super::context::Context;
use super::family::Family;
use super::hairpin;
use super::nat_policy::{self, Egress, Ingress, Leaving};

/// Whether a packet with this transport, for an address that has this route, may be one from outside for a mapping. Echo requests to the
/// gateway's own addresses are for itself.
pub(super) fn may_join<A: Family>(route: Option<&Route>, transport: &Transport) -> bool {
    match route {
        Some(Route::NatExternal) => true,
        Some(Route::Local) => !matches!(
            transport,
            Transport::IcmpQuery { message_type, .. } if *message_type == A::ECHO_REQUEST
        ),
        _ => false,
    }
}

/// Where a packet from outside is led that would begin a connection with this key, if its destination is the external endpoint of a
/// mapping that lets it in.
///
/// Cost: a look-up of the mapping; where there is one, of a route and a rule.
pub(super) fn internal<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    key: &FlowKey<A>,
) -> Option<Internal<A>> {
    let external = (key.destination, key.destination_port);
    let internal = connections.internal_of(key.vpc, key.protocol, external, cx.now)?;
    rule(cx, connections, key, &internal).map(|_| internal)
}

/// The rule that lets a connection with this key in to an internal endpoint.
pub(super) fn rule<'a, A: Family>(
    cx: &Context<'a>,
    connections: &mut Connections<A>,
    key: &FlowKey<A>,
    internal: &Internal<A>,
) -> Option<&'a Masquerade> {
    let rule = answering_rule(cx.tables, key, internal)?;
    lets_in(cx, connections, rule.filtering, key).then_some(rule)
}

/// Whether a mapping whose rule asks for this lets a connection with this key in.
pub(super) fn lets_in<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    filtering: Filtering,
    key: &FlowKey<A>,
) -> bool {
    match filtering {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => {
            let external = (key.destination, key.destination_port);
            connections.has_sent_to(key.vpc, key.protocol, external, key.source, cx.now)
        }
        Filtering::AddressAndPortDependent => false,
    }
}

/// The rule by which an internal endpoint's answer to a packet with this key would get the packet's destination as its source.
pub(super) fn answering_rule<'a, A: AclFamily>(
    tables: &'a Tables,
    key: &FlowKey<A>,
    internal: &Internal<A>,
) -> Option<&'a Masquerade> {
    let answer = FlowKey {
        vpc: internal.vpc,
        protocol: key.protocol,
        source: internal.address,
        destination: key.source,
        source_port: internal.port,
        destination_port: key.source_port,
    };
    let ingress = nat_policy::ingress(tables, &answer, true).ok()?;
    if ingress.destination.is_some() || ingress.crossing.is_some() {
        return None;
    }
    let has_ports = matches!(Protocol(key.protocol), Protocol::TCP | Protocol::UDP);
    let admission = Admission {
        ports: has_ports.then_some((internal.port, key.source_port)),
        ..Admission::default()
    };
    let destination = (answer.destination, answer.destination_port);
    let seen = nat_policy::egress_key(&answer, destination, &admission);
    let (index, egress) = match nat_policy::exit(tables, &answer, &ingress) {
        Some((_, Some(_))) => return None,
        Some((index, None)) => {
            let interface = tables.interface(index)?;
            let egress = nat_policy::egress(tables, &seen, (index, interface), (None, None));
            (index, egress)
        }
        // To an address of its own VPC's outside, if it goes back by there.
        None => {
            let led = Ingress {
                destination: Some((internal.address, internal.port)),
                vpc: internal.vpc,
                ..ingress
            };
            let (inner, _) = nat_policy::exit(tables, key, &led)?;
            hairpin::outer(tables, &answer, &seen, inner)?
        }
    };
    if tables.interface(index)?.vpc != key.vpc {
        return None;
    }
    match egress {
        Egress::Masquerade(rule)
            if rule.owns(key.destination)
                && rule
                    .ports
                    .allows(key.protocol, internal.port, key.destination_port) =>
        {
            Some(rule)
        }
        _ => None,
    }
}

/// The internal endpoint that a connection from outside was led to.
pub(super) fn internal_of<A: Copy>(flow: &Flow<A>) -> Internal<A> {
    Internal {
        vpc: flow.route_vpc,
        protocol: flow.original.protocol,
        address: flow.reply.source,
        port: flow.reply.source_port,
    }
}

/// Whether the policy of this generation would still let a connection from outside in, to where it was led: where it leaves then.
pub(super) fn still_leads<A: Family>(
    cx: &Context<'_>,
    connections: &mut Connections<A>,
    flow: &Flow<A>,
) -> Option<Leaving> {
    let original = &flow.original;
    let ingress = nat_policy::ingress(cx.tables, original, true).ok()?;
    let route = cx.tables.vpc(original.vpc).route(original.destination);
    let is_ours = matches!(route, Some(Route::Local | Route::NatExternal));
    if ingress.destination.is_some() || ingress.crossing.is_some() || !is_ours {
        return None;
    }
    let internal = internal_of(flow);
    let rule = rule(cx, connections, original, &internal)?;
    let led = Ingress {
        destination: Some((internal.address, internal.port)),
        vpc: internal.vpc,
        ..ingress
    };
    let (interface, crossing) = nat_policy::exit(cx.tables, original, &led)?;
    let leaves_there = cx.tables.interface(interface)?.vpc == flow.reply.vpc;
    (crossing.is_none() && leaves_there).then_some(Leaving {
        interface,
        crossing,
        idle_timeout: rule.idle_timeout,
        filtering: Filtering::default(),
    })
}
