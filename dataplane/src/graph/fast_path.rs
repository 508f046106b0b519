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

mod ahead;
mod alike;
mod beginning;
mod exits;
mod order;
mod packet;

use arrayvec::ArrayVec;
use rewire_conntrack::{Candidate, Connections, Direction, Ends, FlowId, Known, Segment};
use rewire_packet::forward::Plain;
use rewire_packet::{Protocol, ethernet};
use rewire_tables::memory::prefetch;
use rewire_tables::{InterfaceIndex, Route, VpcIndex};

use self::ahead::{Beginning, Beginnings, prefetch_other_reply, prefetch_reply};
use self::alike::{Alike, pass_and_tell};
use self::beginning::{begin, look_closer};
use self::exits::{Exit, Exits};
pub(super) use self::order::Order;
use self::packet::{Ingress, Packet, Way, key, read, tcp_segment};
use super::Node;
use super::burst::layer3;
use super::context::{Context, Received, Sinks};
use super::family::Family;
use crate::buffer::PacketBuffer;

/// The packets that are worked on at once.
const BATCH: usize = 64;

/// So many packets ahead, a stage asks the memory for what it needs. The memory brings a few lines at a time: asked for a whole batch at
/// once, they would come while nothing is done, and then work would be done while none come.
const AHEAD: usize = 40;

/// So many packets ahead of its beginning, it is seen whether a connection can keep its port: late enough that few others take ports meanwhile, and
/// early enough for one line of memory.
const SOON: usize = 3;

/// Frames in a row that go one way, and how many: they leave by an interface, or take the long way.
type Ways = ArrayVec<(Option<InterfaceIndex>, u8), BATCH>;

/// The next frames go this way.
#[inline(always)]
fn note(ways: &mut Ways, way: Option<InterfaceIndex>, number: usize) {
    match ways.last_mut() {
        Some((last, alike)) if *last == way => *alike += number as u8,
        _ => ways.push((way, number as u8)),
    }
}

/// The fast path of one family, with what it remembers from burst to burst.
pub(super) struct FastPath<B, A> {
    exits: Exits<A>,
    packets: ArrayVec<Packet<A>, BATCH>,
    /// Frames on their way to where they leave.
    sent: Vec<B>,
}

impl<B: PacketBuffer, A: Family> FastPath<B, A> {
    pub(super) fn new() -> Self {
        FastPath {
            exits: Exits::new(),
            packets: ArrayVec::new(),
            sent: Vec::with_capacity(BATCH),
        }
    }

    /// Forwards what is plain, of one family; leaves the rest in `frames`, in its order.
    pub(super) fn run(
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
            let mut beginnings = match begins {
                true => self.beginnings(cx, &routes, connections),
                false => Beginnings::new(),
            };
            for place in 0..beginnings.len().min(AHEAD) {
                prefetch_reply(&self.packets, &mut beginnings, place, connections);
            }
            for packet in self.packets.iter().take(AHEAD) {
                packet.expect_to_pass(connections);
            }
            let batch = (&mut frames[..number], &routes, &mut beginnings);
            let ways = self.forward(cx, batch, order, connections);
            let mut frames = frames.drain(..number);
            for (egress, alike) in ways {
                let alike = frames.by_ref().take(alike.into());
                match egress {
                    Some(egress) => {
                        self.sent.extend(alike.map(|frame| frame.buffer));
                        forwarded += self.sent.len() as u64;
                        sinks.transmit_all(egress, &mut self.sent);
                    }
                    None => left.extend(alike),
                }
            }
        }
        cx.counters.saw(Node::FastPath, forwarded);
        std::mem::swap(frames, left);
    }

    /// Reads the headers of a batch, and asks for what says whose they are.
    // Loops of their own, each with the registers to itself.
    #[inline(never)]
    fn read(&mut self, cx: &Context<'_>, frames: &[Received<B>], connections: &Connections<A>) {
        for frame in frames {
            if let Some(first) = frame.buffer.bytes().first() {
                prefetch(first);
            }
        }
        self.packets.clear();
        let Some(first) = frames.first() else { return };
        let mut ingress = Ingress::of(cx, first.origin);
        for (number, frame) in (0..).zip(frames) {
            if frame.origin != ingress.origin {
                ingress = Ingress::of(cx, frame.origin);
            }
            if let Some(plain) = read(&ingress, frame.buffer.bytes()) {
                let key = key(ingress.vpc, &plain);
                let hash = connections.hash(&key);
                connections.prefetch_index(hash);
                self.packets.push(Packet {
                    key,
                    length: plain.packet_len,
                    flags: plain.flags,
                    frame: number,
                    ingress: ingress.index,
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

    /// Forwards what may be of a batch, and tells which frames leave by which interface, and which do not.
    #[inline(never)]
    fn forward(
        &mut self,
        cx: &Context<'_>,
        (frames, routes, beginnings): (
            &mut [Received<B>],
            &[Option<&Route>; BATCH],
            &mut Beginnings<'_, A>,
        ),
        order: &mut Order,
        connections: &mut Connections<A>,
    ) -> Ways {
        for place in 0..SOON {
            prefetch_other_reply(&self.packets, beginnings, place, connections);
        }
        let mut ways = Ways::new();
        let mut before = None;
        // The packet that is next, and its frame or one before that.
        let (mut next, mut place) = (0, 0);
        while place < frames.len() {
            let packet = self.packets.get(next);
            let packet = packet.filter(|packet| usize::from(packet.frame) == place);
            let mut sent = None;
            if let (Some(packet), Some(route)) = (packet, routes.get(next).copied().flatten())
                && packet.is_plain()
                && !order.is_behind(packet)
                && let Some(exit) = self.exits.follow(cx, route, packet, &mut before)
                && packet.length <= exit.mtu
            {
                if let Way::Established(..) = packet.way
                    && before.is_some()
                    && !order.has_pairs()
                {
                    let alike = Alike {
                        packets: &self.packets[next..],
                        routes: &routes[next..],
                        frames: &mut frames[place..],
                    };
                    let number = alike.forward(cx, (route, &exit), connections);
                    if number > 0 {
                        note(&mut ways, Some(exit.interface), number);
                        (next, place) = (next + number, place + number);
                        continue;
                    }
                }
                let packets = &self.packets[..];
                if let Some(later) = packets.get(next + AHEAD) {
                    later.expect_to_pass(connections);
                }
                let batch = (packets, &mut beginnings[..]);
                let buffer = &mut frames[place].buffer;
                if forward(cx, packet, batch, &exit, buffer, connections) {
                    sent = Some(exit.interface);
                }
            }
            if sent.is_none() {
                order.goes_the_long_way::<A>(frames[place].buffer.bytes());
                if let Some(packet) = packet
                    && let Way::Established(flow, direction) = packet.way
                    && let Some((source, destination)) = connections.ends(flow, direction)
                {
                    order.follows(destination.0, source.0);
                }
            }
            note(&mut ways, sent, 1);
            next += usize::from(packet.is_some());
            place += 1;
        }
        ways
    }

    /// Finds the connections of the packets, and where those go that have none; tells whether there are such.
    #[inline(never)]
    fn find(
        &mut self,
        cx: &Context<'_>,
        frames: &[Received<B>],
        connections: &Connections<A>,
    ) -> bool {
        let mut begins = false;
        // The VPC that was asked about last, and whether any rule leads its packets elsewhere.
        let mut led: Option<(VpcIndex, bool)> = None;
        let generation = cx.tables.policy_generation();
        for packet in &mut self.packets {
            match connections.passage(packet.candidate, &packet.key, generation, cx.now) {
                Known::Passes(passage) => packet.follow(cx, passage),
                Known::Unresolved => {}
                known @ (Known::Nothing | Known::Perhaps) => {
                    let frame = &frames[usize::from(packet.frame)];
                    let is_new = matches!(known, Known::Nothing);
                    let may_be_led = match led {
                        Some((vpc, may_be)) if vpc == packet.key.vpc => may_be,
                        _ => cx.tables.nat().may_lead(packet.key.vpc),
                    };
                    led = Some((packet.key.vpc, may_be_led));
                    let bytes = layer3(&frame.buffer);
                    look_closer(cx, packet, (is_new, may_be_led), bytes, connections);
                    begins |= matches!(packet.way, Way::New(_));
                }
            }
        }
        begins
    }
}

/// Looks up where the packets go, those of one VPC together.
#[inline(never)]
fn look_up_routes<'a, A: Family>(
    cx: &Context<'a>,
    packets: &[Packet<A>],
) -> [Option<&'a Route>; BATCH] {
    let mut routes = [None; BATCH];
    let mut destinations = [A::Key::default(); BATCH];
    let Some(first) = packets.first() else {
        return routes;
    };
    let mut is_common = true;
    for (destination, packet) in destinations.iter_mut().zip(packets) {
        *destination = packet.destination.key();
        is_common &= packet.route_vpc == first.route_vpc;
    }
    let number = packets.len().min(BATCH);
    // Mostly all of a burst go into one VPC. What takes the long way is looked up with them, for nothing.
    if is_common {
        let table = cx.tables.vpc(first.route_vpc);
        table.route_batch::<A>(&destinations[..number], &mut routes[..number]);
        return routes;
    }
    let mut waiting = u64::MAX >> (BATCH - number);
    while waiting != 0 {
        let group = take_alike(&mut waiting, |one, other| {
            packets[one].route_vpc == packets[other].route_vpc
        });
        let mut keys = [A::Key::default(); BATCH];
        for (key, index) in keys.iter_mut().zip(&group) {
            *key = destinations[usize::from(*index)];
        }
        let mut found = [None; BATCH];
        let number = group.len();
        let table = cx.tables.vpc(packets[usize::from(group[0])].route_vpc);
        table.route_batch::<A>(&keys[..number], &mut found[..number]);
        for (index, route) in group.iter().zip(found) {
            routes[usize::from(*index)] = route;
        }
    }
    routes
}

/// Takes the first of those that wait, and all that are like it, out of them: a bit each. There is one that waits.
fn take_alike(waiting: &mut u64, is_like: impl Fn(usize, usize) -> bool) -> ArrayVec<u8, BATCH> {
    let first = waiting.trailing_zeros() as usize;
    let mut alike = ArrayVec::new();
    let mut left = *waiting;
    while left != 0 {
        let index = left.trailing_zeros();
        left &= left - 1;
        if is_like(first, index as usize) {
            alike.push(index as u8);
            *waiting &= !(1 << index);
        }
    }
    alike
}

/// The packets of a batch, and those of them that begin a connection.
type Batch<'b, 'a, A> = (&'b [Packet<A>], &'b mut [Beginning<'a, A>]);

/// Forwards one packet of a batch, if nothing stands in its way.
#[inline(always)]
fn forward<B: PacketBuffer, A: Family>(
    cx: &Context<'_>,
    packet: &Packet<A>,
    (packets, beginnings): Batch<'_, '_, A>,
    exit: &Exit,
    buffer: &mut B,
    connections: &mut Connections<A>,
) -> bool {
    let bytes = layer3(buffer);
    let ends = match packet.way {
        Way::Long | Way::New(_) => None,
        Way::Established(..) => pass_and_tell(cx, packet, exit, bytes, connections),
        Way::Begins(number) => {
            let number = usize::from(number);
            prefetch_reply(packets, beginnings, number + AHEAD, connections);
            prefetch_other_reply(packets, beginnings, number + SOON, connections);
            begin(cx, packet, &beginnings[number], bytes, connections)
        }
    };
    let Some(ends) = ends else {
        return false;
    };
    rewrite(packet, exit, ends, buffer);
    true
}

/// Writes into a packet what it becomes.
#[inline(always)]
fn rewrite<B: PacketBuffer, A: Family>(
    packet: &Packet<A>,
    exit: &Exit,
    (source, destination): Ends<A>,
    buffer: &mut B,
) {
    buffer.truncate(ethernet::HEADER_LEN + packet.length as usize);
    if let Some((header, bytes)) = buffer
        .bytes_mut()
        .split_first_chunk_mut::<{ ethernet::HEADER_LEN }>()
    {
        header[..12].copy_from_slice(&exit.addresses);
        packet.plain().forward(bytes, source, destination);
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
