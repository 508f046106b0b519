//! Observation: what a node has decided about the packets of a burst that are marked, told as [`Step`]s.
//!
//! Nodes know nothing of it. Before a node runs, what it may change of a packet's decisions is noted; behind it, what it decided is
//! read from the packet, and the tables are asked again for what the packet does not hold: which prefix, which rule. All that
//! a node decides follows from the packet, its connection and the tables, so the answer is the one that the node had.

mod facts;
mod link;
mod nat64;
mod routes;
mod translations;

use rewire_conntrack::{Connections, State};
use rewire_tables::{Address, Crossing, InterfaceIndex, VpcIndex};

use super::Node;
use super::burst::{Answer, Burst};
use super::context::{Context, Sinks};
use super::family::Family;
use super::packet::{Connection, Fate, Origin, Packet};
use super::pipeline::next_round;
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;
use crate::walk::{Fact, Label, Mark, Onward, Step, Told};

pub(super) use self::link::{link, received};
pub(super) use self::nat64::{after_nat64, before_nat64, changed_family, refused};

/// What was known of an observed packet when it came to a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<A> {
    /// Its place in the burst.
    index: u16,
    is_own: bool,
    vpc: VpcIndex,
    /// What it was routed by.
    destination: A,
    /// Whether that was another one than in its header.
    is_led: bool,
    crossing: Option<Crossing>,
    state: Option<State>,
}

/// Where the facts of one visit go.
struct Teller<'a, B> {
    packet: Mark,
    node: Node,
    is_own: bool,
    frame: &'a [u8],
    sinks: &'a mut dyn Sinks<B>,
}

impl<B> Teller<'_, B> {
    fn say(&mut self, fact: Fact) {
        let step = Step {
            packet: self.packet,
            node: self.node,
            is_own: self.is_own,
            fact,
        };
        self.sinks.observe(step, self.frame);
    }
}

/// Notes the observed packets that wait for a node. As many as there is room for; a burst has no more.
pub(super) fn before<B: PacketBuffer, A: Family>(
    burst: &mut Burst<B, A>,
    node: Node,
    state: impl Fn(&Packet<B, A>) -> Option<State>,
) {
    let mut observed = std::mem::take(&mut burst.observed);
    observed.clear();
    for &index in burst.inbox(node) {
        let packet = &burst.packets[usize::from(index)];
        if packet.mark.is_none() || observed.len() == observed.capacity() {
            continue;
        }
        observed.push(Before {
            index,
            is_own: is_own(packet.origin),
            vpc: packet.vpc,
            destination: packet.destination(),
            is_led: packet.rewrite.destination.is_some(),
            crossing: packet.crossing,
            state: state(packet),
        });
    }
    burst.observed = observed;
}

/// The state of the connection that a packet belongs to.
pub(super) fn state_of<A: Address>(
    connection: &Connection<A>,
    connections: &Connections<A>,
) -> Option<State> {
    match connection {
        Connection::Established(id, _) => connections.flow(*id).map(|flow| flow.state),
        _ => None,
    }
}

/// Tells what a node has decided about the packets that [`before`] noted.
pub(super) fn after<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    node: Node,
    burst: &mut Burst<B, A>,
    connections: &mut Connections<A>,
    sinks: &mut dyn Sinks<B>,
) {
    each(cx, node, burst, sinks, |packet, before, onward, teller| {
        facts::tell(cx, packet, before, onward, connections, teller);
    });
}

/// Tells of each packet that [`before`] noted: first what `tell` says, then where it goes.
fn each<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    node: Node,
    burst: &mut Burst<B, A>,
    sinks: &mut dyn Sinks<B>,
    mut tell: impl FnMut(&Packet<B, A>, &Before<A>, &Onward, &mut Teller<'_, B>),
) {
    let observed = std::mem::take(&mut burst.observed);
    for before in &observed {
        let packet = &burst.packets[usize::from(before.index)];
        let Some(mark) = packet.mark else { continue };
        let onward = onward(cx, burst, before.index);
        let mut teller = Teller {
            packet: mark,
            node,
            is_own: before.is_own,
            frame: packet.buffer.bytes(),
            sinks,
        };
        tell(packet, before, &onward, &mut teller);
        teller.say(Fact::Next(onward));
    }
    burst.observed = observed;
}

/// Where a packet was sent by the node that it has come from.
fn onward<B: PacketBuffer, A: Family>(cx: &Context<'_>, burst: &Burst<B, A>, index: u16) -> Onward {
    let packet = &burst.packets[usize::from(index)];
    match packet.fate {
        Fate::Pending => {
            let waits = |node: &&Node| burst.inbox(**node).contains(&index);
            match Node::ALL.iter().find(waits) {
                Some(node) => Onward::Node(*node),
                None => dropped(DropReason::GraphFault),
            }
        }
        Fate::Transmit(index) => Onward::Transmit(interface(cx, index)),
        Fate::ComeBack(index) => Onward::ComeBack(interface(cx, index)),
        Fate::Hold => Onward::AwaitNeighbor,
        Fate::Await(_) => Onward::AwaitFragment,
        Fate::ChangeFamily => Onward::ChangeFamily,
        Fate::Consume => Onward::Consume,
        Fate::HandOver(worker) | Fate::GoRound(worker) => Onward::Worker(worker),
        // No connection here explains it, and another worker may have one.
        Fate::Drop(reason)
            if let Some(worker) = next_round(cx, (packet.origin, packet.hops), reason) =>
        {
            Onward::Worker(worker)
        }
        Fate::Drop(reason) | Fate::Return(reason) => Onward::Drop {
            reason,
            told: match burst.refused.iter().find(|(of, _)| *of == index) {
                None => Told::Nothing,
                Some((_, answer)) => told(answer),
            },
        },
    }
}

fn told<I>(answer: &Answer<I>) -> Told {
    match answer {
        Answer::Error(_) => Told::Error,
        Answer::Reset => Told::Reset,
    }
}

/// Dropped, and nobody is told.
pub(super) fn dropped(reason: DropReason) -> Onward {
    Onward::Drop {
        reason,
        told: Told::Nothing,
    }
}

fn is_own(origin: Origin) -> bool {
    !matches!(origin, Origin::Received(_))
}

/// The name of an interface.
pub(super) fn interface(cx: &Context<'_>, index: InterfaceIndex) -> Label {
    cx.tables.interface(index).map(|i| &i.name).into()
}

/// The name of a VPC.
fn vpc(cx: &Context<'_>, index: VpcIndex) -> Label {
    cx.tables.vpc(index).shared_name().into()
}
