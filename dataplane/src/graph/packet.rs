//! A packet on its way through the graph: its buffer, and what the nodes have decided about it.

use std::ops::Range;

use rewire_conntrack::{Direction, FlowId, FlowKey, Rewrite};
use rewire_packet::{Fragment, IpAddress, IpHeader, MacAddress, Protocol, Transport};
use rewire_tables::acl::{RuleCounters, UNCOUNTED};
use rewire_tables::{Address, Crossing, InterfaceIndex, PeeringIndex, VpcIndex};

use super::Node;
use super::burst::{IcmpErrorOf, Next};
use super::context::Received;
use super::family::Family;
use super::nat64::Foreign;
use super::virtual_reassembly::DatagramId;
use crate::drop_reason::DropReason;
use crate::walk::Mark;

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was received by this interface.
    Received(InterfaceIndex),
    /// The gateway made it, to be routed in this VPC.
    Own(VpcIndex),
    /// The gateway made it for a neighbor on this interface's link, which it must not leave (RFC 4291, section 2.5.6).
    OwnOnLink(InterfaceIndex),
}

/// What a packet has to do with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connection<A> {
    /// Nothing: a packet of the gateway's own, or one for the gateway itself.
    Untracked,
    /// It would begin one, with this key.
    New(FlowKey<A>),
    /// It belongs to one.
    Established(FlowId, Direction),
    /// It is an ICMP error about a packet of one, and goes the way that packets of this direction go.
    Related(FlowId, Direction),
}

/// What becomes of a packet when the burst is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// No node has decided yet.
    Pending,
    /// It leaves by this interface.
    Transmit(InterfaceIndex),
    /// It comes back, as if this interface had received it.
    ComeBack(InterfaceIndex),
    /// It waits for the next hop's MAC address.
    Hold,
    /// It goes on in the other address family.
    ChangeFamily,
    /// It has come from the other address family, and is dropped and answered there.
    Return(DropReason),
    /// It waits for the first fragment of its datagram.
    Await(DatagramId),
    /// It was for the gateway, which has taken in what it says.
    Consume,
    /// It is dropped.
    Drop(DropReason),
    /// Its connection is to begin at this worker.
    HandOver(u16),
    /// This worker looks at it next: it may know what it is about.
    GoRound(u16),
}

/// A packet of one address family.
pub(super) struct Packet<B, A: Address> {
    /// The frame, from its Ethernet header.
    pub buffer: B,
    pub origin: Origin,
    /// See [`Received::hops`].
    pub hops: u8,
    /// See [`Received::has_waited`].
    pub has_waited: bool,
    /// See [`Received::mark`].
    pub mark: Option<Mark>,
    /// The MAC address that the frame was sent to.
    pub link_destination: MacAddress,
    pub header: IpHeader<<A as IpAddress>::Version>,
    pub transport: Transport,
    /// The VPC that the packet is routed in: the ingress interface's, or where ingress NAT leads.
    pub vpc: VpcIndex,
    pub connection: Connection<A>,
    /// The peering that a packet which begins a connection crosses: by ingress NAT, or by its route.
    pub crossing: Option<Crossing>,
    /// The interface that a packet which begins a connection would leave by, did it not turn round.
    pub hairpin: Option<InterfaceIndex>,
    /// Whether it comes back as if by its egress interface, instead of leaving by that (see `hairpin`).
    pub comes_back: bool,
    /// Whether a packet which begins a connection comes from outside, for a mapping that lets it in.
    pub joins: bool,
    /// The peering that the packet crosses, or the connection that it belongs to.
    pub peering: Option<PeeringIndex>,
    /// What the route says, while the ACLs are asked.
    pub routed: Next<IcmpErrorOf<A>>,
    /// Whether all that ACLs decided about the packet was about the connection that it begins.
    pub whole: bool,
    /// Where the packet is counted, by the rules of ACLs that let it pass.
    pub counters: RuleCounters,
    /// What NAT changes: the destination from `ingress_nat` on, the source from `egress_nat` on.
    pub rewrite: Rewrite<A>,
    pub egress: InterfaceIndex,
    pub next_hop: A,
    pub next_hop_mac: MacAddress,
    /// Whether the packet is larger than its link takes, and may be cut.
    pub too_large: bool,
    /// What NAT64 brings along from the other family, where the packet is of that until it leaves.
    pub foreign: Option<Foreign>,
    /// The fragments behind the first, once it is cut: where they are among those of the burst.
    pub fragments: Range<usize>,
    pub fate: Fate,
}

impl<B, A: Address> Packet<B, A> {
    /// A packet about which nothing is decided yet. `ip_input` reads its header.
    #[inline(always)]
    pub(super) fn new(frame: Received<B>, link_destination: MacAddress, vpc: VpcIndex) -> Self {
        Packet {
            buffer: frame.buffer,
            origin: frame.origin,
            hops: frame.hops,
            has_waited: frame.has_waited,
            mark: frame.mark,
            link_destination,
            header: IpHeader {
                source: A::UNSPECIFIED,
                destination: A::UNSPECIFIED,
                protocol: Protocol(0),
                fragment: Fragment::Whole,
                hop_limit: 0,
                traffic_class: 0,
                header_len: 0,
                packet_len: 0,
            },
            transport: Transport::Other {
                protocol: Protocol(0),
            },
            vpc,
            connection: Connection::Untracked,
            crossing: None,
            hairpin: None,
            comes_back: false,
            joins: false,
            peering: None,
            routed: Next::Done,
            whole: true,
            counters: UNCOUNTED,
            rewrite: Rewrite {
                destination: None,
                source: None,
                route_vpc: vpc,
            },
            egress: InterfaceIndex(0),
            next_hop: A::UNSPECIFIED,
            next_hop_mac: MacAddress::ZERO,
            too_large: false,
            foreign: None,
            fragments: 0..0,
            fate: Fate::Pending,
        }
    }

    /// The frame, to begin its walk again.
    #[inline(always)]
    pub(super) fn into_frame(self) -> Received<B> {
        Received {
            buffer: self.buffer,
            origin: self.origin,
            hops: self.hops,
            has_waited: self.has_waited,
            mark: self.mark,
        }
    }

    /// The destination that the packet is routed by: the one that ingress NAT gives it, or the one in its header.
    pub(super) fn destination(&self) -> A {
        match self.rewrite.destination {
            Some((address, _)) => address,
            None => self.header.destination,
        }
    }
}

impl<B, A: Family> Packet<B, A> {
    /// Where a packet of the gateway's own begins its walk. One that stays on its link needs no route.
    pub(super) fn first_node(&mut self) -> Node {
        match self.origin {
            Origin::OwnOnLink(interface) => {
                self.egress = interface;
                self.next_hop = self.header.destination;
                Node::Neighbor
            }
            Origin::Received(_) | Origin::Own(_) => Node::Route,
        }
    }
}

impl Origin {
    /// The origin of a packet with which the gateway answers one that `interface` received.
    pub(super) fn of_answer<A: Family>(
        interface: InterfaceIndex,
        vpc: VpcIndex,
        (source, destination): (A, A),
    ) -> Origin {
        if source.is_link_local() || destination.is_link_local() {
            Origin::OwnOnLink(interface)
        } else {
            Origin::Own(vpc)
        }
    }
}
