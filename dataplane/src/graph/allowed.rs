//! What a policy says about connections that are there, for who asks and changes nothing: checks of replays.

use std::fmt::Display;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

use rewire_conntrack::{Connections, Flow};
use rewire_tables::{Address, Tables};

use super::context::Graph;
use super::family::Family;
use super::nat_policy::{self, Egress};
use super::resolution;
use crate::buffer::BufferPool;

/// An address family whose connections can be asked about.
pub trait Asked: Address + Hash + Display {
    /// Its connections in a graph.
    fn connections<P: BufferPool>(graph: &Graph<P>) -> &Connections<Self>;

    /// Whether a connection stays, with its translation, when it is held against these tables; none where it began outside at a
    /// mapping, and that depends on other connections.
    fn stays<P: BufferPool>(graph: &Graph<P>, tables: &Tables, flow: &Flow<Self>) -> Option<bool>;

    /// Whether the masquerade that has translated a connection under these tables may as well have chosen this address and port, and the
    /// graph's worker have given it out; none where no masquerade has.
    fn may_choose<P: BufferPool>(
        graph: &Graph<P>,
        tables: &Tables,
        flow: &Flow<Self>,
        source: (Self, u16),
    ) -> Option<bool>;
}

macro_rules! asked {
    ($family:ty, $connections:ident) => {
        impl Asked for $family {
            fn connections<P: BufferPool>(graph: &Graph<P>) -> &Connections<Self> {
                graph.$connections()
            }
            fn stays<P: BufferPool>(
                graph: &Graph<P>,
                tables: &Tables,
                flow: &Flow<Self>,
            ) -> Option<bool> {
                stays(graph, tables, flow)
            }
            fn may_choose<P: BufferPool>(
                graph: &Graph<P>,
                tables: &Tables,
                flow: &Flow<Self>,
                source: (Self, u16),
            ) -> Option<bool> {
                may_choose(graph, tables, flow, source)
            }
        }
    };
}

asked!(Ipv4Addr, connections4);
asked!(Ipv6Addr, connections6);

fn stays<P: BufferPool, A: Family>(
    graph: &Graph<P>,
    tables: &Tables,
    flow: &Flow<A>,
) -> Option<bool> {
    let steering = graph.steering();
    let leads = || nat_policy::still_leads(tables, &steering, flow);
    (!flow.is_joined).then(|| resolution::admits(tables, flow, leads).is_some())
}

fn may_choose<P: BufferPool, A: Family>(
    graph: &Graph<P>,
    tables: &Tables,
    flow: &Flow<A>,
    source: (A, u16),
) -> Option<bool> {
    if A::nat64_flow(flow).is_some() {
        return None;
    }
    let (_, Egress::Masquerade(rule)) = nat_policy::still_translates(tables, flow)? else {
        return None;
    };
    let original = &flow.original;
    let is_forward = nat_policy::is_port_forward(tables, flow.reply.vpc, original.protocol, source);
    let allows = rule
        .ports
        .allows(original.protocol, original.source_port, source.1);
    let is_here = graph.steering().gives_out(rule, source.1);
    Some(rule.owns(source.0) && allows && !is_forward && is_here)
}
