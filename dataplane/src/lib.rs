//! The dataplane: graph nodes, ports, workers, telemetry.
//!
//! [`graph`] is what a packet walks through, one node a file. [`Gateway`] runs it on threads, over the ports of a
//! [`PortDriver`](port::PortDriver); [`VirtualGateway`] steps the same graph on a clock that the caller owns. Either
//! is given the [`Change`] that leads to a revision, and publishes it to its workers as one generation.
//!
//! Every packet is accounted for: received + generated = transmitted + dropped by reason + consumed + held
//! ([`Totals::balanced`]).

pub mod buffer;
pub mod change;
pub mod clock;
mod connection_copy;
mod connection_table;
pub mod counters;
pub mod drop_reason;
mod first_packets;
mod flow_recording;
pub mod gateway;
pub mod graph;
pub mod learned_routes;
mod nat_ports;
mod neighbors;
pub mod offload;
mod packet_sampling;
mod peers;
pub mod port;
mod progress;
mod resolutions;
mod route_sources;
#[cfg(feature = "dpdk")]
pub mod rte_flow;
pub mod rule_counts;
mod saved_connections;
pub mod stopwatch;
mod table_sizes;
pub mod tap;
mod trial;
pub mod virtual_gateway;
pub mod walk;
pub mod watch;
mod worker;

/// What `progress.rs` synchronises with: the standard library's here, loom's in its model.
mod sync {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
}

pub use change::Change;
pub use connection_copy::CopiedConnections;
pub use connection_table::{
    ConnectionId, ConnectionTable, Ends, FoundConnections, ListedConnection, Names,
};
pub use counters::{Account, InterfaceTotals, Totals};
pub use drop_reason::DropReason;
pub use first_packets::FirstPackets;
pub use flow_recording::{ClockAnchor, FlowRecorders, FlowRecording};
pub use gateway::{Applied, Gateway, GatewayConfig, GatewayError, PortStatus, Shared};
pub use graph::Node;
pub use learned_routes::{RouteInlet, RouteTable};
pub use nat_ports::{ExternalAddresses, ListedPorts, Sharing};
pub use packet_sampling::{PacketSamplers, PacketSampling, SAMPLED_BYTES, SampledPacket};
pub use resolutions::Resolved;
pub use rewire_conntrack::State as ConnectionState;
pub use rewire_conntrack::recording;
pub use rewire_feed::Told;
pub use route_sources::route_sources;
pub use rule_counts::{CountedRule, RuleCountTable, RuleTraffic};
pub use saved_connections::{Restored, SavedError, SavedFlaw};
pub use stopwatch::NodeTotals;
pub use table_sizes::{AclSizes, SizesOfTables, TableSizes, VpcSizes};
pub use trial::{ASSUMED_NEIGHBOR, LiveTrials, Trial, Walk};
pub use virtual_gateway::{Sent, VirtualGateway};
