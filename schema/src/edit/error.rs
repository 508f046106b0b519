//! Why an edit cannot be made.

use crate::changeset::Mismatch;
use crate::document::Path;
use crate::state::StateError;
use crate::table::RowError;
use crate::value::FieldError;

/// Why an edit cannot be made. Nothing was changed then. `word` is the number of the word, from 0, that is meant; the
/// number of words where one is missing at the end.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The first word is no verb.
    #[error("no such command \"{found}\"")]
    NoSuchVerb {
        /// The word.
        word: usize,
        /// What it says.
        found: String,
        /// The nearest one.
        help: Option<String>,
    },
    /// There is no field of this name.
    #[error("{}no field \"{found}\"", inside(.at))]
    NoSuchField {
        /// The word.
        word: usize,
        /// The object that has no such field.
        at: Path,
        /// The name.
        found: String,
        /// The nearest name, or all that there are.
        help: String,
    },
    /// A word is not what its field or key takes.
    #[error("{at}: {}", .error.message)]
    Value {
        /// The word.
        word: usize,
        /// The field, or the collection whose key it is.
        at: Path,
        /// What was expected and what was found.
        error: FieldError,
    },
    /// The words end where another one has to stand.
    #[error("{}{expected} is missing", inside(.at))]
    Missing {
        /// The number of words.
        word: usize,
        /// What the words so far lead to.
        at: Path,
        /// What is missing.
        expected: String,
        /// What could stand there.
        help: Option<String>,
    },
    /// A word too many.
    #[error("{at}: nothing stands here, found \"{found}\"")]
    TooMany {
        /// The word.
        word: usize,
        /// What the words before lead to.
        at: Path,
        /// What it says.
        found: String,
    },
    /// What is to be changed is not there.
    #[error("there is no {path}")]
    Absent {
        /// The word.
        word: usize,
        /// What is not there.
        path: Path,
        /// The nearest one that is.
        help: Option<String>,
    },
    /// The new name is taken.
    #[error("there is {path} already")]
    Exists {
        /// The word.
        word: usize,
        /// What is there.
        path: Path,
    },
    /// The verb is for something else than what the path leads to.
    #[error("{path}: expected {expected}")]
    Unfit {
        /// The word.
        word: usize,
        /// What the path leads to.
        path: Path,
        /// What the verb takes.
        expected: &'static str,
    },
    /// A field that is as it would be anyway has nothing to mark.
    #[error("{path} is not set: there is nothing to mark")]
    Unset {
        /// The word.
        word: usize,
        /// The field.
        path: Path,
    },
    /// A field that an object cannot be without cannot be deactivated.
    #[error("{path} is required, and cannot be deactivated")]
    Required {
        /// The word.
        word: usize,
        /// The field.
        path: Path,
    },
    /// A place in a list that is not there.
    #[error("{path}: expected an index from 0 to {length}, or + for the end, found {found}")]
    Index {
        /// The word.
        word: usize,
        /// The list.
        path: Path,
        /// The number of its entries.
        length: usize,
        /// The index.
        found: i64,
    },
    /// The state could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The edits do not fit onto the state.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Values that make no row.
    #[error(transparent)]
    Row(#[from] RowError),
    /// Kept edits that cannot be read.
    #[error("edits that are not complete: {0}")]
    Drafts(String),
}

fn inside(path: &Path) -> String {
    match path.steps().is_empty() {
        true => String::new(),
        false => format!("{path}: "),
    }
}

impl EditError {
    /// The number of the word that is meant.
    pub fn word(&self) -> Option<usize> {
        match self {
            EditError::NoSuchVerb { word, .. }
            | EditError::NoSuchField { word, .. }
            | EditError::Value { word, .. }
            | EditError::Missing { word, .. }
            | EditError::TooMany { word, .. }
            | EditError::Absent { word, .. }
            | EditError::Exists { word, .. }
            | EditError::Unfit { word, .. }
            | EditError::Unset { word, .. }
            | EditError::Required { word, .. }
            | EditError::Index { word, .. } => Some(*word),
            _ => None,
        }
    }

    /// The place that is meant.
    pub fn path(&self) -> Option<&Path> {
        match self {
            EditError::NoSuchField { at, .. }
            | EditError::Value { at, .. }
            | EditError::Missing { at, .. }
            | EditError::TooMany { at, .. } => Some(at),
            EditError::Absent { path, .. }
            | EditError::Exists { path, .. }
            | EditError::Unfit { path, .. }
            | EditError::Unset { path, .. }
            | EditError::Required { path, .. }
            | EditError::Index { path, .. } => Some(path),
            _ => None,
        }
    }

    /// What to do about it, when that can be told.
    pub fn help(&self) -> Option<String> {
        match self {
            EditError::NoSuchField { help, .. } => Some(help.clone()),
            EditError::NoSuchVerb { help, .. }
            | EditError::Missing { help, .. }
            | EditError::Absent { help, .. } => help.clone(),
            EditError::Value { error, .. } => error.help.clone(),
            EditError::Unset { .. } => Some("`set` gives it a value first".to_owned()),
            EditError::Required { .. } => {
                Some("deactivate the whole object, or give the field another value".to_owned())
            }
            _ => None,
        }
    }
}
