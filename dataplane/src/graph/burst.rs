//! The packets of one family in one burst, and which node each waits for.

use rewire_packet::{MacAddress, ethernet};
use rewire_tables::{Address, VpcIndex};

use super::context::Received;
use super::observe::Before;
use super::packet::{Fate, Packet};
use super::{MOST_NEXT, Node};
use crate::buffer::PacketBuffer;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;

/// Where a node sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next<I> {
    /// To another node.
    To(Node),
    /// Nowhere: its fate is written in the packet.
    Done,
    /// It is dropped.
    Drop(DropReason),
    /// It is dropped, and its sender is told.
    Refuse(DropReason, I),
    /// It is dropped, and the TCP connection that its sender tries to make is reset.
    Reset(DropReason),
}

/// What the sender of a packet is told that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer<I> {
    /// By an ICMP error.
    Error(I),
    /// By a TCP reset, in the name of the packet's destination.
    Reset,
}

/// What kind of ICMP error a family has.
pub(super) type IcmpErrorOf<A> =
    <<A as rewire_packet::IpAddress>::Version as rewire_packet::Ip>::IcmpError;

/// The packets of a burst, and for each node the packets that wait for it, in their order.
pub(super) struct Burst<B, A: Address> {
    pub packets: Vec<Packet<B, A>>,
    inboxes: [Vec<u16>; Node::ALL.len()],
    /// Packets that were refused, with what their senders are told.
    pub refused: Vec<(u16, Answer<IcmpErrorOf<A>>)>,
    visit: Vec<u16>,
    /// The node that is visited, and how many packets waited for each of those that it sends packets to when it began.
    visited: Option<(Node, [usize; MOST_NEXT])>,
    /// Packets at a node that are observed.
    pub observed: Vec<Before<A>>,
}

impl<B: PacketBuffer, A: Address> Burst<B, A> {
    pub(super) fn with_capacity(packets: usize) -> Self {
        Burst {
            packets: Vec::with_capacity(2 * packets),
            inboxes: std::array::from_fn(|_| Vec::with_capacity(2 * packets)),
            refused: Vec::with_capacity(packets),
            visit: Vec::with_capacity(2 * packets),
            visited: None,
            observed: Vec::with_capacity(2 * packets),
        }
    }

    /// Adds a packet, to begin at `node`.
    pub(super) fn push(&mut self, packet: Packet<B, A>, node: Node) {
        self.inboxes[node as usize].push(self.packets.len() as u16);
        self.packets.push(packet);
    }

    /// Adds a packet about which nothing is decided yet, to begin at `ip_input`. A packet is large: it is made where it stays.
    #[inline(always)]
    pub(super) fn begin(
        &mut self,
        frame: Received<B>,
        link_destination: MacAddress,
        vpc: VpcIndex,
    ) {
        let index = self.packets.len() as u16;
        self.packets.push(Packet::new(frame, link_destination, vpc));
        self.inboxes[Node::IpInput as usize].push(index);
    }

    /// The packets that wait for `node`.
    pub(super) fn inbox(&self, node: Node) -> &[u16] {
        &self.inboxes[node as usize]
    }

    /// The packets that wait for `node`, taken out of its inbox.
    pub(super) fn take_inbox(&mut self, node: Node, counters: &WorkerCounters) -> Vec<u16> {
        let mut inbox = std::mem::take(&mut self.visit);
        std::mem::swap(&mut inbox, &mut self.inboxes[node as usize]);
        if !inbox.is_empty() {
            counters.visit(node, inbox.len());
            self.visited = Some((node, self.waiting(node)));
        }
        inbox
    }

    /// How many packets wait for each of the nodes that a node sends packets to.
    fn waiting(&self, node: Node) -> [usize; MOST_NEXT] {
        let mut waiting = [0; MOST_NEXT];
        for (length, next) in waiting.iter_mut().zip(node.next()) {
            *length = self.inboxes[*next as usize].len();
        }
        waiting
    }

    /// Ends the visit: what the node has sent on is counted, and the storage of its inbox given back, so that no burst allocates.
    pub(super) fn return_inbox(&mut self, mut inbox: Vec<u16>, counters: &WorkerCounters) {
        if let Some((node, before)) = self.visited.take() {
            for (edge, (now, before)) in self.waiting(node).into_iter().zip(before).enumerate() {
                counters.sent(node, edge, now - before);
            }
        }
        inbox.clear();
        self.visit = inbox;
    }

    /// Sends a packet on.
    pub(super) fn dispatch(&mut self, index: u16, next: Next<IcmpErrorOf<A>>) {
        match next {
            Next::To(node) => {
                debug_assert!(
                    self.visited
                        .is_none_or(|(from, _)| from.next().contains(&node)),
                    "{:?} has no edge to {node:?}",
                    self.visited
                );
                self.inboxes[node as usize].push(index);
            }
            Next::Done => {}
            Next::Drop(reason) => self.packets[usize::from(index)].fate = Fate::Drop(reason),
            Next::Refuse(reason, error) => {
                self.packets[usize::from(index)].fate = Fate::Drop(reason);
                self.refused.push((index, Answer::Error(error)));
            }
            Next::Reset(reason) => {
                self.packets[usize::from(index)].fate = Fate::Drop(reason);
                self.refused.push((index, Answer::Reset));
            }
        }
    }

    /// Runs a node whose decision about one packet does not depend on the others.
    pub(super) fn for_each(
        &mut self,
        node: Node,
        counters: &WorkerCounters,
        mut decide: impl FnMut(&mut Packet<B, A>) -> Next<IcmpErrorOf<A>>,
    ) {
        let inbox = self.take_inbox(node, counters);
        for &index in &inbox {
            let next = decide(&mut self.packets[usize::from(index)]);
            self.dispatch(index, next);
        }
        self.return_inbox(inbox, counters);
    }
}

/// The bytes of a frame from its IP header on.
pub(super) fn layer3<B: PacketBuffer>(buffer: &B) -> &[u8] {
    buffer
        .bytes()
        .get(ethernet::HEADER_LEN..)
        .unwrap_or_default()
}

/// The bytes of a frame from its IP header on, to be changed.
pub(super) fn layer3_mut<B: PacketBuffer>(buffer: &mut B) -> &mut [u8] {
    buffer
        .bytes_mut()
        .get_mut(ethernet::HEADER_LEN..)
        .unwrap_or_default()
}
