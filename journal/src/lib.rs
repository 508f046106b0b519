//! Reversible operations: changesets as bytes, the digest of a state, the chain of entries.
//!
//! - [`encode`] and [`decode`] turn a [`Changeset`](rewire_schema::Changeset) into bytes and back. The bytes name
//!   their tables and columns, so that an old entry stays readable after a schema migration that adds columns, and one
//!   that cannot be read says which table or column is no longer known.
//! - [`find`] takes the changes of a few rows out of the bytes without reading the rest, and a [`RowFilter`], ten bits a
//!   row, tells which entries need not be looked into at all; [`WantedBelow`] asks after an object with all its parts.
//! - A [`Fold`] follows encoded changesets to the rows that they lead to, and a [`Recount`] makes anew what is kept beside
//!   them in short: both at the cost of the bytes, without making rows.
//! - [`StateDigest`] names a state. It is kept up at the cost of a change and equals a recount of all rows.
//! - [`Entry`] is one revision's record; each holds the hash of the one before it, so that no entry can be changed,
//!   dropped or moved without [`verify_chain`] naming the place. Whoever can rewrite the whole file can also build a
//!   new chain: the chain shows damage and tampering against a hash that was kept elsewhere.
//! - [`export`] writes entries to a file and reads them back, each checked on the way.
//!
//! Nothing here touches a disk; the store is `rewire-configdb`.

mod digest;
mod encoding;
mod entry;
mod error;
pub mod export;
pub mod filter;
mod find;
mod fold;
mod recorded;
mod recount;
mod wire;

pub use digest::{RowCounter, StateDigest};
pub use encoding::{decode, encode};
pub use entry::{Chain, Entry, EntryKind, Hash, genesis, verify_chain};
pub use error::{ChainFault, JournalError};
pub use filter::RowFilter;
pub use find::{WantedBelow, WantedRows, find};
pub use fold::{Fold, Met};
pub use recount::{Recount, Summary};
pub use rewire_schema::RawValue;
