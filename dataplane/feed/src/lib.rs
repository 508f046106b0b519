//! Learned routes: what a routing daemon says, and which routes win.
//!
//! A routing daemon speaks BGP or OSPF with the world and tells the gateway what it has learned, over the protocol of FRRouting's
//! Forwarding Plane Manager: netlink messages in frames, over TCP ([`frame`], [`netlink`]). [`decode`](decode()) makes
//! [`Update`]s of them; [`Feeds`] is the thread that listens, one for all sources; [`Rib`] holds every candidate for every
//! prefix and says which of them the tables get.
//!
//! Everything from a peer is bounded and checked. What makes no sense is dropped and counted by reason ([`Ignored`]); only a
//! stream that is no stream of frames ends its session.

mod config;
mod counters;
pub mod decode;
mod feeds;
pub mod frame;
mod ignored;
pub mod netlink;
mod rib;
mod session;
mod sets;
mod source;
mod update;
#[cfg(test)]
mod wire;

pub use config::{STALE_TIME, SourceConfig, distance_of, protocol_name};
pub use counters::{Counters, SourceCounters};
pub use decode::decode;
pub use feeds::{Batch, Deliver, Feeds, Gone};
pub use ignored::Ignored;
pub use rib::{LearnedCopy, Owner, Rib, RouteQuery, ShownHop, ShownRoute, ShownRoutes, Told};
pub use update::{Destination, Discard, Gateway, LearnedRoute, NextHopObject, Update};
