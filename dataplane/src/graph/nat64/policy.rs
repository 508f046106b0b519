//! What the policy of one generation says about connections that NAT64 translates: pure questions to the tables.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rewire_conntrack::{Admission, Flow, FlowKey};
use rewire_packet::{Ip, Ipv4, Ipv6, Protocol};
use rewire_tables::acl::{NO_PORT, RuleCounters, UNCOUNTED};
use rewire_tables::nat::Nat64;
use rewire_tables::{AclKey, Filtering, InterfaceIndex, Route, Tables, Traveller, VpcIndex, Way};

use super::inbound;
use crate::graph::acl_policy::{self, Kind, To};
use crate::graph::family::Family;
use crate::graph::{hairpin, nat_policy};

/// The NAT64 of a connection whose first packet has this key, and the IPv4 address that it is for. A route that is longer than the
/// prefix goes before it, and so does an exclusion.
pub(in crate::graph) fn rule<'a>(
    tables: &'a Tables,
    key: &FlowKey<Ipv6Addr>,
) -> Option<(&'a Nat64, Ipv4Addr)> {
    let nat = tables.nat();
    if !nat.has_nat64() {
        return None;
    }
    let found = nat.nat64(key.vpc, key.source, key.destination)?;
    let is_led = matches!(
        tables.vpc(key.vpc).route(key.destination),
        Some(Route::NatExternal)
    );
    let is_excluded =
        nat.has_exclusions() && nat.is_excluded_on_arrival(&nat_policy::arrival_key(key, true));
    (is_led && !is_excluded).then_some(found)
}

/// The IPv4 address of the far side of a connection.
pub(super) fn ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    address.to_ipv4_mapped()
}

/// The number of a protocol in IPv4.
pub(super) fn ipv4_protocol(protocol: u8) -> u8 {
    match protocol == Ipv6::ICMP.0 {
        true => Ipv4::ICMP.0,
        false => protocol,
    }
}

/// Whether an external address and port lead to a port forward.
pub(super) fn is_port_forward(
    tables: &Tables,
    (vpc, protocol): (VpcIndex, u8),
    (address, port): (Ipv6Addr, u16),
) -> bool {
    let protocol = ipv4_protocol(protocol);
    let is_one = |address| nat_policy::is_port_forward(tables, vpc, protocol, (address, port));
    ipv4(address).is_some_and(is_one)
}

/// The key of a connection's packets that are of IPv6: those that its host of IPv6 sends.
pub(super) fn own_side(flow: &Flow<Ipv6Addr>) -> &FlowKey<Ipv6Addr> {
    match flow.original.is_of_other_family() {
        true => &flow.reply,
        false => &flow.original,
    }
}

/// The interface that an IPv4 packet of NAT64's leaves by, or comes back by, where it is for the gateway's own external addresses: see
/// [`hairpin::outer_of_nat64`].
fn exit(tables: &Tables, walking: &FlowKey<Ipv4Addr>) -> Option<InterfaceIndex> {
    let traveller = Traveller {
        destination: walking.destination,
        source: None,
        crossing: None,
    };
    let Ok(Way {
        route,
        crossing: None,
        ..
    }) = tables.way(walking.vpc, &traveller)
    else {
        return None;
    };
    match route {
        Some(Route::Forward(hops)) => {
            Some(hops.select(|| nat_policy::flow_hash(walking)).interface())
        }
        route => {
            let has_ports = matches!(Protocol(walking.protocol), Protocol::TCP | Protocol::UDP);
            let port = has_ports.then_some(walking.destination_port);
            let end = (walking.protocol, walking.destination, port);
            hairpin::outer_of_nat64(tables, walking.vpc, route, end)
        }
    }
}

/// How a policy lets a connection in that NAT64 translates.
pub(in crate::graph) struct Admits {
    pub admission: Admission,
    /// Where its packets are counted.
    pub counters: RuleCounters,
    /// How long it lives without packets, where a rule says it.
    pub idle_timeout: Option<Duration>,
    /// What its mapping, if it has one of its own, lets in from outside.
    pub lets_in: Filtering,
}

/// How the policy of these tables still lets a connection in that NAT64 translates, with just the path and translation that it has. Of one
/// that has joined a mapping, what that lets in is [to be asked](super::needed_filtering) besides.
pub(in crate::graph) fn still_admits(tables: &Tables, flow: &Flow<Ipv6Addr>) -> Option<Admits> {
    match flow.original.is_of_other_family() {
        true => still_admits_inbound(tables, flow),
        false => still_admits_outbound(tables, flow),
    }
}

fn still_admits_outbound(tables: &Tables, flow: &Flow<Ipv6Addr>) -> Option<Admits> {
    let (original, reply) = (&flow.original, &flow.reply);
    let (rule, destination) = rule(tables, original)?;
    let external = (ipv4(reply.destination)?, reply.destination_port);
    let allocation = &rule.ports;
    let is_same = ipv4(reply.source) == Some(destination)
        && rule.vpc == flow.route_vpc
        && rule.owns(external.0)
        && allocation.allows(original.protocol, original.source_port, external.1)
        && !is_port_forward(
            tables,
            (reply.vpc, original.protocol),
            (reply.destination, external.1),
        );
    if !is_same {
        return None;
    }
    // As its packets have it while they walk in IPv4.
    let walking = FlowKey {
        vpc: rule.vpc,
        protocol: ipv4_protocol(original.protocol),
        source: Ipv4Addr::UNSPECIFIED,
        destination,
        source_port: original.source_port,
        destination_port: original.destination_port,
    };
    let egress = exit(tables, &walking)?;
    let (admission, counters) = filters(tables, flow, original, (&walking, egress))?;
    Some(Admits {
        admission,
        counters,
        idle_timeout: rule.idle_timeout,
        lets_in: rule.filtering,
    })
}

fn still_admits_inbound(tables: &Tables, flow: &Flow<Ipv6Addr>) -> Option<Admits> {
    let original = &flow.original;
    let inbound = inbound::again(tables, flow)?;
    let arriving = FlowKey {
        vpc: original.vpc,
        protocol: ipv4_protocol(original.protocol),
        source: ipv4(original.source)?,
        destination: ipv4(original.destination)?,
        source_port: original.source_port,
        destination_port: original.destination_port,
    };
    // As its packets have it while they walk in IPv6.
    let walking = FlowKey {
        vpc: inbound.vpc,
        protocol: original.protocol,
        source: inbound.source,
        destination: inbound.destination.0,
        source_port: original.source_port,
        destination_port: match original.protocol == Ipv6::ICMP.0 {
            true => original.destination_port,
            false => inbound.destination.1,
        },
    };
    let traveller = Traveller {
        destination: walking.destination,
        source: None,
        crossing: None,
    };
    let Ok(Way {
        route: Some(Route::Forward(hops)),
        crossing: None,
        ..
    }) = tables.way(walking.vpc, &traveller)
    else {
        return None;
    };
    let egress = hops.select(|| nat_policy::flow_hash(&walking)).interface();
    let (admission, counters) = filters(tables, flow, &arriving, (&walking, egress))?;
    Some(Admits {
        admission,
        counters,
        idle_timeout: inbound.idle_timeout(),
        lets_in: Filtering::default(),
    })
}

/// What the ACLs say about a connection whose first packet came with the one key, and leaves with the other.
fn filters<F: Family, A: Family>(
    tables: &Tables,
    flow: &Flow<Ipv6Addr>,
    arriving: &FlowKey<F>,
    (walking, egress): (&FlowKey<A>, InterfaceIndex),
) -> Option<(Admission, RuleCounters)> {
    let to = tables.interface(egress)?.vpc;
    if to != flow.reply.vpc {
        return None;
    }
    let (source_port, destination_port) = match flow.admission.ports {
        Some((source, destination)) => (source.into(), destination.into()),
        None => (NO_PORT, NO_PORT),
    };
    let mut counters = UNCOUNTED;
    let arriving = AclKey {
        from: arriving.vpc,
        to: None,
        source: arriving.source,
        destination: arriving.destination,
        protocol: arriving.protocol,
        source_port,
        destination_port,
    };
    let ingress = flow.admission.ingress;
    let whole_in = acl_policy::arrives(
        tables,
        ingress,
        &arriving,
        Kind::First,
        |filter, verdict| {
            filter.note(tables, verdict, &mut counters);
        },
    );
    let whole_in = whole_in.ok()?;
    let has_ports = matches!(Protocol(walking.protocol), Protocol::TCP | Protocol::UDP);
    let leaving = AclKey {
        from: arriving.from,
        to: Some(to),
        source: walking.source,
        destination: walking.destination,
        protocol: walking.protocol,
        source_port,
        destination_port: match has_ports && flow.admission.ports.is_some() {
            true => walking.destination_port.into(),
            false => icmp_of::<A>(destination_port),
        },
    };
    let filters = acl_policy::filters(tables, ingress, None, To::Leaving(egress));
    let verdicts = filters
        .filter(|filter| !filter.is_on_arrival())
        .map(|filter| (filter, tables.acl(filter.acl).lookup(&leaving)));
    let whole_out = acl_policy::judge(tables, verdicts, Kind::First, |filter, verdict| {
        filter.note(tables, verdict, &mut counters);
    });
    let whole = whole_in & whole_out.ok()?;
    let admission = Admission {
        peering: None,
        whole,
        ..flow.admission
    };
    Some((admission, if whole { counters } else { UNCOUNTED }))
}

/// The type and code of an echo request, as filters see them, in the family that it walks in. No other message begins a connection.
fn icmp_of<A: Family>(port: u32) -> u32 {
    let request = |message_type: u8| u32::from(message_type) << 8;
    let of_either = [Ipv4Addr::ECHO_REQUEST, Ipv6Addr::ECHO_REQUEST].map(request);
    match of_either.contains(&port) {
        true => request(A::ECHO_REQUEST),
        false => port,
    }
}
