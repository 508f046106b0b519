use std::io;
use std::path::PathBuf;

use rewire_journal::{JournalError, StateDigest};
use rewire_schema::{Mismatch, Path, Value};

use crate::constraint::Dangling;

/// Everything that can go wrong with a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no file to open.
    #[error("there is no store at {}", .path.display())]
    Missing {
        /// The path that was given.
        path: PathBuf,
    },
    /// A store is not made where something is already.
    #[error("{} exists already", .path.display())]
    Exists {
        /// What is in the way: the path itself, or what is left of an earlier database beside it.
        path: PathBuf,
    },
    /// The file is something else. It was not touched.
    #[error("{} is not a rewire store: {why}", .path.display())]
    NotAStore {
        /// The path that was given.
        path: PathBuf,
        /// What it is, as far as that can be told.
        why: String,
    },
    /// The store was made or migrated by a later version of this program. It was not touched.
    #[error("{} is a store of schema version {store}; this program knows versions up to {ours}", .path.display())]
    Newer {
        /// The path that was given.
        path: PathBuf,
        /// The store's version.
        store: u32,
        /// The last version that is known here.
        ours: u32,
    },
    /// Another process held the store's lock for longer than the busy time-out. Trying again is right.
    #[error("the store is busy: another process is writing to it")]
    Busy,
    /// A file operation failed.
    #[error("{during} {} failed", .path.display())]
    Io {
        /// What was being done, like "creating".
        during: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// SQLite failed: a full disk, a damaged file, missing rights.
    #[error("{during} failed")]
    Sqlite {
        /// What was being done.
        during: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Reading the journal or migrating the schema failed.
    #[error("{during} failed")]
    Diesel {
        /// What was being done.
        during: &'static str,
        /// What diesel says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else committed since: the changeset is on an older revision than the last one.
    #[error("the change is based on revision {base}, but the last revision is now {head}")]
    StaleCandidate {
        /// The revision that the changeset was made on.
        base: u64,
        /// The last revision.
        head: u64,
    },
    /// The changeset is empty.
    #[error("there is nothing to commit")]
    NothingToCommit,
    /// There is no such revision yet.
    #[error("there is no revision {revision}; the last one is {head}")]
    NoSuchRevision {
        /// The revision that was asked for.
        revision: u64,
        /// The last revision.
        head: u64,
    },
    /// A row is not as the changeset says.
    #[error("{}", mismatch_text(.0))]
    Mismatch(Mismatch),
    /// A change that is none: an update whose two rows are equal or have different keys.
    #[error("{path}: an update must change a row's fields and keep its key")]
    Malformed {
        /// The row.
        path: Path,
    },
    /// References would lead nowhere.
    #[error("{}", dangling_text(.0))]
    Dangling(Vec<Dangling>),
    /// Two rows would have the same value in columns that must be unique.
    #[error("{path}: {} is already taken by {other}", .columns.join(", "))]
    Duplicate {
        /// The row that cannot be written.
        path: Path,
        /// The columns whose values must be unique together.
        columns: Vec<String>,
        /// The row that has them.
        other: Path,
    },
    /// A value is outside of what its column takes.
    #[error("{path}: the database refuses the value: {constraint}")]
    Check {
        /// The row.
        path: Path,
        /// The condition in SQL that does not hold.
        constraint: String,
    },
    /// The checker refused the change.
    #[error("the change is refused")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A state is not the one that its digest names.
    #[error(
        "the state of revision {revision} does not match its digest: expected {}, found {}{}",
        .expected.short(), .found.short(), first_row(.row)
    )]
    DigestMismatch {
        /// The revision.
        revision: u64,
        /// The digest on record.
        expected: StateDigest,
        /// The digest of the state.
        found: StateDigest,
        /// The first row that is not as the journal says, where the rows were compared.
        row: Option<Path>,
    },
    /// The journal's entries are not a chain.
    #[error("the journal is broken at revision {revision}")]
    BrokenChain {
        /// The first revision that does not fit.
        revision: u64,
        /// What is wrong with it.
        source: JournalError,
    },
    /// An entry's changeset does not fit onto the state before it.
    #[error("the journal does not fold at revision {revision}: {}", mismatch_text(.mismatch))]
    Fold {
        /// The revision.
        revision: u64,
        /// The row that does not fit.
        mismatch: Mismatch,
    },
    /// A stored changeset cannot be decoded.
    #[error("{what} cannot be read")]
    Journal {
        /// What was being read, like "revision 3".
        what: String,
        /// Why it cannot.
        source: JournalError,
    },
    /// What is stored breaks the tables' own rules: the file is damaged, or something else wrote to it.
    #[error("the store is damaged: {why}")]
    Damaged {
        /// What was found.
        why: String,
    },
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Error::Mismatch(mismatch)
    }
}

/// Says it by fields; the rows themselves are in the error.
fn mismatch_text(mismatch: &Mismatch) -> String {
    match (&mismatch.expected, &mismatch.found) {
        (Some(expected), Some(found)) => {
            let fields = expected.fields().into_iter().zip(found.fields());
            let differing = fields.filter(|(expected, found)| expected != found);
            let texts = differing.map(|((name, expected), (_, found))| {
                format!(
                    "{name} is {}, the change expects {}",
                    quoted(&found),
                    quoted(&expected)
                )
            });
            format!(
                "{}: {}",
                expected.path(),
                texts.collect::<Vec<_>>().join("; ")
            )
        }
        (Some(expected), None) => {
            format!("{} does not exist, the change expects it", expected.path())
        }
        (None, Some(found)) => format!("{} exists already", found.path()),
        (None, None) => "a row is not as the change expects".to_owned(),
    }
}

fn quoted(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn dangling_text(dangling: &[Dangling]) -> String {
    dangling
        .iter()
        .map(Dangling::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn first_row(row: &Option<Path>) -> String {
    row.as_ref()
        .map(|path| format!(" (the first row that differs is {path})"))
        .unwrap_or_default()
}

/// Says what was being done when SQLite failed; a lock that was not given is [`Error::Busy`].
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, rusqlite::Error> {
    fn during(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Error::Busy
            }
            _ => Error::Sqlite {
                during: what,
                source,
            },
        })
    }
}

impl<T> During<T> for Result<T, diesel::result::Error> {
    fn during(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Diesel {
            during: what,
            source: source.into(),
        })
    }
}
