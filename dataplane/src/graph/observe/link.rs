//! What is decided about frames, before they are packets of a family.

use rewire_packet::EtherType;
use rewire_packet::ethernet::EthernetView;

use super::{Teller, dropped, interface, is_own, vpc};
use crate::buffer::PacketBuffer;
use crate::drop_reason::DropReason;
use crate::graph::Node;
use crate::graph::context::{Context, Received, Sinks, vpc_of};
use crate::graph::packet::Origin;
use crate::walk::{Fact, Onward};

/// A frame has come to `ethernet_input`, which drops it for `refused`, or sends it on.
pub(in crate::graph) fn received<B: PacketBuffer>(
    cx: &Context<'_>,
    frame: &Received<B>,
    refused: Option<DropReason>,
    sinks: &mut dyn Sinks<B>,
) {
    let Some(mut teller) = teller(Node::EthernetInput, frame, sinks) else {
        return;
    };
    let ethernet = EthernetView::new_checked(frame.buffer.bytes()).ok();
    if let (Some(ethernet), Origin::Received(index)) = (&ethernet, frame.origin) {
        teller.say(Fact::Received {
            interface: interface(cx, index),
            vpc: vpc_of(cx.tables, frame.origin)
                .map(|index| vpc(cx, index))
                .unwrap_or_default(),
            ether_type: ethernet.ether_type(),
            destination: ethernet.destination(),
        });
    }
    let carries = ethernet.map(|ethernet| ethernet.ether_type());
    let onward = match (refused, carries) {
        (Some(reason), _) => dropped(reason),
        (None, Some(EtherType::ARP)) => Onward::Node(Node::Arp),
        (None, _) => Onward::Node(Node::IpInput),
    };
    teller.say(Fact::Next(onward));
}

/// A node of the link's own has decided about a frame.
pub(in crate::graph) fn link<B: PacketBuffer>(
    node: Node,
    frame: &Received<B>,
    onward: Onward,
    sinks: &mut dyn Sinks<B>,
) {
    if let Some(mut teller) = teller(node, frame, sinks) {
        teller.say(Fact::Next(onward));
    }
}

fn teller<'a, B: PacketBuffer>(
    node: Node,
    frame: &'a Received<B>,
    sinks: &'a mut dyn Sinks<B>,
) -> Option<Teller<'a, B>> {
    Some(Teller {
        packet: frame.mark?,
        node,
        is_own: is_own(frame.origin),
        frame: frame.buffer.bytes(),
        sinks,
    })
}
