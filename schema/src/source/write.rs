//! Documents as text, written as they are walked: nothing of them is held but the line that is written.

mod json;
mod rows;
mod yaml;

use std::io;

pub use rows::{write_json, write_yaml};
use serde_json::Value as Json;

use json::JsonText;
use yaml::YamlText;

/// A document as YAML, in the order of its names; [`read`](super::read) gives it back. Cost: the document.
///
/// # Errors
///
/// None: the text is made in memory.
pub fn to_yaml(document: &Json) -> io::Result<String> {
    text(|out| tree(&mut YamlText::new(out), document))
}

/// A document as indented JSON, in the order of its names; [`read`](super::read) gives it back. Cost: the document.
///
/// # Errors
///
/// None: the text is made in memory.
pub fn to_json(document: &Json) -> io::Result<String> {
    text(|out| tree(&mut JsonText::new(out), document))
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<String> {
    let mut bytes = Vec::new();
    write(&mut bytes)?;
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// Takes a document piece by piece. Maps and lists are closed in the order in which they were opened; in a map every value
/// has its key before it.
trait Form {
    fn open(&mut self, map: bool) -> io::Result<()>;
    fn close(&mut self) -> io::Result<()>;
    fn key(&mut self, key: &str) -> io::Result<()>;
    fn scalar(&mut self, value: &Json) -> io::Result<()>;
    /// The document is over.
    fn finish(&mut self) -> io::Result<()>;
}

fn tree(form: &mut dyn Form, document: &Json) -> io::Result<()> {
    value(form, document)?;
    form.finish()
}

fn value(form: &mut dyn Form, json: &Json) -> io::Result<()> {
    match json {
        Json::Object(map) => {
            form.open(true)?;
            for (key, json) in map {
                form.key(key)?;
                value(form, json)?;
            }
            form.close()
        }
        Json::Array(list) => {
            form.open(false)?;
            list.iter().try_for_each(|json| value(form, json))?;
            form.close()
        }
        scalar => form.scalar(scalar),
    }
}

/// A map or a list that is written.
struct Open {
    map: bool,
    empty: bool,
}

/// The line break and the spaces before something at a depth.
fn new_line(out: &mut dyn io::Write, depth: usize) -> io::Result<()> {
    const SPACES: &str = "\n                                ";
    let spaces = 2 * depth;
    match SPACES.get(..=spaces) {
        Some(text) => out.write_all(text.as_bytes()),
        None => write!(out, "\n{:spaces$}", ""),
    }
}
