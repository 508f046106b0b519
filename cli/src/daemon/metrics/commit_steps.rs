//! How long each step of a commit took, over all commits; and of each range of times one commit, by its trace.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::definition::{Bucket, Exemplar, Histogram};
use crate::daemon::progress::Steps;
use crate::trace_id::TraceId;

/// 10 µs, 40 µs … 2.6 s.
const BUCKETS: usize = 10;

fn bound(bucket: usize) -> f64 {
    10e-6 * f64::from(1 << (2 * bucket))
}

/// One step. The last bucket is what is above all bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    name: &'static str,
    counts: [u64; BUCKETS + 1],
    exemplars: [Option<Exemplar>; BUCKETS + 1],
    sum: f64,
}

impl Step {
    fn observe(&mut self, exemplar: Exemplar) {
        let seconds = exemplar.value;
        let bucket = (0..BUCKETS)
            .find(|bucket| seconds <= bound(*bucket))
            .unwrap_or(BUCKETS);
        self.counts[bucket] += 1;
        self.sum += seconds;
        self.exemplars[bucket] = Some(exemplar);
    }

    fn histogram(&self) -> Histogram {
        let bucket = |bucket| Bucket {
            bound: bound(bucket),
            count: self.counts[bucket],
            exemplar: self.exemplars[bucket],
        };
        Histogram {
            buckets: (0..BUCKETS).map(bucket).collect(),
            count: self.counts.iter().sum(),
            sum: self.sum,
            beyond: self.exemplars[BUCKETS],
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct CommitSteps(Mutex<Vec<Step>>);

impl CommitSteps {
    /// Adds a revision that went live.
    pub(crate) fn observe(&self, steps: &Steps, trace: TraceId) {
        for (name, time) in steps.named() {
            if let Some(nanoseconds) = time {
                self.observe_one(name, nanoseconds, trace);
            }
        }
    }

    /// Adds what one step of a commit took.
    pub(crate) fn observe_one(&self, name: &'static str, nanoseconds: u64, trace: TraceId) {
        let exemplar = Exemplar {
            trace,
            value: nanoseconds as f64 / 1e9,
            time: SystemTime::now(),
        };
        // Additions alone: whoever panicked left nothing half done.
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match steps.iter_mut().find(|step| step.name == name) {
            Some(step) => step.observe(exemplar),
            None => {
                let mut step = Step {
                    name,
                    ..Step::default()
                };
                step.observe(exemplar);
                steps.push(step);
            }
        }
    }

    /// Every step that was seen, by its name.
    pub(crate) fn histograms(&self) -> Vec<(&'static str, Histogram)> {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = steps.iter();
        steps.map(|step| (step.name, step.histogram())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_is_large_enough() {
        let steps = CommitSteps::default();
        let trace = |number: u8| format!("{number:032x}").parse::<TraceId>().unwrap();
        for (number, nanoseconds) in [(1, 10_000), (2, 10_001), (3, 39_000), (4, 60_000_000_000)] {
            steps.observe_one("compile", nanoseconds, trace(number));
        }
        let [(name, histogram)] = &steps.histograms()[..] else {
            panic!("one step");
        };
        assert_eq!((*name, histogram.count), ("compile", 4));
        let counts: Vec<_> = histogram.buckets.iter().map(|b| b.count).collect();
        assert_eq!(counts, [1, 2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!((histogram.sum - 60.000_059_001).abs() < 1e-9);
        let of = |exemplar: Option<Exemplar>| exemplar.map(|exemplar| exemplar.trace);
        // The last one of each.
        assert_eq!(of(histogram.buckets[1].exemplar), Some(trace(3)));
        assert_eq!(of(histogram.beyond), Some(trace(4)));
        assert!((histogram.buckets[9].bound - 2.62144).abs() < 1e-9);
    }
}
