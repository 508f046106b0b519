//! Packet headers: views over bytes, values to build from, checksums.
