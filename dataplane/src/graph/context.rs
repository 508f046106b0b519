//! The graph as a whole: what a worker hands it, and how one burst runs through it.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use rewire_conntrack::offload::{Offloading, WorkerQueue};
use rewire_conntrack::recording::Recorder;
use rewire_conntrack::{Config as ConnectionConfig, Connections, VpcCounts};
use rewire_packet::MacAddress;
use rewire_tables::growing::Ahead;
use rewire_tables::{Address, InterfaceIndex, Tables, VpcIndex};

use super::acl_log::AclLogger;
use super::ethernet_input::Outlets;
use super::fast_path::Order;
use super::icmp_error::RateLimit;
use super::limits::AllVpcCounts;
use super::log_entry::LogEntry;
use super::packet::Origin;
use super::pipeline::{Limits, Pipeline};
use super::resolution::{self, EndedByPolicy};
use super::steering::Steering;
use super::{Node, arp, ethernet_input, nat64, ndp};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::Instant;
use crate::connection_table::{FoundConnections, Job};
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;
use crate::saved_connections::{self, Share};
use crate::walk::{Mark, Step};
use crate::watch::Lost;

/// A frame as a port received it.
pub struct Received<B> {
    /// The frame, from its Ethernet header.
    pub buffer: B,
    /// Where it comes from.
    pub origin: Origin,
    /// How often workers have handed it over: 0 as it came from its port.
    pub hops: u8,
    /// Whether it has waited for its neighbor, and walks again: the nodes before that have seen it.
    pub has_waited: bool,
    /// Whether its walk is observed, and as which.
    pub mark: Option<Mark>,
}

impl<B> Received<B> {
    /// A frame that no worker has seen.
    pub fn new(buffer: B, origin: Origin) -> Self {
        Received {
            buffer,
            origin,
            hops: 0,
            has_waited: false,
            mark: None,
        }
    }

    /// Whether it comes from where another does, by as many workers.
    #[inline]
    fn comes_like(&self, other: &Self) -> bool {
        (self.origin == other.origin) & (self.hops == other.hops)
    }
}

/// A neighbor that a worker has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedNeighbor {
    /// The interface that it was heard on.
    pub interface: InterfaceIndex,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: MacAddress,
    /// The generation of the tables in which the interface has its number.
    pub generation: u64,
}

/// Where the graph puts what leaves it.
pub trait Sinks<B> {
    /// A frame leaves by an interface.
    fn transmit(&mut self, interface: InterfaceIndex, buffer: B);
    /// Frames leave by an interface, in their order: all of them are taken.
    fn transmit_all(&mut self, interface: InterfaceIndex, buffers: &mut Vec<B>) {
        for buffer in buffers.drain(..) {
            self.transmit(interface, buffer);
        }
    }
    /// A neighbor was learned. False where there is no room to say so.
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool;
    /// Something is to be logged. False where there is no room for it.
    fn log(&mut self, entry: LogEntry) -> bool;
    /// A node has decided something about a packet that is observed, whose frame is this one behind the node.
    fn observe(&mut self, _step: Step, _frame: &[u8]) {}
    /// A frame was dropped outside of the nodes: where it waited, or on its way to another worker.
    fn lost(&mut self, _lost: Lost<'_>) {}
    /// A frame is for another worker. The frame again where there is no room, or no other worker.
    fn hand_over(&mut self, _worker: u16, frame: Received<B>) -> Result<(), Received<B>> {
        Err(frame)
    }
}

/// What every node reads, and counts into.
pub(super) struct Context<'a> {
    /// The one generation that this burst sees.
    pub tables: &'a Tables,
    pub now: Instant,
    pub counters: &'a WorkerCounters,
    pub steering: Steering,
    pub vpc_counts: &'a AllVpcCounts,
    /// Whether a packet of this burst is observed.
    pub observes: bool,
    /// Where it is noted which connections a change of policy ends, if somebody wants to know.
    pub ended: Option<&'a RefCell<Vec<EndedByPolicy>>>,
    /// What was said last in the header of an IPv4 packet of the gateway's making that others may cut.
    identification: &'a Cell<u16>,
}

impl Context<'_> {
    /// A number that tells the fragments of an IPv4 packet from those of others (RFC 791, section 2.3; RFC 6864).
    pub(super) fn identification(&self) -> u16 {
        let next = self.identification.get().wrapping_add(1);
        self.identification.set(next);
        next
    }
}

/// How a graph is made.
#[derive(Clone, Debug)]
pub struct GraphConfig {
    /// The connections of this worker, of each address family.
    pub connections: ConnectionConfig,
    /// The largest number of packets in a burst.
    pub burst: usize,
    /// Datagrams of each address family whose fragments this worker remembers at once, of 2 KiB each; 65,528 at most.
    pub fragmented_datagrams: usize,
    /// ICMP errors that this worker sends at most, in a second, of both families (RFC 1812, section 4.3.2.8; RFC 4443,
    /// section 2.4).
    pub icmp_errors_per_second: u32,
    /// Decisions of ACLs that this worker logs at most, in a second.
    pub acl_logs_per_second: u32,
    /// Whether plain packets of established connections take the fast path. Without it every packet walks through all nodes,
    /// to the same end: what tests hold it against.
    pub fast_path: bool,
}

/// One worker's copy of the graph, with the state that no commit touches: connections, NAT mappings, and packets that
/// wait for their neighbor.
pub struct Graph<P: BufferPool> {
    pool: P,
    ipv4: Pipeline<P::Buffer, Ipv4Addr>,
    ipv6: Pipeline<P::Buffer, Ipv6Addr>,
    arp: Vec<Received<P::Buffer>>,
    reentered: Vec<Received<P::Buffer>>,
    /// What the fast path leaves to the other nodes.
    left: Vec<Received<P::Buffer>>,
    icmp_limit: RateLimit,
    acl_logger: AclLogger,
    /// Of what is said about ports that are used up.
    exhaustion_limit: RateLimit,
    has_fast_path: bool,
    steering: Steering,
    vpc_counts: AllVpcCounts,
    identification: Cell<u16>,
    /// The generation of the policy that was seen last.
    policy_generation: u64,
    /// Whether there is something to count of offloads.
    counts_offload: bool,
    /// Whether packets may come that are marked.
    observing: bool,
    times_nodes: bool,
    ended: Option<Box<RefCell<Vec<EndedByPolicy>>>>,
}

impl<P: BufferPool> Graph<P> {
    /// A graph that takes buffers for packets of its own from `pool`.
    pub fn new(config: GraphConfig, pool: P) -> Self {
        let of = &config.connections;
        let steering = Steering::new(of.worker, of.workers);
        let (burst, datagrams) = (config.burst, config.fragmented_datagrams);
        let ipv4 = Pipeline::new(burst, datagrams, config.connections.clone());
        let mut ipv6 = Pipeline::new(burst, datagrams, config.connections);
        let vpc_counts = Arc::clone(ipv4.connections.vpc_counts());
        ipv6.connections.count_vpcs_in(Arc::clone(&vpc_counts));
        Graph {
            pool,
            steering,
            ipv4,
            ipv6,
            vpc_counts: AllVpcCounts([vpc_counts].into()),
            arp: Vec::with_capacity(config.burst),
            reentered: Vec::with_capacity(config.burst),
            left: Vec::with_capacity(config.burst),
            icmp_limit: RateLimit::new(config.icmp_errors_per_second),
            acl_logger: AclLogger::new(config.acl_logs_per_second),
            exhaustion_limit: RateLimit::new(1),
            identification: Cell::default(),
            has_fast_path: config.fast_path,
            policy_generation: 0,
            counts_offload: false,
            observing: false,
            times_nodes: false,
            ended: None,
        }
    }

    /// Whether packets that are [marked](Received::mark) are observed from now on. A burst with one of them takes the long way.
    pub fn set_observing(&mut self, observing: bool) {
        self.observing = observing;
    }

    /// Takes every neighbor that the tables do not know for one with this MAC address, instead of asking for it. For trials.
    pub fn assume_neighbors(&mut self, mac: MacAddress) {
        self.ipv4.resolver.assume(mac);
        self.ipv6.resolver.assume(mac);
    }

    /// One of several that share the limits of VPCs: `all` has their counts, and `own` is the place of this one's.
    pub fn among(mut self, all: Arc<[Arc<VpcCounts>]>, own: usize) -> Self {
        if let Some(own) = all.get(own) {
            self.ipv4.connections.count_vpcs_in(Arc::clone(own));
            self.ipv6.connections.count_vpcs_in(Arc::clone(own));
            self.vpc_counts = AllVpcCounts(all);
        }
        self
    }

    /// The IPv4 connections of this worker.
    pub fn connections4(&self) -> &Connections<Ipv4Addr> {
        &self.ipv4.connections
    }

    /// The IPv6 connections of this worker.
    pub fn connections6(&self) -> &Connections<Ipv6Addr> {
        &self.ipv6.connections
    }

    /// Tells these recorders of connections from now on, of IPv4 and of IPv6; those before, if there were any, are given back.
    pub fn record(
        &mut self,
        [four, six]: [Option<Box<Recorder>>; 2],
    ) -> [Option<Box<Recorder>>; 2] {
        [
            self.ipv4.connections.record(four),
            self.ipv6.connections.record(six),
        ]
    }

    /// How packets are dealt out among workers.
    pub fn steering(&self) -> Steering {
        self.steering
    }

    /// Hands connections to a card from now on, through a queue for each family.
    pub fn enable_offload(&mut self, queues: [WorkerQueue; 2], offloading: Offloading) {
        let [four, six] = queues;
        self.ipv4.connections.enable_offload(four, offloading);
        self.ipv6.connections.enable_offload(six, offloading);
    }

    /// Times the nodes from now on: a burst now and then. Not where time is its caller's.
    pub fn time_nodes(&mut self) {
        self.times_nodes = true;
    }

    /// Notes from now on which connections a change of policy ends. Not in workers: what is noted takes memory until it is
    /// [taken](Self::take_ended_by_policy).
    pub fn note_ended_by_policy(&mut self) {
        self.ended = Some(Box::default());
    }

    /// The connections that a change of policy has ended since this was asked last, in the order in which they did.
    pub fn take_ended_by_policy(&mut self) -> Vec<EndedByPolicy> {
        let ended = self.ended.as_mut();
        ended
            .map(|ended| std::mem::take(ended.get_mut()))
            .unwrap_or_default()
    }

    /// Whether every offloaded flow was looked at since the tables changed last: a few are with each burst.
    pub fn is_revalidated(&self) -> bool {
        self.ipv4.is_revalidated() && self.ipv6.is_revalidated()
    }

    /// Whether packets wait for their neighbor, or connections for their time-out: whether the graph wants to run
    /// although nothing was received.
    pub fn has_timers(&self) -> bool {
        self.ipv4.has_timers() || self.ipv6.has_timers()
    }

    /// Whether connections are older than the policy, and there is something to do although nothing was received.
    pub fn is_resolving(&self) -> bool {
        !(self.ipv4.sweep.is_done() && self.ipv6.sweep.is_done())
    }

    /// Whether fragments that waited go on with the next burst, whatever else that holds.
    pub fn has_released(&self) -> bool {
        self.ipv4.has_released() || self.ipv6.has_released()
    }

    /// Runs one burst through all nodes under one generation of the tables. `received` is emptied; what leaves goes
    /// into `sinks` in the order in which it came, within each address family. Works on its own state alone: no lock, no
    /// system call, no log.
    pub fn run(
        &mut self,
        received: &mut Vec<Received<P::Buffer>>,
        tables: &Tables,
        now: Instant,
        counters: &WorkerCounters,
        sinks: &mut dyn Sinks<P::Buffer>,
    ) {
        let mut cx = Context {
            tables,
            now,
            counters,
            steering: self.steering,
            vpc_counts: &self.vpc_counts,
            observes: false,
            ended: self.ended.as_deref(),
            identification: &self.identification,
        };
        if !received.is_empty() {
            counters.begin_burst(self.times_nodes);
        }
        // What another worker has seen is counted there.
        let mut alike: Option<(&Received<_>, u64, u64)> = None;
        for frame in received.iter() {
            let bytes = frame.buffer.bytes().len() as u64;
            match &mut alike {
                Some((first, frames, sum)) if first.comes_like(frame) => {
                    *frames += 1;
                    *sum += bytes;
                }
                _ => {
                    count_alike(counters, alike.replace((frame, 1, bytes)));
                }
            }
        }
        count_alike(counters, alike);
        let is_idle = received.is_empty();
        if self.policy_generation != tables.policy_generation() {
            self.policy_generation = tables.policy_generation();
            let sweeps = [&mut self.ipv4.sweep, &mut self.ipv6.sweep];
            resolution::begin(tables, counters, sweeps);
        }
        self.ipv4.run_offload(&cx);
        self.ipv6.run_offload(&cx);
        // Time passes first: whoever is late finds no connection.
        let expired = self.ipv4.expire(now) + self.ipv6.expire(now);
        counters.connections_expired.add(expired as u64);
        // Packets whose neighbor is known by now walk again, ahead of the new ones.
        self.ipv4
            .release(&cx, &mut self.pool, &mut self.reentered, sinks);
        self.ipv6
            .release(&cx, &mut self.pool, &mut self.reentered, sinks);
        if self.observing {
            let frames = self.reentered.iter().chain(received.iter());
            cx.observes = frames.into_iter().any(|frame| frame.mark.is_some());
        }
        if self.has_fast_path && !cx.observes {
            // What does not take the fast path stays in `received`.
            let mut order = Order::default();
            for frame in &self.reentered {
                order.goes_the_long_way::<Ipv4Addr>(frame.buffer.bytes());
                order.goes_the_long_way::<Ipv6Addr>(frame.buffer.bytes());
            }
            let left = &mut self.left;
            self.ipv4.fast_path(&cx, received, left, &mut order, sinks);
            self.ipv6.fast_path(&cx, received, left, &mut order, sinks);
        }
        for frames in [&mut self.reentered, received] {
            let outlets = Outlets {
                arp: &mut self.arp,
                ipv4: &mut self.ipv4.burst,
                ipv6: &mut self.ipv6.burst,
            };
            ethernet_input::run(&cx, frames, outlets, sinks);
        }
        arp::run(&cx, &mut self.arp, &self.ipv4.resolver, sinks);
        self.ipv4.input(&cx, sinks);
        self.ipv6.input(&cx, sinks);
        self.ipv6.visit(&cx, Node::Ndp, sinks, |ipv6, sinks| {
            ndp::run(&cx, &mut ipv6.burst, &ipv6.resolver, sinks);
        });
        let mut limits = Limits {
            icmp: &mut self.icmp_limit,
            acl_logger: &mut self.acl_logger,
            exhaustion: &mut self.exhaustion_limit,
        };
        self.ipv4.forward(&cx, &mut self.pool, &mut limits, sinks);
        self.ipv6.forward(&cx, &mut self.pool, &mut limits, sinks);
        let pipelines = (&mut self.ipv4, &mut self.ipv6);
        nat64::run(&cx, pipelines, &mut self.pool, &mut limits, sinks);

        if self.is_resolving() {
            let left = self.ipv4.sweep(&cx, is_idle) + self.ipv6.sweep(&cx, is_idle);
            counters.resolutions.set_left(left);
        }

        if counters.end_burst() || is_idle {
            let memory = self.ipv4.connections.memory() + self.ipv6.connections.memory();
            counters.connection_memory.set(memory as u64);
        }
        self.count(counters);
        let held = self.ipv4.held() + self.ipv6.held();
        counters.held.set(held as u64);
        let connections = (&self.ipv4.connections, &self.ipv6.connections);
        if self.counts_offload {
            let counts = [
                connections.0.offload_counts(),
                connections.1.offload_counts(),
            ];
            counters.offload.set(&counts);
            // Once more when all is over.
            let is_over = counts.iter().all(|counts| counts.flows == 0);
            self.counts_offload = connections.0.is_offloading() || !is_over;
        } else {
            self.counts_offload = connections.0.is_offloading();
        }
    }

    /// By which another thread takes memory for connections, ahead of what is used.
    pub(crate) fn ahead(&self) -> [Arc<Ahead>; 2] {
        [self.ipv4.connections.ahead(), self.ipv6.connections.ahead()]
    }

    /// All connections, in the form that they are [saved](crate::saved_connections) in. For when no packets come any more.
    pub(crate) fn save(&self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        saved_connections::save(&self.ipv4.connections, now, &mut out);
        saved_connections::save(&self.ipv6.connections, now, &mut out);
        out
    }

    /// Ends all connections at once. For trials.
    pub(crate) fn end_all(&mut self) {
        end_all(&mut self.ipv4.connections);
        end_all(&mut self.ipv6.connections);
    }

    /// Takes copies of another graph's connections over. For trials.
    pub(crate) fn take_over(&mut self, found: &FoundConnections, now: Instant) {
        // One that is there already stays as it is.
        for flow in &found.four {
            let _ = self.ipv4.connections.restore(flow, now);
        }
        for flow in &found.six {
            let _ = self.ipv6.connections.restore(flow, now);
        }
    }

    /// Takes connections over. For before packets come.
    pub(crate) fn restore(&mut self, share: &Share, now: Instant, counters: &WorkerCounters) {
        let connections = (&mut self.ipv4.connections, &mut self.ipv6.connections);
        share.restore(connections, now);
        // They are older than any policy.
        self.ipv4.sweep.begin(false);
        self.ipv6.sweep.begin(false);
        self.count(counters);
    }

    /// Does a part of a job that is about connections, between two bursts; whether that was the last one.
    pub(crate) fn do_job(
        &mut self,
        job: &mut Job,
        worker: u16,
        now: Instant,
        counters: &WorkerCounters,
    ) -> bool {
        let connections = (&mut self.ipv4.connections, &mut self.ipv6.connections);
        let is_done = job.go_on(worker, connections, now);
        self.count(counters);
        is_done
    }

    /// Says how many connections there are.
    fn count(&self, counters: &WorkerCounters) {
        let connections = (&self.ipv4.connections, &self.ipv6.connections);
        let number = connections.0.len() + connections.1.len();
        counters.connections.set(number as u64);
        let mappings = connections.0.mappings_in_use() + connections.1.mappings_in_use();
        counters.mappings.set(mappings as u64);
        let counts = (connections.0.counts(), connections.1.counts());
        counters.set_states(counts.0.together(counts.1));
    }

    /// Drops what is held: the gateway stops.
    pub fn stop(&mut self, counters: &WorkerCounters, sinks: &mut dyn Sinks<P::Buffer>) {
        let mut lose = |node, frame: &Received<P::Buffer>| {
            counters.dropped(DropReason::Stopped).add(1);
            sinks.lost(Lost::of(frame, node, DropReason::Stopped));
        };
        self.ipv4.stop(&mut lose);
        self.ipv6.stop(&mut lose);
        counters.held.set(0);
    }
}

fn end_all<A: Address>(connections: &mut Connections<A>) {
    let ids: Vec<_> = connections.iter().map(|(id, _)| id).collect();
    for id in ids {
        connections.remove(id);
    }
}

/// Counts frames that have come from where the first one has, unless another worker has: how many, and their bytes.
fn count_alike<B>(counters: &WorkerCounters, alike: Option<(&Received<B>, u64, u64)>) {
    if let Some((first, frames, bytes)) = alike
        && first.hops == 0
    {
        count_received(counters, first.origin, (frames, bytes));
    }
}

/// Counts so many frames and bytes that an interface has received.
pub(super) fn count_received(
    counters: &WorkerCounters,
    origin: Origin,
    (frames, bytes): (u64, u64),
) {
    if let Origin::Received(interface) = origin {
        let interface = counters.interface(interface);
        counters.received.add(frames);
        interface.received_packets.add(frames);
        interface.received_bytes.add(bytes);
    }
}

/// Counts a drop.
pub(super) fn drop_frame(cx: &Context<'_>, origin: Origin, reason: DropReason) {
    cx.counters.dropped(reason).add(1);
    if let Origin::Received(interface) = origin {
        cx.counters.interface(interface).drop_for(reason);
    }
}

/// Drops a frame outside of the nodes, the last of which was `node`, and says so to whoever watches.
pub(super) fn lose_frame<B: PacketBuffer>(
    cx: &Context<'_>,
    node: Node,
    frame: &Received<B>,
    reason: DropReason,
    sinks: &mut dyn Sinks<B>,
) {
    drop_frame(cx, frame.origin, reason);
    sinks.lost(Lost::of(frame, node, reason));
}

/// How long a question for a neighbor waits for its answer (RFC 4861, section 10: RETRANS_TIMER).
pub(super) const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of questions before the neighbor counts as unreachable (RFC 4861: MAX_MULTICAST_SOLICIT).
pub(super) const RESOLVE_ATTEMPTS: u32 = 3;

/// The VPC that a packet from there is routed in, if the interface is known.
pub(super) fn vpc_of(tables: &Tables, origin: Origin) -> Option<VpcIndex> {
    match origin {
        Origin::Received(interface) | Origin::OwnOnLink(interface) => {
            tables.interface(interface).map(|i| i.vpc)
        }
        Origin::Own(vpc) => Some(vpc),
    }
}
