//! What a command came to: a text for people, a value for machines.
//!
//! For machines there is one envelope, `docs/json.md` describes it. Fields may be added to a version; they are never
//! renamed or removed.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// The version of the envelope and of all results in it.
pub(crate) const VERSION: u32 = 1;

/// What a command came to.
pub(crate) struct Answer {
    /// What people read; whole lines.
    pub(crate) text: String,
    /// What machines read.
    pub(crate) result: Value,
    /// Whether the text was asked for. If not, it only confirms that something was done, and `--quiet` leaves it out.
    pub(crate) asked_for: bool,
}

/// Whether the arguments ask for JSON, where they could not be read as a whole.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let options = arguments.iter().take_while(|argument| *argument != "--");
    options.into_iter().any(|argument| argument == "--json")
}

/// The envelope of a success.
pub(crate) fn success(verb: &str, result: Value, notes: &[String]) -> String {
    let mut envelope = envelope(Some(verb), true);
    envelope.insert("result".to_owned(), result);
    if !notes.is_empty() {
        envelope.insert("notes".to_owned(), json!(notes));
    }
    lines(envelope)
}

/// The envelope of a failure; `verb` is none where the arguments could not be read.
pub(crate) fn failure(verb: Option<&str>, failure: &Failure) -> String {
    let mut envelope = envelope(verb, false);
    envelope.insert("error".to_owned(), failure.to_json());
    lines(envelope)
}

fn envelope(verb: Option<&str>, ok: bool) -> Map<String, Value> {
    Map::from_iter([
        ("rewire".to_owned(), json!(VERSION)),
        ("verb".to_owned(), json!(verb)),
        ("ok".to_owned(), json!(ok)),
    ])
}

fn lines(envelope: Map<String, Value>) -> String {
    format!("{:#}\n", Value::Object(envelope))
}
