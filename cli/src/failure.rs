//! How a command fails: what is said, and the exit code.

use std::process::ExitCode;

use rewire_configdb::Error;
use rewire_schema::Problem;
use rewire_schema::source::Diagnostics;

use crate::checker::Refusal;
use crate::terminal::{clean, paint};

/// The largest number of problems that are shown; the rest is counted.
const MOST_SHOWN: usize = 50;

/// The exit codes; `--help` explains them to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The operation failed, or there is nothing to do.
    Failed = 1,
    /// The input is wrong: a document or the arguments.
    Input = 2,
    /// The store cannot be used: missing, foreign, newer or busy.
    Store = 3,
    /// Committed, but not live in time.
    NotLive = 4,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One thing went wrong.
    Plain {
        exit: Exit,
        message: String,
        help: Option<String>,
    },
    /// A document is wrong.
    Document(Diagnostics),
    /// A configuration that is in no document is wrong.
    Problems(Vec<Problem>),
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure::Plain {
            exit,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        if let Failure::Plain { help, .. } = &mut self {
            *help = Some(text.into());
        }
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Plain { exit, .. } => *exit as u8,
            Failure::Document(_) | Failure::Problems(_) => Exit::Input as u8,
        })
    }

    /// What people read: `error: …` and `help: …`.
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            Failure::Plain { message, help, .. } => one(message, help.as_deref(), colour),
            Failure::Document(diagnostics) => {
                let mut out = diagnostics.render(colour);
                let count = count_errors(diagnostics.len());
                let tail = format!(
                    "\n\n{count} in {}: nothing was changed\n",
                    clean(diagnostics.name())
                );
                out.push_str(&tail);
                out
            }
            Failure::Problems(problems) => {
                let mut out = String::new();
                for Problem {
                    path,
                    message,
                    help,
                } in problems.iter().take(MOST_SHOWN)
                {
                    out.push_str(&one(&format!("{path}: {message}"), help.as_deref(), colour));
                }
                let count = count_errors(problems.len());
                out.push_str(&format!(
                    "\n{count} in the configuration: nothing was changed\n"
                ));
                out
            }
        }
    }
}

fn count_errors(count: usize) -> String {
    format!("{count} error{}", if count == 1 { "" } else { "s" })
}

fn one(message: &str, help: Option<&str>, colour: bool) -> String {
    let mut out = format!("{}: {}\n", paint("error", "1;31", colour), clean(message));
    if let Some(help) = help {
        out.push_str(&format!(
            "{}: {}\n",
            paint("help", "1;36", colour),
            clean(help)
        ));
    }
    out
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Failure::Document(diagnostics)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Problems(refusal.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Refused(source) => match source.downcast::<Refusal>() {
                Ok(refusal) => return (*refusal).into(),
                Err(source) => Error::Refused(source),
            },
            other => other,
        };
        let (exit, help) = match &error {
            Error::Missing { .. } => (
                Exit::Store,
                Some("make one with `rewire init`, or name another with --store"),
            ),
            Error::Exists { .. } => (
                Exit::Failed,
                Some("a store is never made over something: take another name"),
            ),
            Error::NotAStore { .. } => (
                Exit::Store,
                Some("the file was not touched; name the store with --store"),
            ),
            Error::Newer { .. } => (
                Exit::Store,
                Some("the file was not touched; use the newer rewire"),
            ),
            Error::Busy => (Exit::Store, Some("try again")),
            Error::StaleCandidate { .. } => (
                Exit::Failed,
                Some(
                    "somebody committed since: load the document again, look at `rewire diff`, then commit",
                ),
            ),
            Error::NothingToCommit => (
                Exit::Failed,
                Some("the candidate does not differ from the running revision"),
            ),
            Error::NoSuchRevision { .. } => (Exit::Input, Some("`rewire log` lists them")),
            Error::Mismatch(_)
            | Error::Malformed { .. }
            | Error::Dangling(_)
            | Error::Duplicate { .. }
            | Error::Check { .. }
            | Error::Refused(_) => (Exit::Input, None),
            _ => (Exit::Store, None),
        };
        let failure = Failure::new(exit, with_sources(&error));
        match help {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

/// An error with all that caused it, on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some errors repeat their source in their own words.
        if !out.ends_with(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        source = error.source();
    }
    out
}
