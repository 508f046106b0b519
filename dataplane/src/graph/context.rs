//! The graph as a whole: what a worker hands it, and how one burst runs through it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use rewire_conntrack::{Config as ConnectionConfig, Connections};
use rewire_packet::MacAddress;
use rewire_tables::{InterfaceIndex, Tables, VpcIndex};

use super::burst::Burst;
use super::icmp_error::RateLimit;
use super::packet::{Fate, Origin};
use super::resolver::Resolver;
use super::{
    arp, egress_nat, ethernet_input, ethernet_output, hop_limit, icmp_error, ingress_nat, ip_input,
    local, mtu, neighbor, route,
};
use crate::buffer::{BufferPool, PacketBuffer};
use crate::clock::Instant;
use crate::counters::WorkerCounters;
use crate::drop_reason::DropReason;

/// A frame as a port received it.
pub struct Received<B> {
    /// The frame, from its Ethernet header.
    pub buffer: B,
    /// Where it comes from.
    pub origin: Origin,
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
}

/// Where the graph puts what leaves it.
pub trait Sinks<B> {
    /// A frame leaves by an interface.
    fn transmit(&mut self, interface: InterfaceIndex, buffer: B);
    /// A neighbor was learned. False where there is no room to say so.
    fn learned(&mut self, neighbor: LearnedNeighbor) -> bool;
}

/// What every node reads, and counts into.
pub(super) struct Context<'a> {
    /// The one generation that this burst sees.
    pub tables: &'a Tables,
    pub now: Instant,
    pub counters: &'a WorkerCounters,
}

/// How a graph is made.
#[derive(Clone, Debug)]
pub struct GraphConfig {
    /// The connections of this worker.
    pub connections: ConnectionConfig,
    /// The largest number of packets in a burst.
    pub burst: usize,
    /// ICMP errors that this worker sends at most, in a second (RFC 1812, section 4.3.2.8).
    pub icmp_errors_per_second: u32,
}

/// One worker's copy of the graph, with the state that no commit touches: connections, NAT mappings, and packets that
/// wait for their neighbor.
pub struct Graph<P: BufferPool> {
    pool: P,
    burst: Burst<P::Buffer, Ipv4Addr>,
    arp: Vec<Received<P::Buffer>>,
    reentered: Vec<Received<P::Buffer>>,
    connections: Connections<Ipv4Addr>,
    resolver: Resolver<P::Buffer, Ipv4Addr>,
    icmp_limit: RateLimit,
}

/// Connections whose time-out is looked at in one burst, at most.
const EXPIRE_BUDGET: usize = 64;

impl<P: BufferPool> Graph<P> {
    /// A graph that takes buffers for packets of its own from `pool`.
    pub fn new(config: GraphConfig, pool: P) -> Self {
        Graph {
            pool,
            burst: Burst::with_capacity(config.burst),
            arp: Vec::with_capacity(config.burst),
            reentered: Vec::with_capacity(config.burst),
            connections: Connections::new(config.connections),
            resolver: Resolver::default(),
            icmp_limit: RateLimit::new(config.icmp_errors_per_second),
        }
    }

    /// The connections of this worker.
    pub fn connections(&self) -> &Connections<Ipv4Addr> {
        &self.connections
    }

    /// Whether packets wait for their neighbor, or connections for their time-out: whether the graph wants to run
    /// although nothing was received.
    pub fn has_timers(&self) -> bool {
        !self.resolver.is_empty() || !self.connections.is_empty()
    }

    /// Runs one burst through all nodes under one generation of the tables. `received` is emptied; what leaves goes
    /// into `sinks` in the order in which it came. Works on its own state alone: no lock, no system call, no log.
    pub fn run(
        &mut self,
        received: &mut Vec<Received<P::Buffer>>,
        tables: &Tables,
        now: Instant,
        counters: &WorkerCounters,
        sinks: &mut dyn Sinks<P::Buffer>,
    ) {
        let cx = Context {
            tables,
            now,
            counters,
        };
        if !received.is_empty() {
            counters.bursts.add(1);
        }
        for frame in received.iter() {
            if let Origin::Received(interface) = frame.origin {
                let interface = counters.interface(interface);
                counters.received.add(1);
                interface.received_packets.add(1);
                interface
                    .received_bytes
                    .add(frame.buffer.bytes().len() as u64);
            }
        }
        // Packets whose neighbor is known by now walk again, ahead of the new ones.
        self.resolver
            .release(&cx, &mut self.pool, &mut self.reentered, sinks);
        ethernet_input::run(&cx, &mut self.reentered, &mut self.arp, &mut self.burst);
        ethernet_input::run(&cx, received, &mut self.arp, &mut self.burst);
        arp::run(&cx, &mut self.arp, &self.resolver, sinks);

        ip_input::run(&cx, &mut self.burst);
        ingress_nat::run(&cx, &mut self.burst, &mut self.connections);
        self.route_onwards(&cx, sinks);
        // What was refused makes packets of the gateway's own, which walk from `route` on. An ICMP error is never
        // refused with another, so once more is enough.
        if icmp_error::run(&cx, &mut self.burst, &mut self.pool, &mut self.icmp_limit) {
            self.route_onwards(&cx, sinks);
            self.burst.refused.clear();
        }
        self.finish(&cx, sinks);

        let expired = self.connections.expire(now, EXPIRE_BUDGET);
        counters.connections_expired.add(expired as u64);
        counters.connections.set(self.connections.len() as u64);
        counters
            .mappings
            .set(self.connections.mappings_in_use() as u64);
        counters.held.set(self.resolver.held() as u64);
    }

    fn route_onwards(&mut self, cx: &Context<'_>, sinks: &mut dyn Sinks<P::Buffer>) {
        route::run(cx, &mut self.burst);
        local::run(cx, &mut self.burst);
        hop_limit::run(cx, &mut self.burst);
        // `local` answers an echo request by sending it back: its answer is routed like any packet of our own.
        route::run(cx, &mut self.burst);
        neighbor::run(
            cx,
            &mut self.burst,
            &mut self.resolver,
            &mut self.pool,
            sinks,
        );
        mtu::run(cx, &mut self.burst);
        egress_nat::run(cx, &mut self.burst, &mut self.connections);
        ethernet_output::run(cx, &mut self.burst);
    }

    /// Carries every packet's fate out, in the order in which the packets came.
    fn finish(&mut self, cx: &Context<'_>, sinks: &mut dyn Sinks<P::Buffer>) {
        for packet in self.burst.packets.drain(..) {
            match packet.fate {
                Fate::Transmit(interface) => sinks.transmit(interface, packet.buffer),
                Fate::Hold => {
                    let held = Received {
                        buffer: packet.buffer,
                        origin: packet.origin,
                    };
                    self.resolver
                        .hold(cx, (packet.egress, packet.next_hop), held);
                }
                Fate::Drop(reason) => drop_frame(cx, packet.origin, reason),
                Fate::Pending => unreachable!("the last node decides about every packet"),
            }
        }
    }

    /// Drops what is held: the gateway stops.
    pub fn stop(&mut self, counters: &WorkerCounters) {
        let held = self.resolver.held() as u64;
        counters.dropped(DropReason::Stopped).add(held);
        counters.held.set(0);
        self.resolver = Resolver::default();
    }
}

/// Counts a drop.
pub(super) fn drop_frame(cx: &Context<'_>, origin: Origin, reason: DropReason) {
    cx.counters.dropped(reason).add(1);
    if let Origin::Received(interface) = origin {
        cx.counters.interface(interface).dropped_packets.add(1);
    }
}

/// How long an ARP request waits for its answer, and how many are sent.
pub(super) const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// The number of requests before the neighbor counts as unreachable.
pub(super) const RESOLVE_ATTEMPTS: u32 = 3;

/// The VPC that a packet from there is routed in, if the interface is known.
pub(super) fn vpc_of(tables: &Tables, origin: Origin) -> Option<VpcIndex> {
    match origin {
        Origin::Received(interface) => tables.interface(interface).map(|i| i.vpc),
        Origin::Own(vpc) => Some(vpc),
    }
}
