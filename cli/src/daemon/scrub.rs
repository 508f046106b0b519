//! The scrub: what is stored is recounted now and then, because a disk that forgets says so only when it is read.
//!
//! It works in a thread with a connection of its own, a few rows at a time, and pauses after each for so long that it takes a
//! hundredth of a core: no commit waits for it, and the write-ahead log is free between two steps. What it finds is an
//! alarm; the last good tables stay, and the follower takes no revision over until a recount finds everything in order
//! again.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rewire_configdb::{Error, Scrubbed, Store};

use super::Daemon;
use crate::failure::with_sources;

/// The rows of one step. A step takes a millisecond or two.
const STEP: usize = 500;
/// The pause after a step, as a multiple of the time that it took.
const PAUSE_FACTOR: u32 = 99;
/// The pause after a step is never longer: a step that was slow by accident must not hold the recount up for a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Recounts until the daemon ends, each time after a pause.
pub(super) fn run(daemon: &Daemon, store: &Store, pause: Duration) {
    while daemon.progress.pause(pause) {
        match recount(daemon, store) {
            Ok(None) => return,
            Ok(Some(Scrubbed { revision, rows })) => {
                tracing::debug!(revision, rows, "what is stored is in order");
                if daemon.progress.repaired() {
                    tracing::warn!(revision, "what is stored is in order again");
                    daemon.kick();
                }
            }
            Err(Found { revision, error }) if error.is_damage() => {
                let how = with_sources(&error);
                daemon.progress.damaged(format!(
                    "revision {revision} is damaged in the store, the last good tables stay: {how}; `rewire journal verify` says more"
                ));
                // The follower raises the alarm.
                daemon.kick();
            }
            Err(Found { error, .. }) => {
                let why = with_sources(&error);
                tracing::warn!("what is stored cannot be recounted: {why}");
            }
        }
    }
}

/// What went wrong, and in which revision.
struct Found {
    revision: u64,
    error: Error,
}

/// Recounts once; none where the daemon ends before that.
fn recount(daemon: &Daemon, store: &Store) -> Result<Option<Scrubbed>, Found> {
    let of_last = |error| Found {
        revision: daemon.progress.head(),
        error,
    };
    let mut scrub = store.scrub().map_err(of_last)?;
    loop {
        let start = Instant::now();
        let step = scrub.step(STEP).map_err(|error| Found {
            revision: revision_of(&error).unwrap_or(scrub.revision()),
            error,
        })?;
        if let ControlFlow::Break(scrubbed) = step {
            return Ok(Some(scrubbed));
        }
        let pause = start.elapsed() * PAUSE_FACTOR;
        if !daemon.progress.pause(pause.min(LONGEST_PAUSE)) {
            return Ok(None);
        }
    }
}

/// The revision that damage names.
fn revision_of(error: &Error) -> Option<u64> {
    match error {
        Error::DigestMismatch { revision, .. } | Error::BrokenChain { revision, .. } => {
            Some(*revision)
        }
        _ => None,
    }
}
