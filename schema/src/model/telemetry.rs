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
            /// The time between two reports. Without it, 10s. Scrapes come when they come.
            interval: Option<Duration>,
            /// One packet in so many is sampled, for ipfix and sflow. Without it, 1000.
            sampling: Option<u32> [1..=u32::MAX],
        }
    }
}
