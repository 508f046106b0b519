//! Time comes from a clock that the caller owns, so that a test or a replay decides what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use rewire_conntrack::time::Instant;

/// A source of time that never goes back.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;
}

/// The system's monotonic clock, counted from the machine's start, so that the next gateway's goes on where this one's was; from
/// when this value was made, where the system does not say when it started.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    made: std::time::Instant,
    since_start: Duration,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let seconds = uptime.split(' ').next().and_then(|word| word.parse().ok());
        let since_start = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        MonotonicClock {
            made: std::time::Instant::now(),
            since_start: since_start.unwrap_or_default(),
        }
    }
}

impl Clock for MonotonicClock {
    fn now(&self) -> Instant {
        // 2^64 ns are 584 years.
        Instant((self.since_start + self.made.elapsed()).as_nanos() as u64)
    }
}

/// A clock that stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
    /// Moves the clock to `to`, unless it is there or later already.
    pub fn advance_to(&self, to: Instant) {
        self.0.fetch_max(to.0, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::Relaxed))
    }
}
