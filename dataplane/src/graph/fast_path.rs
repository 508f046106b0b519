//! Fast path: the plain packets of established connections, from Ethernet in to Ethernet out.
//!
//! Nearly all packets need no decision: they are whole, without options, of a connection that the current policy has let in
//! as a whole, to a neighbor that is known. They are forwarded here in one pass over the burst, in stages, so that the
//! memory that one packet needs is fetched while others are worked on: its headers, its line of the index, its connection.
//! Routes and neighbors are looked up like everywhere: only what the connection itself says is taken from it.
//!
//! Whatever is not plain goes on to `ethernet_input`, untouched: the nodes behind decide, drop and answer. This node never
//! drops. A packet goes the long way, too, when an earlier one of the burst between the same addresses does: packets of a
//! connection leave in the order in which they came.
//!
//! *Uses* the frame and its interface. *Next*: the egress interface's port, or `ethernet_input`.

use arrayvec::ArrayVec;
use rewire_conntrack::{Connections, Direction, Flow, FlowId, FlowKey, KeyHash, Segment, TcpSegment};
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, MacAddress};
use rewire_tables::memory::prefetch;
use rewire_tables::{Interface, InterfaceIndex, Route, VpcIndex};

use super::Node;
use super::burst::layer3_mut;
use super::context::{Context, Received, Sinks};
use super::family::Family;
use super::nat_policy;
use super::packet::Origin;
use crate::buffer::PacketBuffer;

/// The packets that are worked on at once.
const BATCH: usize = 64;

/// The fast path of one family, with what it remembers from burst to burst.
pub(super) struct FastPath<A> {
    neighbors: RecentNeighbors<A>,
}

impl<A: Family> FastPath<A> {
    pub(super) fn new() -> Self {
        FastPath {
            neighbors: RecentNeighbors::new(),
        }
    }

    /// Forwards what is plain, of one family; leaves the rest in `frames`, in its order.
    pub(super) fn run<B: PacketBuffer>(
        &mut self,
        cx: &Context<'_>,
        frames: &mut Vec<Received<B>>,
        left: &mut Vec<Received<B>>,
        order: &mut Order,
        connections: &mut Connections<A>,
        sinks: &mut dyn Sinks<B>,
    ) {
        let mut forwarded = 0;
        while !frames.is_empty() {
            let number = frames.len().min(BATCH);
            let mut plans = plan(cx, &frames[..number], connections);
            look_up_routes(cx, &mut plans);
            let mut plans = plans.into_iter().peekable();
            for (index, mut frame) in frames.drain(..number).enumerate() {
                let plan = plans.next_if(|plan| usize::from(plan.frame) == index);
                let sent = plan
                    .filter(|plan| !order.is_behind(&plan.packet))
                    .and_then(|plan| self.forward(cx, &plan, &mut frame.buffer, connections));
                match sent {
                    Some(egress) => {
                        forwarded += 1;
                        sinks.transmit(egress, frame.buffer);
                    }
                    None => {
                        order.goes_the_long_way::<A>(frame.buffer.bytes());
                        left.push(frame);
                    }
                }
            }
        }
        cx.counters.node(Node::FastPath).add(forwarded);
        std::mem::swap(frames, left);
    }

    /// Forwards one packet, if nothing stands in its way: by this interface.
    #[inline]
    fn forward<B: PacketBuffer>(
        &mut self,
        cx: &Context<'_>,
        plan: &Plan<'_, A>,
        buffer: &mut B,
        connections: &mut Connections<A>,
    ) -> Option<InterfaceIndex> {
        let Plan {
            packet,
            way: Some(way),
            route: Some(Route::Forward(hops)),
            ..
        } = plan
        else {
            return None;
        };
        let hop = hops.select(|| nat_policy::flow_hash(&plan.key));
        let egress = hop.interface();
        let interface = cx.tables.interface(egress)?;
        if packet.packet_len > usize::from(interface.mtu)
            || interface.acl_out.is_some_and(|acl| cx.tables.acl(acl).has_packet_rules())
        {
            return None;
        }
        let next_hop = match hop.via() {
            Some(via) => A::from_ip(via)?,
            None => way.destination.0,
        };
        let mac = self.neighbors.find(cx, egress, next_hop)?;
        let segment = match packet.tcp {
            None => Segment::Udp,
            Some(tcp) => Segment::Tcp(TcpSegment {
                flags: TcpFlags(tcp.flags),
                sequence: tcp.sequence,
                acknowledgment: tcp.acknowledgment,
                window: tcp.window,
                payload_length: tcp.payload_len,
            }),
        };
        connections
            .update(way.flow, way.direction, &segment, packet.packet_len as u32, cx.now)
            .ok()?;
        buffer.truncate(ethernet::HEADER_LEN + packet.packet_len);
        if let Ok(mut ethernet) = EthernetView::new_checked(buffer.bytes_mut()) {
            ethernet.set_source(interface.mac);
            ethernet.set_destination(mac);
        }
        packet.forward(layer3_mut(buffer), way.source, way.destination);
        Some(egress)
    }
}

/// Where a packet of an established connection goes.
struct TheWay<A> {
    flow: FlowId,
    direction: Direction,
    /// Its ends, once it is translated.
    source: (A, u16),
    destination: (A, u16),
    /// The VPC that it is routed in.
    vpc: VpcIndex,
}

/// One packet that may be plain.
struct Plan<'a, A: Family> {
    /// Its place in the batch.
    frame: u16,
    packet: Plain<A>,
    key: FlowKey<A>,
    hash: KeyHash,
    way: Option<TheWay<A>>,
    route: Option<&'a Route>,
}

/// Reads the headers of a batch, and finds the connections.
fn plan<'a, B: PacketBuffer, A: Family>(
    cx: &Context<'a>,
    frames: &[Received<B>],
    connections: &Connections<A>,
) -> ArrayVec<Plan<'a, A>, BATCH> {
    let mut plans = ArrayVec::new();
    if connections.is_empty() {
        return plans;
    }
    for frame in frames {
        if let Some(first) = frame.buffer.bytes().first() {
            prefetch(first);
        }
    }
    for (index, frame) in (0..).zip(frames) {
        let Some((packet, key)) = read(cx, frame) else {
            continue;
        };
        let hash = connections.hash(&key);
        connections.prefetch_index(hash);
        plans.push(Plan {
            frame: index,
            packet,
            key,
            hash,
            way: None,
            route: None,
        });
    }
    for plan in &plans {
        connections.prefetch_flow(plan.hash);
    }
    for plan in &mut plans {
        let found = connections.lookup_hashed(plan.hash, &plan.key, cx.now);
        plan.way = found.and_then(|(id, direction)| {
            let flow = connections.flow(id)?;
            way(cx, id, &flow, direction)
        });
    }
    plans
}

/// A packet, if it is plain and for the gateway to forward, and the key of its connection.
#[inline]
fn read<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    frame: &Received<B>,
) -> Option<(Plain<A>, FlowKey<A>)> {
    let Origin::Received(index) = frame.origin else {
        return None;
    };
    let interface = cx.tables.interface(index)?;
    let bytes = frame.buffer.bytes();
    let ethernet = EthernetView::new_checked(bytes).ok()?;
    if ethernet.ether_type() != A::Version::ETHER_TYPE
        || ethernet.destination() != interface.mac
        || bytes.len() > ethernet::HEADER_LEN + usize::from(interface.mtu)
        || has_packet_rules(cx, interface)
    {
        return None;
    }
    let packet = Plain::<A>::read(bytes.get(ethernet::HEADER_LEN..)?)?;
    // A SYN may begin another connection in place of this one.
    if packet
        .tcp
        .is_some_and(|tcp| TcpFlags(tcp.flags).contains(TcpFlags::SYN))
    {
        return None;
    }
    let key = FlowKey {
        vpc: interface.vpc,
        protocol: packet.protocol().0,
        source: packet.source,
        destination: packet.destination,
        source_port: packet.source_port,
        destination_port: packet.destination_port,
    };
    Some((packet, key))
}

/// Whether every packet that comes in here is looked at by an ACL.
fn has_packet_rules(cx: &Context<'_>, interface: &Interface) -> bool {
    interface
        .acl_in
        .is_some_and(|acl| cx.tables.acl(acl).has_packet_rules())
}

/// Where a flow's packets go, if the policy of this generation has let it in as a whole.
#[inline]
fn way<A: Family>(
    cx: &Context<'_>,
    id: FlowId,
    flow: &Flow<A>,
    direction: Direction,
) -> Option<TheWay<A>> {
    let (answered, vpc) = match direction {
        Direction::Original => (&flow.reply, flow.route_vpc),
        Direction::Reply => (&flow.original, flow.original.vpc),
    };
    // What crosses a peering may meet an ACL there.
    let crosses = flow.route_vpc != flow.original.vpc && cx.tables.has_acls();
    if !flow.is_resolved_under(cx.tables.policy_generation()) || !flow.admission.whole || crosses {
        return None;
    }
    Some(TheWay {
        flow: id,
        direction,
        source: (answered.destination, answered.destination_port),
        destination: (answered.source, answered.source_port),
        vpc,
    })
}

/// Looks up where the packets go, those of one VPC together.
fn look_up_routes<'a, A: Family>(cx: &Context<'a>, plans: &mut ArrayVec<Plan<'a, A>, BATCH>) {
    let mut waiting: ArrayVec<u8, BATCH> = (0..)
        .zip(plans.iter())
        .filter(|(_, plan)| plan.way.is_some())
        .map(|(index, _)| index)
        .collect();
    let vpc = |plan: &Plan<'_, A>| plan.way.as_ref().map(|way| way.vpc);
    while let Some(&first) = waiting.first() {
        let Some(common) = vpc(&plans[usize::from(first)]) else {
            return;
        };
        let mut group: ArrayVec<u8, BATCH> = ArrayVec::new();
        let mut destinations: ArrayVec<A::Key, BATCH> = ArrayVec::new();
        waiting.retain(|index| {
            let Some(way) = &plans[usize::from(*index)].way else {
                return false;
            };
            let is_same = way.vpc == common;
            if is_same {
                group.push(*index);
                destinations.push(way.destination.0.key());
            }
            !is_same
        });
        let mut routes = [None; BATCH];
        cx.tables
            .vpc(common)
            .route_batch::<A>(&destinations, &mut routes[..group.len()]);
        for (index, route) in group.into_iter().zip(routes) {
            plans[usize::from(index)].route = route;
        }
    }
}

/// Which pairs of addresses have packets of this burst on the long way, so that later ones follow them. A pair may be taken
/// for another: it costs time, no more.
#[derive(Default)]
pub(super) struct Order {
    pairs: [u64; 4],
}

impl Order {
    /// A packet goes the long way: with it all that come behind it between the same addresses.
    pub(super) fn goes_the_long_way<A: Family>(&mut self, frame: &[u8]) {
        let at = ethernet::HEADER_LEN + A::Version::SOURCE_OFFSET;
        let is_ours = EthernetView::new_checked(frame)
            .is_ok_and(|ethernet| ethernet.ether_type() == A::Version::ETHER_TYPE);
        if is_ours
            && let Some(source) = A::read(frame, at)
            && let Some(destination) = A::read(frame, at + A::LEN)
        {
            let bit = pair(source, destination);
            self.pairs[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn is_behind<A: Family>(&self, packet: &Plain<A>) -> bool {
        if self.pairs == [0; 4] {
            return false;
        }
        let bit = pair(packet.source, packet.destination);
        self.pairs[bit / 64] & 1 << (bit % 64) != 0
    }
}

/// One of 256, for a pair of addresses.
fn pair<A: Family>(source: A, destination: A) -> usize {
    let (source, destination) = (source.to_number(), destination.to_number());
    let mixed = source.rotate_left(17) ^ destination;
    let folded = (mixed ^ mixed >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// The neighbors that were asked for last, under one generation of the tables.
struct RecentNeighbors<A> {
    generation: u64,
    entries: Box<[Option<(InterfaceIndex, A, MacAddress)>; RECENT]>,
}

const RECENT: usize = 256;

impl<A: Family> RecentNeighbors<A> {
    fn new() -> Self {
        RecentNeighbors {
            generation: 0,
            entries: Box::new([None; RECENT]),
        }
    }

    /// The MAC address of a neighbor, as [`Tables::neighbor`](rewire_tables::Tables::neighbor) says it.
    #[inline]
    fn find(&mut self, cx: &Context<'_>, interface: InterfaceIndex, address: A) -> Option<MacAddress> {
        if self.generation != cx.tables.generation() {
            self.generation = cx.tables.generation();
            self.entries.fill(None);
        }
        let low = address.to_number() as u64;
        let place = (low ^ u64::from(interface.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let entry = &mut self.entries[place as usize];
        match entry {
            Some((known, at, mac)) if *known == interface && *at == address => Some(*mac),
            _ => {
                let mac = cx.tables.neighbor(interface, address.into())?;
                *entry = Some((interface, address, mac));
                Some(mac)
            }
        }
    }
}
