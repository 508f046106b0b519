//! What workers read: one immutable snapshot per generation, under left-right.
//!
//! [`Tables`] is the one root. It changes by [`TableOperation`]s alone, which the compiler makes from changesets and
//! the data path from what it learns. The [`Publisher`] makes operations visible as one generation; each worker enters
//! it once for each burst through its [`Reader`], so that no packet ever sees half a commit.
//!
//! Indices ([`VpcIndex`], [`InterfaceIndex`]) are dense: a packet's ingress port gives its interface, and that its VPC,
//! by one array access each.

pub mod acl;
pub mod address;
pub mod digest;
pub mod follow;
pub mod growing;
pub mod index;
mod limits;
pub mod lpm;
pub mod memory;
pub mod nat;
pub mod next_hops;
pub mod operation;
pub mod peering;
mod pending;
pub mod publish;
pub mod route;
pub mod tables;
mod timeouts;

pub use acl::{Acl, AclFamily, AclKey, AclRule};
pub use address::Address;
pub use digest::TablesDigest;
pub use follow::{MOST_LOOKUPS, Stop, Traveller, Way};
pub use index::{AclIndex, InterfaceIndex, PeeringIndex, VpcIndex};
pub use limits::ConnectionLimits;
pub use lpm::{Key, Lpm, ValueNumber};
pub use nat::{
    Filtering, Masquerade, NatPolicy, PortAllocation, PortForward, PortForwardKey, StaticNat,
};
pub use next_hops::NextHops;
pub use operation::TableOperation;
pub use peering::{Crossing, Peering};
pub use publish::{Guard, PublishLate, Publisher, Reader};
pub use route::{NextHop, Route};
pub use tables::{Interface, Tables, Vpc};
pub use timeouts::VpcTimeouts;
