//! Editing a configuration by commands, as people type them: `set`, `delete`, `rename`, `copy`, `deactivate`, `activate`
//! and `annotate`.
//!
//! A [`Command`] is read from words, and [`apply`] does it to [`Edits`] on a state that is only looked into where it has
//! to be. Objects whose required fields are not all given yet are kept as [`Draft`]s beside the changeset.

mod apply;
mod command;
mod complete;
mod edits;
mod error;
mod moving;
mod path;
mod script;
mod show;
pub mod words;
mod workspace;
mod write;

pub use apply::{apply, complete_drafts};
pub use command::{Command, Renaming, Settings, VERBS};
pub use complete::{Candidate, Completion, complete};
pub use edits::{Draft, Edits, Incomplete};
pub use error::EditError;
pub use path::{Node, Order, Target};
pub use script::{Line, Script, explain, explain_open, parse_script};
pub use show::document_at;
pub use workspace::Outcome;
pub use write::{set_commands, to_set_commands};
