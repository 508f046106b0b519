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
//! - *Isolated*: one commit at a time, over all processes. A commit is built on a revision. When that is no longer the last
//!   one, it is merged with what others committed since, field by field, or refused: with [`Error::StaleCandidate`], or
//!   with [`Error::Conflicts`] that show base, ours and theirs. Readers never wait and always see one whole revision.
//! - *Consistent by itself*: types, references, ranges and unique keys are SQLite's to enforce, whoever writes. What SQL
//!   cannot say is asked of a [`Checker`] inside the transaction.
//! - *Never rewritten*: going back is a new revision. Entries are chained by hash; the digest of each state is kept up
//!   with the change; [`Store::verify`] recounts everything and names the revision where something is wrong.
//!   [`Store::prune`] shortens the journal from its beginning, behind a checkpoint that the rest is still proven against.
//! - *What has a time happens at its time*: the deadline of a commit that must be confirmed is part of the commit's
//!   transaction. [`Store::settle`] does what is due, whoever calls it first; nothing that was committed later is undone.
//!
//! # What it offers
//!
//! | to do what | by |
//! |---|---|
//! | keep edits | [`Store::save_candidate`], [`Store::rebase_candidate`], [`Store::rename_candidate`] |
//! | try, commit | [`Store::check`], [`Store::commit`] |
//! | commit, and go back unless it is confirmed | [`CommitRequest::confirm`], [`Store::confirm`] |
//! | commit later | [`Store::schedule`], [`Store::cancel`] |
//! | keep others out | [`Store::lock`], [`Store::unlock`] |
//! | go back, undo one revision | [`Store::rewind_changeset`], [`Store::revert_changeset`] |
//! | look back | [`Store::log`], [`Store::blame`], [`Store::configuration_at`], [`Store::reader`] |
//! | name a revision | [`Store::tag`] |
//! | look for damage while it is in use | [`Store::scrub`] |
//! | prove, keep elsewhere, follow, shorten | [`Store::verify`], [`Store::export`], [`Store::import`], [`Store::prune`] |
//!
//! # What it costs
//!
//! A commit reads and writes the rows that its changeset names, the rows that those refer to, and the last journal
//! entry's hash and digest: the change, not the configuration. Two things cost more: deleting a row makes SQLite look for
//! rows that still refer to it (an index look-up for each kind of reference, and one step for each that does), and a
//! [`Checker`] that asks for the whole configuration reads the whole configuration. [`Store::configuration`] reads
//! all rows, [`Store::configuration_at`] and [`Store::rewind_changeset`] also the entries in between, as a merge does;
//! [`Store::verify`] reads everything. [`Store::log`] reads no changeset, and [`Store::blame`] only those that touch what
//! it is asked about. `examples/measure.rs` says what that is in milliseconds.
//!
//! # Who reads what
//!
//! One connection reads and writes everything. The configuration's rows go by the tables' own definitions; whatever takes
//! several statements runs inside one snapshot or one transaction, so that rows, journal and checkpoint are of one moment.

mod apply;
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
#[cfg(test)]
mod plans;
mod prune;
mod reader;
mod revert;
mod rows;
mod schedule;
mod scrub;
mod session;
mod settle;
mod store;
mod tag;
mod verify;
mod whole;

pub use blame::Blame;
pub use candidate::{Candidate, CandidateEdit, CandidateSummary};
pub use commit::{Checked, Checker, CommitRequest, CommitTimes, Committed, StateReader, Unchecked};
pub use confirmation::PendingConfirmation;
pub use constraint::Dangling;
pub use error::Error;
pub use exchange::Imported;
pub use journal::Counts;
pub use lock::LockHolder;
pub use log::{LogEntry, LogQuery, Touching};
pub use merge::Conflict;
pub use prune::{Needed, Pruned};
pub use reader::Reader;
pub use rewire_journal::export::FileError;
pub use rewire_journal::{Entry, EntryKind, Hash, StateDigest};
pub use schedule::Scheduled;
pub use scrub::{Scrub, Scrubbed};
pub use session::Session;
pub use settle::{AUTOMATIC_AUTHOR, Settled};
pub use store::{SCHEMA_VERSION, Store};
pub use tag::Tag;
pub use verify::Verified;
pub use whole::CountedState;
