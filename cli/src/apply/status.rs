//! What a watched directory has come to, in a file for whoever wants to know.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rewire_configdb::{Counts, PendingConfirmation};
use serde_json::{Value, json};

use super::applied::replace;
use super::probation;
use crate::failure::Failure;
use crate::view;
use crate::when;

/// The version of the file's form.
const VERSION: u32 = 1;

/// How it stands.
#[derive(Debug)]
pub(super) enum State {
    /// Nothing has been read yet.
    Starting,
    /// The running revision says what the directory says.
    Applied,
    /// The same, but it must be confirmed, or is gone back from.
    Confirming(PendingConfirmation),
    /// What the directory says is refused; the running revision is left alone.
    Refused(Failure),
    /// It would be committed, but for something that will pass: a lock, a commit that waits for its confirmation.
    Waiting(Failure),
    /// The directory or the store cannot be read.
    Failed(Failure),
    /// Nobody watches any more.
    Stopped,
}

impl State {
    pub(super) fn word(&self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Applied => "applied",
            State::Confirming(_) => "confirming",
            State::Refused(_) => "refused",
            State::Waiting(_) => "waiting",
            State::Failed(_) => "failed",
            State::Stopped => "stopped",
        }
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        match self {
            State::Refused(failure) | State::Waiting(failure) | State::Failed(failure) => {
                Some(failure)
            }
            State::Starting | State::Applied | State::Confirming(_) | State::Stopped => None,
        }
    }
}

/// What was applied last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// The revision that came of it, or said so already.
    pub(super) revision: u64,
    /// The documents.
    pub(super) documents: blake3::Hash,
    /// When, in microseconds since the Unix epoch.
    pub(super) at: i64,
}

/// The file, and all that it says.
#[derive(Debug)]
pub(super) struct Status {
    path: PathBuf,
    directory: String,
    state: State,
    /// Since when.
    since: i64,
    /// The documents that the state is about.
    pub(super) documents: Option<blake3::Hash>,
    /// The store's last revision.
    pub(super) revision: u64,
    /// What the gateway said of the last revision that was committed here; null where none runs, or nobody asked.
    pub(super) live: Value,
    pub(super) last: Option<Last>,
    /// What others changed that the directory does not say.
    pub(super) others: Counts,
}

impl Status {
    pub(super) fn new(path: PathBuf, directory: &Path) -> Status {
        Status {
            path,
            directory: directory.display().to_string(),
            state: State::Starting,
            since: now(),
            documents: None,
            revision: 0,
            live: Value::Null,
            last: None,
            others: Counts::default(),
        }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Says how it stands now. One state lasts for as long as the same is true of the same documents.
    pub(super) fn set(&mut self, state: State, documents: Option<blake3::Hash>) {
        let error = |state: &State| state.failure().map(Failure::to_json);
        let lasts = state.word() == self.state.word()
            && documents == self.documents
            && error(&state) == error(&self.state);
        if !lasts {
            self.since = now();
        }
        self.state = state;
        self.documents = documents;
    }

    /// The commit that must be confirmed.
    fn pending(&self) -> Option<&PendingConfirmation> {
        match &self.state {
            State::Confirming(pending) => Some(pending),
            _ => None,
        }
    }

    /// All of it, as machines read it.
    pub(super) fn to_json(&self) -> Value {
        let hex = |documents: blake3::Hash| documents.to_hex().to_string();
        json!({
            "version": VERSION,
            "directory": self.directory,
            "pid": std::process::id(),
            "state": self.state.word(),
            "since": when::utc(self.since),
            "revision": self.revision,
            "documents": self.documents.map(hex),
            "applied": self.last.map(|last| json!({
                "revision": last.revision,
                "documents": hex(last.documents),
                "at": when::utc(last.at),
            })),
            "confirm": self.pending().map(probation::to_json),
            "live": self.live,
            "others": view::counts_json(self.others),
            "error": self.state.failure().map(Failure::to_json),
        })
    }

    /// Writes the file: what was there before, or all of this, whenever somebody reads it.
    pub(super) fn write(&self) -> io::Result<()> {
        replace(&self.path, format!("{:#}\n", self.to_json()).as_bytes())
    }
}

/// The wall clock, in microseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
