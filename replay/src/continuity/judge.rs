//! What tables make of a connection's first packet, as if the connection were not there.
//!
//! That does not say everything. Nothing is decided about a connection
//! - that began outside, at a mapping of another: without that, nobody gets in;
//! - whose interface is gone, or in another VPC: how its packets would come is not known;
//! - whose first packet cannot be made again: one of a protocol without ports, or of ICMP that is no echo, or a fragment;
//! - whose first packet would be refused for want of room (of ports, connections, or what a limit allows), or for what is no policy:
//!   one that has its room keeps it;
//! - of NAT64 that may as well have got another external port.

use std::net::IpAddr;

use rewire_conntrack::{Direction, Flow};
use rewire_dataplane::buffer::{MemoryBuffer, MemoryPool};
use rewire_dataplane::clock::Instant;
use rewire_dataplane::graph::{Asked, Graph};
use rewire_dataplane::{DropReason, FirstPackets, VirtualGateway};
use rewire_tables::{InterfaceIndex, Tables};

use super::{MOST, Watched, graph_of};
use crate::generator::frame::{ICMP, ICMPV6, Packet, SYN, TCP, UDP};

/// What a configuration wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on, with the translation that it has.
    Stays,
    /// It ends, for this reason.
    Ends(&'static str),
    /// That is not known.
    Unknown,
}

/// Those who decide, made when they are first needed.
#[derive(Default)]
pub(super) struct Judge {
    hash_seed: u64,
    workers: u16,
    /// For all packets together, and for one alone.
    graphs: Option<[FirstPackets; 2]>,
}

impl Judge {
    pub(super) fn new(hash_seed: u64, workers: u16) -> Judge {
        Judge {
            hash_seed,
            workers,
            graphs: None,
        }
    }

    /// Decides about connections of a gateway.
    pub(super) fn judge<A: Asked>(
        &mut self,
        gateway: &VirtualGateway,
        tables: &Tables,
        watched: &mut [Watched<A>],
    ) {
        if watched.is_empty() {
            return;
        }
        let (seed, workers) = (self.hash_seed, self.workers);
        let room = 2 * MOST as usize;
        let graphs = || [room, 8].map(|room| FirstPackets::new(room, seed, workers));
        let [all, alone] = self.graphs.get_or_insert_with(graphs);
        let frames = watched.iter().map(|one| first_frame(tables, &one.flow));
        let frames: Vec<_> = frames.collect();
        all.begin_anew();
        all.walk(tables, frames.iter().flatten().cloned());
        for (one, frame) in watched.iter_mut().zip(frames) {
            let (Some(frame), Some(graph)) = (frame, graph_of(gateway, one.worker)) else {
                continue;
            };
            let there = (graph, one.worker, &one.flow);
            one.verdict = match begun(all, &one.flow) {
                Some(fresh) => compared(tables, there, fresh),
                // Refused; or what another packet has begun was in its way.
                None => alone_verdict(alone, tables, there, frame),
            };
        }
    }
}

/// A connection that is there: in this graph, which is the worker's of this number.
type There<'a, A> = (&'a Graph<MemoryPool>, u16, &'a Flow<A>);

/// The connection that a first packet has begun, and the worker where it has.
fn begun<A: Asked>(packets: &FirstPackets, flow: &Flow<A>) -> Option<(u16, Flow<A>)> {
    (0..).zip(packets.graphs()).find_map(|(worker, graph)| {
        let connections = A::connections(graph);
        let (id, direction) = connections.lookup(&flow.original, Instant(0))?;
        let fresh = connections.flow(id)?;
        (direction == Direction::Original).then_some((worker, fresh))
    })
}

/// What the connection that a first packet begins at a worker says about the one that is there.
fn compared<A: Asked>(
    tables: &Tables,
    (graph, worker, flow): There<'_, A>,
    (home, fresh): (u16, Flow<A>),
) -> Verdict {
    if fresh.is_joined {
        return Verdict::Unknown;
    }
    let other = Verdict::Ends("a packet would begin it with another translation");
    if (fresh.reply, fresh.route_vpc, fresh.is_mapped)
        == (flow.reply, flow.route_vpc, flow.is_mapped)
    {
        // What one worker gives out, no other may have. Without a choice there is nothing to give out: packets may begin it anew at
        // another worker, just as it is.
        return match fresh.is_mapped && home != worker {
            true => Verdict::Ends(
                "a packet would begin it at another worker, with the same external port",
            ),
            false => Verdict::Stays,
        };
    }
    if !(fresh.is_mapped && flow.is_mapped) || fresh.route_vpc != flow.route_vpc {
        return other;
    }
    // Another choice of the same masquerade is as good. An identifier of ICMP is both ports.
    let (mut chosen, source) = (fresh.reply, flow.reply);
    chosen.destination = source.destination;
    chosen.destination_port = source.destination_port;
    if [ICMP, ICMPV6].contains(&source.protocol) {
        chosen.source_port = source.source_port;
    }
    if chosen != source {
        return other;
    }
    let external = (source.destination, source.destination_port);
    match A::may_choose(graph, tables, &fresh, external) {
        Some(true) => Verdict::Stays,
        Some(false) => other,
        None => Verdict::Unknown,
    }
}

/// What becomes of a first packet where no other one has come.
fn alone_verdict<A: Asked>(
    alone: &mut FirstPackets,
    tables: &Tables,
    there: There<'_, A>,
    frame: (InterfaceIndex, MemoryBuffer),
) -> Verdict {
    let drops = |alone: &FirstPackets| -> Vec<u64> {
        let reasons = DropReason::ALL.iter();
        reasons.map(|reason| alone.dropped_for(*reason)).collect()
    };
    let before = drops(alone);
    alone.walk(tables, [frame]);
    if let Some(fresh) = begun(alone, there.2) {
        // The next one is to find nothing.
        alone.begin_anew();
        return compared(tables, there, fresh);
    }
    let mut all = DropReason::ALL.iter().zip(before.iter().zip(drops(alone)));
    let reason = all.find(|(_, (before, after))| *before < after);
    match reason {
        Some((reason, _)) if is_policy(*reason) => Verdict::Ends(reason.name()),
        _ => Verdict::Unknown,
    }
}

/// Whether the configuration alone refuses such packets, and every one of them.
fn is_policy(reason: DropReason) -> bool {
    reason.is_of_acl()
        || matches!(
            reason,
            DropReason::NoRoute
                | DropReason::RouteTooLong
                | DropReason::RouteBlackhole
                | DropReason::RouteUnreachable
                | DropReason::PeeringNotAdmitted
                | DropReason::PeeringTransit
                | DropReason::PeeringNotExposed
                | DropReason::NatNoMapping
                | DropReason::NatPrefixUnmapped
                | DropReason::LocalNoService
        )
}

/// A frame as the one that a connection may have begun with, and where it would come in.
fn first_frame<A: Asked>(
    tables: &Tables,
    flow: &Flow<A>,
) -> Option<(InterfaceIndex, MemoryBuffer)> {
    let ingress = flow.admission.ingress;
    let interface = tables.interface(ingress)?;
    if flow.is_joined || interface.vpc != flow.original.vpc {
        return None;
    }
    let original = &flow.original;
    // What begins outside at a NAT64 is of IPv4, in the table of IPv6.
    let ends: [IpAddr; 2] = [original.source.into(), original.destination.into()];
    let [source, destination] = ends.map(|address| address.to_canonical());
    let ports = flow.admission.ports?;
    let echo = if source.is_ipv4() {
        (ICMP, 8)
    } else {
        (ICMPV6, 128)
    };
    let kind = match original.protocol {
        TCP => SYN,
        UDP => 0,
        protocol if (protocol, ports) == (echo.0, (0, u16::from(echo.1) << 8)) => echo.1,
        _ => return None,
    };
    let packet = Packet {
        source,
        destination,
        protocol: original.protocol,
        ports: [original.source_port, original.destination_port],
        sequence: 1,
        acknowledgment: 0,
        kind,
        data: 0,
    };
    let mut bytes = MemoryBuffer::spare().into_bytes();
    packet.write(&mut bytes, [FROM, interface.mac.0]);
    Some((ingress, MemoryBuffer::new(bytes)))
}

/// The MAC address of whoever sends: one of those for documentation (RFC 9542, section 2.1.4), made local.
const FROM: [u8; 6] = [0x02, 0x00, 0x5e, 0x00, 0x53, 0x02];
