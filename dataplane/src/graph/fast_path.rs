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

mod exits;
mod order;

use arrayvec::ArrayVec;
use rewire_conntrack::{
    Admission, Candidate, Connections, FlowKey, KeyHash, Known, Passage, Segment, State, TcpSegment,
};
use rewire_packet::ethernet;
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, IpAddress, MacAddress, Protocol};
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::memory::prefetch;
use rewire_tables::{AclIndex, InterfaceIndex, Route, VpcIndex};

use self::exits::{Exit, Exits};
pub(super) use self::order::Order;
use super::Node;
use super::acl_policy::{self, To};
use super::burst::layer3;
use super::context::{Context, Received, Sinks};
use super::egress_nat::{self, Opening};
use super::family::Family;
use super::nat_policy;
use super::packet::Origin;
use crate::buffer::PacketBuffer;

/// The packets that are worked on at once.
const BATCH: usize = 64;

/// The fast path of one family, with what it remembers from burst to burst.
pub(super) struct FastPath<A: Family> {
    exits: Exits<A>,
    packets: ArrayVec<Packet<A>, BATCH>,
}

/// A packet that may be plain.
struct Packet<A> {
    /// Its place in the batch.
    frame: u8,
    ingress: InterfaceIndex,
    vpc: VpcIndex,
    plain: Plain<A>,
    /// The hash of its key.
    hash: KeyHash,
    /// What most likely is its connection.
    candidate: Candidate,
}

impl<A: Copy> Packet<A> {
    /// The key of its connection.
    #[inline(always)]
    fn key(&self) -> FlowKey<A> {
        key(self.vpc, &self.plain)
    }

    /// Whether it opens or ends a TCP connection: where there is one already, it may be another's, in place of that.
    #[inline(always)]
    fn is_turn(&self) -> bool {
        self.plain.flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST).0 != 0
    }
}

/// The key of the connection of a packet that comes in to a VPC.
#[inline(always)]
fn key<A: Copy>(vpc: VpcIndex, plain: &Plain<A>) -> FlowKey<A> {
    FlowKey {
        vpc,
        protocol: plain.protocol.0,
        source: plain.source,
        destination: plain.destination,
        source_port: plain.source_port,
        destination_port: plain.destination_port,
    }
}

/// What a plain segment of TCP says to the state of its connection.
fn tcp_segment<A: IpAddress>(plain: &Plain<A>, bytes: &[u8]) -> Segment {
    let tcp = plain.tcp(bytes);
    Segment::Tcp(TcpSegment {
        flags: TcpFlags(plain.flags),
        sequence: tcp.sequence,
        acknowledgment: tcp.acknowledgment,
        window: tcp.window,
        window_scale: tcp.window_scale,
        payload_length: tcp.payload_len,
    })
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
    #[inline(always)]
    fn target(&self) -> Option<(VpcIndex, A)> {
        match self {
            Way::Long => None,
            Way::Established(passage) => Some((passage.vpc, passage.destination.0)),
            Way::New { destination, vpc } => Some((*vpc, destination.0)),
        }
    }
}

/// What is the same for all packets that come in by one interface.
struct Ingress {
    index: InterfaceIndex,
    vpc: VpcIndex,
    mac: MacAddress,
    /// The bytes of the longest frame; 0 where no packet that comes in here is plain.
    longest: usize,
}

impl Ingress {
    fn of(cx: &Context<'_>, index: InterfaceIndex) -> Self {
        let interface = cx.tables.interface(index);
        let plain = interface.filter(|interface| !has_packet_rules(cx, interface.acl_in));
        Ingress {
            index,
            vpc: interface.map_or(VpcIndex(0), |interface| interface.vpc),
            mac: interface.map_or(MacAddress::ZERO, |interface| interface.mac),
            longest: plain.map_or(0, |interface| {
                ethernet::HEADER_LEN + usize::from(interface.mtu)
            }),
        }
    }
}

/// Whether every packet is looked at by an ACL.
fn has_packet_rules(cx: &Context<'_>, acl: Option<AclIndex>) -> bool {
    acl.is_some_and(|acl| cx.tables.acl(acl).has_packet_rules())
}

impl<A: Family> FastPath<A> {
    pub(super) fn new() -> Self {
        FastPath {
            exits: Exits::new(),
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
            self.read(cx, &frames[..number], connections);
            let ways = self.ways(cx, &frames[..number], connections);
            let exits = self.exits(cx, &ways, connections);
            let mut next = 0;
            for (index, mut frame) in frames.drain(..number).enumerate() {
                let mut sent = None;
                let mut way = &Way::Long;
                if let Some(packet) = self.packets.get(next)
                    && usize::from(packet.frame) == index
                {
                    way = &ways[next];
                    if let Some(exit) = &exits[next]
                        && packet.plain.packet_len <= exit.mtu
                        && !order.is_behind(&packet.plain)
                        && forward(cx, packet, way, exit, &mut frame.buffer, connections)
                    {
                        sent = Some(exit.interface);
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

    /// Reads the headers of a batch, and asks for what says whose they are.
    fn read<B: PacketBuffer>(
        &mut self,
        cx: &Context<'_>,
        frames: &[Received<B>],
        connections: &Connections<A>,
    ) {
        for frame in frames {
            if let Some(first) = frame.buffer.bytes().first() {
                prefetch(first);
            }
        }
        self.packets.clear();
        let mut ingress: Option<Ingress> = None;
        for (number, frame) in (0..).zip(frames) {
            let Origin::Received(from) = frame.origin else {
                continue;
            };
            let ingress = match &mut ingress {
                Some(ingress) if ingress.index == from => ingress,
                other => other.insert(Ingress::of(cx, from)),
            };
            if let Some(plain) = read(ingress, frame.buffer.bytes()) {
                let hash = connections.hash(&key(ingress.vpc, &plain));
                connections.prefetch_index(hash);
                self.packets.push(Packet {
                    frame: number,
                    ingress: from,
                    vpc: ingress.vpc,
                    plain,
                    hash,
                    candidate: Candidate::default(),
                });
            }
        }
    }

    /// Finds the connections of the packets, and where those go that have none.
    fn ways<B: PacketBuffer>(
        &mut self,
        cx: &Context<'_>,
        frames: &[Received<B>],
        connections: &Connections<A>,
    ) -> ArrayVec<Way<A>, BATCH> {
        for packet in &mut self.packets {
            let is_tcp = packet.plain.protocol == Protocol::TCP;
            packet.candidate = connections.prefetch_flow(packet.hash, is_tcp);
        }
        let generation = cx.tables.policy_generation();
        let mut ways = ArrayVec::new();
        for packet in &self.packets {
            let place = (packet.hash, packet.candidate);
            ways.push(
                match connections.passage(place, &packet.key(), generation, cx.now) {
                    Known::Passes(passage) => established(cx, packet, passage),
                    Known::Nothing => {
                        let frame = &frames[usize::from(packet.frame)];
                        new(cx, packet, layer3(&frame.buffer), connections)
                    }
                    Known::Unresolved => Way::Long,
                },
            );
        }
        ways
    }

    /// How the packets leave; asks for what the mappings of new connections are found by.
    fn exits(
        &mut self,
        cx: &Context<'_>,
        ways: &[Way<A>],
        connections: &Connections<A>,
    ) -> [Option<Exit>; BATCH] {
        let routes = look_up_routes(cx, ways);
        let mut exits = [None; BATCH];
        for (((packet, way), route), exit) in
            self.packets.iter().zip(ways).zip(routes).zip(&mut exits)
        {
            if let (Some((vpc, destination)), Some(Route::Forward(hops))) = (way.target(), route) {
                // All packets of a connection take the same way.
                let key = || FlowKey {
                    vpc,
                    ..packet.key()
                };
                *exit = self.exits.find(cx, hops, destination, key);
                if let (Way::New { .. }, Some(exit)) = (way, exit) {
                    let internal = egress_nat::internal(&packet.key());
                    connections.prefetch_mapping(&internal, exit.vpc);
                }
            }
        }
        exits
    }
}

/// A packet, if it is plain and for the gateway to forward.
#[inline(always)]
fn read<A: Family>(ingress: &Ingress, frame: &[u8]) -> Option<Plain<A>> {
    let (header, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let is_ours = (header[..6] == ingress.mac.0)
        & (header[12..] == A::Version::ETHER_TYPE.0.to_be_bytes())
        & (frame.len() <= ingress.longest);
    if !is_ours {
        return None;
    }
    Plain::<A>::read(packet)
}

/// The way of a packet whose connection is there.
#[inline(always)]
fn established<A: Family>(cx: &Context<'_>, packet: &Packet<A>, passage: Passage<A>) -> Way<A> {
    let peering = passage.peering.map(|peering| cx.tables.peering(peering));
    let is_asked = peering.is_some_and(|peering| has_packet_rules(cx, peering.acl()));
    match packet.is_turn() || is_asked {
        true => Way::Long,
        false => Way::Established(passage),
    }
}

/// The way of a packet that has no connection.
#[inline(never)]
fn new<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    bytes: &[u8],
    connections: &Connections<A>,
) -> Way<A> {
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
    if is_odd
        || connections
            .admits_new(&segment(&packet.plain, bytes))
            .is_err()
    {
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

/// Forwards one packet, if nothing stands in its way.
#[inline(always)]
fn forward<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    way: &Way<A>,
    exit: &Exit,
    buffer: &mut B,
    connections: &mut Connections<A>,
) -> bool {
    let ends = match way {
        Way::Long => None,
        Way::Established(passage) => pass(cx, &packet.plain, passage, layer3(buffer), connections),
        Way::New { destination, vpc } => begin(
            cx,
            packet,
            (*vpc, *destination),
            exit.interface,
            layer3(buffer),
            connections,
        ),
    };
    let Some((source, destination)) = ends else {
        return false;
    };
    buffer.truncate(ethernet::HEADER_LEN + packet.plain.packet_len as usize);
    if let Some((header, packet_bytes)) = buffer
        .bytes_mut()
        .split_first_chunk_mut::<{ ethernet::HEADER_LEN }>()
    {
        header[..12].copy_from_slice(&exit.addresses);
        packet.plain.forward(packet_bytes, source, destination);
    }
    true
}

/// The ends of a packet.
type Ends<A> = ((A, u16), (A, u16));

/// What a plain packet says to the state of its connection.
fn segment<A: IpAddress>(plain: &Plain<A>, bytes: &[u8]) -> Segment {
    match plain.protocol {
        Protocol::TCP => tcp_segment(plain, bytes),
        _ => Segment::Udp,
    }
}

/// Lets a packet pass with its connection: what its source and destination become.
#[inline(always)]
fn pass<A: Family>(
    cx: &Context<'_>,
    plain: &Plain<A>,
    passage: &Passage<A>,
    bytes: &[u8],
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let number = plain.packet_len;
    let mut update = |segment: &Segment| -> Option<State> {
        let Passage {
            flow, direction, ..
        } = *passage;
        connections
            .update(flow, direction, segment, number, cx.now)
            .ok()
    };
    match plain.protocol {
        Protocol::TCP => update(&tcp_segment(plain, bytes))?,
        _ => update(&Segment::Udp)?,
    };
    if cx.tables.has_acls() {
        let counters = connections.counters(passage.flow);
        cx.counters.rules.count(&counters, u64::from(number));
    }
    Some((passage.source, passage.destination))
}

/// Begins the connection of a packet, if no ACL is asked about it.
#[inline(never)]
fn begin<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    (route_vpc, destination): (VpcIndex, (A, u16)),
    egress: InterfaceIndex,
    bytes: &[u8],
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
    let place = (packet.hash, Candidate::default());
    match connections.passage(place, &original, generation, cx.now) {
        Known::Nothing => {}
        Known::Passes(passage) if !packet.is_turn() => {
            return pass(cx, &packet.plain, &passage, bytes, connections);
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
    let segment = segment(plain, bytes);
    let id = egress_nat::open(cx, connections, &opening, &segment, plain.packet_len).ok()?;
    let flow = connections.flow(id)?;
    let source = (flow.reply.destination, flow.reply.destination_port);
    Some((source, destination))
}
