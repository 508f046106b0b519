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
    Admission, Candidate, Connections, Direction, Ends, FlowId, FlowKey, KeyHash, Known, Passage,
    Segment, TcpSegment, TimeoutClass,
};
use rewire_packet::ethernet;
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, IpAddress, MacAddress, Protocol};
use rewire_tables::acl::UNCOUNTED;
use rewire_tables::memory::prefetch;
use rewire_tables::{InterfaceIndex, PeeringIndex, Route, VpcIndex};

use self::exits::{Exit, Exits};
pub(super) use self::order::Order;
use super::Node;
use super::acl_policy::{self, To};
use super::burst::layer3;
use super::context::{Context, Received, Sinks};
use super::egress_nat::{self, Opening};
use super::family::Family;
use super::hairpin;
use super::nat_policy;
use super::offload;
use super::packet::Origin;
use crate::buffer::PacketBuffer;

/// The packets that are worked on at once.
const BATCH: usize = 64;

/// So many packets ahead, a stage asks the memory for what it needs. The memory brings a few lines at a time: asked for a whole batch at
/// once, they would come while nothing is done, and then work would be done while none come.
const AHEAD: usize = 24;

/// The fast path of one family, with what it remembers from burst to burst.
pub(super) struct FastPath<A: Family> {
    exits: Exits<A>,
    packets: ArrayVec<Packet<A>, BATCH>,
}

/// A packet that may be plain, and what is known of it so far.
struct Packet<A> {
    plain: Plain<A>,
    ingress: InterfaceIndex,
    vpc: VpcIndex,
    /// Its place in the batch.
    frame: u8,
    /// The hash of its key.
    hash: KeyHash,
    /// What most likely is its connection.
    candidate: Candidate,
    way: Way,
    /// Its destination, once it is translated.
    destination: A,
    /// The VPC that it is routed in.
    route_vpc: VpcIndex,
}

/// How a packet goes on, before its route is known.
#[derive(Clone, Copy)]
enum Way {
    /// To the other nodes.
    Long,
    /// Like all packets of its connection in a direction.
    Established(FlowId, Direction),
    /// It begins a connection, to this port.
    New(u16),
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

    /// Whether the fast path may take it.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        !matches!(self.way, Way::Long)
    }

    /// Asks for its connection, where its line of the index has come.
    #[inline(always)]
    fn expect(&mut self, connections: &Connections<A>)
    where
        A: Family,
    {
        self.candidate = connections.prefetch_flow(self.hash);
    }

    /// Asks for what it changes of its connection.
    #[inline(always)]
    fn expect_to_pass(&self, connections: &Connections<A>)
    where
        A: Family,
    {
        if let Way::Established(flow, direction) = self.way {
            let is_tcp = self.plain.protocol == Protocol::TCP;
            connections.prefetch_account(flow, direction, is_tcp);
        }
    }

    /// Takes the way of its connection.
    #[inline(always)]
    fn follow(&mut self, cx: &Context<'_>, passage: Passage<A>) {
        let Passage {
            flow,
            direction,
            destination,
            vpc,
            peering,
        } = passage;
        if self.is_turn() || peering.is_some_and(|peering| is_asked_by_peering(cx, peering)) {
            return;
        }
        self.way = Way::Established(flow, direction);
        self.destination = destination;
        self.route_vpc = vpc;
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
        let plain = interface
            .filter(|interface| !acl_policy::has_packet_rules(cx.tables, interface.acl_in));
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
        if frames.is_empty() {
            return;
        }
        let mut forwarded = 0;
        // Those that it leaves are seen by other nodes.
        cx.counters.visit(Node::FastPath, 0);
        while !frames.is_empty() {
            let number = frames.len().min(BATCH);
            self.read(cx, &frames[..number], connections);
            connections.watch_beginnings();
            let begins = self.find(cx, &frames[..number], connections);
            let routes = look_up_routes(cx, &self.packets);
            if begins {
                for number in 0..2 * AHEAD {
                    self.prefetch_mapping(cx, number, &routes, connections);
                }
                for number in 0..AHEAD {
                    self.prefetch_reply(cx, number, &routes, connections);
                }
            }
            for packet in self.packets.iter().take(AHEAD) {
                packet.expect_to_pass(connections);
            }
            let mut next = 0;
            for (place, mut frame) in (0..).zip(frames.drain(..number)) {
                if begins {
                    self.prefetch_mapping(cx, next + 2 * AHEAD, &routes, connections);
                    self.prefetch_reply(cx, next + AHEAD, &routes, connections);
                }
                if let Some(later) = self.packets.get(next + AHEAD) {
                    later.expect_to_pass(connections);
                }
                let packet = self.packets.get(next);
                let packet = packet.filter(|packet| packet.frame == place);
                let route = routes.get(next).copied().flatten();
                next += usize::from(packet.is_some());
                let mut sent = None;
                if let (Some(packet), Some(Route::Forward(hops))) = (packet, route)
                    && packet.is_plain()
                    && !order.is_behind(&packet.plain)
                    && let exit = self.exits.find(cx, hops, packet)
                    && packet.plain.packet_len <= exit.mtu
                    && forward(cx, packet, exit, &mut frame.buffer, connections)
                {
                    sent = Some(exit.interface);
                }
                match sent {
                    Some(egress) => {
                        forwarded += 1;
                        sinks.transmit(egress, frame.buffer);
                    }
                    None => {
                        order.goes_the_long_way::<A>(frame.buffer.bytes());
                        if let Some(packet) = packet
                            && let Way::Established(flow, direction) = packet.way
                            && let Some((source, destination)) = connections.ends(flow, direction)
                        {
                            order.follows(destination.0, source.0);
                        }
                        left.push(frame);
                    }
                }
            }
        }
        cx.counters.saw(Node::FastPath, forwarded);
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
                    way: Way::Long,
                    destination: plain.destination,
                    route_vpc: ingress.vpc,
                });
                if let Some(earlier) = self.packets.len().checked_sub(AHEAD) {
                    self.packets[earlier].expect(connections);
                }
            }
        }
        let last = self.packets.len().saturating_sub(AHEAD - 1);
        for packet in &mut self.packets[last..] {
            packet.expect(connections);
        }
        for packet in &mut self.packets {
            connections.prefetch_later(packet.hash, &mut packet.candidate);
        }
    }

    /// Finds the connections of the packets, and where those go that have none; tells whether there are such.
    fn find<B: PacketBuffer>(
        &mut self,
        cx: &Context<'_>,
        frames: &[Received<B>],
        connections: &Connections<A>,
    ) -> bool {
        let mut begins = false;
        let generation = cx.tables.policy_generation();
        for packet in &mut self.packets {
            let key = packet.key();
            match connections.passage(packet.candidate, &key, generation, cx.now) {
                Known::Passes(passage) => packet.follow(cx, passage),
                Known::Unresolved => {}
                known @ (Known::Nothing | Known::Perhaps) => {
                    let frame = &frames[usize::from(packet.frame)];
                    let is_new = matches!(known, Known::Nothing);
                    look_closer(cx, packet, is_new, layer3(&frame.buffer), connections);
                    begins |= matches!(packet.way, Way::New(_));
                }
            }
        }
        begins
    }

    /// Asks for what a packet that begins a connection is translated by.
    #[inline(always)]
    fn prefetch_mapping(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
        connections: &Connections<A>,
    ) {
        if let Some((packet, _, vpc)) = self.beginning(cx, number, routes) {
            connections.prefetch_mapping(&egress_nat::internal(&packet.key()), vpc);
        }
    }

    /// Asks for where its replies go in the index: most connections keep their port, and have the external address of their host.
    #[inline(always)]
    fn prefetch_reply(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
        connections: &mut Connections<A>,
    ) {
        if let Some((packet, port, vpc)) = self.beginning(cx, number, routes)
            && let key = packet.key()
            && let internal = egress_nat::internal(&key)
            && let Some(source) = connections.expect_mapping(&internal, vpc)
        {
            let reply = FlowKey {
                source: packet.destination,
                source_port: port,
                destination: source,
                destination_port: key.source_port,
                vpc,
                ..key
            };
            connections.prefetch_change(connections.hash(&reply));
        }
    }

    /// A packet of the batch, if it is one that begins a connection: to which port, and the VPC that it leaves into.
    #[inline(always)]
    fn beginning(
        &mut self,
        cx: &Context<'_>,
        number: usize,
        routes: &[Option<&Route>; BATCH],
    ) -> Option<(&Packet<A>, u16, VpcIndex)> {
        let packet = self.packets.get(number)?;
        let (Way::New(port), Some(Route::Forward(hops))) = (packet.way, routes.get(number)?) else {
            return None;
        };
        let exit = self.exits.find(cx, hops, packet);
        Some((packet, port, exit.vpc))
    }
}

/// A packet, if it is plain and for the gateway to forward.
#[inline(always)]
fn read<A: Family>(ingress: &Ingress, frame: &[u8]) -> Option<Plain<A>> {
    let (header, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    let is_ours = header[..6] == ingress.mac.0
        && header[12..] == A::Version::ETHER_TYPE.0.to_be_bytes()
        && frame.len() <= ingress.longest;
    if !is_ours {
        return None;
    }
    Plain::<A>::read(packet)
}

/// Whether the ACL of a peering looks at every packet.
#[cold]
fn is_asked_by_peering(cx: &Context<'_>, peering: PeeringIndex) -> bool {
    acl_policy::has_packet_rules(cx.tables, cx.tables.peering(peering).acl())
}

/// Finds the way of a packet that has no connection (it is new), or not the one that was likely.
#[inline(never)]
fn look_closer<A: Family>(
    cx: &Context<'_>,
    packet: &mut Packet<A>,
    is_new: bool,
    bytes: &[u8],
    connections: &Connections<A>,
) {
    let key = packet.key();
    if !is_new {
        let generation = cx.tables.policy_generation();
        match connections.any_passage(packet.hash, &key, generation, cx.now) {
            Known::Passes(passage) => return packet.follow(cx, passage),
            Known::Unresolved => return,
            Known::Nothing | Known::Perhaps => {}
        }
    }
    let FlowKey {
        source,
        destination,
        ..
    } = key;
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
        return;
    }
    if let Ok(ingress) = nat_policy::ingress(cx.tables, &key, true)
        && ingress.crossing.is_none()
    {
        let own = (destination, key.destination_port);
        let (destination, port) = ingress.destination.unwrap_or(own);
        packet.way = Way::New(port);
        packet.destination = destination;
        packet.route_vpc = ingress.vpc;
    }
}

/// Looks up where the packets go, those of one VPC together.
fn look_up_routes<'a, A: Family>(
    cx: &Context<'a>,
    packets: &[Packet<A>],
) -> [Option<&'a Route>; BATCH] {
    let mut routes = [None; BATCH];
    let mut waiting = 0_u64;
    let mut destinations = [A::Key::default(); BATCH];
    let mut common = None;
    let mut is_common = true;
    for (index, packet) in packets.iter().enumerate().take(BATCH) {
        destinations[index] = packet.destination.key();
        if packet.is_plain() {
            waiting |= 1 << index;
            is_common &= *common.get_or_insert(packet.route_vpc) == packet.route_vpc;
        }
    }
    // Mostly all of a burst go into one VPC. What takes the long way is looked up with them, for nothing.
    let Some(vpc) = common else {
        return routes;
    };
    if is_common {
        let number = packets.len().min(BATCH);
        let table = cx.tables.vpc(vpc);
        table.route_batch::<A>(&destinations[..number], &mut routes[..number]);
        return routes;
    }
    while waiting != 0 {
        let vpc = packets[waiting.trailing_zeros() as usize].route_vpc;
        let mut group = [0_u8; BATCH];
        let mut keys = [A::Key::default(); BATCH];
        let mut number = 0;
        let mut left = waiting;
        while left != 0 {
            let index = left.trailing_zeros();
            left &= left - 1;
            if packets[index as usize].route_vpc == vpc {
                group[number] = index as u8;
                keys[number] = destinations[index as usize];
                number += 1;
                waiting &= !(1 << index);
            }
        }
        let mut found = [None; BATCH];
        let table = cx.tables.vpc(vpc);
        table.route_batch::<A>(&keys[..number], &mut found[..number]);
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
    exit: &Exit,
    buffer: &mut B,
    connections: &mut Connections<A>,
) -> bool {
    let bytes = layer3(buffer);
    let ends = match packet.way {
        Way::Long => None,
        Way::Established(flow, direction) => {
            let ends = pass(cx, &packet.plain, (flow, direction), bytes, connections);
            if ends.is_some() && connections.is_offloading() {
                let way = (packet.ingress, exit.interface, exit.addresses);
                offload::offer(cx, (flow, direction), way, connections);
            }
            ends
        }
        Way::New(port) => begin(cx, packet, port, exit.interface, bytes, connections),
    };
    let Some((source, destination)) = ends else {
        return false;
    };
    buffer.truncate(ethernet::HEADER_LEN + packet.plain.packet_len as usize);
    if let Some((header, bytes)) = buffer
        .bytes_mut()
        .split_first_chunk_mut::<{ ethernet::HEADER_LEN }>()
    {
        header[..12].copy_from_slice(&exit.addresses);
        packet.plain.forward(bytes, source, destination);
    }
    true
}

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
    (flow, direction): (FlowId, Direction),
    bytes: &[u8],
    connections: &mut Connections<A>,
) -> Option<Ends<A>> {
    let number = plain.packet_len;
    let mut pass = |segment| {
        connections
            .pass(flow, direction, &segment, number, cx.now)
            .ok()
    };
    let ends = match plain.protocol {
        Protocol::TCP => pass(tcp_segment(plain, bytes))?,
        _ => pass(Segment::Udp)?,
    };
    if cx.tables.has_acls() {
        let counters = connections.counters(flow);
        cx.counters.rules.count(&counters, u64::from(number));
    }
    Some(ends)
}

/// Begins the connection of a packet, if no ACL is asked about it.
#[inline(never)]
fn begin<A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    port: u16,
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
    if connections.has_begun(packet.hash) {
        let generation = cx.tables.policy_generation();
        match connections.any_passage(packet.hash, &original, generation, cx.now) {
            Known::Nothing => {}
            Known::Passes(Passage {
                flow, direction, ..
            }) if !packet.is_turn() => {
                return pass(cx, &packet.plain, (flow, direction), bytes, connections);
            }
            Known::Passes(_) | Known::Unresolved | Known::Perhaps => return None,
        }
    }
    let plain = &packet.plain;
    let is_led = (packet.destination, port) != (plain.destination, plain.destination_port);
    let outer = cx.tables.interface(egress)?;
    if !is_led && hairpin::turn(cx.tables, &original, outer).is_some() {
        return None;
    }
    let opening = Opening {
        original,
        hash: packet.hash,
        destination: (packet.destination, port),
        route_vpc: packet.route_vpc,
        crossing: None,
        hairpin: None,
        egress,
        admission: Admission {
            ingress: packet.ingress,
            ports: Some((plain.source_port, plain.destination_port)),
            peering: None,
            whole: true,
            timeouts: TimeoutClass::default(),
        },
        counters: UNCOUNTED,
        is_query: false,
        joins: false,
        is_at_home: false,
        is_later_fragment: false,
    };
    let segment = segment(plain, bytes);
    let opened = egress_nat::open(cx, connections, &opening, &segment, plain.packet_len);
    opened.ok().map(|(_, ends)| ends)
}
