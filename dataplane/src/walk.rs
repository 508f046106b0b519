//! The walk of a packet through the graph, as it is observed: [`Step`]s, each of which says what one node decided, with its
//! operands.
//!
//! A packet is observed if it has a [`Mark`]. It takes the long way then, through all nodes, to the same end as by the fast path.
//! Steps stand for themselves: they hold names, not indices of tables, so that they mean the same after the next commit. To make
//! one allocates nothing: names are shared with the tables.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rewire_conntrack::{Direction, State};
use rewire_packet::tcp::TcpFlags;
use rewire_packet::{EtherType, Fragment, MacAddress, Protocol};
use rewire_tables::acl::{AclAction, AclScope};

use crate::drop_reason::DropReason;
use crate::graph::Node;

/// Which observed packet it is. What it makes of itself has the same mark: an error about it, its fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub NonZeroU16);

impl Mark {
    /// The mark of the first packet.
    pub const FIRST: Mark = Mark(NonZeroU16::MIN);
}

/// A name of something in the tables, shared with them; empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(pub Option<Arc<str>>);

impl From<Option<&Arc<str>>> for Label {
    fn from(name: Option<&Arc<str>>) -> Self {
        Label(name.cloned())
    }
}

impl From<&Arc<str>> for Label {
    fn from(name: &Arc<str>) -> Self {
        Label(Some(Arc::clone(name)))
    }
}

impl Deref for Label {
    type Target = str;
    fn deref(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

/// An address and a port in host order; of ICMP queries the identifier, of other protocols 0.
pub type Endpoint = (IpAddr, u16);

/// What one node decided about an observed packet. Of several facts of one visit, the last is [`Fact::Next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which packet.
    pub packet: Mark,
    /// The node.
    pub node: Node,
    /// Whether it is one that the gateway made: an answer to the observed one.
    pub is_own: bool,
    /// What was decided.
    pub fact: Fact,
}

/// What a node decided, or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A frame came in by an interface.
    Received {
        /// The interface.
        interface: Label,
        /// Its VPC.
        vpc: Label,
        /// What the frame says that it carries.
        ether_type: EtherType,
        /// Whom it is for.
        destination: MacAddress,
    },
    /// The packet's headers, once they are checked.
    Header(Header),
    /// What its first fragment told of a fragment: the protocol and the ports.
    FragmentOf {
        /// The protocol of its datagram.
        protocol: Protocol,
        /// The ports, where it has any.
        ports: Option<(u16, u16)>,
    },
    /// It belongs to a connection, or would begin one.
    Connection {
        /// What it has to do with it.
        relation: Relation,
        /// The connection, where there is one.
        connection: Option<ConnectionFact>,
    },
    /// Its destination is another one from here on.
    Destination {
        /// By what.
        by: Translation,
        /// The one in the packet.
        from: Endpoint,
        /// The one that it is routed by.
        to: Endpoint,
        /// The VPC that it is routed in.
        vpc: Label,
    },
    /// No rule of NAT is asked about it: it is excluded.
    Excluded,
    /// It changes its address family from here on.
    ChangesFamily {
        /// The NAT64, where it begins a connection.
        rule: Label,
        /// Where it goes there.
        destination: IpAddr,
        /// The VPC that it is routed in.
        vpc: Label,
    },
    /// A look-up of its destination in the routes of a VPC.
    Lookup {
        /// The VPC.
        vpc: Label,
        /// What was looked up.
        destination: IpAddr,
        /// The longest prefix that it matches; none where there is no route.
        prefix: Option<IpNet>,
        /// What the route says.
        route: RouteFact,
    },
    /// It turns round: it is for an external address of the gateway's own, and goes back in there.
    TurnsRound {
        /// The interface that it would have left by.
        interface: Label,
    },
    /// The way on that the route leads to.
    NextHop {
        /// The interface.
        interface: Label,
        /// The next router; none where the destination is on the link.
        via: Option<IpAddr>,
        /// Among how many next hops it was chosen.
        among: usize,
    },
    /// It was led across a peering.
    Crossing {
        /// The peering.
        peering: Label,
        /// Out of this VPC.
        from: Label,
        /// Into this one.
        to: Label,
    },
    /// An ACL was asked.
    Acl {
        /// Which.
        acl: Label,
        /// Where it stands.
        place: AclPlace,
        /// The rule that decided; none for the default.
        rule: Option<u32>,
        /// What it says.
        action: AclAction,
        /// About what.
        scope: AclScope,
    },
    /// No ACL on its way is asked: it belongs to a connection that was let in as a whole.
    AclsPassed,
    /// Hops that it may still go, itself included.
    HopLimit(u8),
    /// The neighbor that it goes to.
    Neighbor {
        /// On this interface's link.
        interface: Label,
        /// Its address.
        address: IpAddr,
        /// Its MAC address; none where it is not known.
        mac: Option<MacAddress>,
        /// Whether that is only assumed.
        is_assumed: bool,
    },
    /// How long it is, and how long it may be.
    Length {
        /// Its length, in bytes from the IP header on.
        packet: usize,
        /// What the link takes.
        mtu: u16,
        /// Whether it is cut.
        is_cut: bool,
    },
    /// Its source is another one from here on.
    Source {
        /// By what.
        by: Translation,
        /// The one in the packet.
        from: Endpoint,
        /// The one that it leaves with.
        to: Endpoint,
    },
    /// It has begun a connection.
    Began(ConnectionFact),
    /// Its connection has gone on.
    WentOn {
        /// The state before.
        before: State,
        /// As it is now.
        connection: ConnectionFact,
    },
    /// The addresses of the link that it leaves by.
    Link {
        /// The gateway's own.
        source: MacAddress,
        /// The next hop's.
        destination: MacAddress,
    },
    /// It was cut.
    Cut {
        /// Into so many.
        fragments: usize,
    },
    /// It was turned into its answer, which goes on as a packet of the gateway's own.
    Answered,
    /// Where it goes from the node. The last fact of every visit.
    Next(Onward),
}

/// The headers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The source address.
    pub source: IpAddr,
    /// The destination address.
    pub destination: IpAddr,
    /// The upper layer's protocol.
    pub protocol: Protocol,
    /// The ports, where it has any.
    pub ports: Option<(u16, u16)>,
    /// The flags of TCP.
    pub flags: Option<TcpFlags>,
    /// The type and the code of ICMP.
    pub icmp: Option<(u8, u8)>,
    /// The identifier of an ICMP query.
    pub identifier: Option<u16>,
    /// The hop limit, or time to live.
    pub hop_limit: u8,
    /// The packet's length in bytes, from the IP header on.
    pub length: usize,
    /// Whether it is whole.
    pub fragment: Fragment,
}

/// What a packet has to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It would begin one.
    New,
    /// It belongs to one, and goes this way.
    Established(Direction),
    /// It is an ICMP error about a packet of one, and goes this way.
    Related(Direction),
    /// Nothing.
    Untracked,
}

/// A connection, as it was at the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionFact {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its original direction: the VPC that packets arrive in, and their ends.
    pub original: (Label, Endpoint, Endpoint),
    /// The reply direction.
    pub reply: (Label, Endpoint, Endpoint),
    /// Its state.
    pub state: State,
    /// In what time it ends if no packet comes.
    pub expires: Duration,
}

/// What translates an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Translation {
    /// The connection, as it was translated when it began.
    Connection,
    /// A port forward.
    PortForward(Label),
    /// A static translation.
    Static(Label),
    /// A masquerade, with the pool that has its addresses.
    Masquerade {
        /// The rule.
        rule: Label,
        /// The pool; empty where the addresses are the interface's own.
        pool: Label,
    },
    /// A NAT64.
    Nat64(Label),
    /// A mapping of a masquerade, which lets it in.
    Mapping,
}

/// What a route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteFact {
    /// There is none.
    None,
    /// To be forwarded to one of so many next hops.
    Forward(usize),
    /// To be looked up in another VPC.
    Vpc(Label),
    /// To be looked up in another VPC, across a peering.
    Peering {
        /// The peering.
        peering: Label,
        /// The VPC.
        vpc: Label,
    },
    /// Taken out of what a peering exposes.
    NotExposed,
    /// The gateway itself.
    Local,
    /// An external address of NAT.
    NatExternal,
    /// Every host of a subnet.
    SubnetBroadcast,
    /// To be dropped.
    Blackhole,
    /// To be refused.
    Unreachable,
}

/// Where an ACL stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclPlace {
    /// Where packets come in.
    In,
    /// Where they cross a peering.
    Peering,
    /// Where they leave.
    Out,
}

/// Where a packet goes from a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Onward {
    /// To another node.
    Node(Node),
    /// Out by an interface.
    Transmit(Label),
    /// Back in, as if by this interface.
    ComeBack(Label),
    /// Nowhere yet: it waits for its neighbor.
    AwaitNeighbor,
    /// Nowhere yet: it waits for the first fragment of its datagram.
    AwaitFragment,
    /// On in the other address family.
    ChangeFamily,
    /// Into the gateway, which has taken in what it says.
    Consume,
    /// To another worker.
    Worker(u16),
    /// Nowhere.
    Drop {
        /// Why.
        reason: DropReason,
        /// Whether its sender is told.
        told: Told,
    },
}

/// What the sender of a packet is told that is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// An ICMP error, where one may be sent about the packet.
    Error,
    /// A TCP reset.
    Reset,
}

/// What became of an observed packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has left by an interface.
    Forwarded(Label),
    /// It was for the gateway, which has answered by an interface.
    Answered(Label),
    /// It was for the gateway, which has taken in what it says.
    Consumed,
    /// It waits for its neighbor, or for the first fragment of its datagram.
    Held,
    /// Another worker goes on with it.
    HandedOver(u16),
    /// It was dropped.
    Dropped {
        /// By which node.
        node: Node,
        /// Why.
        reason: DropReason,
        /// What its sender is told.
        told: Told,
    },
}

impl Outcome {
    /// What became of a packet with these steps, if they are all; none where they break off.
    pub fn of(steps: &[Step]) -> Option<Outcome> {
        let ends = |is_own: bool| {
            let steps = steps.iter().rev().filter(move |step| step.is_own == is_own);
            steps.filter_map(|step| match &step.fact {
                Fact::Next(onward) => Some((step.node, onward)),
                _ => None,
            })
        };
        let (node, last) = ends(false).next()?;
        Some(match last {
            Onward::Transmit(interface) if matches!(node, Node::Arp | Node::Ndp) => {
                Outcome::Answered(interface.clone())
            }
            Onward::Transmit(interface) => Outcome::Forwarded(interface.clone()),
            Onward::Consume => Outcome::Consumed,
            Onward::AwaitNeighbor | Onward::AwaitFragment => Outcome::Held,
            Onward::Worker(worker) => Outcome::HandedOver(*worker),
            Onward::Drop { reason, told } => Outcome::Dropped {
                node,
                reason: *reason,
                told: *told,
            },
            // Its answer goes on in its place.
            Onward::Node(_) => match ends(true).next()? {
                (_, Onward::Transmit(interface)) => Outcome::Answered(interface.clone()),
                (_, Onward::AwaitNeighbor) => Outcome::Held,
                (node, Onward::Drop { reason, told }) => Outcome::Dropped {
                    node,
                    reason: *reason,
                    told: *told,
                },
                _ => return None,
            },
            Onward::ComeBack(_) | Onward::ChangeFamily => return None,
        })
    }
}
