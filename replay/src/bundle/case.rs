//! A failure with all that it takes, in memory: replayed again with a part of its frames.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::error::BundleError;
use super::frames::{Chosen, Frame};
use crate::check::{Check, Failure};
use crate::expected::Expected;
use crate::history::History;
use crate::options::Options;
use crate::pace::When;
use crate::player::Replay;
use crate::report::Report;

/// What must leave by an interface.
#[derive(Clone, Debug)]
pub(super) struct Dues {
    pub(super) interface: String,
    pub(super) frames: Vec<Arc<[u8]>>,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) history: History,
    /// The revision that is compiled as a whole.
    pub(super) first: u64,
    pub(super) options: Options,
    pub(super) frames: Vec<Frame>,
    pub(super) expected: Vec<Dues>,
    /// Interfaces that no revision has: what is of them is left out.
    pub(super) absent: BTreeSet<String>,
}

impl Case {
    /// The options, with the places that revisions have among these frames alone. They are in order.
    pub(super) fn options_for(&self, chosen: &[usize]) -> Options {
        let mut options = self.options.clone();
        let (first, last) = (self.first, self.history.last());
        options
            .schedule
            .retain(|revision, _| (first + 1..=last).contains(revision));
        for when in options.schedule.values_mut() {
            if let When::Packets(number) = when {
                *number = chosen.partition_point(|frame| (*frame as u64) < *number) as u64;
            }
        }
        options
    }

    /// What is expected to leave by interfaces that are there.
    pub(super) fn expected(&self) -> impl Iterator<Item = &Dues> {
        let dues = self.expected.iter();
        dues.filter(|dues| !self.absent.contains(&dues.interface))
    }

    /// Replays these frames, in order, and tells what left, whatever is expected; with its bytes, once so many had come in.
    pub(super) fn departures(
        &self,
        chosen: &[usize],
        bytes_after: usize,
    ) -> Result<Report, BundleError> {
        let options = self.options_for(chosen);
        let mut replay = Replay::new(&self.history, &options);
        replay.note_departures(bytes_after as u64);
        let frames = chosen.iter().filter_map(|number| self.frames.get(*number));
        Ok(replay.run(self.first, &mut Chosen::of(frames), &mut ())?)
    }

    /// Replays these frames, in order, and tells what came of it.
    pub(super) fn run(&self, chosen: &[usize]) -> Result<Report, BundleError> {
        let options = self.options_for(chosen);
        let mut replay = Replay::new(&self.history, &options);
        for Dues { interface, frames } in self.expected() {
            replay.expect(Expected::of_frames(interface, frames.clone()));
        }
        let frames = chosen.iter().filter_map(|number| self.frames.get(*number));
        let report = replay.run(self.first, &mut Chosen::of(frames), &mut ())?;
        Ok(report)
    }

    /// The same with these frames alone, in order.
    pub(super) fn only(&self, chosen: &[usize]) -> Case {
        let frames = chosen.iter().filter_map(|number| self.frames.get(*number));
        Case {
            history: self.history.clone(),
            first: self.first,
            options: self.options_for(chosen),
            frames: frames.cloned().collect(),
            expected: self.expected().cloned().collect(),
            absent: self.absent.clone(),
        }
    }

    /// All frames that can come in.
    pub(super) fn all(&self) -> Vec<usize> {
        let frames = self.frames.iter().enumerate();
        let present = frames.filter(|(_, frame)| !self.absent.contains(&*frame.interface));
        present.map(|(number, _)| number).collect()
    }
}

/// Whether a replay fails first as another one did: the same check, under the same revision, for the same reason to the byte.
/// Numbers that count what came before do not matter.
pub(super) fn is_alike(failure: &Failure, report: &Report) -> bool {
    let Some(found) = report.failures.first() else {
        return false;
    };
    let has_same_details = match failure.check {
        // Those are sums.
        Check::Accounting | Check::Time | Check::Memory => true,
        _ => failure.details == found.details,
    };
    (failure.check, failure.revision) == (found.check, found.revision)
        && without_numbers(&failure.message) == without_numbers(&found.message)
        && has_same_details
}

fn without_numbers(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}
