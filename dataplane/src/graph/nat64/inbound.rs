//! Connections that begin outside, in IPv4, and lead to a host of IPv6: to a static binding, which is a port forward (RFC 6146 section
//! 3.1), or to a mapping that lets them in (section 3.5, by the filtering of its rule).
//!
//! They are connections of IPv6's table like all others of NAT64, the other way round: the key of their first packet is of IPv4, with
//! IPv4-mapped addresses, and that of the replies of IPv6. Which NAT64 shows their sender behind its prefix is the one that would
//! translate the answer: a rule that no answer meets lets nobody in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rewire_conntrack::{Connections, Flow, FlowKey, Internal};
use rewire_tables::nat::Nat64;
use rewire_tables::{Filtering, PortForward, PortForwardKey, Tables, VpcIndex};

use super::policy;
use crate::graph::context::Context;
use crate::graph::{filtering, nat_policy};

/// Where a connection from outside is led.
#[derive(Clone, Copy, Debug)]
pub(in crate::graph) struct Inbound<'a> {
    /// The NAT64 that translates the answers.
    pub rule: &'a Nat64,
    /// The port forward that leads it; none where it joins a mapping.
    pub forward: Option<&'a PortForward>,
    /// What stands for its sender.
    pub source: Ipv6Addr,
    /// The host that it is led to, and its port.
    pub destination: (Ipv6Addr, u16),
    /// The VPC of that.
    pub vpc: VpcIndex,
}

impl Inbound<'_> {
    /// How long the connection lives without packets, where a rule says it.
    pub(super) fn idle_timeout(&self) -> Option<Duration> {
        let of_forward = self.forward.and_then(|forward| forward.idle_timeout);
        nat_policy::shorter(self.rule.idle_timeout, of_forward)
    }

    /// Whether the mapping that it joins, if it joins one, lets it in.
    fn needs(&self) -> Option<Filtering> {
        match self.forward {
            Some(_) => None,
            None => Some(self.rule.filtering),
        }
    }
}

/// The port forward to a host of IPv6 that an IPv4 packet with this key meets.
pub(in crate::graph) fn forward<'a>(
    tables: &'a Tables,
    key: &FlowKey<Ipv4Addr>,
) -> Option<&'a PortForward> {
    let nat = tables.nat();
    let forward = PortForwardKey {
        vpc: key.vpc,
        protocol: key.protocol,
        address: key.destination.into(),
        port: key.destination_port,
    };
    let rule = nat.port_forward_from(&forward, key.source)?;
    let is_excluded =
        || nat.has_exclusions() && nat.is_excluded_on_arrival(&nat_policy::arrival_key(key, true));
    (rule.address.is_ipv6() && rule.peering.is_none() && !is_excluded()).then_some(rule)
}

/// Where the policy leads a connection whose first packet has this key, in the form that IPv6's table has it. A port forward goes before
/// a mapping.
pub(in crate::graph) fn of<'a>(
    cx: &Context<'a>,
    connections: &mut Connections<Ipv6Addr>,
    key: &FlowKey<Ipv6Addr>,
) -> Option<Inbound<'a>> {
    if let Some(forward) = forward_of(cx.tables, key) {
        return forwarded(cx.tables, key, forward);
    }
    let external = (key.destination, key.destination_port);
    let internal = connections.internal_of(key.vpc, key.protocol, external, cx.now)?;
    let inbound = joined(cx.tables, key, &internal)?;
    filtering::lets_in(cx, connections, inbound.rule.filtering, key).then_some(inbound)
}

/// Where the policy leads a connection that is there, as it would today. What its mapping has to let in is [to be
/// asked](needed_filtering) besides.
pub(super) fn again<'a>(tables: &'a Tables, flow: &Flow<Ipv6Addr>) -> Option<Inbound<'a>> {
    let key = &flow.original;
    let inbound = match (forward_of(tables, key), flow.is_joined) {
        (Some(forward), false) => forwarded(tables, key, forward)?,
        (None, true) => joined(tables, key, &filtering::internal_of(flow))?,
        _ => return None,
    };
    let is_same = inbound.source == flow.reply.destination
        && inbound.destination == (flow.reply.source, flow.reply.source_port)
        && inbound.vpc == flow.route_vpc;
    is_same.then_some(inbound)
}

/// What the filtering of a connection's rule must let in, for it to stay; nothing, where it has joined no mapping of NAT64's.
pub(in crate::graph) fn needed_filtering(
    tables: &Tables,
    flow: &Flow<Ipv6Addr>,
) -> Option<Filtering> {
    again(tables, flow)?.needs()
}

/// The NAT64 that translates what answers a connection from outside.
pub(in crate::graph) fn inbound_rule<'a>(
    tables: &'a Tables,
    flow: &Flow<Ipv6Addr>,
) -> Option<&'a Nat64> {
    again(tables, flow).map(|inbound| inbound.rule)
}

fn forward_of<'a>(tables: &'a Tables, key: &FlowKey<Ipv6Addr>) -> Option<&'a PortForward> {
    let key = FlowKey {
        vpc: key.vpc,
        protocol: policy::ipv4_protocol(key.protocol),
        source: policy::ipv4(key.source)?,
        destination: policy::ipv4(key.destination)?,
        source_port: key.source_port,
        destination_port: key.destination_port,
    };
    forward(tables, &key)
}

fn forwarded<'a>(
    tables: &'a Tables,
    key: &FlowKey<Ipv6Addr>,
    forward: &'a PortForward,
) -> Option<Inbound<'a>> {
    let IpAddr::V6(address) = forward.address else {
        return None;
    };
    let internal = Internal {
        vpc: forward.vpc,
        protocol: key.protocol,
        address,
        port: forward.port,
    };
    let (rule, source) = answering_rules(tables, key, &internal).next()?;
    Some(Inbound {
        rule,
        forward: Some(forward),
        source,
        destination: (address, forward.port),
        vpc: forward.vpc,
    })
}

fn joined<'a>(
    tables: &'a Tables,
    key: &FlowKey<Ipv6Addr>,
    internal: &Internal<Ipv6Addr>,
) -> Option<Inbound<'a>> {
    let address = policy::ipv4(key.destination)?;
    // Its mapping is one that this rule could have given out.
    let gives_out = |rule: &Nat64| {
        rule.owns(address)
            && rule
                .ports
                .allows(key.protocol, internal.port, key.destination_port)
    };
    let mut rules = answering_rules(tables, key, internal);
    let (rule, source) = rules.find(|(rule, _)| gives_out(rule))?;
    Some(Inbound {
        rule,
        forward: None,
        source,
        destination: (internal.address, internal.port),
        vpc: internal.vpc,
    })
}

/// The NAT64s that translate what an internal endpoint answers to a packet with this key, with what stands for its sender: those whose
/// IPv4 packets are routed where it comes from.
fn answering_rules<'a>(
    tables: &'a Tables,
    key: &FlowKey<Ipv6Addr>,
    internal: &Internal<Ipv6Addr>,
) -> impl Iterator<Item = (&'a Nat64, Ipv6Addr)> {
    let (key, internal) = (*key, *internal);
    let remote = policy::ipv4(key.source);
    let rules = tables.nat().nat64s(internal.vpc).iter();
    rules
        .filter(move |rule| rule.vpc == key.vpc)
        .filter_map(move |rule| {
            let source = rule.prefix.embed(remote?);
            let answer = FlowKey {
                vpc: internal.vpc,
                protocol: key.protocol,
                source: internal.address,
                destination: source,
                source_port: internal.port,
                destination_port: key.source_port,
            };
            let (found, _) = policy::rule(tables, &answer)?;
            std::ptr::eq(found, rule).then_some((rule, source))
        })
}
