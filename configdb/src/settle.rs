//! What is due by the clock: going back from commits that nobody confirmed, and commits that waited for their time.

use std::ops::RangeInclusive;

use rewire_journal::EntryKind;

use crate::commit::{Checker, CommitRequest, Committed, Unchecked, attempt};
use crate::confirmation::{self, PendingConfirmation};
use crate::error::{During, Error};
use crate::history::way_back;
use crate::journal;
use crate::lock;
use crate::schedule::{self, Scheduled};
use crate::store::Store;

/// The author of commits that nobody makes.
pub const AUTOMATIC_AUTHOR: &str = "rewire";

/// How long to wait before looking again at a due commit that somebody's exclusive lock holds up, in microseconds.
const LOOK_AGAIN: i64 = 1_000_000;

/// Something that was due, and was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Nobody confirmed in time: the state of an earlier revision is back.
    WentBack {
        /// The revisions that were not confirmed.
        unconfirmed: RangeInclusive<u64>,
        /// The revision whose state is back.
        to: u64,
        /// The new revision; none where the state was the same anyway.
        committed: Option<Committed>,
    },
    /// A scheduled commit was committed.
    Committed {
        /// What was scheduled.
        scheduled: Scheduled,
        /// The new revision.
        committed: Committed,
    },
    /// A scheduled commit was refused. It stays, marked so, until it is cancelled.
    Refused {
        /// What was scheduled, with when and why it was refused.
        scheduled: Scheduled,
    },
}

impl Store {
    /// When [`Store::settle`] has something to do next: microseconds since the Unix epoch, in the past where it has now.
    /// None where nothing is waited for. Constant cost.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`].
    pub fn next_deadline(&self) -> Result<Option<i64>, Error> {
        let snapshot = self.snapshot()?;
        if let Some(pending) = confirmation::pending(&snapshot)? {
            return Ok(Some(pending.deadline));
        }
        let Some(scheduled) = schedule::next(&snapshot)? else {
            return Ok(None);
        };
        Ok(Some(
            match lock::holder_other_than(&snapshot, &self.sessions)? {
                Some(_) => scheduled.at.max((self.clock)().saturating_add(LOOK_AGAIN)),
                None => scheduled.at,
            },
        ))
    }

    /// Does all that is due by the store's clock, and says what it did.
    ///
    /// - Commits that nobody confirmed in time are gone back from: a rewind by [`AUTOMATIC_AUTHOR`]. The state that comes
    ///   back was let through when it was committed, and is not checked again; an exclusive lock does not stop it. What was
    ///   committed later is never undone: a later commit confirms.
    /// - Scheduled commits whose time has come are merged with what was committed since, and committed, in the order of
    ///   their times. One that is refused is marked so, and holds nothing up. None is committed while a commit waits for
    ///   its confirmation, which it would give, or while somebody else holds the exclusive lock: then all of them wait.
    ///
    /// Each is one transaction that sees for itself whether it is still due, so that several processes may call this at
    /// the same time. Where nothing is due, nothing is locked.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`], [`Error::Sqlite`], [`Error::Damaged`], and what is wrong with the journal: whatever keeps the
    /// store from working, rather than one commit from being let through. What was done before stays done.
    pub fn settle(&mut self, checker: &mut dyn Checker) -> Result<Vec<Settled>, Error> {
        let mut settled = Vec::new();
        while self
            .next_deadline()?
            .is_some_and(|due| due <= (self.clock)())
        {
            let one = match self.go_back()? {
                Some(one) => Some(one),
                None => self.commit_scheduled(checker)?,
            };
            settled.extend(one);
        }
        Ok(settled)
    }

    /// Goes back from what was not confirmed in time, if there is anything.
    fn go_back(&mut self) -> Result<Option<Settled>, Error> {
        let transaction = self.begin()?;
        let pending = confirmation::pending(&transaction)?;
        let Some(pending) = pending.filter(|pending| pending.deadline <= (self.clock)()) else {
            return Ok(None);
        };
        let PendingConfirmation {
            revision, back_to, ..
        } = pending;
        let changeset = way_back(&transaction, back_to)?;
        let unconfirmed = back_to + 1..=revision;
        let committed = if changeset.is_empty() {
            confirmation::clear(&transaction)?;
            None
        } else {
            let head = journal::revision(&transaction)?;
            let message = going_back(&unconfirmed, back_to);
            let request = CommitRequest {
                kind: EntryKind::Rewind { to: back_to },
                ..CommitRequest::new(head, &changeset, AUTOMATIC_AUTHOR, &message)
            };
            let attempt = attempt(&transaction, &request, &mut Unchecked)?;
            Some(self.record(&transaction, &request, attempt)?)
        };
        transaction.commit().during("going back")?;
        Ok(Some(Settled::WentBack {
            unconfirmed,
            to: back_to,
            committed,
        }))
    }

    /// Commits, or marks as refused, the next scheduled commit that is due, if one is.
    fn commit_scheduled(&mut self, checker: &mut dyn Checker) -> Result<Option<Settled>, Error> {
        let during = "committing what was scheduled";
        let now = (self.clock)();
        let transaction = self.begin()?;
        if confirmation::pending(&transaction)?.is_some()
            || lock::holder_other_than(&transaction, &self.sessions)?.is_some()
        {
            return Ok(None);
        }
        let Some(mut scheduled) = schedule::next(&transaction)?.filter(|next| next.at <= now)
        else {
            return Ok(None);
        };
        // What is refused may have written half of its rows: back to here, and no further, so that the mark stands in the
        // same transaction.
        transaction
            .execute_batch("SAVEPOINT scheduled")
            .during(during)?;
        let outcome = schedule::changeset(&transaction, scheduled.id).and_then(|changeset| {
            let request = CommitRequest {
                kind: scheduled.kind,
                merge: true,
                confirm: scheduled.confirm,
                ..CommitRequest::new(
                    scheduled.base,
                    &changeset,
                    &scheduled.author,
                    &scheduled.message,
                )
            };
            let attempt = attempt(&transaction, &request, checker)?;
            self.record(&transaction, &request, attempt)
        });
        let settled = match outcome {
            Ok(committed) => {
                schedule::remove(&transaction, scheduled.id)?;
                Settled::Committed {
                    scheduled,
                    committed,
                }
            }
            Err(error) if !error.is_refusal() => return Err(error),
            Err(error) => {
                transaction
                    .execute_batch("ROLLBACK TO scheduled")
                    .during(during)?;
                let why = with_sources(&error);
                schedule::fail(&transaction, scheduled.id, now, &why)?;
                scheduled.failed = Some((now, why));
                Settled::Refused { scheduled }
            }
        };
        transaction.commit().during(during)?;
        Ok(Some(settled))
    }
}

fn going_back(unconfirmed: &RangeInclusive<u64>, to: u64) -> String {
    let (first, last) = (unconfirmed.start(), unconfirmed.end());
    if first == last {
        format!("revision {last} was not confirmed in time: back to revision {to}")
    } else {
        format!("revisions {first} to {last} were not confirmed in time: back to revision {to}")
    }
}

/// The error with all that caused it, on one line.
fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
