//! One connection, in both directions.

use std::fmt;

use rewire_tables::{Address, InterfaceIndex, PeeringIndex, VpcIndex};

use crate::key::{Direction, FlowKey};
use crate::mappings::Mapping;
use crate::records::Id;
use crate::state::State;
use crate::time::Instant;
use crate::timeout_classes::TimeoutClass;

/// A flow's place in the table, with a count of how often the place was used: the id of a flow that is gone is never
/// taken for another flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowId(pub(crate) Id);

impl FlowId {
    /// The place in the table: below [`Connections::slots`](crate::Connections::slots), and no other connection's meanwhile.
    pub fn slot(self) -> u32 {
        self.0.slot
    }
}

/// How a connection came in: what filters that are asked again need to know besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The interface that its first packet came in by.
    pub ingress: InterfaceIndex,
    /// The ports of its first packet, as filters see them; none where it had none, or they were not in it. The key has none
    /// for SCTP, and of ICMP the identifier; here stand, of ICMP, 0 and the type times 256 plus the code.
    pub ports: Option<(u16, u16)>,
    /// The peering that it crosses, whose filter is asked about replies, too.
    pub peering: Option<PeeringIndex>,
    /// Whether the connection was let through as a whole, so that its replies pass.
    pub whole: bool,
    /// How long it lives without packets.
    pub timeouts: TimeoutClass,
}

impl Default for Admission {
    /// A connection of the first interface that no filter was asked about.
    fn default() -> Self {
        Admission {
            ingress: InterfaceIndex(0),
            ports: None,
            peering: None,
            whole: true,
            timeouts: TimeoutClass::default(),
        }
    }
}

/// What a connection begins with.
#[derive(Clone, Copy, Debug)]
pub struct NewFlow<A> {
    /// The key of its first packet, as it arrived.
    pub original: FlowKey<A>,
    /// The key of the replies, as they will arrive.
    pub reply: FlowKey<A>,
    /// See [`Flow::route_vpc`].
    pub route_vpc: VpcIndex,
    /// The generation of the policy that allows it.
    pub policy_generation: u64,
    /// See [`Flow::admission`].
    pub admission: Admission,
    /// The mapping that its source is translated by, as [`Connections::acquire_mapping`](crate::Connections::acquire_mapping)
    /// gave it.
    pub mapping: Option<Mapping<A>>,
}

/// Packets and bytes of one direction; 2^40 and 2^48 (281 TB) of them, before they begin anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, as the caller counts them.
    pub bytes: u64,
}

/// One connection, as it is at one moment: a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<A> {
    /// The key of packets of the original direction, as they arrive.
    pub original: FlowKey<A>,
    /// The key of packets of the reply direction, as they arrive.
    pub reply: FlowKey<A>,
    /// The VPC in which packets of the original direction are routed, after ingress NAT. Replies are routed in
    /// `original.vpc`.
    pub route_vpc: VpcIndex,
    /// The low bits of the generation of the policy that last allowed this connection.
    pub policy_generation: u32,
    /// How it came in.
    pub admission: Admission,
    /// Whether its source is translated by a mapping: to the destination of `reply`. Or, where it has joined one, its destination:
    /// to the source of `reply`.
    pub is_mapped: bool,
    /// Whether it began outside, at a mapping that lets such connections in.
    pub is_joined: bool,
    /// The state.
    pub state: State,
    /// When it began, to about a second.
    pub created: Instant,
    /// When it is gone, if no packet comes before.
    pub expires: Instant,
    pub(crate) traffic: [Traffic; 2],
}

/// What a table knows of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known<A> {
    /// No connection has its key.
    Nothing,
    /// The likely connection is not its own: it may have another.
    Perhaps,
    /// It has a connection, which must be looked at first: its time is up, the policy has changed since it was resolved,
    /// it was not let in as a whole, or one of its directions is of the other address family.
    Unresolved,
    /// It passes.
    Passes(Passage<A>),
}

/// Where a packet of an established connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage<A> {
    /// Its connection.
    pub flow: FlowId,
    /// Which way it goes.
    pub direction: Direction,
    /// Its destination, once it is translated.
    pub destination: A,
    /// The VPC that it is routed in.
    pub vpc: VpcIndex,
    /// The peering that the connection crosses.
    pub peering: Option<PeeringIndex>,
}

/// The ends of a packet: its source and destination, each with a port in host order.
pub type Ends<A> = ((A, u16), (A, u16));

/// What becomes of a packet's addresses and ports. Ports in host order; of an ICMP query, either port is the identifier,
/// and where both are given, they are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite<A> {
    /// The new destination.
    pub destination: Option<(A, u16)>,
    /// The new source.
    pub source: Option<(A, u16)>,
    /// The VPC to route the packet in.
    pub route_vpc: VpcIndex,
}

impl<A: Copy + PartialEq> Flow<A> {
    /// How packets of a direction are translated.
    #[inline]
    pub fn rewrite(&self, direction: Direction) -> Rewrite<A> {
        let (arriving, answered, route_vpc) = match direction {
            Direction::Original => (&self.original, &self.reply, self.route_vpc),
            Direction::Reply => (&self.reply, &self.original, self.original.vpc),
        };
        let differing = |new: (A, u16), old: (A, u16)| (new != old).then_some(new);
        Rewrite {
            destination: differing(
                (answered.source, answered.source_port),
                (arriving.destination, arriving.destination_port),
            ),
            source: differing(
                (answered.destination, answered.destination_port),
                (arriving.source, arriving.source_port),
            ),
            route_vpc,
        }
    }
}

impl<A: Address> Flow<A> {
    /// Whether NAT64 translates its packets: those of one direction are of IPv4, in the table of IPv6.
    #[inline]
    pub fn changes_family(&self) -> bool {
        self.reply.is_of_other_family() || self.original.is_of_other_family()
    }
}

impl<A> Flow<A> {
    /// The key of packets of a direction.
    #[inline]
    pub fn key(&self, direction: Direction) -> &FlowKey<A> {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// What was seen of a direction.
    pub fn traffic(&self, direction: Direction) -> Traffic {
        self.traffic[direction as usize]
    }

    /// Whether a generation of the policy is the one that last allowed it.
    pub fn is_resolved_under(&self, generation: u64) -> bool {
        self.policy_generation == generation as u32
    }
}

impl<A: fmt::Display> fmt::Display for Flow<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} {}", self.original, self.reply, self.state)
    }
}
