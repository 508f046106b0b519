//! Telemetry: how measurements leave the gateway.

use std::net::SocketAddr;

use crate::object::object;
use crate::types::{Duration, ExporterType, Line, Name};

object! {
    /// An exporter of measurements.
    ExporterRow in "telemetry_exporter" at "telemetry/exporters/{name}": "Exporters of measurements by name." {
        key { name: Name }
        columns {
            /// What it is for, in words.
            description: Option<Line>,
            /// How measurements leave.
            exporter_type as "type": ExporterType,
            /// Where scrapes are answered (prometheus), or where measurements are sent (all others).
            address: SocketAddr,
            /// The time between two reports; for ipfix, of a connection that goes on. Without it, 10s, and 60s for ipfix. Scrapes come when they come.
            interval: Option<Duration>,
            /// One packet in so many is sampled, for sflow. Without it, 1000. Connections are never sampled.
            sampling: Option<u32> [1..=u32::MAX],
        }
    }
}
