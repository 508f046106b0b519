//! A packet on the fast path: how it is read, whose it is, and where it goes.

use rewire_conntrack::{
    Admission, Candidate, Connections, Direction, FlowId, FlowKey, KeyHash, Passage, Segment,
    TcpSegment, TimeoutClass,
};
use rewire_packet::forward::Plain;
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{Ip, IpAddress, MacAddress, Protocol, ethernet};
use rewire_tables::{InterfaceIndex, PeeringIndex, VpcIndex};

use crate::graph::acl_policy;
use crate::graph::context::Context;
use crate::graph::family::Family;
use crate::graph::packet::Origin;

/// A packet that may be plain, and what is known of it so far.
pub(super) struct Packet<A> {
    /// The key of its connection.
    pub(super) key: FlowKey<A>,
    /// Bytes of the packet, from its IP header on.
    pub(super) length: u32,
    /// Of TCP, the control bits.
    pub(super) flags: u8,
    pub(super) ingress: InterfaceIndex,
    /// Its place in the batch.
    pub(super) frame: u8,
    /// The hash of its key.
    pub(super) hash: KeyHash,
    /// What most likely is its connection.
    pub(super) candidate: Candidate,
    pub(super) way: Way,
    /// Its destination, once it is translated.
    pub(super) destination: A,
    /// The VPC that it is routed in.
    pub(super) route_vpc: VpcIndex,
}

/// How a packet goes on, before its route is known.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// To the other nodes.
    Long,
    /// Like all packets of its connection in a direction.
    Established(FlowId, Direction),
    /// It begins a connection, to this port.
    New(u16),
    /// The same, and this one of those of its batch.
    Begins(u8),
}

impl<A: Copy + Eq> Packet<A> {
    /// What was read of it.
    #[inline(always)]
    pub(super) fn plain(&self) -> Plain<A> {
        Plain {
            source: self.key.source,
            destination: self.key.destination,
            source_port: self.key.source_port,
            destination_port: self.key.destination_port,
            packet_len: self.length,
            protocol: Protocol(self.key.protocol),
            flags: self.flags,
        }
    }

    /// Whether it opens or ends a TCP connection: where there is one already, it may be another's, in place of that.
    #[inline(always)]
    pub(super) fn is_turn(&self) -> bool {
        self.flags & (TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST).0 != 0
    }

    /// Whether the fast path may take it.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.way, Way::Long)
    }

    /// Asks for its connection, where its line of the index has come.
    #[inline(always)]
    pub(super) fn expect(&mut self, connections: &Connections<A>)
    where
        A: Family,
    {
        self.candidate = connections.prefetch_flow(self.hash);
    }

    /// Asks for what it changes of its connection.
    #[inline(always)]
    pub(super) fn expect_to_pass(&self, connections: &Connections<A>)
    where
        A: Family,
    {
        if let Way::Established(flow, direction) = self.way {
            let is_tcp = self.key.protocol == Protocol::TCP.0;
            connections.prefetch_account(flow, direction, is_tcp);
        }
    }

    /// Takes the way of its connection.
    #[inline(always)]
    pub(super) fn follow(&mut self, cx: &Context<'_>, passage: Passage<A>) {
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

    /// Whether ingress NAT leads it elsewhere, to this port.
    #[inline(always)]
    pub(super) fn is_led(&self, port: u16) -> bool {
        (self.destination, port) != (self.key.destination, self.key.destination_port)
    }

    /// How its connection is let in.
    #[inline(always)]
    pub(super) fn admission(&self) -> Admission {
        Admission {
            ingress: self.ingress,
            ports: Some((self.key.source_port, self.key.destination_port)),
            peering: None,
            whole: true,
            timeouts: TimeoutClass::default(),
        }
    }
}

/// The key of the connection of a packet that comes in to a VPC.
#[inline(always)]
pub(super) fn key<A: Copy>(vpc: VpcIndex, plain: &Plain<A>) -> FlowKey<A> {
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
pub(super) fn tcp_segment<A: IpAddress>(plain: &Plain<A>, bytes: &[u8]) -> Segment {
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
pub(super) struct Ingress {
    pub(super) origin: Origin,
    pub(super) index: InterfaceIndex,
    pub(super) vpc: VpcIndex,
    /// Its MAC address, the first byte in the third lowest one.
    address: u64,
    /// The bytes of the longest frame; 0 where no packet that comes in here is plain.
    pub(super) longest: usize,
}

impl Ingress {
    pub(super) fn of(cx: &Context<'_>, origin: Origin) -> Self {
        // What the gateway has made is not for the fast path.
        let (index, interface) = match origin {
            Origin::Received(index) => (index, cx.tables.interface(index)),
            Origin::Own(_) | Origin::OwnOnLink(_) => (InterfaceIndex(0), None),
        };
        let plain = interface
            .filter(|interface| !acl_policy::has_packet_rules(cx.tables, interface.acl_in));
        let MacAddress([a, b, c, d, e, f]) =
            interface.map_or(MacAddress::ZERO, |interface| interface.mac);
        Ingress {
            origin,
            index,
            vpc: interface.map_or(VpcIndex(0), |interface| interface.vpc),
            address: u64::from_le_bytes([0, 0, a, b, c, d, e, f]),
            longest: plain.map_or(0, |interface| {
                ethernet::HEADER_LEN + usize::from(interface.mtu)
            }),
        }
    }
}

/// A packet, if it is plain and for the gateway to forward.
#[inline(always)]
pub(super) fn read<A: Family>(ingress: &Ingress, frame: &[u8]) -> Option<Plain<A>> {
    let (header, packet) = frame.split_first_chunk::<{ ethernet::HEADER_LEN }>()?;
    // The first eight bytes at once, and of these six.
    let (first, _) = header.split_first_chunk()?;
    let is_ours = u64::from_le_bytes(*first) << 16 == ingress.address
        && header[12..] == A::Version::ETHER_TYPE.0.to_be_bytes()
        && frame.len() <= ingress.longest;
    if !is_ours {
        return None;
    }
    Plain::<A>::read(packet)
}

/// What a plain packet says to the state of its connection.
pub(super) fn segment<A: IpAddress>(plain: &Plain<A>, bytes: &[u8]) -> Segment {
    match plain.protocol {
        Protocol::TCP => tcp_segment(plain, bytes),
        _ => Segment::Udp,
    }
}

/// Whether the ACL of a peering looks at every packet.
#[cold]
fn is_asked_by_peering(cx: &Context<'_>, peering: PeeringIndex) -> bool {
    acl_policy::has_packet_rules(cx.tables, cx.tables.peering(peering).acl())
}
