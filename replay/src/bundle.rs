//! Bundles: all that it takes to replay something again, alone, in one folder: what a failing replay leaves, and what was recorded
//! of a gateway.
//!
//! ```text
//! manifest.json    how it is replayed, what failed, and the length and digest of every other file
//! journal          the revisions, as `rewire journal export` writes them
//! packets.pcapng   the frames that come in, with their interfaces, times and directions
//! routes.jsonl     what routing daemons said to the gateway, where they did: one update a line
//! connections      the connections that there were before, where there were any: in the gateway's own form
//! expected-1.pcap  the frames that must leave by an interface, which the manifest names; and so on
//! README.txt       what this is, for whoever finds it
//! ```
//!
//! A folder, and not one file, so that any tool can look into its parts. It is written beside its place, and moved there when it is
//! whole.

mod aim;
mod case;
mod error;
mod fields;
mod frames;
mod manifest;
mod pack;
mod parting;
#[cfg(test)]
mod planted;
mod read;
mod record;
mod routes;
mod shrink;
#[cfg(test)]
mod tests;
mod write;

pub use error::BundleError;
pub(crate) use frames::Noted;
pub use manifest::{
    ExpectedFile, FileDigest, MANIFEST, Manifest, Recorded, Revisions, Scheduled, Settings, Shrunk,
};
pub use pack::{Limits, Packing, expect_free, pack};
pub use read::{Bundle, is_bundle};
pub use record::Draft as RecordingDraft;
