//! A packet on its way through the graph: its buffer, and what the nodes have decided about it.

use rewire_conntrack::{Direction, FlowId, FlowKey, Rewrite};
use rewire_packet::{IpAddress, IpHeader, MacAddress, Transport};
use rewire_tables::{Address, InterfaceIndex, VpcIndex};

use crate::drop_reason::DropReason;

/// Where a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was received by this interface.
    Received(InterfaceIndex),
    /// The gateway made it, to be routed in this VPC.
    Own(VpcIndex),
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
    /// It waits for the next hop's MAC address.
    Hold,
    /// It is dropped.
    Drop(DropReason),
}

/// A packet of one address family.
pub(super) struct Packet<B, A: Address> {
    /// The frame, from its Ethernet header.
    pub buffer: B,
    pub origin: Origin,
    /// The MAC address that the frame was sent to.
    pub link_destination: MacAddress,
    pub header: IpHeader<<A as IpAddress>::Version>,
    pub transport: Transport,
    /// The VPC that the packet is routed in: the ingress interface's, or where ingress NAT leads.
    pub vpc: VpcIndex,
    pub connection: Connection<A>,
    /// What NAT changes: the destination from `ingress_nat` on, the source from `egress_nat` on.
    pub rewrite: Rewrite<A>,
    pub egress: InterfaceIndex,
    pub next_hop: A,
    pub next_hop_mac: MacAddress,
    pub fate: Fate,
}

impl<B, A: Address> Packet<B, A> {
    /// The destination that the packet is routed by: the one that ingress NAT gives it, or the one in its header.
    pub(super) fn destination(&self) -> A {
        match self.rewrite.destination {
            Some((address, _)) => address,
            None => self.header.destination,
        }
    }
}
