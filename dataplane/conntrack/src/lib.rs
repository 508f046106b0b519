//! Connections and NAT: states, time-outs, port allocation.
//!
//! One [`Connections`] belongs to one worker: no lock, no atomic, and no clock of its own. Every call that needs to
//! know the time is told it, as an [`Instant`] of a clock that the caller owns, so the same calls give the same answers.
//! All room is reserved at construction: nothing allocates or rehashes afterwards.
//!
//! A [`Flow`] is one connection, found by either of two keys: its packets' key as they arrive in the original direction,
//! and as replies to them arrive. Where the two are not reversals of each other, the flow is translated, and
//! [`Flow::rewrite`] says how. A [`Mapping`] is an external address and port that an internal endpoint holds for as long
//! as some flow uses it.
//!
//! A packet's way, in the caller's hands: [`Connections::lookup`]; where that finds a flow, [`Connections::update`] and
//! [`Flow::rewrite`]; where it does not, [`Connections::admits_new`], perhaps [`Connections::acquire_mapping`], and, once
//! nothing else can drop the packet, [`Connections::insert`].
//!
//! Where NAT64 translates, a flow of IPv6 has replies of IPv4: their key has IPv4-mapped addresses, and the protocol of
//! ICMPv6 for ICMP. So one table finds it by either key, and everything else here is the same; only
//! [`Connections::passage`] leaves its packets to whoever can change them.
//!
//! # Standards
//!
//! Time-outs and TCP states follow RFC 4787, RFC 5382, RFC 5508 and RFC 7857; mapping is endpoint-independent (RFC 4787
//! REQ-1) with paired address pooling (REQ-2) and no port overloading (REQ-3). Filtering is address- and port-dependent
//! (REQ-8 allows it): from outside only whom the inside spoke to gets in. Where a mapping is [opened](Connections::open_mapping),
//! whoever the caller lets in [joins](Connections::join) it.
//!
//! TCP segments are held to the windows of their connection (RFC 9293 section 3.10.7.4, as seen from the middle by G. van
//! Rooij, "Real Stateful TCP Packet Filtering in IP Filter", 2001). What an end would answer and drop passes, but neither
//! changes the state nor prolongs the connection; what begins beyond the receiver's window, or acknowledges what was not
//! allowed to be sent, is refused. A RST closes where its number is exactly at the end of what was sent (RFC 5961 section 3);
//! elsewhere in the window it shortens the connection's life to that of a reset one, until an end answers it. A connection
//! that is picked up in its middle has unknown windows, and is held to the largest there are.
//!
//! Of a segment that comes in fragments, the first one alone is seen here: what the others carry counts as sent when it is
//! acknowledged.
//!
//! Absent: timestamps (RFC 7323) as a second check; port randomization beyond a seeded starting point (RFC 7857 section 8, RFC 6056).

#![forbid(unsafe_code)]

mod byte_reader;
mod connections;
mod error;
mod fixed_map;
mod flow;
mod flow_counters;
mod index;
mod key;
mod key_hash;
mod mappings;
pub mod offload;
mod port_use;
mod ports;
pub mod recording;
mod records;
mod segment;
mod slab;
mod state;
mod sweep;
mod tcp;
pub mod time;
mod timeout_classes;
mod timeouts;
mod vpc_counts;

pub use byte_reader::ByteReader;
pub use connections::{
    Candidate, Config, Connections, CopiedFlow, EXPIRY_TICK, KeyHash, MAX_CAPACITY, NewForeseen,
    Removal, Renumber, Room, SavedFlow, in_order,
};
pub use error::{Exhausted, InsertError, Invalid, Resource};
pub use flow::{Admission, Ends, Flow, FlowId, Known, NewFlow, Passage, Rewrite, Traffic};
pub use key::{Direction, FlowKey};
pub use mappings::{Internal, Mapping, MappingRequest};
pub use port_use::PortUse;
pub use ports::{owner, owner_within};
pub use segment::{Segment, TcpSegment};
pub use state::{Exchange, IcmpState, State, StateCounts};
pub use tcp::TcpState;
pub use time::Instant;
pub use timeout_classes::TimeoutClass;
pub use timeouts::Timeouts;
pub use vpc_counts::VpcCounts;
