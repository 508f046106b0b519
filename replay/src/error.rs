//! Why a replay cannot go on.

use rewire_compiler::Errors;
use rewire_dataplane::SavedFlaw;

use crate::capture::CaptureError;
use crate::history::HistoryError;

/// Why a replay cannot go on. What a check finds is no such reason: it is in the report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The history cannot be followed.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A capture cannot be read or written.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// A revision does not compile.
    #[error("revision {revision} does not compile: {errors}")]
    NotCompiled {
        /// The revision.
        revision: u64,
        /// What is wrong with it.
        errors: Errors,
    },
    /// The connections that it is to begin with cannot be used.
    #[error("the connections of before cannot be used: {0}")]
    Connections(#[from] SavedFlaw),
    /// No revision of the history has an interface of this name.
    #[error("no revision has an interface \"{name}\"")]
    NoSuchInterface {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
}
