//! From a revision to tables (whole), and from a changeset to table operations (incremental).
//!
//! A [`Compiler`] is warm: it holds one revision's configuration, and knows what the tables hold for it.
//! [`Compiler::compile`] makes one from a whole configuration, [`Compiler::apply`] takes it to the next revision, and
//! [`Compiler::check`] says whether it could. All three come from the same three parts, which is why folding `apply`
//! over any history gives the tables that `compile` gives for its last state:
//!
//! - an *entity* (`entity.rs`) names one thing that the tables may hold: a VPC, an interface, a route's slot, a rule, an
//!   expose of a peering (`exposes.rs`);
//! - `derive.rs` says what they must hold for it, from the configuration alone, whatever came before;
//! - `dependencies.rs` says, for a row that changed, which entities may now derive to something else.
//!
//! What is deactivated is not there for any of them: `stored.rs` keeps it aside, and says what a stored changeset does to what
//! is in effect. What the model can say and this dataplane cannot do is in one table, `unsupported.rs`; it is refused by
//! name.
//!
//! Incremental: the entities that depend on the changed rows are derived in the old state and in the new one, and where
//! the two differ, `operations.rs` leads from the one to the other. Whole (`whole.rs`): every entity, from nothing.
//!
//! # Cost
//!
//! `apply` costs the changed rows and what depends on them, times the logarithm of the configuration; reverse indices
//! (`references.rs`) are kept up row by row, so that nothing is searched for. What depends on a row is small but for these:
//! the addresses, neighbors and masquerades of an interface that moves, the sources of a masquerade rule or pool that changes,
//! everything in a VPC that comes or goes, and everything below an object that is deactivated or no longer. An interface that
//! goes down or up costs a look at all next hops. A changeset that takes away what is still referred to may cost a scan
//! before it is refused. `compile` costs the configuration.

mod acl;
pub mod compiler;
mod dependencies;
mod derive;
mod derive_nat;
mod derive_peering;
mod entity;
mod entries;
pub mod error;
pub mod explain;
mod exposes;
mod indices;
pub mod intents;
mod operations;
mod parallel;
mod provenance;
mod references;
mod shadowed;
mod state;
mod stored;
mod unsupported;
pub mod warnings;
mod whole;

pub use compiler::{Compiled, Compiler, PortChange};
pub use error::{CompileError, Errors};
pub use explain::{Explanation, Question};
pub use intents::{Counterexample, NotProven};
pub use unsupported::{not_yet, unsupported};
pub use warnings::{warnings, warnings_of_change};

/// The most VPCs, the most interfaces, and the most ACLs, that a configuration can have.
pub const MOST_INDICES: u16 = u16::MAX;

pub use rewire_schema::meaning::{
    LONGEST_NPTV6_PREFIX, MOST_FORWARDED_PORTS, MOST_POOL_ADDRESSES, MOST_STATIC_ADDRESSES,
};

// What the check lets through, no packet is too long on its way for, and every prefix of NPTv6 is translated.
const _: () = assert!(rewire_schema::meaning::MOST_LOOKUPS == rewire_tables::MOST_LOOKUPS);
const _: () = assert!(LONGEST_NPTV6_PREFIX == rewire_tables::nat::LONGEST_NPTV6_PREFIX);

#[cfg(test)]
mod tests;
