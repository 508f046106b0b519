//! The states that people name, and how changes and times are written.

use std::str::FromStr;
use std::time::Duration;

use rewire_configdb::{Candidate, Store};
use rewire_schema::{Change, Changeset, Configuration};

use crate::failure::{Exit, Failure};

/// The name of the one candidate that there is.
pub(crate) const CANDIDATE: &str = "default";

/// What to do where there is no candidate.
pub(crate) const MAKE_A_CANDIDATE: &str = "make one with `rewire load FILE`";

/// A state by the name that people give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The edits that are not committed yet, on their base.
    Candidate,
    /// The last revision.
    Running,
    /// A revision by its number.
    Revision(u64),
}

impl FromStr for State {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "candidate" => Ok(State::Candidate),
            "running" => Ok(State::Running),
            number => number
                .parse()
                .map(State::Revision)
                .map_err(|_| "expected candidate, running or the number of a revision"),
        }
    }
}

impl State {
    /// The state's rows.
    pub(crate) fn configuration(self, store: &Store) -> Result<Configuration, Failure> {
        match self {
            State::Running => Ok(store.configuration()?),
            State::Revision(revision) => Ok(store.configuration_at(revision)?),
            State::Candidate => {
                let candidate = candidate(store)?;
                let mut configuration = store.configuration_at(candidate.base)?;
                configuration
                    .apply(&candidate.changeset)
                    .map_err(rewire_configdb::Error::from)?;
                Ok(configuration)
            }
        }
    }
}

/// The candidate; an error where there is none.
pub(crate) fn candidate(store: &Store) -> Result<Candidate, Failure> {
    store
        .candidate(CANDIDATE)?
        .ok_or_else(|| Failure::new(Exit::Failed, "there is no candidate").help(MAKE_A_CANDIDATE))
}

fn count(changeset: &Changeset) -> (usize, usize, usize) {
    changeset
        .iter()
        .fold((0, 0, 0), |(new, changed, gone), change| match change {
            Change::Insert(_) => (new + 1, changed, gone),
            Change::Update { .. } => (new, changed + 1, gone),
            Change::Delete(_) => (new, changed, gone + 1),
        })
}

/// A changeset in short, as a sentence has it: `+12 rows, ~1, -0`.
pub(crate) fn summary(changeset: &Changeset) -> String {
    if changeset.is_empty() {
        return "no change".to_owned();
    }
    let (new, changed, gone) = count(changeset);
    format!("+{new} rows, ~{changed}, -{gone}")
}

/// A changeset in short, as a table has it: `+12 ~1 -0`.
pub(crate) fn counts(changeset: &Changeset) -> String {
    let (new, changed, gone) = count(changeset);
    format!("+{new} ~{changed} -{gone}")
}

/// `1.9 ms`.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
