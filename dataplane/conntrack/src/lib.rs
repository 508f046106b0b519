//! Connections and NAT: states, time-outs, port allocation.
