//! The forwarding graph: one node a file, burst by burst, a copy for each worker.
//!
//! ```text
//!  rx ─ fast_path ─┬─ tx
//!                  └─ ethernet_input ─┬─ arp
//!                                     └─ ip_input ─┬─ ndp
//!                                                  ├─ (link-local) ── acl ── local
//!                                                  └─ (fragments: virtual_reassembly) ─ ingress_nat ─ route ─ acl ─┬─ local ── (echo reply) ─┐
//!                                                                                └─ hop_limit ─ neighbor ──┴─ mtu ─ egress_nat ─ ethernet_output ─┬─ tx
//!                                                                                                                         (too large) ─ fragment ─┘
//!                      every node that refuses a packet ─ icmp_error ─ route …            (a packet of the gateway's own)
//! ```
//!
//! What NAT64 translates walks as far as `ingress_nat` in its own family, and from `route` on in the other one, with `nat64` in place
//! of `egress_nat`.
//!
//! `fast_path` forwards plain packets of established connections, and leaves the others as they are. From `ip_input` on there is one `pipeline` for IPv4 and one for IPv6, over the same nodes, each generic over the
//! `Family`. `arp` is IPv4's alone, `ndp` IPv6's.
//!
//! Nodes up to `mtu` only *decide*: they write into the packet's metadata, and the packet's bytes stay as the sender
//! sent them. `egress_nat` finalizes the connection and rewrites the packet once, and `fragment` cuts it then, where it
//! must. So a packet that is refused leaves no trace in any table, an ICMP error quotes what the sender sent, and a
//! packet that waits for its neighbor can walk again from the start, under whatever generation is current then.

mod acl;
mod acl_log;
mod acl_policy;
mod allowed;
mod arp;
mod burst;
mod context;
mod egress_nat;
mod ethernet_input;
mod ethernet_output;
mod family;
mod fast_path;
mod filtering;
mod fragment;
mod hairpin;
mod heard;
mod hop_limit;
mod icmp_error;
mod ingress_nat;
mod ip_input;
mod ipv4;
mod ipv6;
mod limits;
mod local;
mod log_entry;
mod mtu;
mod nat64;
mod nat_policy;
mod ndp;
mod neighbor;
mod observe;
mod offload;
mod packet;
mod pipeline;
mod resolution;
mod resolver;
mod route;
mod segment;
mod sought;
mod steering;
mod tcp_reset;
mod virtual_reassembly;

pub use acl_log::AclLogEntry;
pub use allowed::Asked;
pub use context::{Graph, GraphConfig, LearnedNeighbor, Received, Sinks};
pub use log_entry::{LogEntry, PortsExhausted};
pub use packet::Origin;
pub use resolution::EndedByPolicy;
pub(crate) use sought::sought;
pub use steering::Steering;

/// The nodes of the graph, in the order in which a burst visits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Node {
    FastPath,
    EthernetInput,
    Arp,
    IpInput,
    Ndp,
    VirtualReassembly,
    IngressNat,
    Route,
    Acl,
    Local,
    HopLimit,
    Neighbor,
    Mtu,
    EgressNat,
    EthernetOutput,
    Fragment,
    IcmpError,
    Nat64,
}

/// The nodes that one sends packets to, at most.
pub const MOST_NEXT: usize = 7;

impl Node {
    /// Every node.
    pub const ALL: &'static [Node] = &[
        Node::FastPath,
        Node::EthernetInput,
        Node::Arp,
        Node::IpInput,
        Node::Ndp,
        Node::VirtualReassembly,
        Node::IngressNat,
        Node::Route,
        Node::Acl,
        Node::Local,
        Node::HopLimit,
        Node::Neighbor,
        Node::Mtu,
        Node::EgressNat,
        Node::EthernetOutput,
        Node::Fragment,
        Node::IcmpError,
        Node::Nat64,
    ];

    /// The name in metrics and in `rewire status`.
    pub const fn name(self) -> &'static str {
        match self {
            Node::FastPath => "fast_path",
            Node::EthernetInput => "ethernet_input",
            Node::Arp => "arp",
            Node::IpInput => "ip_input",
            Node::Ndp => "ndp",
            Node::VirtualReassembly => "virtual_reassembly",
            Node::IngressNat => "ingress_nat",
            Node::Route => "route",
            Node::Acl => "acl",
            Node::Local => "local",
            Node::HopLimit => "hop_limit",
            Node::Neighbor => "neighbor",
            Node::Mtu => "mtu",
            Node::EgressNat => "egress_nat",
            Node::EthernetOutput => "ethernet_output",
            Node::Fragment => "fragment",
            Node::IcmpError => "icmp_error",
            Node::Nat64 => "nat64",
        }
    }

    /// The nodes that it sends packets to: the edges of the graph, at most [`MOST_NEXT`]. What it sends nowhere leaves the graph
    /// there: transmitted, dropped, held or taken in.
    pub const fn next(self) -> &'static [Node] {
        match self {
            Node::FastPath | Node::Arp | Node::Ndp | Node::Fragment => &[],
            Node::EthernetInput => &[Node::Arp, Node::IpInput],
            Node::IpInput => &[
                Node::Ndp,
                Node::VirtualReassembly,
                Node::IngressNat,
                Node::Route,
                Node::Acl,
                Node::Local,
                Node::Neighbor,
            ],
            Node::VirtualReassembly => &[Node::IngressNat],
            // Also for what goes on in the other family.
            Node::IngressNat => &[Node::Route],
            Node::Route => &[Node::Acl, Node::Local, Node::HopLimit, Node::Neighbor],
            Node::Acl => &[Node::Local, Node::HopLimit],
            Node::Local => &[Node::Route, Node::Neighbor],
            Node::HopLimit => &[Node::Neighbor, Node::EgressNat, Node::Nat64],
            Node::Neighbor => &[Node::Mtu],
            Node::Mtu => &[Node::EgressNat, Node::Nat64, Node::EthernetOutput],
            Node::EgressNat | Node::Nat64 => &[Node::EthernetOutput],
            Node::EthernetOutput => &[Node::Fragment],
            Node::IcmpError => &[Node::IpInput],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn nodes_are_their_own_index() {
        for (index, node) in Node::ALL.iter().enumerate() {
            assert_eq!(*node as usize, index);
        }
    }

    #[test]
    fn no_node_has_more_edges_than_are_counted() {
        let most = Node::ALL.iter().map(|node| node.next().len()).max();
        assert_eq!(most, Some(super::MOST_NEXT));
    }
}
