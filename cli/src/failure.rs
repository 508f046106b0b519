//! How a command fails: what is said to people and to machines, and the exit code.

use std::process::ExitCode;

use rewire_configdb::{Dangling, Error, FileError, Needed};
use rewire_schema::source::Diagnostics;
use rewire_schema::{Path, Problem};
use serde_json::{Map, Value, json};

use crate::checker::Refusal;
use crate::conflict::Conflicts;
use crate::terminal::{clean, paint};
use crate::when;

/// The largest number of problems that people are shown; the rest is counted.
const MOST_SHOWN: usize = 50;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $code:ident = $word:literal, $exit:literal;)+) => {
        /// What went wrong, in one word that never changes. Each has one exit code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($(#[doc = $doc])+ $code),+ }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$code),+];

            /// What machines read.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Code::$code => $word),+ }
            }

            /// The process's exit code; `--help` explains them to people.
            pub(crate) fn exit(self) -> u8 {
                match self { $(Code::$code => $exit),+ }
            }
        }
    };
}

codes! {
    /// What no other code names.
    Failed = "failed", 1;
    /// What was compared differs.
    Differs = "differs", 1;
    /// The output could not be written.
    Output = "output_failed", 1;
    /// The change is empty.
    NothingToCommit = "nothing_to_commit", 1;
    /// Nothing waits for a confirmation.
    NothingToConfirm = "nothing_to_confirm", 1;
    /// There is no candidate of this name.
    NoCandidate = "no_candidate", 1;
    /// Something is there already, and is left alone.
    Exists = "exists", 1;
    /// The arguments are wrong.
    WrongArguments = "wrong_arguments", 2;
    /// A file cannot be read.
    UnreadableFile = "unreadable_file", 2;
    /// A document is wrong.
    BadDocument = "bad_document", 2;
    /// The candidate has objects that are not complete yet.
    Incomplete = "incomplete", 2;
    /// The check refuses the configuration.
    Refused = "refused", 2;
    /// A reference would lead nowhere.
    DanglingReference = "dangling_reference", 2;
    /// Two rows would have the same value where it must be unique.
    DuplicateValue = "duplicate_value", 2;
    /// The database refuses a value.
    BadValue = "bad_value", 2;
    /// The change does not fit onto the rows that are there.
    DoesNotFit = "does_not_fit", 2;
    /// A journal file is none, is damaged, or does not begin where it must.
    BadJournalFile = "bad_journal_file", 2;
    /// A bundle is none, is of another version, or is not as it was made.
    BadBundle = "bad_bundle", 2;
    /// The revision was pruned from the journal, or is still needed where it shall be.
    Pruned = "pruned", 2;
    /// There is no such revision.
    NoSuchRevision = "no_such_revision", 2;
    /// There is nothing of this name: an interface, an object, a tag, a scheduled commit.
    NoSuchName = "no_such_name", 2;
    /// There is no store.
    NoStore = "no_store", 3;
    /// The file is no store.
    NotAStore = "not_a_store", 3;
    /// The store was made by an older program, and cannot be brought up to date.
    OlderStore = "older_store", 3;
    /// The store was made by a newer program.
    NewerStore = "newer_store", 3;
    /// Another process writes to the store.
    Busy = "busy", 3;
    /// What is stored is not what was written.
    Damaged = "damaged", 3;
    /// Reading or writing the store failed.
    StoreFailed = "store_failed", 3;
    /// A gateway follows the store already, or listens on the socket.
    AlreadyRunning = "already_running", 3;
    /// No gateway runs, or none that can be asked.
    NoGateway = "no_gateway", 3;
    /// Committed, but not live in time.
    NotLive = "not_live", 4;
    /// Committed, and gone back from: its probes failed until the deadline.
    NotConfirmed = "not_confirmed", 4;
    /// Somebody committed since the candidate was made.
    StaleCandidate = "stale_candidate", 5;
    /// Somebody else saved or removed the candidate meanwhile.
    CandidateChanged = "candidate_changed", 5;
    /// Others changed the same since, and not in the same way.
    Conflict = "conflict", 5;
    /// The journal file and the store are of different origins, or part at a revision.
    Diverged = "diverged", 5;
    /// Later revisions changed again what an old one changed.
    RevertConflict = "revert_conflict", 5;
    /// Somebody else holds the exclusive lock.
    Locked = "locked", 6;
    /// A check of a replay failed.
    CheckFailed = "check_failed", 7;
    /// A check failed that only a fault of this program can make fail.
    Fault = "fault", 8;
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// One thing went wrong.
    Plain {
        code: Code,
        message: String,
        help: Option<String>,
        /// What machines are told besides.
        details: Map<String, Value>,
    },
    /// Documents are wrong: what is, for each of them.
    Documents(Vec<Diagnostics>),
    /// A configuration that is in no document is wrong.
    Problems { code: Code, problems: Vec<Problem> },
    /// Others changed the same since.
    Conflicts(Conflicts),
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Failure::Plain {
            code,
            message: message.into(),
            help: None,
            details: Map::new(),
        }
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        if let Failure::Plain { help, .. } = &mut self {
            *help = Some(text.into());
        }
        self
    }

    /// Something that machines want to know, and people read in the message.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Failure::Plain { details, .. } = &mut self {
            details.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Failure::Plain { code, .. } => *code,
            Failure::Documents(_) => Code::BadDocument,
            Failure::Problems { code, .. } => *code,
            Failure::Conflicts(conflicts) => conflicts.code(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code().exit())
    }

    /// What people read: `error: …` and `help: …`.
    pub(crate) fn render(&self, colour: bool) -> String {
        match self {
            Failure::Plain { message, help, .. } => one(message, help.as_deref(), colour),
            Failure::Documents(wrong) => {
                let mut out = String::new();
                for diagnostics in wrong {
                    out.push_str(&diagnostics.render(colour));
                    out.push_str("\n\n");
                }
                out.push_str(&format!("{}\n", documents_summary(wrong)));
                out
            }
            Failure::Problems { problems, .. } => {
                let mut out = String::new();
                for Problem {
                    path,
                    message,
                    help,
                } in problems.iter().take(MOST_SHOWN)
                {
                    out.push_str(&one(&format!("{path}: {message}"), help.as_deref(), colour));
                }
                out.push_str(&format!("\n{}\n", problems_summary(problems)));
                out
            }
            Failure::Conflicts(conflicts) => conflicts.render(colour),
        }
    }

    /// What machines read: `code`, `message`, and what there is to say besides.
    pub(crate) fn to_json(&self) -> Value {
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(self.code().word()));
        match self {
            Failure::Plain {
                message,
                help,
                details,
                ..
            } => {
                error.insert("message".to_owned(), json!(message));
                if let Some(help) = help {
                    error.insert("help".to_owned(), json!(help));
                }
                error.extend(details.clone());
            }
            Failure::Documents(wrong) => {
                error.insert("message".to_owned(), json!(documents_summary(wrong)));
                let problems = wrong.iter().flat_map(problems_of_document);
                error.insert("problems".to_owned(), problems.collect());
            }
            Failure::Problems { problems, .. } => {
                error.insert("message".to_owned(), json!(problems_summary(problems)));
                let problems = problems.iter();
                let problems = problems.map(|p| problem(&p.path, &p.message, &p.help, json!({})));
                error.insert("problems".to_owned(), problems.collect());
            }
            Failure::Conflicts(conflicts) => {
                error.extend(conflicts.to_json());
            }
        }
        Value::Object(error)
    }
}

fn problem(path: &Path, message: &str, help: &Option<String>, place: Value) -> Value {
    let mut problem = json!({ "path": path.steps(), "message": message });
    if let (Some(problem), Value::Object(place)) = (problem.as_object_mut(), place) {
        problem.extend(place);
        if let Some(help) = help {
            problem.insert("help".to_owned(), json!(help));
        }
    }
    problem
}

fn problems_of_document(diagnostics: &Diagnostics) -> impl Iterator<Item = Value> {
    diagnostics.iter().map(|diagnostic| {
        let (line, column) = diagnostics.position(diagnostic);
        let place = json!({ "file": diagnostics.name(), "line": line, "column": column });
        problem(
            &diagnostic.path,
            &diagnostic.message,
            &diagnostic.help,
            place,
        )
    })
}

fn documents_summary(wrong: &[Diagnostics]) -> String {
    let count = count_errors(wrong.iter().map(Diagnostics::len).sum());
    let place = match wrong {
        [one] => clean(one.name()),
        several => format!("{} documents", several.len()),
    };
    format!("{count} in {place}: nothing was changed")
}

fn problems_summary(problems: &[Problem]) -> String {
    let count = count_errors(problems.len());
    format!("{count} in the configuration: nothing was changed")
}

fn count_errors(count: usize) -> String {
    format!("{count} error{}", if count == 1 { "" } else { "s" })
}

fn one(message: &str, help: Option<&str>, colour: bool) -> String {
    // A message may have several lines, such as the walk of a packet. Nothing else in it moves the terminal.
    let message: Vec<String> = message.lines().map(clean).collect();
    let error = paint("error", "1;31", colour);
    let mut out = format!("{error}: {}\n", message.join("\n"));
    if let Some(help) = help {
        let title = paint("help", "1;36", colour);
        out.push_str(&format!("{title}: {}\n", clean(help)));
    }
    out
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Failure::Documents(vec![diagnostics])
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Problems {
            code: Code::Refused,
            problems: refusal.0,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let error = match error {
            Error::Refused(source) => match source.downcast::<Refusal>() {
                Ok(refusal) => return (*refusal).into(),
                Err(source) => Error::Refused(source),
            },
            Error::Unusable { revision, source } => match source.downcast::<Refusal>() {
                Ok(refusal) => return unusable(revision, &refusal.0),
                Err(source) => Error::Unusable { revision, source },
            },
            Error::Dangling(dangling) => {
                return Failure::Problems {
                    code: Code::DanglingReference,
                    problems: dangling.iter().map(Dangling::problem).collect(),
                };
            }
            Error::Conflicts(conflicts) => return Failure::Conflicts(Conflicts::Merge(conflicts)),
            Error::RevertConflict { revision, depends } => {
                return Failure::Conflicts(Conflicts::Revert { revision, depends });
            }
            other => other,
        };
        let code = code_of(&error);
        let failure = details(Failure::new(code, with_sources(&error)), &error);
        if let Error::Locked(lock) = &error {
            let since = when::local(lock.since);
            return failure.help(format!(
                "since {since}; `rewire unlock --force` takes the lock away"
            ));
        }
        match help_for(&error) {
            Some(help) => failure.help(help),
            None => failure,
        }
    }
}

/// What keeps the last revision of a journal file from being used.
fn unusable(revision: u64, problems: &[Problem]) -> Failure {
    let mut texts: Vec<String> = problems
        .iter()
        .take(MOST_SHOWN)
        .map(Problem::to_string)
        .collect();
    if problems.len() > MOST_SHOWN {
        texts.push(format!("and {} more", problems.len() - MOST_SHOWN));
    }
    let message = format!(
        "revision {revision}, the last one of the journal file, is refused: {}",
        texts.join("; ")
    );
    let problems = problems.iter();
    let problems: Value = problems
        .map(|p| problem(&p.path, &p.message, &p.help, json!({})))
        .collect();
    Failure::new(Code::Refused, message)
        .help(
            "`rewire journal export --to N`, where the file comes from, leaves later revisions out",
        )
        .detail("revision", revision)
        .detail("problems", problems)
}

fn code_of(error: &Error) -> Code {
    match error {
        Error::Missing { .. } => Code::NoStore,
        Error::Exists { .. } => Code::Exists,
        Error::NotAStore { .. } => Code::NotAStore,
        Error::Newer { .. } => Code::NewerStore,
        Error::Busy => Code::Busy,
        Error::StaleCandidate { .. } => Code::StaleCandidate,
        Error::CandidateChanged { .. } => Code::CandidateChanged,
        Error::Conflicts(_) => Code::Conflict,
        Error::RevertConflict { .. } => Code::RevertConflict,
        Error::Locked(_) => Code::Locked,
        Error::File(FileError::Io { writing: true, .. }) => Code::Output,
        Error::File(_)
        | Error::Incomplete { .. }
        | Error::Gap { .. }
        | Error::NotReplayed { .. } => Code::BadJournalFile,
        Error::NewerEntry { .. } => Code::NewerStore,
        Error::ForeignJournal { .. } | Error::Diverged { .. } => Code::Diverged,
        Error::Older { .. } => Code::OlderStore,
        Error::Pruned { .. } | Error::StillNeeded { .. } => Code::Pruned,
        Error::NothingToConfirm => Code::NothingToConfirm,
        Error::NoSuchSchedule { .. } => Code::NoSuchName,
        Error::NoSuchCandidate { .. } => Code::NoCandidate,
        Error::TagExists { .. } | Error::CandidateExists { .. } => Code::Exists,
        Error::BadName { .. } | Error::RewindScheduled { .. } => Code::WrongArguments,
        Error::NothingToCommit => Code::NothingToCommit,
        Error::NoSuchRevision { .. } => Code::NoSuchRevision,
        Error::Mismatch(_) | Error::Malformed { .. } => Code::DoesNotFit,
        Error::Dangling(_) => Code::DanglingReference,
        Error::Duplicate { .. } => Code::DuplicateValue,
        Error::Check { .. } => Code::BadValue,
        Error::Refused(_) | Error::Unusable { .. } => Code::Refused,
        Error::DigestMismatch { .. }
        | Error::BrokenChain { .. }
        | Error::Fold { .. }
        | Error::Journal { .. }
        | Error::Damaged { .. } => Code::Damaged,
        error if error.is_malformed() => Code::Damaged,
        _ => Code::StoreFailed,
    }
}

fn help_for(error: &Error) -> Option<&'static str> {
    Some(match error {
        error if error.is_read_only() => {
            "who reads the store writes beside it, too: ask its owner for the right to write to it and to its folder"
        }
        error if error.is_malformed() => {
            "the file is damaged: make another of a journal file with `rewire journal import --store`"
        }
        Error::Missing { .. } => "make one with `rewire init`, or name another with --store",
        Error::Exists { .. } => "a store is never made over something: take another name",
        Error::NotAStore { .. } => "the file was not touched; name the store with --store",
        Error::Newer { .. } => "the file was not touched; use the newer rewire",
        Error::Busy => "try again",
        Error::StaleCandidate { .. } => {
            "others committed since: commit without --no-merge, or load the document again"
        }
        Error::NothingToCommit => "nothing differs from the running revision",
        Error::NoSuchRevision { .. } => "`rewire log` lists them",
        Error::Incomplete { .. } => {
            "import it where the store is that it goes on from, or export it without --from"
        }
        Error::Gap { .. } => {
            "export from the revision on that is missing here: `rewire journal export --from N`"
        }
        Error::ForeignJournal { .. } => {
            "a journal is added only to a store that was made of the same beginning"
        }
        Error::NothingToConfirm => "`rewire commit --confirm` commits what must be confirmed",
        Error::NoSuchSchedule { .. } => "`rewire scheduled` lists them",
        Error::CandidateChanged { .. } => "look at `rewire diff`, then commit again",
        Error::TagExists { .. } => {
            "a tag is never moved: `rewire tag --delete` it, and give it again"
        }
        Error::StillNeeded {
            why: Needed::Tag { .. },
            ..
        } => "--force takes the tags away, too",
        _ => return None,
    })
}

/// The operands that machines may want to use.
fn details(failure: Failure, error: &Error) -> Failure {
    match error {
        Error::StaleCandidate { base, head } => failure.detail("base", *base).detail("head", *head),
        Error::NoSuchRevision { revision, head } => {
            failure.detail("revision", *revision).detail("head", *head)
        }
        Error::Pruned { revision, floor } => failure
            .detail("revision", *revision)
            .detail("floor", *floor),
        Error::Locked(lock) => failure
            .detail("holder", lock.holder.as_str())
            .detail("why", lock.message.as_str())
            .detail("since", when::utc(lock.since))
            .detail("pid", lock.session.pid),
        Error::DigestMismatch { revision, .. }
        | Error::BrokenChain { revision, .. }
        | Error::Diverged { revision }
        | Error::NotReplayed { revision, .. }
        | Error::NewerEntry { revision, .. }
        | Error::Unusable { revision, .. }
        | Error::Fold { revision, .. } => failure.detail("revision", *revision),
        _ => failure,
    }
}

/// An error with all that caused it, on one line.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut last = out.clone();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        // Some errors repeat their source in their own words, or their source repeats them.
        if !out.ends_with(&text) && !text.ends_with(&last) {
            out.push_str(": ");
            out.push_str(&text);
        }
        last = text;
        source = error.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words and exit codes are promises: the page that makes them is held to the code.
    #[test]
    fn every_code_is_documented_with_its_exit_code() {
        let page = include_str!("../../docs/json.md");
        let documented: Vec<&str> = page
            .lines()
            .skip_while(|line| *line != "## Errors")
            .filter(|line| line.starts_with("| `"))
            .collect();
        assert_eq!(documented.len(), Code::ALL.len());
        for (line, code) in documented.iter().zip(Code::ALL) {
            let begin = format!("| `{}` | {} | ", code.word(), code.exit());
            assert!(line.starts_with(&begin), "expected {begin} found {line}");
        }
    }
}
