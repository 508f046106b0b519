//! Entities: the things that tables may hold, each derived by itself.

use std::net::IpAddr;

use rewire_schema::types::{Name, Prefix};

use crate::exposes::ExposeKey;

/// One thing that the tables may hold, under the names that the configuration gives it. Most have at
/// most one entry of the tables; a port forward has one a port, a static translation one an address, an expose one each. Entities are derived
/// and reported in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Entity {
    /// A VPC.
    Vpc(Name),
    /// The limits of a VPC's connections, by its name.
    ConnectionLimits(Name),
    /// The time-outs of connections that begin in a VPC, by its name.
    Timeouts(Name),
    /// An interface with its addresses.
    Interface(Name),
    /// An access control list, without its rules.
    Acl(Name),
    /// A rule of an access control list, by its sequence number.
    AclRule(Name, u32),
    /// A neighbor set by hand, by interface and address.
    Neighbor(Name, IpAddr),
    /// What a VPC's route table holds for one prefix, whoever lays claim to it: an interface's address or subnet, a
    /// static route, an external address of NAT.
    Route(Name, Prefix),
    /// How far a VPC's static route for one prefix stands behind learned ones, where it says so.
    RouteDistance(Name, Prefix),
    /// A pool. It has no entry of its own; what is wrong with it is found here.
    Pool(Name),
    /// One of the sources of a masquerade rule, by the rule's name. It has no entry of its own; what is wrong with it is found
    /// here.
    Masquerade(Name, Prefix),
    /// The rules that masquerade some senders of a VPC where their packets leave by an interface: the VPC's name, the interface's,
    /// the senders.
    Masqueraded(Name, Name, Prefix),
    /// An exclusion. It has no entry of its own; what is wrong with it is found here.
    Exclusion(Name),
    /// All exclusions of a VPC.
    Exclusions(Name),
    /// A NAT64. It has no entry of its own; what is wrong with it is found here.
    Nat64(Name),
    /// All NAT64 of a VPC's clients.
    Nat64s(Name),
    /// A port forward.
    PortForward(Name),
    /// A static translation.
    StaticNat(Name),
    /// A peering with its sides.
    Peering(Name),
    /// Senders of one side of a peering, by the peering's name and the VPC's, whoever exposes them.
    Sender(Name, Name, Prefix),
    /// The translations of what one side of a peering exposes. Where nothing is translated it has no entry; what is wrong
    /// with it is found here.
    Expose(ExposeKey),
}
