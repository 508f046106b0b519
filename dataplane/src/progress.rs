//! Where a worker stands, for a manager that waits until a generation is live.
//!
//! `tests/progress_model.rs` holds this file to every order in which two threads can run.

use crate::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// A worker's place between generations, written by the worker and read by the manager; and the manager's wish that it
/// end.
// In lines of its own: another's would be waited for at every burst.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Progress {
    /// The generation that the current burst runs under, or one of the two marks.
    generation: AtomicU64,
    stop: AtomicBool,
}

/// The worker is between two bursts.
const OUTSIDE: u64 = u64::MAX;
/// The worker is about to enter a generation, and it is not known yet which.
const ENTERING: u64 = 0;

impl Default for Progress {
    fn default() -> Self {
        Progress {
            generation: AtomicU64::new(OUTSIDE),
            stop: AtomicBool::new(false),
        }
    }
}

impl Progress {
    /// The worker is about to enter the tables. Comes before entering, which has a sequentially consistent fence ahead
    /// of its choice of a half, as left-right's does.
    pub(crate) fn enter(&self) {
        self.generation.store(ENTERING, Ordering::Release);
    }

    /// The worker has entered this generation.
    pub(crate) fn entered(&self, generation: u64) {
        self.generation.store(generation, Ordering::Release);
    }

    /// The worker has left the tables.
    pub(crate) fn leave(&self) {
        self.generation.store(OUTSIDE, Ordering::Release);
    }

    /// Whether the worker has left every generation before `generation`, which is published: it is between two bursts,
    /// or in one that began later.
    pub(crate) fn has_left_before(&self, generation: u64) -> bool {
        // Pairs with the fence between the worker's mark and its choice of a half: either the mark is seen here, or the
        // worker sees the halves as they were swapped before this call.
        fence(Ordering::SeqCst);
        let current = self.generation.load(Ordering::Acquire);
        current == OUTSIDE || (current != ENTERING && current >= generation)
    }

    /// Asks the worker to end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether the worker is asked to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
