//! The dataplane: graph nodes, ports, workers, telemetry.
