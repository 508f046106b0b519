//! What a failure is, so that a part of the frames can be said to fail alike.
//!
//! What fails by itself has a check that says so: the same check has to fail first, for the same reason. What leaves otherwise than
//! expected is held against a capture, frame by frame, and a capture fits all frames or none. So what matters there is the one frame
//! that parted: the last frame that comes in makes one leave that has the same bytes where they parted. It need not be the same
//! elsewhere: another port of a masquerade is no other failure. The other frames that are expected become those that leave: up to
//! the failure they were the same.

use std::ops::Range;
use std::sync::Arc;

use super::case::{Case, Dues, is_alike};
use super::error::BundleError;
use crate::check::{Check, Failure};
use crate::exit::Departure;
use crate::expected::How;
use crate::options::MOST_IN_A_BURST;
use crate::report::Report;

/// How many of the next expected frames are looked at for one that left too early, because another is missing.
const LOOKED_AHEAD: usize = 64;
/// How many frames before the failure are kept where one is missing: which of them should have made it leave is not known.
const KEPT: usize = 2 * MOST_IN_A_BURST;

/// A case, and what is to be met with a part of its frames.
pub(super) struct Aim {
    pub(super) case: Case,
    failure: Failure,
    /// The frame that parted, where that is what failed.
    parting: Option<Parting>,
    /// The parts that can be left out, each by its frames, in order.
    parts: Vec<Range<usize>>,
    /// The first of the frames without which the failure says nothing: it and all behind it.
    kept_from: usize,
}

/// A frame that left, and another one was expected; or none was.
struct Parting {
    interface: String,
    found: Arc<[u8]>,
    expected: Option<Arc<[u8]>>,
}

impl Parting {
    /// Whether a frame has the same bytes where these two part.
    fn is_like(&self, frame: &[u8]) -> bool {
        let Some(expected) = &self.expected else {
            return *frame == *self.found;
        };
        if expected.len() != self.found.len() {
            return *frame == *self.found;
        }
        let mut bytes = frame.iter().zip(self.found.iter().zip(expected.iter()));
        frame.len() == self.found.len() && bytes.all(|(is, (was, due))| was == due || is == was)
    }

    /// What is expected in place of a frame like the one that was found.
    fn expected_for(&self, frame: &[u8]) -> Option<Arc<[u8]>> {
        let expected = self.expected.as_ref()?;
        if expected.len() != self.found.len() {
            return Some(Arc::clone(expected));
        }
        let bytes = frame.iter().zip(self.found.iter().zip(expected.iter()));
        let bytes = bytes.map(|(is, (was, due))| if was == due { *is } else { *due });
        Some(bytes.collect())
    }
}

impl Aim {
    /// The failure of a report, of this case; none where nothing can be left out, as far as is known.
    pub(super) fn at(
        case: &Case,
        failure: &Failure,
        report: &Report,
    ) -> Result<Option<Aim>, BundleError> {
        match failure.check {
            // Those are other ones each time.
            Check::Time | Check::Memory => Ok(None),
            Check::Outputs => Aim::at_frame(case, failure, report),
            _ => Aim::at_check(case, failure),
        }
    }

    fn at_check(case: &Case, failure: &Failure) -> Result<Option<Aim>, BundleError> {
        let mut case = case.clone();
        // It is no other expectation that fails.
        case.expected.clear();
        let frames = case.frames.len();
        let mut aim = Aim {
            failure: failure.clone(),
            parting: None,
            parts: (0..frames).map(|frame| frame..frame + 1).collect(),
            kept_from: frames,
            case,
        };
        let burst = std::mem::replace(&mut aim.case.options.burst, 1);
        if aim.is_met(&aim.free()) {
            return Ok(Some(aim));
        }
        // Then the bursts matter.
        aim.case.options.burst = burst;
        let report = aim.case.departures(&aim.case.all(), usize::MAX)?;
        let ends: Vec<usize> = report.burst_ends.iter().map(|end| *end as usize).collect();
        let begins = std::iter::once(0).chain(ends.iter().copied());
        aim.parts = begins
            .zip(ends.iter().copied())
            .map(|(a, b)| a..b)
            .collect();
        Ok(aim.is_met(&aim.free()).then_some(aim))
    }

    fn at_frame(
        case: &Case,
        failure: &Failure,
        report: &Report,
    ) -> Result<Option<Aim>, BundleError> {
        let Some(parted) = &report.parted else {
            return Ok(None);
        };
        let dues = case.expected.iter();
        let mut dues = dues.filter(|dues| dues.interface == parted.interface);
        let expected = dues.next().map_or(&[][..], |dues| &dues.frames);
        let (found, place) = match &parted.how {
            How::Other(number, found) => (found, Some((*number as usize).saturating_sub(1))),
            How::Extra(_, found) => (found, None),
            // Which frame should have made it leave is not known.
            How::Missing(_) => return Ok(None),
        };
        let parting = Parting {
            interface: parted.interface.clone(),
            found: Arc::clone(found),
            expected: place.and_then(|place| expected.get(place)).cloned(),
        };
        let next = expected
            .iter()
            .skip(place.map_or(usize::MAX, |place| place + 1));
        let is_one_missing = next.take(LOOKED_AHEAD).any(|next| next == found);
        let mut case = case.clone();
        case.expected.clear();
        case.options.burst = 1;
        // It is one of the last burst that made it leave.
        let first = case.frames.len().saturating_sub(MOST_IN_A_BURST);
        let report = case.departures(&case.all(), first + 1)?;
        let number = report.numbers.get(&parting.interface).copied();
        let departures = report.departures.iter();
        let mut like = departures.filter(|departure| parting.is_left(departure, number));
        let Some(cause) = like.next().map(|departure| departure.after as usize) else {
            return Ok(None);
        };
        case.frames.truncate(cause);
        let kept = if is_one_missing { KEPT } else { 1 };
        let aim = Aim {
            failure: failure.clone(),
            parting: Some(parting),
            parts: (0..cause).map(|frame| frame..frame + 1).collect(),
            kept_from: cause.saturating_sub(kept),
            case,
        };
        Ok(aim.is_met(&aim.free()).then_some(aim))
    }

    /// The parts that may be left out.
    pub(super) fn free(&self) -> Vec<usize> {
        let free = self
            .parts
            .iter()
            .take_while(|part| part.start < self.kept_from);
        (0..free.count()).collect()
    }

    /// Whether frames can be left out one by one, and not only by bursts.
    pub(super) fn is_by_frames(&self) -> bool {
        self.case.options.burst == 1
    }

    /// The frames of these parts, with those that are kept.
    fn frames(&self, parts: &[usize]) -> Vec<usize> {
        let parts = parts.iter().filter_map(|part| self.parts.get(*part));
        let parts = parts.flat_map(Clone::clone);
        parts
            .chain(self.kept_from..self.case.frames.len())
            .collect()
    }

    /// Whether these parts fail alike.
    pub(super) fn is_met(&self, parts: &[usize]) -> bool {
        let frames = self.frames(parts);
        match &self.parting {
            None => {
                let report = self.case.run(&frames);
                report.is_ok_and(|report| is_alike(&self.failure, &report))
            }
            Some(parting) => {
                let report = self.case.departures(&frames, frames.len());
                report.is_ok_and(|report| {
                    let number = report.numbers.get(&parting.interface).copied();
                    let mut departures = report.departures.iter();
                    departures.any(|one| parting.is_left(one, number))
                })
            }
        }
    }

    /// The case with these parts alone, which fails alike as any replay does; none where it does not.
    pub(super) fn with(&self, parts: &[usize]) -> Result<Option<Case>, BundleError> {
        let mut case = self.case.only(&self.frames(parts));
        let Some(parting) = &self.parting else {
            return Ok(Some(case));
        };
        let frames = case.all();
        let report = case.departures(&frames, 0)?;
        let number = report.numbers.get(&parting.interface).copied();
        let mut expected = Vec::new();
        for departure in report
            .departures
            .iter()
            .filter(|one| Some(one.interface) == number)
        {
            let Some(bytes) = &departure.bytes else {
                continue;
            };
            if departure.after as usize == frames.len() && parting.is_like(bytes) {
                expected.extend(parting.expected_for(bytes));
                break;
            }
            expected.push(Arc::clone(bytes));
        }
        case.expected = vec![Dues {
            interface: parting.interface.clone(),
            frames: expected,
        }];
        let report = case.run(&frames)?;
        let found = report.failures.first();
        let fails_alike = found.is_some_and(|found| {
            (found.check, found.revision) == (self.failure.check, self.failure.revision)
        });
        Ok(fails_alike.then_some(case))
    }
}

impl Parting {
    /// Whether a departure is a frame like the one that was found, by the same interface.
    fn is_left(&self, departure: &Departure, number: Option<usize>) -> bool {
        let bytes = departure.bytes.as_ref();
        Some(departure.interface) == number && bytes.is_some_and(|bytes| self.is_like(bytes))
    }
}
