//! A replay that has failed becomes a bundle: what came in until then, and of that as little as the failure needs.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use super::aim::Aim;
use super::case::{Case, Dues};
use super::error::BundleError;
use super::frames::Noted;
use super::manifest::{
    CONNECTIONS, ExpectedFile, JOURNAL, Manifest, PACKETS, ROUTES, Revisions, Scheduled, Settings,
    Shrunk, format_of,
};
use super::read::Bundle;
use super::routes;
use super::shrink::{Tries, least};
use super::write::Draft;
use crate::capture::{Direction, Recording};
use crate::check::Failure;
use crate::error::ReplayError;
use crate::expected::Expected;
use crate::history::History;
use crate::options::Options;
use crate::player::Replay;
use crate::report::Report;
use crate::traffic::Traffic;

pub use super::write::expect_free;

/// How much is packed up, and how much work it may be to find less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of frames that are kept in memory, and packed up.
    pub bytes: usize,
    /// The most replays that are tried to find out what is needed.
    pub tries: u64,
    /// The most frames that are replayed in all of them.
    pub frames: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            bytes: 512 << 20,
            tries: 500,
            frames: 30_000_000,
        }
    }
}

/// What has failed, set up once more.
pub struct Packing<'a> {
    /// The history that was replayed.
    pub history: &'a History,
    /// The revision that was compiled as a whole.
    pub first: u64,
    /// How it was replayed.
    pub options: &'a Options,
    /// The same traffic from its beginning.
    pub traffic: &'a mut dyn Traffic,
    /// The same that is expected, from its beginning.
    pub expected: Vec<Expected>,
    /// What came of it.
    pub report: &'a Report,
    /// The version of this program.
    pub rewire: &'a str,
    /// How much of it is packed up.
    pub limits: Limits,
}

/// Packs a failure up into a folder that is not there yet: its first one. The bundle fails alike, or is refused. Cost: replays of
/// what came in until then, at most as many as the limits say, and three.
///
/// # Errors
///
/// [`BundleError`]: too many frames came before; the folder is there, or cannot be written.
///
/// # Panics
///
/// Never; a report without a failure gives a bundle of all that came in.
pub fn pack(packing: Packing<'_>, place: &Path) -> Result<Manifest, BundleError> {
    expect_free(place)?;
    let Packing {
        rewire,
        limits,
        report,
        ..
    } = packing;
    let failure = report.failures.first().cloned();
    let mut case = noted(packing)?;
    leave_out_absent(&mut case)?;
    case = case.only(&case.all());
    let before = (case.frames.len() as u64, revisions(&case));
    let mut tries = Tries::new(limits.tries, limits.frames);
    let mut shrunk = None;
    if let Some(failure) = &failure
        && let Some(mut aim) = Aim::at(&case, failure, report)?
    {
        begin_late(&mut aim, failure, &mut tries);
        let (parts, is_least) = least(
            aim.free(),
            &mut tries,
            |parts| aim.cost(parts),
            |parts| aim.is_met(parts),
        );
        if let Some(met) = aim.with(&parts)? {
            case = met;
            shrunk = Some(Shrunk {
                frames: before.0,
                revisions: before.1,
                tries: tries.made,
                is_least: is_least && aim.is_by_frames(),
            });
        }
    }
    write(&case, (failure, shrunk), rewire, place)
}

fn revisions(case: &Case) -> u64 {
    case.history.last() + 1 - case.first.max(1).min(case.history.last() + 1)
}

/// Replays what has failed once more, up to the failure, and notes all that comes in.
fn noted(packing: Packing<'_>) -> Result<Case, BundleError> {
    let Packing {
        history,
        first,
        options,
        traffic,
        expected,
        report,
        limits,
        ..
    } = packing;
    let failed_after = report.failed_after.unwrap_or(u64::MAX);
    let mut dues = Vec::new();
    let most = limits.bytes;
    for expected in expected {
        let interface = expected.interface().to_owned();
        let frames = expected.collect(most)?;
        let frames = frames.ok_or(BundleError::TooLarge { most })?;
        dues.push(Dues { interface, frames });
    }
    let mut noted = Noted::new(traffic, failed_after, most);
    // It has failed before: what is checked does not matter now.
    let again = Options {
        checks: [].into(),
        ..options.clone()
    };
    Replay::new(history, &again).run(first, &mut noted, &mut ())?;
    if noted.is_too_large {
        return Err(BundleError::TooLarge { most });
    }
    let frames = noted.frames;
    let last = match report.failures.first() {
        Some(failure) => failure.revision.max(first),
        None => history.last(),
    };
    let mut options = options.clone();
    options.beginning = Some(report.beginning);
    options.schedule = report.schedule.iter().copied().collect();
    Ok(Case {
        history: history.clone().between(first, last)?,
        first,
        options,
        frames,
        expected: dues,
        absent: BTreeSet::new(),
    })
}

/// Leaves out what is of interfaces that only a revision behind the failure has.
fn leave_out_absent(case: &mut Case) -> Result<(), BundleError> {
    loop {
        match case.run(&case.all()) {
            Ok(_) => return Ok(()),
            Err(BundleError::Replay(ReplayError::NoSuchInterface { name, .. }))
                if case.absent.insert(name.clone()) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Begins with a later revision, where the failure is the same.
fn begin_late(aim: &mut Aim, failure: &Failure, tries: &mut Tries) {
    for first in [failure.revision, failure.revision.saturating_sub(1)] {
        let case = &aim.case;
        if first <= case.first {
            return;
        }
        let Ok(history) = case.history.clone().between(first, case.history.last()) else {
            return;
        };
        if !tries.take(aim.cost(&aim.free())) {
            return;
        }
        let late = Case {
            history,
            first,
            ..case.clone()
        };
        let earlier = std::mem::replace(&mut aim.case, late);
        if aim.is_met(&aim.free()) {
            return;
        }
        aim.case = earlier;
    }
}

/// Writes it, and replays what was written: that is what its report is held against.
fn write(
    case: &Case,
    (failure, shrunk): (Option<Failure>, Option<Shrunk>),
    rewire: &str,
    place: &Path,
) -> Result<Manifest, BundleError> {
    let options = &case.options;
    let mut draft = Draft::begin(place)?;
    draft.add(JOURNAL, |sink| {
        case.history.write(sink).map_err(std::io::Error::other)
    })?;
    draft.add(PACKETS, |sink| {
        let mut packets = Recording::new(sink)?;
        for frame in &case.frames {
            let bytes = (&*frame.bytes, frame.bytes.len());
            packets.write(&frame.interface, Direction::In, frame.nanoseconds, bytes)?;
        }
        Ok(())
    })?;
    if !options.heard.is_empty() {
        draft.add(ROUTES, |sink| {
            let mut heard = options.heard.iter();
            heard.try_for_each(|heard| routes::write(sink, heard))
        })?;
    }
    if !options.connections.is_empty() {
        draft.add(CONNECTIONS, |sink| sink.write_all(&options.connections))?;
    }
    let mut expected = Vec::new();
    for (number, Dues { interface, frames }) in (1..).zip(case.expected()) {
        let file = format!("expected-{number}.pcapng");
        draft.add(&file, |sink| {
            let mut packets = Recording::new(sink)?;
            for frame in frames {
                packets.write(interface, Direction::Out, 0, (frame, frame.len()))?;
            }
            Ok(())
        })?;
        let interface = interface.clone();
        expected.push(ExpectedFile { interface, file });
    }
    let mut manifest = Manifest {
        format: format_of(&draft.files),
        rewire: rewire.to_owned(),
        revisions: Revisions {
            first: case.first,
            last: case.history.last(),
        },
        beginning_ns: options.beginning.unwrap_or(0),
        schedule: options
            .schedule
            .iter()
            .map(|(revision, when)| Scheduled {
                revision: *revision,
                when: *when,
            })
            .collect(),
        settings: Settings::of(options),
        frames: case.frames.len() as u64,
        expected,
        failure,
        report_digest: None,
        neighbors: options.neighbors.clone(),
        recording: None,
        shrunk,
        files: draft.files.clone(),
    };
    let written = Bundle::draft(&draft.folder, manifest.clone())?;
    let options = Options {
        probes: case.options.probes,
        ..written.options()
    };
    let mut replay = Replay::new(&written.history, &options);
    for expected in written.expected()? {
        replay.expect(expected);
    }
    let report = replay.run(case.first, &mut written.traffic()?, &mut ())?;
    manifest.report_digest = Some(report.digest);
    draft.finish(&manifest)?;
    Ok(manifest)
}
