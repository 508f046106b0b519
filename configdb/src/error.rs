mod text;

use std::io;
use std::path::PathBuf;

use rewire_journal::export::FileError;
use rewire_journal::{JournalError, StateDigest};
use rewire_schema::types::ParseError;
use rewire_schema::{Mismatch, Path};

use crate::constraint::Dangling;
use crate::lock::LockHolder;
use crate::merge::Conflict;
use crate::prune::Needed;
use text::{changed_text, depends_text, first_row, hex, lines, locked_text, mismatch_text};

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
    /// The store was made by an earlier version of this program, and cannot be migrated because it was opened for reading.
    #[error(
        "{} is a store of schema version {store}; this program reads version {ours}: open it for writing once, which migrates it",
        .path.display()
    )]
    Older {
        /// The path that was given.
        path: PathBuf,
        /// The store's version.
        store: u32,
        /// The version that is read here.
        ours: u32,
    },
    /// For as long as the busy time-out, other processes had the store's lock whenever this one asked for it: one that was
    /// slow, or several after each other, as SQLite keeps no queue. A process that ends gives the lock back, however it ends.
    /// Trying again is right.
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
    /// Others changed the same since, and not in the same way.
    #[error("{}", lines(.0))]
    Conflicts(Vec<Conflict>),
    /// Undoing an old revision would undo what later ones made of it.
    #[error("revision {revision} cannot be undone: {}", depends_text(.depends))]
    RevertConflict {
        /// The revision that was to be undone.
        revision: u64,
        /// What later revisions changed again: theirs, where ours is the undoing.
        depends: Vec<Conflict>,
    },
    /// Somebody else holds the exclusive lock.
    #[error("{}", locked_text(.0))]
    Locked(Box<LockHolder>),
    /// Nothing waits for a confirmation.
    #[error("no commit waits for its confirmation")]
    NothingToConfirm,
    /// An entry that goes back to a state cannot be put off: when its time comes, others may have committed.
    #[error("a rewind to revision {to} cannot be scheduled as such: the way back can, as a commit")]
    RewindScheduled {
        /// Where it was to go.
        to: u64,
    },
    /// There is no scheduled commit of this number.
    #[error("there is no scheduled commit {id}")]
    NoSuchSchedule {
        /// The number.
        id: u64,
    },
    /// The name of a candidate or a tag is none.
    #[error("{source}")]
    BadName {
        /// What was expected and what was found.
        source: ParseError,
    },
    /// There is no candidate of this name.
    #[error("there is no candidate \"{name}\"")]
    NoSuchCandidate {
        /// The name.
        name: String,
    },
    /// The new name of a candidate is taken.
    #[error("there is a candidate \"{name}\" already")]
    CandidateExists {
        /// The name.
        name: String,
    },
    /// Somebody else saved, renamed or removed the candidate in between.
    #[error("{}", changed_text(.name, *.found, .author))]
    CandidateChanged {
        /// The candidate's name.
        name: String,
        /// The version that was expected; 0 for none.
        expected: u64,
        /// The version that it has; 0 where it is gone.
        found: u64,
        /// Who saved it last, where it is there.
        author: Option<String>,
    },
    /// The name of a tag is taken.
    #[error("tag \"{name}\" is taken: it names revision {revision}")]
    TagExists {
        /// The name.
        name: String,
        /// The revision that has it.
        revision: u64,
    },
    /// Entries of the journal cannot be pruned.
    #[error("the journal cannot be pruned up to revision {up_to}: {why}")]
    StillNeeded {
        /// How far it was to be pruned.
        up_to: u64,
        /// What needs them.
        why: Needed,
    },
    /// A journal file cannot be written, or is not one.
    #[error(transparent)]
    File(#[from] FileError),
    /// A new store needs the journal from its beginning, or the state that it begins with.
    #[error(
        "the journal file begins after revision {floor}, and does not hold the state there: a new store needs it from revision 1"
    )]
    Incomplete {
        /// The revision before the file's first.
        floor: u64,
    },
    /// The journal file is of another store.
    #[error("the journal file is of another store: {}, this one is {}", hex(.theirs), hex(.ours))]
    ForeignJournal {
        /// This store's identity.
        ours: [u8; 16],
        /// The identity in the file.
        theirs: [u8; 16],
    },
    /// The journal file and the store have different entries of one revision.
    #[error("the journals part at revision {revision}: the file has another entry than the store")]
    Diverged {
        /// The revision.
        revision: u64,
    },
    /// Entries between the store's last and the file's first are missing.
    #[error("the journal file begins after revision {floor}, but the last revision here is {head}")]
    Gap {
        /// The store's last revision.
        head: u64,
        /// The revision before the file's first.
        floor: u64,
    },
    /// An entry was written by a later version of this program.
    #[error(
        "revision {revision} is of schema version {entry}; this program knows versions up to {ours}"
    )]
    NewerEntry {
        /// The revision.
        revision: u64,
        /// The entry's version.
        entry: u32,
        /// The last version that is known here.
        ours: u32,
    },
    /// An entry of a journal file does not fit onto the state before it.
    #[error("revision {revision} cannot be applied")]
    NotReplayed {
        /// The revision.
        revision: u64,
        /// Why.
        source: Box<Error>,
    },
    /// The checker refuses the state that a journal file leads to.
    #[error("revision {revision}, the last one of the journal file, is refused")]
    Unusable {
        /// The last revision.
        revision: u64,
        /// What the checker says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The table has no such columns, or there are not as many values as columns.
    #[error("table {table} cannot be searched by ({})", .columns.join(", "))]
    NoSuchColumns {
        /// The table.
        table: &'static str,
        /// The columns that were asked for.
        columns: Vec<String>,
    },
    /// The revision is older than the journal, which was shortened since.
    #[error("revision {revision} was pruned; the oldest one that is left is {floor}")]
    Pruned {
        /// The revision that was asked for.
        revision: u64,
        /// The oldest revision whose state can be told.
        floor: u64,
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
    #[error("{}", lines(.0))]
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

impl Error {
    /// Whether a change was refused for what it is: another one, or this one at another time, may be let through. All
    /// other errors are about the store, or about what was asked of it.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::StaleCandidate { .. }
                | Error::NothingToCommit
                | Error::Conflicts(_)
                | Error::RevertConflict { .. }
                | Error::Pruned { .. }
                | Error::NoSuchRevision { .. }
                | Error::Mismatch(_)
                | Error::Malformed { .. }
                | Error::Dangling(_)
                | Error::Duplicate { .. }
                | Error::Check { .. }
                | Error::Refused(_)
        )
    }
}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        Error::Mismatch(mismatch)
    }
}

impl Error {
    /// Whether it is that the store, or the folder that it is in, cannot be written to. Who reads has to write there, too.
    pub fn is_read_only(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
        matches!(
            self.sqlite_code(),
            Some(CannotOpen | PermissionDenied | ReadOnly)
        )
    }

    /// Whether it is that the file is no sound database any more.
    pub fn is_malformed(&self) -> bool {
        self.sqlite_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt)
    }

    /// Whether it is that something stored is not what it was when it was written.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Error::DigestMismatch { .. }
                | Error::BrokenChain { .. }
                | Error::Fold { .. }
                | Error::Journal { .. }
                | Error::Damaged { .. }
        ) || self.is_malformed()
            || self.sqlite_code() == Some(rusqlite::ErrorCode::NotADatabase)
    }

    fn sqlite_code(&self) -> Option<rusqlite::ErrorCode> {
        match self {
            Error::Sqlite { source, .. } => source.sqlite_error_code(),
            _ => None,
        }
    }
}

/// Says what was being done when SQLite failed; a lock that was not given is [`Error::Busy`], and values that no column of
/// ours can hold are [`Error::Damaged`].
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, Error>;
}

impl<T> During<T> for Result<T, rusqlite::Error> {
    fn during(self, what: &'static str) -> Result<T, Error> {
        self.map_err(|source| match (source.sqlite_error_code(), &source) {
            (Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked), _) => {
                Error::Busy
            }
            // Columns hold what the tables' own rules do not let in.
            (
                _,
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..),
            ) => Error::Damaged {
                why: format!("{what}: {source}"),
            },
            _ => Error::Sqlite {
                during: what,
                source,
            },
        })
    }
}
