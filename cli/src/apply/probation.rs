//! A directory whose commits must be confirmed: by somebody, by their probes, or they are gone back from.
//!
//! What is confirmed is the directory's state as before. What is gone back from is refused until the documents are others: to commit it
//! again would only wait for the same end, again and again. The deadline is the store's, as of every commit: whoever dies, it is gone back.

use std::time::Duration;

use rewire_configdb::{AUTOMATIC_AUTHOR, EntryKind, PendingConfirmation, Store};
use rewire_schema::Configuration;
use serde_json::{Value, json};

use super::applied::Applied;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::when;

/// How commits are confirmed, and what became of the last one.
#[derive(Debug, Default)]
pub(super) struct Probation {
    /// After how long they are gone back from, unless they are confirmed; none where they need not be.
    pub(super) time: Option<Duration>,
    /// Whether their probes confirm them.
    pub(super) auto: bool,
    /// The commit that waits, and the documents that it came of.
    pending: Option<(PendingConfirmation, blake3::Hash)>,
    /// What the probes said last.
    pub(super) problem: Option<String>,
    /// The documents that were gone back from, and how.
    gone_back: Option<(blake3::Hash, Gone)>,
}

/// A commit that was gone back from.
#[derive(Clone, Debug)]
struct Gone {
    revision: u64,
    back_to: u64,
    /// What the probes said last.
    problem: Option<String>,
}

impl Gone {
    fn failure(&self) -> Failure {
        let Gone {
            revision, back_to, ..
        } = self;
        let mut message = format!(
            "revision {revision}, which said what the directory says, was not confirmed in time and is gone back from, to the state of revision {back_to}"
        );
        if let Some(problem) = &self.problem {
            message.push_str(": ");
            message.push_str(problem);
        }
        Failure::new(Code::NotConfirmed, message)
            .help("change the documents, or commit by hand what they say")
            .detail("revision", *revision)
            .detail("back_to", *back_to)
    }
}

impl Probation {
    pub(super) fn new(time: Option<Duration>, auto: bool) -> Probation {
        Probation {
            time,
            auto,
            ..Probation::default()
        }
    }

    /// A commit that came of these documents waits.
    pub(super) fn begin(&mut self, pending: PendingConfirmation, documents: blake3::Hash) {
        self.pending = Some((pending, documents));
        self.problem = None;
    }

    /// Whether it is the directory's own commit that waits: one on top of it waits, too, and both are gone back from together.
    pub(super) fn is_own(&self, pending: &PendingConfirmation) -> bool {
        let own = self.pending.as_ref();
        self.time.is_some() && own.is_some_and(|(own, _)| own.revision == pending.revision)
    }

    /// Looks whether the commit that waited still does; what is confirmed is kept as applied.
    pub(super) fn follow(&mut self, store: &Store, applied: &mut Applied) -> Result<(), Failure> {
        let still = store
            .pending_confirmation()?
            .map(|pending| pending.revision);
        let Some((pending, documents)) =
            self.pending.take_if(|(own, _)| Some(own.revision) != still)
        else {
            return Ok(());
        };
        let tried = applied.tried.take();
        match went_back(store, pending.revision + 1)? {
            Some(back_to) => {
                let gone = Gone {
                    revision: pending.revision,
                    back_to,
                    problem: self.problem.take(),
                };
                self.gone_back = Some((documents, gone));
                Ok(())
            }
            None => match tried {
                Some(tried) => applied.keep(&tried).map_err(super::cannot_keep),
                None => Ok(()),
            },
        }
    }

    /// Why these documents are not committed: they were, and are gone back from. Who has just begun to watch sees it from the store's
    /// last revision.
    pub(super) fn refuses(
        &mut self,
        store: &Store,
        head: u64,
        documents: blake3::Hash,
        says_so: impl Fn(&Configuration) -> bool,
    ) -> Result<Option<Failure>, Failure> {
        if let Some((gone_back, gone)) = &self.gone_back {
            return Ok((*gone_back == documents).then(|| gone.failure()));
        }
        let Some(back_to) = went_back(store, head)? else {
            return Ok(None);
        };
        let revision = head - 1;
        if !says_so(&store.configuration_at(revision)?) {
            return Ok(None);
        }
        let gone = Gone {
            revision,
            back_to,
            problem: None,
        };
        let failure = gone.failure();
        self.gone_back = Some((documents, gone));
        Ok(Some(failure))
    }
}

/// Where a revision went back to, if it is the store's own way back from a commit that nobody confirmed.
fn went_back(store: &Store, revision: u64) -> Result<Option<u64>, Failure> {
    if revision == 0 || revision > store.head()? {
        return Ok(None);
    }
    let entry = store.entry(revision)?;
    Ok(match entry.kind {
        EntryKind::Rewind { to } if entry.author == AUTOMATIC_AUTHOR => Some(to),
        _ => None,
    })
}

/// A commit that waits, for machines.
pub(super) fn to_json(pending: &PendingConfirmation) -> Value {
    json!({
        "revision": pending.revision,
        "back_to": pending.back_to,
        "by": when::utc(pending.deadline),
    })
}

/// The same for people.
pub(super) fn say(context: &Context, pending: &PendingConfirmation) -> Result<(), Failure> {
    context.say(&format!(
        "it goes back to revision {} at {}, unless it is confirmed\n",
        pending.back_to,
        when::local(pending.deadline)
    ))
}
