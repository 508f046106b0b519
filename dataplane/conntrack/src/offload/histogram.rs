//! A histogram of latencies: one writer with plain stores, and readers who disturb nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each power of two.
const STEPS: usize = 8;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Up to 2^40 ns, 18 minutes; what is longer counts in the last.
const BUCKETS: usize = (40 - STEP_BITS as usize + 1) * STEPS;

/// Durations, to an eighth of their size, from 1 ns to 18 minutes. 2.4 KB.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            sum: AtomicU64::new(0),
        }
    }
}

/// The bucket of a number of ns: the highest bit and the three below it say which.
fn bucket(nanoseconds: u64) -> usize {
    let Some(shift) = (63 - (nanoseconds | 1).leading_zeros()).checked_sub(STEP_BITS) else {
        return nanoseconds as usize;
    };
    let step = (nanoseconds >> shift) as usize - STEPS;
    ((shift as usize + 1) * STEPS + step).min(BUCKETS - 1)
}

/// The least number of ns that is not in a bucket any more.
fn end(bucket: usize) -> u64 {
    match (bucket / STEPS).checked_sub(1) {
        None => bucket as u64 + 1,
        Some(shift) => ((bucket % STEPS + STEPS + 1) as u64) << shift,
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    let value = counter.load(Ordering::Relaxed).wrapping_add(amount);
    counter.store(value, Ordering::Relaxed);
}

impl Histogram {
    /// Counts a duration. One thread alone calls this.
    pub fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        add(&self.buckets[bucket(nanoseconds)], 1);
        add(&self.sum, nanoseconds);
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let buckets = self.buckets.each_ref();
        Counted {
            buckets: buckets.map(|count| count.load(Ordering::Relaxed)).into(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counted().count()
    }
}

/// What a [`Histogram`] had counted at some moment, or from one to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    buckets: Box<[u64; BUCKETS]>,
    sum: u64,
}

impl Counted {
    /// What was counted since another moment of the same histogram.
    pub fn since(&self, earlier: &Counted) -> Counted {
        let mut since = self.clone();
        for (count, before) in since.buckets.iter_mut().zip(&*earlier.buckets) {
            *count = count.saturating_sub(*before);
        }
        since.sum = since.sum.wrapping_sub(earlier.sum);
        since
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum)
    }

    /// How many were not longer than the end of the last bucket that is within `bound`.
    pub fn within(&self, bound: Duration) -> u64 {
        let bound = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        let buckets = (0..BUCKETS).take_while(|bucket| end(*bucket) <= bound.saturating_add(1));
        buckets.map(|bucket| self.buckets[bucket]).sum()
    }

    /// A duration that a share of them, from 0 to 1, do not exceed, to an eighth; none where nothing was counted.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share).ceil() as u64).clamp(1, count.max(1));
        let mut seen = 0;
        for (index, counted) in self.buckets.iter().enumerate() {
            seen += counted;
            if seen >= rank {
                return Some(Duration::from_nanos(end(index) - 1));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn buckets_hold_what_they_say(nanoseconds in prop_oneof![0..5000_u64, 0..1_u64 << 39]) {
            let bucket = bucket(nanoseconds);
            prop_assert!(nanoseconds < end(bucket));
            prop_assert!(bucket == 0 || nanoseconds >= end(bucket - 1));
            // To an eighth.
            prop_assert!(end(bucket) - 1 <= nanoseconds + nanoseconds / 8);
        }

        #[test]
        fn quantiles_are_those_of_a_sorted_list(
            mut durations in prop::collection::vec(0..1_000_000_u64, 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let histogram = Histogram::default();
            for nanoseconds in &durations {
                histogram.record(Duration::from_nanos(*nanoseconds));
            }
            durations.sort_unstable();
            let rank = ((durations.len() as f64 * share).ceil() as usize).max(1);
            let exact = durations[rank - 1];
            let said = histogram.counted().quantile(share).unwrap().as_nanos() as u64;
            prop_assert!(said >= exact && said <= exact + exact / 8);
            prop_assert_eq!(histogram.count(), durations.len() as u64);
            prop_assert_eq!(histogram.counted().sum().as_nanos() as u64, durations.iter().sum::<u64>());
        }
    }

    #[test]
    fn what_came_since_is_told_apart() {
        let histogram = Histogram::default();
        histogram.record(Duration::from_secs(1));
        let before = histogram.counted();
        histogram.record(Duration::from_nanos(5));
        let since = histogram.counted().since(&before);
        assert_eq!((since.count(), since.sum()), (1, Duration::from_nanos(5)));
        assert_eq!(since.quantile(1.0), Some(Duration::from_nanos(5)));
        assert_eq!(before.since(&before).quantile(0.5), None);
    }

    #[test]
    fn the_ends_are_counted() {
        let histogram = Histogram::default();
        assert_eq!(histogram.counted().quantile(0.5), None);
        histogram.record(Duration::ZERO);
        histogram.record(Duration::MAX);
        assert_eq!(histogram.counted().quantile(0.5), Some(Duration::ZERO));
        assert_eq!(
            (
                histogram.counted().within(Duration::from_secs(1)),
                histogram.count()
            ),
            (1, 2)
        );
    }
}
