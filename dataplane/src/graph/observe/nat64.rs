//! How a packet has changed its address family.

use std::net::Ipv6Addr;

use rewire_conntrack::{Connections, Direction};

use super::{Teller, each, facts, state_of, told, vpc};
use crate::buffer::PacketBuffer;
use crate::graph::Node;
use crate::graph::acl_policy;
use crate::graph::burst::Burst;
use crate::graph::context::{Context, Sinks};
use crate::graph::family::Family;
use crate::graph::nat64::{self, Refusal};
use crate::graph::packet::{Connection, Origin, Packet};
use crate::walk::{Fact, Label, Onward, Told, Translation};

/// A packet goes on in this family, which is not its own.
pub(in crate::graph) fn changed_family<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    connections: &mut Connections<Ipv6Addr>,
    sinks: &mut dyn Sinks<B>,
) {
    let Some(mut teller) = teller(cx, packet, sinks) else {
        return;
    };
    let rule = match packet.foreign.map(|foreign| foreign.connection()) {
        Some(Connection::New(key)) if key.is_of_other_family() => {
            let inbound = nat64::inbound(cx, connections, &key);
            if let Some(inbound) = inbound {
                teller.say(Fact::Destination {
                    by: match inbound.forward {
                        Some(forward) => Translation::PortForward((&forward.name).into()),
                        None => Translation::Mapping,
                    },
                    from: facts::endpoint((key.destination, key.destination_port)),
                    to: facts::endpoint(inbound.destination),
                    vpc: vpc(cx, inbound.vpc),
                });
            }
            inbound.map(|inbound| &inbound.rule.name)
        }
        Some(Connection::New(key)) => nat64::rule(cx.tables, &key).map(|(rule, _)| &rule.name),
        _ => None,
    };
    teller.say(Fact::ChangesFamily {
        rule: rule.into(),
        destination: packet.header.destination.into(),
        vpc: vpc(cx, packet.vpc),
    });
    teller.say(Fact::Next(Onward::Node(Node::Route)));
}

/// A packet does not change its family, and goes nowhere.
pub(in crate::graph) fn refused<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<B, A>,
    refusal: &Refusal<A>,
    sinks: &mut dyn Sinks<B>,
) {
    let Some(mut teller) = teller(cx, packet, sinks) else {
        return;
    };
    let (reason, told) = match refusal {
        Refusal::Drop(reason) => (*reason, Told::Nothing),
        Refusal::Answer(reason, answer) => (*reason, told(answer)),
    };
    // Where it came in, an ACL was asked that may have forbidden it.
    if let (Origin::Received(ingress), true) = (packet.origin, reason.is_of_acl())
        && let Some(interface) = cx.tables.interface(ingress)
    {
        let key = acl_policy::key(packet, interface.vpc, None);
        let kind = acl_policy::Kind::First;
        let _ = acl_policy::arrives(cx.tables, ingress, &key, kind, |filter, verdict| {
            facts::tell_acl(cx, filter, verdict, &mut teller);
        });
    }
    teller.say(Fact::Next(Onward::Drop { reason, told }));
}

fn teller<'a, B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &'a Packet<B, A>,
    sinks: &'a mut dyn Sinks<B>,
) -> Option<Teller<'a, B>> {
    Some(Teller {
        packet: packet.mark.filter(|_| cx.observes)?,
        node: Node::Nat64,
        is_own: false,
        frame: packet.buffer.bytes(),
        sinks,
    })
}

/// As [`before`](super::before), of packets whose connections IPv6's table has.
pub(in crate::graph) fn before_nat64<B: PacketBuffer, A: Family>(
    burst: &mut Burst<B, A>,
    connections: &Connections<Ipv6Addr>,
) {
    super::before(burst, Node::Nat64, |packet| {
        let foreign = packet.foreign.as_ref()?;
        state_of(&foreign.connection(), connections)
    });
}

/// As [`after`](super::after), of packets that were translated into the other family.
pub(in crate::graph) fn after_nat64<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<Ipv6Addr>,
    sinks: &mut dyn Sinks<B>,
) {
    each(
        cx,
        Node::Nat64,
        burst,
        sinks,
        |packet, before, onward, teller| {
            let Some(foreign) = &packet.foreign else {
                return;
            };
            let (flow, direction) = match foreign.connection() {
                Connection::New(key) => {
                    let found = connections.lookup(&key, cx.now).map(|(id, _)| id);
                    (
                        found.and_then(|id| connections.flow(id)),
                        Direction::Original,
                    )
                }
                Connection::Established(id, direction) | Connection::Related(id, direction) => {
                    (connections.flow(id), direction)
                }
                Connection::Untracked => (None, Direction::Original),
            };
            let Some(flow) = flow.filter(|_| matches!(onward, Onward::Node(_))) else {
                return;
            };
            let answered = flow.key(match direction {
                Direction::Original => Direction::Reply,
                Direction::Reply => Direction::Original,
            });
            let arriving = flow.key(direction);
            let rule = match foreign.connection() {
                Connection::New(key) if key.is_of_other_family() => {
                    nat64::inbound_rule(cx.tables, &flow).map(|rule| &rule.name)
                }
                Connection::New(key) => nat64::rule(cx.tables, &key).map(|(rule, _)| &rule.name),
                _ => None,
            };
            teller.say(Fact::Source {
                by: match rule {
                    Some(name) => Translation::Nat64(Label::from(name)),
                    None => Translation::Connection,
                },
                from: facts::endpoint((arriving.source, arriving.source_port)),
                to: facts::endpoint((answered.destination, answered.destination_port)),
            });
            let connection = facts::connection(cx, &flow);
            match (foreign.connection(), before.state) {
                (Connection::Related(..), _) => {}
                (_, Some(state)) => teller.say(Fact::WentOn {
                    before: state,
                    connection,
                }),
                (_, None) => teller.say(Fact::Began(connection)),
            }
        },
    );
}
