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
//! # Standards
//!
//! Time-outs and TCP states follow RFC 4787, RFC 5382, RFC 5508 and RFC 7857; mapping is endpoint-independent (RFC 4787
//! REQ-1) with paired address pooling (REQ-2) and no port overloading (REQ-3). Filtering is address- and port-dependent
//! (REQ-8 allows it): from outside only whom the inside spoke to gets in.
//!
//! Absent: TCP sequence-window checks, so a RST with any sequence number moves a connection to [`TcpState::Closed`], from
//! where it still forwards (see there); port parity (RFC 4787 REQ-4; RFC 7857 section 7 lets a NAT do without); port
//! randomization beyond a seeded starting point (RFC 7857 section 8, RFC 6056); endpoint-independent filtering.

#![forbid(unsafe_code)]

mod connections;
mod error;
mod fixed_map;
mod flow;
mod flow_counters;
mod index;
mod key;
mod mappings;
mod ports;
mod records;
mod segment;
mod slab;
mod state;
mod sweep;
mod tcp;
pub mod time;
mod timeouts;

pub use connections::{Candidate, Config, Connections, EXPIRY_TICK, KeyHash, MAX_CAPACITY};
pub use error::{Exhausted, InsertError, Invalid, Resource};
pub use flow::{Admission, Flow, FlowId, Known, NewFlow, Passage, Rewrite, Traffic};
pub use key::{Direction, FlowKey};
pub use mappings::{Internal, Mapping};
pub use ports::owner;
pub use segment::{Segment, TcpSegment};
pub use state::{Exchange, IcmpState, State, StateCounts};
pub use tcp::TcpState;
pub use time::Instant;
pub use timeouts::Timeouts;
