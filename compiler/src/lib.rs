//! From a revision to tables (whole), and from a changeset to table operations (incremental).
//!
//! A [`Compiler`] is warm: it holds one revision's configuration, and knows what the tables hold for it.
//! [`Compiler::compile`] makes one from a whole configuration, [`Compiler::apply`] takes it to the next revision, and
//! [`Compiler::check`] says whether it could. All three come from the same three parts, which is why folding `apply`
//! over any history gives the tables that `compile` gives for its last state:
//!
//! - an *entity* (`entity.rs`) names one thing that the tables may hold: a VPC, an interface, a route's slot, a rule;
//! - `derive.rs` says what they must hold for it, from the configuration alone, whatever came before;
//! - `dependencies.rs` says, for a row that changed, which entities may now derive to something else.
//!
//! Incremental: the entities that depend on the changed rows are derived in the old state and in the new one, and where
//! the two differ, `operations.rs` leads from the one to the other. Whole: every entity, from nothing.
//!
//! # Cost
//!
//! `apply` costs the changed rows and what depends on them, times the logarithm of the configuration; reverse indices
//! (`references.rs`) are kept up row by row, so that nothing is searched for. What depends on a row is small but for these:
//! the addresses, neighbors and masquerades of an interface that moves, the sources of a masquerade rule or pool that changes,
//! and everything in a VPC that comes or goes. A changeset that takes away what is still referred to may cost a scan
//! before it is refused. `compile` costs the configuration.

pub mod compiler;
mod dependencies;
mod derive;
mod entity;
mod entries;
pub mod error;
mod indices;
mod operations;
mod references;
mod state;
mod stored;
mod unsupported;

pub use compiler::{Compiled, Compiler, PortChange};
pub use error::{CompileError, Errors};
pub use unsupported::{not_yet, unsupported};

/// The most VPCs, and the most interfaces, that a configuration can have.
pub const MOST_INDICES: u16 = u16::MAX;

/// The most addresses of a pool, over all of its ranges.
pub const MOST_POOL_ADDRESSES: u128 = 65_536;

/// The most ports of a port forward, counted for either protocol: each has an entry of its own.
pub const MOST_FORWARDED_PORTS: u32 = 16_384;

/// The most addresses of a static translation: each has an entry of its own.
pub const MOST_STATIC_ADDRESSES: u32 = 4_096;

#[cfg(test)]
mod tests;
