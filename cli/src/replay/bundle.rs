//! Bundles, as people and machines are told of them.

use std::path::{Path, PathBuf};

use rewire_replay::bundle::{Bundle, BundleError, Manifest, Recorded};
use rewire_replay::{Compared, Report};
use serde::Serialize;

use crate::failure::{Code, Failure};
use crate::replay::told;
use crate::status_text::count;
use crate::terminal::clean;

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        let text = error.to_string();
        match error {
            BundleError::Capture(error) => error.into(),
            BundleError::Replay(error) => error.into(),
            BundleError::History(error) => error.into(),
            BundleError::Exists { .. } => Failure::new(Code::Exists, text)
                .help("a bundle is never written over something: take another name"),
            BundleError::Write { .. } => Failure::new(Code::Output, text),
            BundleError::TooLarge { .. } => Failure::new(Code::Failed, text)
                .help("begin with a later revision (--from), or with less traffic"),
            BundleError::Read { .. } => Failure::new(Code::UnreadableFile, text),
            BundleError::NoManifest { .. } => Failure::new(Code::BadBundle, text)
                .help("a bundle is what `rewire replay --bundle` and `rewire record` write"),
            BundleError::Format { .. } => Failure::new(Code::BadBundle, text)
                .help("replay it with the rewire that made it, or a newer one"),
            BundleError::Altered { .. }
            | BundleError::Length { .. }
            | BundleError::Missing { .. } => Failure::new(Code::BadBundle, text)
                .help("it was damaged on its way here: fetch it once more"),
            BundleError::Manifest { .. }
            | BundleError::Journal { .. }
            | BundleError::Line { .. } => Failure::new(Code::BadBundle, text),
        }
    }
}

/// What was replayed, where it was a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Replayed {
    /// The version of rewire that made it.
    rewire: String,
    /// What had failed when it was made.
    failure: Option<rewire_replay::Failure>,
    /// Whether the report is the same as then, to the byte; not known where it was not replayed then.
    same_report: Option<bool>,
    /// What was recorded, where it is of a running gateway.
    recording: Option<Recorded>,
    /// Of the connections that it began with, how many go on, and how many do not.
    connections: Option<Connections>,
    #[serde(skip)]
    workers: u16,
    /// How what left compares with what left that gateway, where every frame was recorded.
    compared: Option<Compared>,
}

/// What became of the connections that a replay began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Connections {
    /// They go on as they were.
    restored: u64,
    /// Their time was up, there was no room, or something of theirs is not there.
    lost: u64,
}

impl Replayed {
    pub(crate) fn of(bundle: &Bundle, report: &Report) -> Replayed {
        let Manifest {
            rewire,
            failure,
            report_digest,
            ..
        } = &bundle.manifest;
        Replayed {
            rewire: rewire.clone(),
            failure: failure.clone(),
            same_report: report_digest
                .as_ref()
                .map(|digest| *digest == report.digest),
            recording: bundle.manifest.recording.clone(),
            connections: report.restored.map(|restored| Connections {
                restored: restored.restored,
                lost: restored.lost(),
            }),
            workers: bundle.manifest.settings.workers,
            compared: report.compared,
        }
    }

    /// The same in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(failure) = &self.failure {
            lines.push(format!("made of: {}", told::failed(failure)));
        }
        if let Some(recording) = &self.recording {
            lines.extend(said_of(recording, self.workers));
        }
        let lost = self.connections.map_or(0, |connections| connections.lost);
        if lost > 0 {
            lines.push(format!(
                "of the connections from before, {lost} do not go on here"
            ));
        }
        lines.extend(self.compared.map(|compared| {
            let Compared {
                alike,
                missing,
                more,
            } = compared;
            let of = alike + missing;
            format!("left the gateway, and here: {alike} of {of} frames; {more} more left here")
        }));
        lines.extend(self.same_report.map(|same| match same {
            true => "the report is the one that the bundle was made with".to_owned(),
            false => format!(
                "the report is not the one that the bundle was made with, by rewire {}",
                self.rewire
            ),
        }));
        lines
    }
}

/// What is to be known of a recording.
pub(crate) fn said_of(recording: &Recorded, workers_here: u16) -> Vec<String> {
    let mut lines = Vec::new();
    let Recorded {
        missed,
        one_of,
        filter,
        workers,
        connections,
        copied_connections,
        learned_routes,
        heard_routes,
        missed_routes,
        ..
    } = recording;
    if *missed > 0 {
        lines.push(format!(
            "{missed} frames were not recorded: they found no room"
        ));
    }
    if *one_of > 1 {
        lines.push(format!("one of {one_of} frames was recorded"));
    }
    if let Some(filter) = filter {
        lines.push(format!(
            "frames were recorded that match: {}",
            clean(filter)
        ));
    }
    if *workers != u64::from(workers_here) {
        lines.push(format!(
            "{workers} workers gave out ports of NAT, each of its own: here {workers_here} do"
        ));
    }
    match copied_connections {
        Some(0) => {}
        Some(copied) => lines.push(format!(
            "a replay begins with {} from before",
            count(*copied, "connection")
        )),
        None if *connections > 0 => lines.push(format!(
            "{connections} connections were there before: here they begin in their middle"
        )),
        None => {}
    }
    match heard_routes {
        Some(0) => {}
        Some(heard) => lines.push(format!(
            "{} from routing daemons, {} in the end",
            count(*heard, "update"),
            count(*learned_routes, "learned route")
        )),
        None if *learned_routes > 0 => lines.push(format!(
            "{learned_routes} learned routes are not in the recording"
        )),
        None => {}
    }
    if *missed_routes > 0 {
        lines.push(format!(
            "{} from routing daemons were not recorded: they found no room",
            count(*missed_routes, "update")
        ));
    }
    lines
}

/// A bundle that was made of a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Packed {
    folder: PathBuf,
    frames: u64,
    /// The frames up to the failure, where some were left out.
    of_frames: Option<u64>,
    first_revision: u64,
    last_revision: u64,
    /// The replays that were tried to find out what is needed.
    tries: u64,
}

impl Packed {
    pub(crate) fn of(folder: &Path, manifest: &Manifest) -> Packed {
        Packed {
            folder: folder.to_owned(),
            frames: manifest.frames,
            of_frames: manifest.shrunk.map(|shrunk| shrunk.frames),
            first_revision: manifest.revisions.first,
            last_revision: manifest.revisions.last,
            tries: manifest.shrunk.map_or(0, |shrunk| shrunk.tries),
        }
    }

    /// The same in lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let frames = match self.of_frames {
            Some(of) => format!("{} of {}", self.frames, count(of, "frame")),
            None => count(self.frames, "frame"),
        };
        let revisions = match (self.first_revision, self.last_revision) {
            (first, last) if first == last => format!("revision {first}"),
            (first, last) => format!("revisions {first} to {last}"),
        };
        let folder = self.folder.display();
        vec![format!(
            "packed up: {frames}, {revisions}; `rewire replay {folder}` fails alike, on any machine"
        )]
    }
}
