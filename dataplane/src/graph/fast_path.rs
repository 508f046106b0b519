//! Fast path: the plain packets of established connections, from Ethernet in to Ethernet out.
//!
//! Nearly all packets need no decision: they are whole, without options, of a connection that the current policy has let in
//! as a whole, to a neighbor that is known. They are forwarded here in one pass over the burst, in stages, so that the
//! memory that one packet needs is fetched while others are worked on: its headers, its line of the index, its connection.
//! Routes and neighbors are looked up like everywhere: only what the connection itself says is taken from it.
//!
//! Whatever is not plain goes on to `ethernet_input`, untouched: the nodes behind decide, drop and answer. This node never
//! drops. Segments that open or end a TCP connection go there, too; and so does a packet behind an earlier one of the burst
//! between the same addresses, or of the same connection, that does: packets of a connection leave, and change its state, in the
//! order in which they came.
//!
//! *Uses* the frame and its interface. *Next*: the egress interface's port, or `ethernet_input`.

use arrayvec::ArrayVec;
use rewire_conntrack::{Connections, FlowKey, KeyHash, Passage, Segment, TcpSegment};
use rewire_packet::ethernet::{self, EthernetView};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, MacAddress, Protocol};
use rewire_tables::memory::prefetch;
use rewire_tables::{AclIndex, InterfaceIndex, NextHops, Route, VpcIndex};

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
pub(super) struct FastPath<A: Family> {
    neighbors: RecentNeighbors<A>,
    packets: ArrayVec<Packet<A>, BATCH>,
}

/// A packet that may be plain.
struct Packet<A> {
    /// Its place in the batch.
    frame: u8,
    vpc: VpcIndex,
    plain: Plain<A>,
}

impl<A: Copy> Packet<A> {
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
        if connections.is_empty() {
            frames
                .iter()
                .for_each(|frame| order.goes_the_long_way::<A>(frame.buffer.bytes()));
            return;
        }
        let mut forwarded = 0;
        while !frames.is_empty() {
            let number = frames.len().min(BATCH);
            self.read(cx, &frames[..number]);
            let passages = self.passages(cx, connections);
            let routes = look_up_routes(cx, &passages);
            let mut next = 0;
            for (index, mut frame) in frames.drain(..number).enumerate() {
                let mut sent = None;
                let mut reverse = None;
                if let Some(packet) = self.packets.get(next)
                    && usize::from(packet.frame) == index
                {
                    reverse = passages[next].as_ref();
                    if let (Some(passage), Some(Route::Forward(hops))) = (reverse, routes[next])
                        && !is_turn(&packet.plain)
                        && !order.is_behind(&packet.plain)
                    {
                        let neighbors = &mut self.neighbors;
                        let buffer = &mut frame.buffer;
                        sent = forward(cx, packet, passage, hops, neighbors, buffer, connections);
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
                        if let Some(passage) = reverse {
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
            if let Some((vpc, plain)) = read(cx, frame) {
                self.packets.push(Packet {
                    frame: index,
                    vpc,
                    plain,
                });
            }
        }
    }

    /// Finds the connections of the packets.
    fn passages(
        &self,
        cx: &Context<'_>,
        connections: &Connections<A>,
    ) -> ArrayVec<Option<Passage<A>>, BATCH> {
        let mut hashes = [KeyHash::default(); BATCH];
        for (packet, hash) in self.packets.iter().zip(&mut hashes) {
            *hash = connections.hash(&packet.key());
            connections.prefetch_index(*hash);
        }
        for (_, hash) in self.packets.iter().zip(&hashes) {
            connections.prefetch_flow(*hash);
        }
        let generation = cx.tables.policy_generation();
        let passages = self.packets.iter().zip(hashes).map(|(packet, hash)| {
            let passage = connections.passage(hash, &packet.key(), generation, cx.now);
            passage.filter(|passage| {
                let peering = passage.peering.map(|peering| cx.tables.peering(peering));
                !peering.is_some_and(|peering| has_packet_rules(cx, peering.acl()))
            })
        });
        passages.collect()
    }
}

/// A packet, if it is plain and for the gateway to forward, and the VPC that it comes from.
#[inline(always)]
fn read<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    frame: &Received<B>,
) -> Option<(VpcIndex, Plain<A>)> {
    let Origin::Received(index) = frame.origin else {
        return None;
    };
    let interface = cx.tables.interface(index)?;
    let bytes = frame.buffer.bytes();
    let ethernet = EthernetView::new_checked(bytes).ok()?;
    if ethernet.ether_type() != A::Version::ETHER_TYPE
        || ethernet.destination() != interface.mac
        || bytes.len() > ethernet::HEADER_LEN + usize::from(interface.mtu)
        || has_packet_rules(cx, interface.acl_in)
    {
        return None;
    }
    let plain = Plain::<A>::read(bytes.get(ethernet::HEADER_LEN..)?)?;
    Some((interface.vpc, plain))
}

/// Whether a segment opens or ends a connection: it may be another one's, in place of this.
fn is_turn<A>(plain: &Plain<A>) -> bool {
    plain.flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST).0 != 0
}

/// Whether every packet is looked at by an ACL.
fn has_packet_rules(cx: &Context<'_>, acl: Option<AclIndex>) -> bool {
    acl.is_some_and(|acl| cx.tables.acl(acl).has_packet_rules())
}

/// Looks up where the packets go, those of one VPC together.
fn look_up_routes<'a, A: Family>(
    cx: &Context<'a>,
    passages: &[Option<Passage<A>>],
) -> [Option<&'a Route>; BATCH] {
    let mut routes = [None; BATCH];
    let mut waiting = passages
        .iter()
        .enumerate()
        .fold(0_u64, |waiting, (index, passage)| {
            waiting | u64::from(passage.is_some()) << index
        });
    while waiting != 0 {
        let first = &passages[waiting.trailing_zeros() as usize];
        let Some(vpc) = first.as_ref().map(|passage| passage.vpc) else {
            break;
        };
        let mut destinations = [A::Key::default(); BATCH];
        let mut group = [0_u8; BATCH];
        let mut number = 0;
        let mut left = waiting;
        while left != 0 {
            let index = left.trailing_zeros();
            left &= left - 1;
            if let Some(passage) = &passages[index as usize]
                && passage.vpc == vpc
            {
                group[number] = index as u8;
                destinations[number] = passage.destination.0.key();
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
    Packet { plain, .. }: &Packet<A>,
    passage: &Passage<A>,
    hops: &NextHops,
    neighbors: &mut RecentNeighbors<A>,
    buffer: &mut B,
    connections: &mut Connections<A>,
) -> Option<InterfaceIndex> {
    let flow_hash = || {
        nat_policy::flow_hash(&FlowKey {
            vpc: passage.vpc,
            protocol: plain.protocol.0,
            source: plain.source,
            destination: plain.destination,
            source_port: plain.source_port,
            destination_port: plain.destination_port,
        })
    };
    let hop = hops.select(flow_hash);
    let egress = hop.interface();
    let interface = cx.tables.interface(egress)?;
    if plain.packet_len > u32::from(interface.mtu) || has_packet_rules(cx, interface.acl_out) {
        return None;
    }
    let next_hop = match hop.via() {
        Some(via) => A::from_ip(via)?,
        None => passage.destination.0,
    };
    let mac = neighbors.find(cx, egress, next_hop)?;
    let segment = match plain.protocol {
        Protocol::TCP => Segment::Tcp(TcpSegment {
            flags: TcpFlags(plain.flags),
            sequence: plain.sequence,
            acknowledgment: plain.acknowledgment,
            window: plain.window,
            window_scale: None,
            payload_length: plain.payload_len,
        }),
        _ => Segment::Udp,
    };
    connections
        .update(
            passage.flow,
            passage.direction,
            &segment,
            plain.packet_len,
            cx.now,
        )
        .ok()?;
    if cx.tables.has_acls() {
        let counters = connections.counters(passage.flow);
        let bytes = u64::from(plain.packet_len);
        cx.counters.rules.count(&counters, bytes);
    }
    buffer.truncate(ethernet::HEADER_LEN + plain.packet_len as usize);
    if let Ok(mut ethernet) = EthernetView::new_checked(buffer.bytes_mut()) {
        ethernet.set_source(interface.mac);
        ethernet.set_destination(mac);
    }
    plain.forward(layer3_mut(buffer), passage.source, passage.destination);
    Some(egress)
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
            self.follows(source, destination);
        }
    }

    /// All that come between these addresses follow a packet that goes the long way: of a connection, those of the other
    /// direction do, too, lest one of them change its state first.
    fn follows<A: Family>(&mut self, source: A, destination: A) {
        let bit = pair(source, destination);
        self.pairs[bit / 64] |= 1 << (bit % 64);
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
    fn find(
        &mut self,
        cx: &Context<'_>,
        interface: InterfaceIndex,
        address: A,
    ) -> Option<MacAddress> {
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
