//! Time, as the caller tells it.

use std::time::Duration;

/// A moment: nanoseconds on a clock that the caller owns, counted from wherever that clock begins. The clock is expected
/// never to go back. 2^64 ns are 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The moment `duration` later, or the last one that there is.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanoseconds))
    }

    /// The time since `earlier`; zero where that is later.
    #[must_use]
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Instant(5).saturating_add(second), Instant(1_000_000_005));
        assert_eq!(Instant(5).saturating_add(Duration::MAX), Instant(u64::MAX));
        assert_eq!(Instant(u64::MAX).saturating_add(second), Instant(u64::MAX));
        assert_eq!(Instant(1_000_000_005).duration_since(Instant(5)), second);
        assert_eq!(Instant(5).duration_since(Instant(6)), Duration::ZERO);
    }
}
