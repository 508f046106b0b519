//! `rewire replay`: where a history comes from, and how a report is told. The replay itself is `rewire-replay`.

pub(crate) mod bundle;
pub(crate) mod source;
pub(crate) mod summary;
pub(crate) mod told;

use rewire_replay::{CaptureError, HistoryError, ReplayError};

use crate::failure::{Code, Failure};

impl From<CaptureError> for Failure {
    fn from(error: CaptureError) -> Self {
        let code = match error {
            CaptureError::Write { .. } => Code::Output,
            _ => Code::UnreadableFile,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Self {
        let code = match error {
            HistoryError::NoSuchRevision { .. } => Code::NoSuchRevision,
            _ => Code::BadJournalFile,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::History(error) => error.into(),
            ReplayError::Capture(error) => error.into(),
            ReplayError::Connections(_) => Failure::new(Code::BadBundle, error.to_string())
                .help("replay it with the rewire that made it"),
            ReplayError::NotCompiled { .. } => Failure::new(Code::Refused, error.to_string()),
            ReplayError::NoSuchInterface {
                ref name,
                ref known,
            } => {
                let failure = Failure::new(Code::NoSuchName, error.to_string());
                let distance = |known: &&String| strsim::osa_distance(known, name);
                match known.iter().min_by_key(distance) {
                    Some(nearest) if distance(&nearest) <= name.chars().count() / 2 => {
                        failure.help(format!("did you mean \"{nearest}\"?"))
                    }
                    Some(_) => {
                        let names: Vec<&str> = known.iter().take(20).map(String::as_str).collect();
                        failure.help(format!("the interfaces are {}", names.join(", ")))
                    }
                    None => failure.help("there are none at all"),
                }
            }
        }
    }
}
