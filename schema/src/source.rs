//! Documents from text, and text from documents: YAML 1.2, of which JSON is a part.
//!
//! A document is read in one pass, from the events of its syntax along the [outline](crate::outline) into rows,
//! first by a quick parser that takes the form that `rewire` writes and JSON, and explains nothing. What that one does not
//! take is read again, with all of YAML, and everything that is wrong is told at once, each with its place: shape, names
//! that lead nowhere, and what those objects mean whose shape is right ([`meaning`]). Syntax alone ends at the first error.
//! No input panics: text of any kind, size and depth gets rows or an error.

mod beside;
mod block;
pub(crate) mod diagnostic;
mod event;
mod json;
mod locate;
mod parts;
mod place;
mod reader;
mod words;
mod write;
mod yaml;

use std::ops::Range;
use std::sync::Arc;

use block::BlockEvents;
pub(crate) use diagnostic::Text;
pub use diagnostic::{Diagnostic, Diagnostics, Related};
pub use event::DEEPEST_NESTING;
use event::Events;
use json::JsonEvents;
pub use parts::{Parts, read_parts};
pub(crate) use reader::{Findings, Target, Way};
use reader::{Reader, Stop};
pub use write::{to_json, to_yaml, write_json, write_yaml};
use yaml::YamlEvents;

use crate::document::Path;
use crate::meaning::{self, Problem};
use crate::model::{Configuration, Row, RowKey, Table};
use crate::state::StateError;
use crate::value::Value;

/// The largest document that is read, in bytes: a million routes fit.
pub const LARGEST_DOCUMENT: usize = 256 << 20;

/// A document that was read without errors, and its text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the document says, as rows.
    pub configuration: Configuration,
    text: Arc<Text>,
}

/// Reads a document from YAML or JSON and checks all of it: syntax, shape, meaning. `name` is what errors call it,
/// mostly the name of its file. Cost: the text.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read(name: &str, bytes: &[u8]) -> Result<Source, Diagnostics> {
    let source = read_shape(name, bytes)?;
    let problems = meaning::check(&source.configuration);
    if problems.is_empty() {
        Ok(source)
    } else {
        Err(source.diagnose(problems))
    }
}

/// Reads a document without asking what its objects mean to each other, unless something else is wrong with it, too.
///
/// # Errors
///
/// What is wrong with its syntax or shape; then also with its meaning, as far as that can be told.
pub fn read_shape(name: &str, bytes: &[u8]) -> Result<Source, Diagnostics> {
    read_with(name, bytes.to_vec(), &mut |_, _| {})
}

/// Reads a document like [`read_shape`], whose bytes it takes over, and calls `progress` now and then with the number of
/// bytes that are read, and of all. Where something is wrong, it begins again from the front.
///
/// # Errors
///
/// Those of [`read_shape`].
pub fn read_with(
    name: &str,
    bytes: Vec<u8>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Source, Diagnostics> {
    let text = text(name, bytes)?;
    match rows(&text, Way::WHOLE, &Configuration::default, progress) {
        Ok(configuration) => Ok(Source {
            configuration,
            text,
        }),
        Err(Failure::Document { mut findings, rows }) => {
            let problems = beside::check(rows, &mut findings);
            let mut list = findings.list;
            list.extend(located(text.as_str(), problems));
            Err(Diagnostics::new(text, list))
        }
        Err(Failure::State(error)) => {
            let error = Diagnostic::new(0..0, error.to_string());
            Err(Diagnostics::new(text, vec![error]))
        }
    }
}

impl Source {
    /// Where a part of the document stands in the text, in bytes: a field's value, or the key of an object. Members of
    /// sets (addresses, ranges, sources) are found by their text or their index. Where there is no such part, the
    /// nearest one above it; `None` only where the path leads nowhere at all. Cost: the text.
    pub fn locate(&self, path: &Path) -> Option<Range<usize>> {
        let found = locate::locate(self.text.as_str(), [path]).pop()?;
        (found.steps > 0).then_some(found.span)
    }

    /// The problems of a configuration that came from this document, with their places. Cost: the text, and the problems.
    pub fn diagnose(&self, problems: Vec<Problem>) -> Diagnostics {
        let list = located(self.text.as_str(), problems);
        Diagnostics::new(self.text.clone(), list)
    }

    pub(crate) fn into_text(self) -> Arc<Text> {
        self.text
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }
}

/// The text of a document, if it is text.
pub(crate) fn text(name: &str, bytes: Vec<u8>) -> Result<Arc<Text>, Diagnostics> {
    let fail = |text: String, diagnostic| {
        Diagnostics::new(Arc::new(Text::new(name, text)), vec![diagnostic])
    };
    if bytes.len() > LARGEST_DOCUMENT {
        let length = bytes.len();
        let message =
            format!("the document has {length} bytes, expected at most {LARGEST_DOCUMENT}");
        return Err(fail(String::new(), Diagnostic::new(0..0, message)));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(Text::new(name, text))),
        Err(error) => {
            // Only the line of the bad byte is needed, but its number counts those before it.
            let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            let mut text = String::from_utf8_lossy(good).into_owned();
            let at = text.len();
            text.push(char::REPLACEMENT_CHARACTER);
            let span = at..text.len();
            let byte = bad.first().copied().unwrap_or_default();
            let message = format!("expected UTF-8 text, found the byte 0x{byte:02x}");
            Err(fail(text, Diagnostic::new(span, message)))
        }
    }
}

/// Why a document gave no rows.
pub(crate) enum Failure<T> {
    /// Something is wrong with it. The rows are those that could be made all the same.
    Document { findings: Findings, rows: T },
    /// What was before could not be read.
    State(StateError),
}

/// Reads a document into a target of its own.
pub(crate) fn rows<T: Target>(
    text: &Text,
    way: Way,
    target: &dyn Fn() -> T,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<T, Failure<T>> {
    let text = text.as_str();
    let mut progress = |read: usize| progress(read.min(text.len()), text.len());
    let mut events: Box<dyn Events<'_>> = match JsonEvents::may_read(text) {
        true => Box::new(JsonEvents::new(text)),
        false => Box::new(BlockEvents::new(text)),
    };
    let mut rows = target();
    let mut reader = Reader::new(text, &mut *events, &mut rows, None, &mut progress);
    match reader.document(way) {
        Ok(()) => return Ok(rows),
        Err(Stop::State(error)) => return Err(Failure::State(error)),
        // Somebody else finds out what it is, if it is anything.
        Err(Stop::Refused(_)) => drop(rows),
    }

    let mut findings = Findings::default();
    let mut rows = target();
    let mut events = YamlEvents::new(text);
    let explained = Some(&mut findings);
    let mut reader = Reader::new(text, &mut events, &mut rows, explained, &mut progress);
    match reader.document(way) {
        Ok(()) => {}
        Err(Stop::Refused(diagnostic)) => findings.list.push(*diagnostic),
        Err(Stop::State(error)) => return Err(Failure::State(error)),
    }
    if findings.list.is_empty() {
        Ok(rows)
    } else {
        Err(Failure::Document { findings, rows })
    }
}

/// Problems with their places.
pub(crate) fn located(text: &str, problems: Vec<Problem>) -> Vec<Diagnostic> {
    if problems.is_empty() {
        return Vec::new();
    }
    let places = locate::locate(text, problems.iter().map(|problem| &problem.path));
    let located = problems.into_iter().zip(places);
    let diagnostics = located.map(|(problem, found)| {
        let mut diagnostic = Diagnostic::new(found.span, problem.message);
        diagnostic.path = problem.path;
        diagnostic.help = problem.help;
        diagnostic
    });
    diagnostics.collect()
}

/// A whole document becomes the whole configuration: nothing was before.
impl Target for Configuration {
    fn before(&mut self, _: &RowKey) -> Result<Option<Row>, StateError> {
        Ok(None)
    }
    fn count(&mut self, _: Table, _: &[Value]) -> Result<usize, StateError> {
        Ok(0)
    }
    fn clear(&mut self, _: Table, _: &[Value]) -> Result<(), StateError> {
        Ok(())
    }
    fn put(&mut self, row: Row, _: Option<Row>) -> bool {
        self.insert(row).is_none()
    }
}

#[cfg(test)]
mod tests;
