//! One address family's way through the graph: its packets of a burst, and the state that no commit touches.

use rewire_conntrack::{Config as ConnectionConfig, Connections};

use super::Node;
use super::acl_log::AclLogger;
use super::burst::Burst;
use super::context::{Context, Received, Sinks, count_received, drop_frame, lose_frame};
use super::family::Family;
use super::fast_path::{FastPath, Order};
use super::fragment::{self, LaterFragments};
use super::icmp_error::RateLimit;
use super::offload::{self, Revalidation};
use super::packet::{Fate, Origin, Packet};
use super::resolution::Sweep;
use super::resolver::Resolver;
use super::steering::AT_HOME;
use super::virtual_reassembly::VirtualReassembly;
use super::{
    acl, egress_nat, ethernet_output, hop_limit, icmp_error, ingress_nat, ip_input, local, mtu,
    neighbor, observe, route, virtual_reassembly,
};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::Instant;
use crate::drop_reason::DropReason;

/// The worker that looks at a packet next which no connection here explains, and which none can begin with; none where all
/// have.
pub(super) fn next_round(
    cx: &Context<'_>,
    (origin, hops): (Origin, u8),
    reason: DropReason,
) -> Option<u16> {
    let may_be_anothers = matches!(
        reason,
        DropReason::ConnectionInvalid | DropReason::NatNoMapping | DropReason::IcmpErrorUnrelated
    );
    let came = matches!(origin, Origin::Received(_));
    (cx.steering.has_peers() && may_be_anothers && came)
        .then(|| cx.steering.next(hops))
        .flatten()
}

/// Gives a packet, as it came, to another worker.
fn hand_over<B: PacketBuffer>(
    cx: &Context<'_>,
    frame: Received<B>,
    worker: u16,
    hops: impl FnOnce(u8) -> u8,
    sinks: &mut dyn Sinks<B>,
) {
    let hops = hops(frame.hops);
    let frame = Received { hops, ..frame };
    if let Err(frame) = sinks.hand_over(worker, frame) {
        lose_frame(
            cx,
            Node::IngressNat,
            &frame,
            DropReason::HandOverFull,
            sinks,
        );
    }
}

/// Lets a packet come back as if its interface had received it, at the worker that it is for then. It counts as consumed, and as
/// received once more.
fn come_back<B: PacketBuffer>(
    cx: &Context<'_>,
    frame: Received<B>,
    own: &mut Vec<Received<B>>,
    sinks: &mut dyn Sinks<B>,
) {
    cx.counters.consumed.add(1);
    let received = (1, frame.buffer.bytes().len() as u64);
    let owner = match frame.origin {
        Origin::Received(interface) if cx.steering.has_peers() => {
            let bytes = frame.buffer.bytes();
            cx.steering.of_frame(cx.tables, interface, bytes)
        }
        _ => None,
    };
    match owner.filter(|owner| !cx.steering.is(*owner)) {
        // It is counted where it is walked.
        Some(worker) => {
            if let Err(frame) = sinks.hand_over(worker, frame) {
                count_received(cx.counters, frame.origin, received);
                lose_frame(cx, Node::EgressNat, &frame, DropReason::HandOverFull, sinks);
            }
        }
        None => {
            count_received(cx.counters, frame.origin, received);
            own.push(frame);
        }
    }
}

/// Drops a packet, where no other worker may know what it is about.
pub(super) fn drop_packet<B: PacketBuffer>(
    cx: &Context<'_>,
    frame: Received<B>,
    reason: DropReason,
    sinks: &mut dyn Sinks<B>,
) {
    match next_round(cx, (frame.origin, frame.hops), reason) {
        None => drop_frame(cx, frame.origin, reason),
        Some(worker) => hand_over(cx, frame, worker, |hops| hops + 1, sinks),
    }
}

/// Connections whose time-out is looked at in one burst, at most.
const EXPIRE_BUDGET: usize = 128;

/// What both families share.
pub(super) struct Limits<'a> {
    pub icmp: &'a mut RateLimit,
    pub acl_logger: &'a mut AclLogger,
    pub exhaustion: &'a mut RateLimit,
}

/// The nodes of one family, and their state. Written once; IPv4 and IPv6 differ in their [`Family`].
pub(super) struct Pipeline<B, A: Family> {
    pub burst: Burst<B, A>,
    pub connections: Connections<A>,
    pub resolver: Resolver<B, A>,
    pub sweep: Sweep,
    fast_path: FastPath<B, A>,
    revalidation: Revalidation,
    acl_questions: acl::Questions<A>,
    fragments: LaterFragments<B>,
    /// Packets that go on in the other family.
    pub leaving: Vec<Packet<B, A>>,
    /// Packets of the other family, which are dropped and answered there.
    pub returned: Vec<(Packet<B, A>, DropReason)>,
    virtual_reassembly: VirtualReassembly<B, A>,
    /// Packets that come back, and walk again with the next burst.
    coming_back: Vec<Received<B>>,
}

impl<B: PacketBuffer, A: Family> Pipeline<B, A> {
    pub(super) fn new(burst: usize, datagrams: usize, connections: ConnectionConfig) -> Self {
        Pipeline {
            burst: Burst::with_capacity(burst),
            virtual_reassembly: VirtualReassembly::new(burst, datagrams, connections.hash_seed),
            connections: Connections::new(connections),
            resolver: Resolver::default(),
            sweep: Sweep::default(),
            fast_path: FastPath::new(),
            revalidation: Revalidation::default(),
            acl_questions: acl::Questions::with_capacity(2 * burst),
            fragments: LaterFragments::with_capacity(2 * burst),
            coming_back: Vec::with_capacity(2 * burst),
            leaving: Vec::with_capacity(burst),
            returned: Vec::with_capacity(burst),
        }
    }

    /// Whether packets wait for their neighbor, or connections for their time-out.
    pub(super) fn has_timers(&self) -> bool {
        !self.resolver.is_empty()
            || !self.connections.is_empty()
            || !self.virtual_reassembly.is_empty()
            || !self.coming_back.is_empty()
    }

    /// The number of packets that wait: for their neighbor, or for the first fragment.
    pub(super) fn held(&self) -> usize {
        self.resolver.held() + self.virtual_reassembly.held() + self.coming_back.len()
    }

    /// Whether packets that waited for the first fragment, or that come back, go on with the next burst.
    pub(super) fn has_released(&self) -> bool {
        self.virtual_reassembly.has_released() || !self.coming_back.is_empty()
    }

    /// Lets packets walk again whose neighbor is known by now, or whose first fragment has come.
    pub(super) fn release<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        out: &mut Vec<Received<B>>,
        sinks: &mut dyn Sinks<B>,
    ) {
        self.resolver.release(cx, pool, out, sinks);
        self.virtual_reassembly.release(cx, out, sinks);
        out.append(&mut self.coming_back);
    }

    /// Forwards what takes the fast path; leaves the rest in `received`.
    pub(super) fn fast_path(
        &mut self,
        cx: &Context<'_>,
        received: &mut Vec<Received<B>>,
        left: &mut Vec<Received<B>>,
        order: &mut Order,
        sinks: &mut dyn Sinks<B>,
    ) {
        let connections = &mut self.connections;
        self.fast_path
            .run(cx, received, left, order, connections, sinks);
    }

    /// Reads the headers, so that what stays on its link can be taken out.
    pub(super) fn input(&mut self, cx: &Context<'_>, sinks: &mut dyn Sinks<B>) {
        self.visit(cx, Node::IpInput, sinks, |this, _| {
            ip_input::run(cx, &mut this.burst);
        });
    }

    /// Runs a node; says what it has decided about packets that are observed.
    #[inline]
    pub(super) fn visit(
        &mut self,
        cx: &Context<'_>,
        node: Node,
        sinks: &mut dyn Sinks<B>,
        run: impl FnOnce(&mut Self, &mut dyn Sinks<B>),
    ) {
        if cx.observes {
            let connections = &self.connections;
            observe::before(&mut self.burst, node, |packet| {
                observe::state_of(&packet.connection, connections)
            });
        }
        run(self, sinks);
        if cx.observes {
            observe::after(cx, node, &mut self.burst, &mut self.connections, sinks);
        }
    }

    /// All that follows, until every packet has left the burst.
    pub(super) fn forward<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        limits: &mut Limits<'_>,
        sinks: &mut dyn Sinks<B>,
    ) {
        if self.burst.packets.is_empty() {
            return;
        }
        self.visit(cx, Node::VirtualReassembly, sinks, |this, sinks| {
            virtual_reassembly::run(cx, &mut this.burst, &mut this.virtual_reassembly, sinks);
        });
        self.visit(cx, Node::IngressNat, sinks, |this, _| {
            ingress_nat::run(cx, &mut this.burst, &mut this.connections);
        });
        self.route_onwards(cx, pool, limits, sinks);
        self.answer(cx, pool, limits, sinks);
    }

    /// Tells the senders of what was refused, and lets all packets leave the burst.
    pub(super) fn answer<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        limits: &mut Limits<'_>,
        sinks: &mut dyn Sinks<B>,
    ) {
        // What was refused makes packets of the gateway's own, which walk from `route` on. An ICMP error is never
        // refused with another, so once more is enough.
        if icmp_error::run(cx, &mut self.burst, pool, limits.icmp) {
            self.input(cx, sinks);
            self.route_onwards(cx, pool, limits, sinks);
            self.burst.refused.clear();
        }
        self.finish(cx, sinks);
    }

    fn route_onwards<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        limits: &mut Limits<'_>,
        sinks: &mut dyn Sinks<B>,
    ) {
        self.route_to_mtu(cx, pool, limits, sinks);
        self.visit(cx, Node::EgressNat, sinks, |this, sinks| {
            let (burst, connections) = (&mut this.burst, &mut this.connections);
            egress_nat::run(cx, burst, connections, limits.exhaustion, sinks);
        });
        self.leave(cx, pool, sinks);
    }

    /// From the route on, up to where a packet is rewritten.
    pub(super) fn route_to_mtu<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        limits: &mut Limits<'_>,
        sinks: &mut dyn Sinks<B>,
    ) {
        self.route(cx, sinks);
        self.visit(cx, Node::Acl, sinks, |this, sinks| {
            acl::run(
                cx,
                &mut this.burst,
                &mut this.connections,
                &mut this.acl_questions,
                limits.acl_logger,
                sinks,
            );
        });
        self.visit(cx, Node::Local, sinks, |this, _| {
            local::run(cx, &mut this.burst);
        });
        self.visit(cx, Node::HopLimit, sinks, |this, _| {
            hop_limit::run(cx, &mut this.burst);
        });
        // `local` answers an echo request by sending it back: its answer is routed like any packet of our own.
        self.route(cx, sinks);
        self.visit(cx, Node::Neighbor, sinks, |this, sinks| {
            neighbor::run(cx, &mut this.burst, &mut this.resolver, pool, sinks);
        });
        self.visit(cx, Node::Mtu, sinks, |this, _| {
            mtu::run(cx, &mut this.burst);
        });
    }

    fn route(&mut self, cx: &Context<'_>, sinks: &mut dyn Sinks<B>) {
        self.visit(cx, Node::Route, sinks, |this, _| {
            route::run(cx, &mut this.burst, &mut this.connections);
        });
    }

    /// What follows when a packet is rewritten.
    pub(super) fn leave<P: BufferPool<Buffer = B>>(
        &mut self,
        cx: &Context<'_>,
        pool: &mut P,
        sinks: &mut dyn Sinks<B>,
    ) {
        self.visit(cx, Node::EthernetOutput, sinks, |this, _| {
            ethernet_output::run(cx, &mut this.burst);
        });
        self.visit(cx, Node::Fragment, sinks, |this, _| {
            fragment::run(cx, &mut this.burst, pool, &mut this.fragments);
        });
    }

    /// Carries every packet's fate out, in the order in which the packets came.
    pub(super) fn finish(&mut self, cx: &Context<'_>, sinks: &mut dyn Sinks<B>) {
        let packets = &mut self.burst.packets;
        // Few go on as packets. All others leave as frames: what was decided about them is large, and stays where it is.
        let goes_on = |fate| matches!(fate, Fate::ChangeFamily | Fate::Return(_));
        for packet in packets.extract_if(.., |packet| goes_on(packet.fate)) {
            match packet.fate {
                Fate::Return(reason) => self.returned.push((packet, reason)),
                _ => self.leaving.push(packet),
            }
        }
        for packet in packets.drain(..) {
            let (fate, fragments) = (packet.fate, packet.fragments.clone());
            let next_hop = (packet.egress, packet.next_hop);
            let frame = packet.into_frame();
            match fate {
                Fate::Transmit(interface) => {
                    sinks.transmit(interface, frame.buffer);
                    for fragment in self.fragments.take(fragments) {
                        sinks.transmit(interface, fragment);
                    }
                }
                Fate::ComeBack(interface) => {
                    let frame = Received {
                        mark: frame.mark,
                        ..Received::new(frame.buffer, Origin::Received(interface))
                    };
                    come_back(cx, frame, &mut self.coming_back, sinks);
                }
                Fate::Consume => cx.counters.consumed.add(1),
                Fate::Hold => self.resolver.hold(cx, next_hop, frame, sinks),
                Fate::Drop(reason) => drop_packet(cx, frame, reason, sinks),
                Fate::GoRound(worker) => hand_over(cx, frame, worker, |hops| hops + 1, sinks),
                Fate::HandOver(home) => hand_over(cx, frame, home, |_| AT_HOME, sinks),
                Fate::Await(datagram) => {
                    self.virtual_reassembly.hold(cx, datagram, frame, sinks);
                }
                Fate::ChangeFamily | Fate::Return(_) | Fate::Pending => {
                    debug_assert!(false, "the last node decides about every packet");
                    drop_frame(cx, frame.origin, DropReason::GraphFault);
                }
            }
        }
        self.fragments.clear();
    }

    /// Takes in what the card has done, and looks whether what it was told still holds.
    pub(super) fn run_offload(&mut self, cx: &Context<'_>) {
        let connections = &mut self.connections;
        if connections.has_offload() {
            connections.set_offloading(cx.tables.has_offload());
            connections.run_offload(cx.now, |merged| offload::count(cx, &merged));
            self.revalidation.run(cx, connections);
        }
    }

    /// Whether every offloaded flow was looked at since the tables changed last.
    pub(super) fn is_revalidated(&self) -> bool {
        self.revalidation.is_done()
    }

    /// Ends connections whose time is up; tells how many.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.connections.expire(now, EXPIRE_BUDGET)
    }

    /// Resolves a few connections that are older than the policy; tells how many are left at most.
    pub(super) fn sweep(&mut self, cx: &Context<'_>, is_idle: bool) -> u64 {
        self.sweep.run(cx, &mut self.connections, is_idle);
        self.sweep.left(&self.connections)
    }

    /// Frees what is held, and tells of each packet which node has held it.
    pub(super) fn stop(&mut self, lose: &mut dyn FnMut(Node, &Received<B>)) {
        self.resolver.stop(&mut |frame| lose(Node::Neighbor, frame));
        self.virtual_reassembly
            .stop(&mut |frame| lose(Node::VirtualReassembly, frame));
        for frame in self.coming_back.drain(..) {
            lose(Node::EgressNat, &frame);
        }
    }
}
