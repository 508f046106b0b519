//! What everybody who administers the store should know, as the follower saw it last: a commit that waits for its
//! confirmation, commits that wait for their time, the exclusive lock, and what was done by the clock.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rewire_configdb::{Error, LockHolder, PendingConfirmation, Scheduled, Store};
use serde::{Deserialize, Serialize};

use crate::when;

/// Things done by the clock that are remembered.
const REMEMBERED: usize = 16;

/// A commit that goes back by itself unless it is confirmed. Times are RFC 3339 in UTC, here and below.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) revision: u64,
    pub(crate) back_to: u64,
    pub(crate) deadline: String,
    pub(crate) author: String,
}

/// Who holds the exclusive lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lock {
    pub(crate) holder: String,
    pub(crate) message: String,
    pub(crate) since: String,
    /// The process that it ends with.
    pub(crate) pid: u32,
}

/// A commit that waits for its time, or was refused when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) number: u64,
    pub(crate) at: String,
    pub(crate) author: String,
    pub(crate) message: String,
    /// Why it was refused.
    pub(crate) refused: Option<String>,
}

/// Something that the gateway did by the clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) time: String,
    pub(crate) text: String,
}

#[derive(Debug, Default)]
struct Seen {
    confirmation: Option<PendingConfirmation>,
    lock: Option<LockHolder>,
    scheduled: Vec<Scheduled>,
    events: VecDeque<Event>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Administration(Mutex<Seen>);

impl Administration {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Every change is a few assignments: whoever panicked left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the store anew.
    pub(crate) fn look(&self, store: &Store) -> Result<(), Error> {
        let confirmation = store.pending_confirmation()?;
        let (lock, scheduled) = (store.lock_holder()?, store.scheduled()?);
        let mut seen = self.seen();
        (seen.confirmation, seen.lock, seen.scheduled) = (confirmation, lock, scheduled);
        Ok(())
    }

    /// Remembers what was done by the clock, at a time in microseconds since the Unix epoch.
    pub(crate) fn happened(&self, at: i64, text: String) {
        let mut seen = self.seen();
        seen.events.truncate(REMEMBERED - 1);
        let time = when::utc(at);
        seen.events.push_front(Event { time, text });
    }

    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        let pending = self.seen().confirmation.clone()?;
        Some(Confirmation {
            revision: pending.revision,
            back_to: pending.back_to,
            deadline: when::utc(pending.deadline),
            author: pending.author,
        })
    }

    /// The lock ends with its process, of which the store does not hear.
    pub(crate) fn lock(&self) -> Option<Lock> {
        let lock = self
            .seen()
            .lock
            .clone()
            .filter(|lock| lock.session.is_alive())?;
        Some(Lock {
            holder: lock.holder,
            message: lock.message,
            since: when::utc(lock.since),
            pid: lock.session.pid,
        })
    }

    pub(crate) fn scheduled(&self) -> Vec<Waiting> {
        let waiting = |one: &Scheduled| Waiting {
            number: one.id,
            at: when::utc(one.at),
            author: one.author.clone(),
            message: one.message.clone(),
            refused: one.failed.as_ref().map(|(_, why)| why.clone()),
        };
        self.seen().scheduled.iter().map(waiting).collect()
    }

    /// What was done by the clock since the gateway started, the last first.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen().events.iter().cloned().collect()
    }
}
