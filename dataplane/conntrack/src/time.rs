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

    /// The first moment from here on that tells whether a connection [began](crate::Flow::created) before it or not: on a whole unit of
    /// 2^30 ns, in which that is kept.
    #[must_use]
    pub fn next_age(self) -> Self {
        Instant(self.0.saturating_add((1 << 30) - 1) >> 30 << 30)
    }

    /// The time since `earlier`; zero where that is later.
    #[must_use]
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// How exact the end of a connection is: its time-out ends with the first whole step of the clock after it.
pub const DEADLINE_STEP: Duration = Duration::from_nanos(1 << DEADLINE_BITS);
/// 2^20 ns, a little more than a millisecond.
const DEADLINE_BITS: u32 = 20;
/// The longest time-out that a deadline can say, 13 days: 2^30 steps. As far behind, it is told from what is ahead.
pub const LONGEST_TIMEOUT: Duration = Duration::from_nanos(1 << (DEADLINE_BITS + 30));

/// A time-out that a deadline can say, in ns, and what rounds its end up to a whole step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(u64);

impl Timeout {
    /// Its end, if it begins now, but for what a deadline rounds down.
    #[inline]
    pub(crate) fn end(self, now: Instant) -> Instant {
        Instant(now.0.wrapping_add(self.0))
    }

    pub(crate) fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for Timeout {
    fn from(duration: Duration) -> Self {
        Timeout(duration.min(LONGEST_TIMEOUT).as_nanos() as u64 + (1 << DEADLINE_BITS) - 1)
    }
}

/// When a connection ends, in steps of [`DEADLINE_STEP`], modulo 2^32: it means something next to a clock that is not
/// farther from it than 2^31 steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(u32);

impl Deadline {
    /// The end of a time-out that begins now.
    #[inline]
    pub(crate) fn after(now: Instant, timeout: Timeout) -> Self {
        Deadline((timeout.end(now).0 >> DEADLINE_BITS) as u32)
    }

    /// At this moment, or up to a step later.
    pub(crate) fn at(end: Instant) -> Self {
        Deadline(end.0.div_ceil(1 << DEADLINE_BITS) as u32)
    }

    /// What has passed already.
    pub(crate) fn past(now: Instant) -> Self {
        Deadline((now.0 >> DEADLINE_BITS) as u32)
    }

    #[inline]
    pub(crate) fn is_over(self, now: Instant) -> bool {
        self.steps_from(now) <= 0
    }

    /// The steps from now; negative where it is over.
    #[inline]
    fn steps_from(self, now: Instant) -> i32 {
        self.0.wrapping_sub((now.0 >> DEADLINE_BITS) as u32) as i32
    }

    /// Whether it is before another, which means something next to the same clock.
    #[inline]
    pub(crate) fn is_before(self, other: Self) -> bool {
        (self.0.wrapping_sub(other.0) as i32) < 0
    }

    /// The one that comes first, next to the same clock.
    pub(crate) fn earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// The moment, next to a clock that is near it.
    #[inline]
    pub(crate) fn instant(self, now: Instant) -> Instant {
        let steps = (now.0 >> DEADLINE_BITS).saturating_add_signed(self.steps_from(now).into());
        Instant(steps.saturating_mul(1 << DEADLINE_BITS))
    }
}

/// A moment in units of 2^30 ns, a little more than a second, in 32 bits: 146 years.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Second(u32);

impl Second {
    pub(crate) fn of(at: Instant) -> Self {
        Second((at.0 >> 30) as u32)
    }

    /// The moment, not after a clock that it was taken from.
    #[inline]
    pub(crate) fn instant(self, now: Instant) -> Instant {
        let elapsed = ((now.0 >> 30) as u32).wrapping_sub(self.0);
        Instant(((now.0 >> 30) - u64::from(elapsed).min(now.0 >> 30)) << 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_began_before_a_next_age_is_told_from_what_began_with_it() {
        for now in [0, 1, (1 << 30) - 1, 1 << 30, (5 << 30) + 7] {
            let next = Instant(now).next_age();
            assert!(next >= Instant(now) && next.0 - now < 1 << 30, "{now}");
            let later = Instant(next.0 + (1 << 40));
            let created = |at: u64| Second::of(Instant(at)).instant(later);
            assert!(created(next.0) >= next, "{now}");
            assert!(next.0 == 0 || created(next.0 - 1) < next, "{now}");
        }
    }

    #[test]
    fn arithmetic_stops_at_the_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Instant(5).saturating_add(second), Instant(1_000_000_005));
        assert_eq!(Instant(5).saturating_add(Duration::MAX), Instant(u64::MAX));
        assert_eq!(Instant(u64::MAX).saturating_add(second), Instant(u64::MAX));
        assert_eq!(Instant(1_000_000_005).duration_since(Instant(5)), second);
        assert_eq!(Instant(5).duration_since(Instant(6)), Duration::ZERO);
    }

    #[test]
    fn deadlines_round_up_and_around() {
        let step = DEADLINE_STEP.as_nanos() as u64;
        // Near the end of what 32 bits of steps can count, and beyond.
        for start in [0, 1, (step << 32) - 5 * step - 1, (step << 40) + 7] {
            let start = Instant(start);
            for timeout in [0, 1, step, 60_000_000_000, 600_000_000_000_000] {
                let deadline = Deadline::after(start, Duration::from_nanos(timeout).into());
                let end = Instant((start.0 + timeout).next_multiple_of(step));
                assert_eq!(deadline.instant(start), end);
                assert!(deadline.is_over(end));
                assert!(end.0 == 0 || !deadline.is_over(Instant(end.0 - 1)));
                let later = Deadline::after(start, Duration::from_nanos(timeout + step).into());
                assert!(deadline.is_before(later) && !later.is_before(deadline));
            }
        }
        let longest = Deadline::after(Instant(9), Duration::MAX.into());
        assert!(!longest.is_over(Instant(LONGEST_TIMEOUT.as_nanos() as u64)));
    }

    #[test]
    fn seconds_say_when_to_a_second() {
        let at = Instant(5_000_000_000_000);
        let second = Second::of(at);
        for later in [0, 1 << 30, 1 << 50] {
            let instant = second.instant(Instant(at.0 + later));
            assert!(instant <= at && at.0 - instant.0 < 1 << 30);
        }
    }
}
