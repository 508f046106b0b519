//! What a failure is, so that a part of the frames can be said to fail alike.
//!
//! What fails by itself has a check that says so: the same check has to fail first, for the same reason. What leaves otherwise than
//! expected is held against a capture, frame by frame, and a capture fits all frames or none. So what matters there is the one frame
//! that parted: the last frame that comes in makes one leave that parts alike ([`Parting`]). The other frames that are expected become those
//! that leave: up to the failure they were the same.
//!
//! Where a frame is missing, the one that should have left as it is looked for among those that came in: the same packet, with one end
//! translated. It comes last, does not leave, and is dropped for the same reason.

use std::ops::Range;
use std::sync::Arc;

use super::case::{Case, Dues, is_alike};
use super::error::BundleError;
use super::fields::{is_same_packet, may_leave_as};
use super::parting::Parting;
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
    /// What left otherwise than expected, where that is what failed.
    wrong: Option<Wrong>,
    /// The parts that can be left out, each by its frames, in order.
    parts: Vec<Range<usize>>,
    /// The first of the frames without which the failure says nothing: it and all behind it.
    kept_from: usize,
}

/// What left otherwise than expected.
enum Wrong {
    /// A frame.
    Left(Parting),
    /// One that did not.
    Missing(Missing),
}

/// A frame that did not leave.
struct Missing {
    interface: String,
    expected: Arc<[u8]>,
    /// How many packets are dropped because of the last one, by reason.
    dropped: Vec<u64>,
}

impl Wrong {
    fn interface(&self) -> &str {
        match self {
            Wrong::Left(parting) => &parting.interface,
            Wrong::Missing(missing) => &missing.interface,
        }
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
            wrong: None,
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
            How::Missing(number) => {
                let place = (*number as usize).saturating_sub(1);
                return Aim::at_missing(case, failure, (&parted.interface, expected, place));
            }
        };
        let next = expected
            .iter()
            .skip(place.map_or(usize::MAX, |place| place + 1));
        let is_one_missing = next.take(LOOKED_AHEAD).any(|next| next == found);
        if is_one_missing
            && let Some(place) = place
            && let Some(aim) = Aim::at_missing(case, failure, (&parted.interface, expected, place))?
        {
            return Ok(Some(aim));
        }
        let due = place.and_then(|place| expected.get(place)).cloned();
        let parting = Parting::new(parted.interface.clone(), Arc::clone(found), due);
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
            wrong: Some(Wrong::Left(parting)),
            parts: (0..cause).map(|frame| frame..frame + 1).collect(),
            kept_from: cause.saturating_sub(kept),
            case,
        };
        Ok(aim.is_met(&aim.free()).then_some(aim))
    }

    /// The frame at this place among the expected ones of an interface is missing.
    fn at_missing(
        case: &Case,
        failure: &Failure,
        (interface, expected, place): (&str, &[Arc<[u8]>], usize),
    ) -> Result<Option<Aim>, BundleError> {
        let Some(missing) = expected.get(place) else {
            return Ok(None);
        };
        // The same packet may have come before, and left.
        let before = expected.iter().take(place);
        let before = before.filter(|frame| is_same_packet(frame, missing));
        let mut case = case.clone();
        let frames = (0..).zip(&case.frames);
        let mut causes = frames.filter(|(_, frame)| may_leave_as(&frame.bytes, missing));
        let Some(cause) = causes.nth(before.count()).map(|(cause, _)| cause) else {
            return Ok(None);
        };
        case.expected.clear();
        case.options.burst = 1;
        case.frames.truncate(cause + 1);
        let mut aim = Aim {
            failure: failure.clone(),
            wrong: None,
            parts: (0..cause).map(|frame| frame..frame + 1).collect(),
            kept_from: cause,
            case,
        };
        let dropped = aim.dropped(&aim.case.all())?;
        if dropped.iter().all(|packets| *packets == 0) {
            // It waits, or was taken in: why it did not leave is not known.
            return Ok(None);
        }
        aim.wrong = Some(Wrong::Missing(Missing {
            interface: interface.to_owned(),
            expected: Arc::clone(missing),
            dropped,
        }));
        Ok(aim.is_met(&aim.free()).then_some(aim))
    }

    /// How many packets are dropped because of the last of these frames, by reason.
    fn dropped(&self, frames: &[usize]) -> Result<Vec<u64>, BundleError> {
        let before = frames.split_last().map_or(&[][..], |(_, before)| before);
        let [with, without] =
            [frames, before].map(|frames| self.case.departures(frames, usize::MAX));
        let (with, without) = (with?.totals.drops, without?.totals.drops);
        let both = with.iter().zip(&without);
        Ok(both
            .map(|(with, without)| with.saturating_sub(*without))
            .collect())
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

    /// How many frames are replayed to find out whether these parts fail alike.
    pub(super) fn cost(&self, parts: &[usize]) -> u64 {
        let replays = match self.wrong {
            Some(Wrong::Missing(_)) => 3,
            _ => 1,
        };
        replays * self.frames(parts).len() as u64
    }

    /// Whether these parts fail alike.
    pub(super) fn is_met(&self, parts: &[usize]) -> bool {
        let frames = self.frames(parts);
        let Some(wrong) = &self.wrong else {
            let report = self.case.run(&frames);
            return report.is_ok_and(|report| is_alike(&self.failure, &report));
        };
        let Ok(report) = self.case.departures(&frames, frames.len()) else {
            return false;
        };
        let number = report.numbers.get(wrong.interface()).copied();
        let mut departures = report.departures.iter();
        match wrong {
            Wrong::Left(parting) => departures.any(|one| parting.is_left(one, number)),
            Wrong::Missing(missing) => {
                let is_it = |bytes: &Arc<[u8]>| is_same_packet(bytes, &missing.expected);
                let mut here = departures.filter(|one| Some(one.interface) == number);
                !here.any(|one| one.bytes.as_ref().is_some_and(is_it))
                    && self
                        .dropped(&frames)
                        .is_ok_and(|dropped| dropped == missing.dropped)
            }
        }
    }

    /// The case with these parts alone, which fails alike as any replay does; none where it does not.
    pub(super) fn with(&self, parts: &[usize]) -> Result<Option<Case>, BundleError> {
        let mut case = self.case.only(&self.frames(parts));
        let Some(wrong) = &self.wrong else {
            return Ok(Some(case));
        };
        let frames = case.all();
        let report = case.departures(&frames, 0)?;
        let number = report.numbers.get(wrong.interface()).copied();
        let mut expected = Vec::new();
        for departure in report
            .departures
            .iter()
            .filter(|one| Some(one.interface) == number)
        {
            let Some(bytes) = &departure.bytes else {
                continue;
            };
            if let Wrong::Left(parting) = wrong
                && departure.after as usize == frames.len()
                && parting.is_like(bytes)
            {
                expected.extend(parting.expected_for(bytes));
                break;
            }
            expected.push(Arc::clone(bytes));
        }
        if let Wrong::Missing(missing) = wrong {
            expected.push(Arc::clone(&missing.expected));
        }
        case.expected = vec![Dues {
            interface: wrong.interface().to_owned(),
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
