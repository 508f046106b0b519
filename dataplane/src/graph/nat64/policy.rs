//! What the policy of one generation says about connections that NAT64 translates: pure questions to the tables.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rewire_conntrack::{Admission, Flow, FlowKey};
use rewire_packet::{Ip, Ipv4, Ipv6};
use rewire_tables::acl::{NO_PORT, RuleCounters, UNCOUNTED};
use rewire_tables::nat::Nat64;
use rewire_tables::{AclKey, Route, Tables, Traveller, VpcIndex, Way};

use crate::graph::acl_policy::{self, Kind, To};
use crate::graph::nat_policy;

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

/// How the policy of these tables still lets a connection in that NAT64 translates, with just the path and translation that it has;
/// where its packets are counted; and how long it lives, where the rule says it.
pub(in crate::graph) fn still_admits(
    tables: &Tables,
    flow: &Flow<Ipv6Addr>,
) -> Option<(Admission, RuleCounters, Option<Duration>)> {
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
    let traveller = Traveller {
        destination,
        source: None,
        crossing: None,
    };
    let Ok(Way {
        route: Some(Route::Forward(hops)),
        crossing: None,
        ..
    }) = tables.way(rule.vpc, &traveller)
    else {
        return None;
    };
    let index = hops.select(|| nat_policy::flow_hash(&walking)).interface();
    if tables.interface(index)?.vpc != reply.vpc {
        return None;
    }
    let (source_port, destination_port) = match flow.admission.ports {
        Some((source, destination)) => (source.into(), destination.into()),
        None => (NO_PORT, NO_PORT),
    };
    let mut counters = UNCOUNTED;
    let arriving = AclKey {
        from: original.vpc,
        to: None,
        source: original.source,
        destination: original.destination,
        protocol: original.protocol,
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
    let leaving = AclKey {
        from: original.vpc,
        to: Some(reply.vpc),
        source: walking.source,
        destination,
        protocol: walking.protocol,
        source_port,
        destination_port: match original.protocol == Ipv6::ICMP.0 {
            true => icmp_in_ipv4(destination_port),
            false => destination_port,
        },
    };
    let filters = acl_policy::filters(tables, ingress, None, To::Leaving(index));
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
    let counters = if whole { counters } else { UNCOUNTED };
    Some((admission, counters, rule.idle_timeout))
}

/// The type and code of an ICMPv6 echo request, as filters see them, in ICMP. No other message begins a connection.
fn icmp_in_ipv4(port: u32) -> u32 {
    use rewire_packet::{icmpv4, icmpv6};
    match port == u32::from(icmpv6::message_type::ECHO_REQUEST) << 8 {
        true => u32::from(icmpv4::message_type::ECHO_REQUEST) << 8,
        false => port,
    }
}
