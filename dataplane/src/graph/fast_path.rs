//! Fast path: the plain packets of connections, from Ethernet in to Ethernet out.
//!
//! Nearly all packets need no decision: they are whole, without options, of a connection that the current policy has let in
//! as a whole, to a neighbor that is known; or they begin a connection that no ACL is asked about. They are forwarded here in
//! one pass over the burst, in stages, so that the memory that one packet needs is fetched while others are worked on: its
//! headers, its line of the index, its connection. Policy, routes and neighbors are asked like everywhere: only what the
//! connection itself says is taken from it.
//!
//! Whatever is not plain goes on to `ethernet_input`, untouched: the nodes behind decide, drop and answer. This node never
//! drops. Segments that open or end a TCP connection which is there go on, too; and so does a packet behind an earlier one of
//! the burst between the same addresses, or of the same connection, that does: packets of a connection leave, and change its
//! state, in the order in which they came.
//!
//! *Uses* the frame and its interface. *Next*: the egress interface's port, or `ethernet_input`.

mod neighbors;
mod order;

use arrayvec::ArrayVec;
use rewire_conntrack::{
    Admission, Candidate, Connections, FlowKey, KeyHash, Known, Passage, Segment, TcpSegment,
};
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, IpAddress, MacAddress, Protocol};
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::memory::prefetch;
use rewire_tables::{Interface, InterfaceIndex, NextHops, Route, VpcIndex};

use self::neighbors::RecentNeighbors;
pub(super) use self::order::Order;
use super::Node;
use super::acl_policy::{self, To};
use super::burst::layer3_mut;
use super::context::{Context, Received, Sinks};
use super::egress_nat::{self, Opening};
use super::family::Family;
use super::nat_policy;
use super::offload;
use super::packet::Origin;
use crate::buffer::PacketBuffer;

/// The packets that are worked on at once.
const BATCH: usize = 64;

/// The fast path of one family, with what it remembers from burst to burst.
pub(super) struct FastPath<A: Family> {
    neighbors: RecentNeighbors<A>,
    packets: ArrayVec<Packet<A>, BATCH>,
}

/// A packet that may be plain.
struct Packet<A> {
    /// Its place in the batch.
    frame: u8,
    ingress: InterfaceIndex,
    vpc: VpcIndex,
    plain: Plain<A>,
}

impl<A: Copy> Packet<A> {
    /// The key of its connection.
    fn key(&self) -> FlowKey<A> {
        FlowKey {
            vpc: self.vpc,
            protocol: self.plain.protocol.0,
            source: self.plain.source,
            destination: self.plain.destination,
            source_port: self.plain.source_port,
            destination_port: self.plain.destination_port,
        }
    }

    /// What it says to the state of its connection.
    fn segment(&self) -> Segment {
        let plain = &self.plain;
        match plain.protocol {
            Protocol::TCP => Segment::Tcp(TcpSegment {
                flags: TcpFlags(plain.flags),
                sequence: plain.sequence,
                acknowledgment: plain.acknowledgment,
                window: plain.window,
                window_scale: plain.window_scale,
                payload_length: plain.payload_len,
            }),
            _ => Segment::Udp,
        }
    }

    /// Whether it opens or ends a TCP connection: where there is one already, it may be another's, in place of that.
    fn is_turn(&self) -> bool {
        self.plain.flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST).0 != 0
    }
}

/// Where a packet goes, before its route is known.
enum Way<A> {
    /// To the other nodes.
    Long,
    /// Like all packets of its connection.
    Established(Passage<A>),
    /// It begins a connection.
    New {
        /// Where ingress NAT leads it, or its own destination.
        destination: (A, u16),
        /// The VPC that it is routed in.
        vpc: VpcIndex,
    },
}

impl<A: Copy> Way<A> {
    /// The VPC and the address to look its route up by.
    fn target(&self) -> Option<(VpcIndex, A)> {
        match self {
            Way::Long => None,
            Way::Established(passage) => Some((passage.vpc, passage.destination.0)),
            Way::New { destination, vpc } => Some((*vpc, destination.0)),
        }
    }
}

impl<A: Family> FastPath<A> {
    pub(super) fn new() -> Self {
        FastPath {
            neighbors: RecentNeighbors::new(),
            packets: ArrayVec::new(),
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
            self.read(cx, &frames[..number]);
            let ways = self.ways(cx, connections);
            let routes = look_up_routes(cx, &ways);
            self.prefetch_mappings(cx, &ways, &routes, connections);
            let mut next = 0;
            for (index, mut frame) in frames.drain(..number).enumerate() {
                let mut sent = None;
                let mut way = &Way::Long;
                if let Some(packet) = self.packets.get(next)
                    && usize::from(packet.frame) == index
                {
                    way = &ways[next];
                    if let Some(Route::Forward(hops)) = routes[next]
                        && !order.is_behind(&packet.plain)
                    {
                        let neighbors = &mut self.neighbors;
                        let buffer = &mut frame.buffer;
                        sent = forward(cx, packet, way, hops, neighbors, buffer, connections);
                    }
                    next += 1;
                }
                match sent {
                    Some(egress) => {
                        forwarded += 1;
                        sinks.transmit(egress, frame.buffer);
                    }
                    None => {
                        order.goes_the_long_way::<A>(frame.buffer.bytes());
                        if let Way::Established(passage) = way {
                            order.follows(passage.destination.0, passage.source.0);
                        }
                        left.push(frame);
                    }
                }
            }
        }
        cx.counters.node(Node::FastPath).add(forwarded);
        std::mem::swap(frames, left);
    }

    /// Reads the headers of a batch.
    fn read<B: PacketBuffer>(&mut self, cx: &Context<'_>, frames: &[Received<B>]) {
        for frame in frames {
            if let Some(first) = frame.buffer.bytes().first() {
                prefetch(first);
            }
        }
        self.packets.clear();
        for (index, frame) in (0..).zip(frames) {
            if let Some((ingress, vpc, plain)) = read(cx, frame) {
                self.packets.push(Packet {
                    frame: index,
                    ingress,
                    vpc,
                    plain,
                });
            }
        }
    }

    /// Finds the connections of the packets, and where those go that have none.
    fn ways(&self, cx: &Context<'_>, connections: &Connections<A>) -> ArrayVec<Way<A>, BATCH> {
        let mut places = [<(KeyHash, Candidate)>::default(); BATCH];
        for (packet, (hash, _)) in self.packets.iter().zip(&mut places) {
            *hash = connections.hash(&packet.key());
            connections.prefetch_index(*hash);
        }
        for (_, (hash, candidate)) in self.packets.iter().zip(&mut places) {
            *candidate = connections.prefetch_flow(*hash);
        }
        let generation = cx.tables.policy_generation();
        let mut ways = ArrayVec::new();
        for (packet, place) in self.packets.iter().zip(places) {
            ways.push(
                match connections.passage(place, &packet.key(), generation, cx.now) {
                    Known::Passes(passage) => established(cx, packet, passage),
                    Known::Nothing => new(cx, packet, connections),
                    Known::Unresolved => Way::Long,
                },
            );
        }
        ways
    }

    /// Asks for what the mappings of new connections are found by.
    fn prefetch_mappings(
        &self,
        cx: &Context<'_>,
        ways: &[Way<A>],
        routes: &[Option<&Route>; BATCH],
        connections: &Connections<A>,
    ) {
        for ((packet, way), route) in self.packets.iter().zip(ways).zip(routes) {
            if let (Way::New { .. }, Some(Route::Forward(hops))) = (way, route) {
                let key = packet.key();
                let egress = hops.select(|| nat_policy::flow_hash(&key)).interface();
                if let Some(interface) = cx.tables.interface(egress) {
                    connections.prefetch_mapping(&egress_nat::internal(&key), interface.vpc);
                }
            }
        }
    }
}

/// A packet, if it is plain and for the gateway to forward, and where it comes from.
#[inline(always)]
fn read<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    frame: &Received<B>,
) -> Option<(InterfaceIndex, VpcIndex, Plain<A>)> {
    let Origin::Received(index) = frame.origin else {
        return None;
    };
    let interface = cx.tables.interface(index)?;
    let bytes = frame.buffer.bytes();
    let ethernet = EthernetView::new_checked(bytes).ok()?;
    if ethernet.ether_type() != A::Version::ETHER_TYPE
        || ethernet.destination() != interface.mac
        || bytes.len() > ethernet::HEADER_LEN + usize::from(interface.mtu)
        || acl_policy::has_packet_rules(cx.tables, interface.acl_in)
    {
        return None;
    }
    let plain = Plain::<A>::read(bytes.get(ethernet::HEADER_LEN..)?)?;
    Some((index, interface.vpc, plain))
}

/// The way of a packet whose connection is there.
#[inline]
fn established<A: Family>(cx: &Context<'_>, packet: &Packet<A>, passage: Passage<A>) -> Way<A> {
    let peering = passage.peering.map(|peering| cx.tables.peering(peering));
    let is_asked =
        peering.is_some_and(|peering| acl_policy::has_packet_rules(cx.tables, peering.acl()));
    match packet.is_turn() || is_asked {
        true => Way::Long,
        false => Way::Established(passage),
    }
}

/// The way of a packet that has no connection.
fn new<A: Family>(cx: &Context<'_>, packet: &Packet<A>, connections: &Connections<A>) -> Way<A> {
    let Plain {
        source,
        destination,
        ..
    } = packet.plain;
    let is_odd = source.is_martian_source()
        || source.is_link_local()
        || destination.is_martian_destination()
        || destination.is_link_local()
        || IpAddress::is_multicast(destination);
    if is_odd || connections.admits_new(&packet.segment()).is_err() {
        return Way::Long;
    }
    match nat_policy::ingress(cx.tables, &packet.key(), true) {
        Ok(ingress) if ingress.crossing.is_none() => {
            let own = (destination, packet.plain.destination_port);
            Way::New {
                destination: ingress.destination.unwrap_or(own),
                vpc: ingress.vpc,
            }
        }
        _ => Way::Long,
    }
}

/// Looks up where the packets go, those of one VPC together.
fn look_up_routes<'a, A: Family>(cx: &Context<'a>, ways: &[Way<A>]) -> [Option<&'a Route>; BATCH] {
    let mut routes = [None; BATCH];
    let mut waiting = 0_u64;
    let mut destinations = [A::Key::default(); BATCH];
    let mut common = None;
    let mut is_common = true;
    for (index, (way, destination)) in ways.iter().zip(&mut destinations).enumerate() {
        if let Some((vpc, address)) = way.target() {
            waiting |= 1 << index;
            *destination = address.key();
            is_common &= *common.get_or_insert(vpc) == vpc;
        }
    }
    // Mostly all of a burst go into one VPC. What takes the long way is looked up with them, for nothing.
    if let Some(vpc) = common
        && is_common
    {
        let number = ways.len();
        let table = cx.tables.vpc(vpc);
        table.route_batch::<A>(&destinations[..number], &mut routes[..number]);
        return routes;
    }
    while waiting != 0 {
        let Some((vpc, _)) = ways[waiting.trailing_zeros() as usize].target() else {
            break;
        };
        let mut destinations = [A::Key::default(); BATCH];
        let mut group = [0_u8; BATCH];
        let mut number = 0;
        let mut left = waiting;
        while left != 0 {
            let index = left.trailing_zeros();
            left &= left - 1;
            if let Some((of, destination)) = ways[index as usize].target()
                && of == vpc
            {
                group[number] = index as u8;
                destinations[number] = destination.key();
                number += 1;
                waiting &= !(1 << index);
            }
        }
        let mut found = [None; BATCH];
        cx.tables
            .vpc(vpc)
            .route_batch::<A>(&destinations[..number], &mut found[..number]);
        for (index, route) in group[..number].iter().zip(found) {
            routes[usize::from(*index)] = route;
        }
    }
    routes
}

/// Forwards one packet, if nothing stands in its way: by this interface.
#[inline]
fn forward<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    way: &Way<A>,
    hops: &NextHops,
    neighbors: &mut RecentNeighbors<A>,
    buffer: &mut B,
    connections: &mut Connections<A>,
) -> Option<InterfaceIndex> {
    let plain = &packet.plain;
    let (vpc, destination) = way.target()?;
    // All packets of a connection take the same way.
    let key = || FlowKey {
        vpc,
        ..packet.key()
    };
    let hop = hops.select(|| nat_policy::flow_hash(&key()));
    let egress = hop.interface();
    let interface = cx.tables.interface(egress)?;
    if plain.packet_len > u32::from(interface.mtu)
        || acl_policy::has_packet_rules(cx.tables, interface.acl_out)
    {
        return None;
    }
    let next_hop = match hop.via() {
        Some(via) => A::from_ip(via)?,
        None => destination,
    };
    let mac = neighbors.find(cx, egress, next_hop)?;
    let (source, destination) = match way {
        Way::Long => return None,
        Way::Established(passage) => {
            let ends = pass(cx, packet, passage, connections)?;
            if connections.has_offload() {
                let leaving = (egress, interface);
                offload::offer(cx, passage, packet.ingress, leaving, mac, connections);
            }
            ends
        }
        Way::New { destination, .. } => {
            begin(cx, packet, (vpc, *destination), egress, connections)?
        }
    };
    write(buffer, packet, (source, destination), interface, mac);
    Some(egress)
}

/// The ends of a packet.
type Ends<A> = ((A, u16), (A, u16));

/// Lets a packet pass with its connection: what its source and destination become.
#[inline]
fn pass<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    passage: &Passage<A>,
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let bytes = packet.plain.packet_len;
    connections
        .update(
            passage.flow,
            passage.direction,
            &packet.segment(),
            bytes,
            cx.now,
        )
        .ok()?;
    if cx.tables.has_acls() {
        let counters = connections.counters(passage.flow);
        cx.counters.rules.count(&counters, u64::from(bytes));
    }
    Some((passage.source, passage.destination))
}

/// Begins the connection of a packet, if no ACL is asked about it.
fn begin<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    (route_vpc, destination): (VpcIndex, (A, u16)),
    egress: InterfaceIndex,
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let to = To::Leaving(egress);
    if cx.tables.has_acls()
        && acl_policy::filters(cx.tables, packet.ingress, None, to)
            .next()
            .is_some()
    {
        return None;
    }
    let original = packet.key();
    // An earlier packet of this burst may have begun it since.
    let generation = cx.tables.policy_generation();
    let place = (connections.hash(&original), Candidate::default());
    match connections.passage(place, &original, generation, cx.now) {
        Known::Nothing => {}
        Known::Passes(passage) if !packet.is_turn() => {
            return pass(cx, packet, &passage, connections);
        }
        Known::Passes(_) | Known::Unresolved => return None,
    }
    let plain = &packet.plain;
    let opening = Opening {
        original,
        destination,
        route_vpc,
        crossing: None,
        egress,
        admission: Admission {
            ingress: packet.ingress,
            ports: Some((plain.source_port, plain.destination_port)),
            peering: None,
            whole: true,
        },
        counters: UNCOUNTED,
        has_ports: true,
        is_query: false,
    };
    let segment = packet.segment();
    let id = egress_nat::open(cx, connections, &opening, &segment, plain.packet_len).ok()?;
    let flow = connections.flow(id)?;
    let source = (flow.reply.destination, flow.reply.destination_port);
    Some((source, destination))
}

/// Writes what was decided into the frame.
#[inline]
fn write<B: PacketBuffer, A: Family>(
    buffer: &mut B,
    packet: &Packet<A>,
    (source, destination): Ends<A>,
    interface: &Interface,
    mac: MacAddress,
) {
    buffer.truncate(ethernet::HEADER_LEN + packet.plain.packet_len as usize);
    if let Ok(mut ethernet) = EthernetView::new_checked(buffer.bytes_mut()) {
        ethernet.set_source(interface.mac);
        ethernet.set_destination(mac);
    }
    packet
        .plain
        .forward(layer3_mut(buffer), source, destination);
}
