//! The configuration store: candidates, commits, history, rewind. One SQLite file.
//!
//! ```no_run
//! use rewire_configdb::{CommitRequest, Store, Unchecked};
//! use rewire_schema::model::VpcRow;
//! use rewire_schema::{Change, Changeset};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut store = Store::create("gateway.db")?;
//! let base = store.head()?;
//! let blue = VpcRow::new("blue".parse()?);
//! let changeset: Changeset = [Change::Insert(blue.into())].into_iter().collect();
//! let request = CommitRequest::new(base, &changeset, "ada", "the first network");
//! let committed = store.commit(request, &mut Unchecked)?;
//! assert_eq!(committed.revision, base + 1);
//! # Ok(()) }
//! ```
//!
//! # What it promises
//!
//! - *Durable*: when [`Store::commit`] returns, the revision is on the disk (write-ahead log, `synchronous=FULL`: one
//!   fsync a commit). A revision that was not acknowledged is there whole or not at all.
//! - *All or nothing*: rows, journal entry, state digest and the end of the candidate are one transaction. A commit that
//!   fails changes nothing, leaves the candidate as it was, and the next one works.
//! - *Isolated*: one commit at a time, over all processes. A commit is built on a revision and is refused with
//!   [`Error::StaleCandidate`] when that is no longer the last one. Readers never wait and always see one whole revision.
//! - *Consistent by itself*: types, references, ranges and unique keys are SQLite's to enforce, whoever writes. What SQL
//!   cannot say is asked of a [`Checker`] inside the transaction.
//! - *Never rewritten*: going back is a new revision. Entries are chained by hash; the digest of each state is kept up
//!   with the change; [`Store::verify`] recounts everything and names the revision where something is wrong.
//!
//! # What it costs
//!
//! A commit reads and writes the rows that its changeset names, the rows that those refer to, and the last journal
//! entry's hash and digest: the change, not the configuration. Two things cost more: deleting a row makes SQLite look for
//! rows that still refer to it (an index look-up for each kind of reference, and one step for each that does), and a
//! [`Checker`] that asks for the whole configuration reads the whole configuration. [`Store::configuration`] reads
//! all rows, [`Store::configuration_at`] and [`Store::rewind_changeset`] also the entries in between, [`Store::verify`]
//! everything.
//!
//! # Who reads what
//!
//! One connection reads and writes everything. The configuration's rows go by the tables' own definitions; whatever takes
//! several statements runs inside one snapshot or one transaction, so that rows, journal and checkpoint are of one moment.

mod blame;
mod candidate;
mod commit;
mod confirmation;
mod constraint;
mod error;
mod exchange;
mod file;
mod history;
mod journal;
mod lock;
mod log;
mod merge;
mod migrate;
mod prune;
mod reader;
mod revert;
mod rows;
mod schedule;
mod session;
mod settle;
mod store;
mod tag;
mod verify;

pub use blame::Blame;
pub use candidate::{Candidate, CandidateEdit, CandidateSummary};
pub use commit::{Checked, Checker, CommitRequest, CommitTimes, Committed, StateReader, Unchecked};
pub use confirmation::PendingConfirmation;
pub use constraint::Dangling;
pub use error::Error;
pub use exchange::Imported;
pub use journal::Counts;
pub use lock::LockHolder;
pub use log::{LogEntry, LogQuery};
pub use merge::Conflict;
pub use prune::{Needed, Pruned};
pub use reader::Reader;
pub use rewire_journal::export::FileError;
pub use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
pub use schedule::Scheduled;
pub use session::Session;
pub use settle::{AUTOMATIC_AUTHOR, Settled};
pub use store::{SCHEMA_VERSION, Store};
pub use tag::Tag;
pub use verify::Verified;
