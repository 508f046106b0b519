//! Documents from text, and text from documents: YAML 1.2, of which JSON is a part.
//!
//! Reading goes in stages: syntax (`tree`), shape (the JSON Schema, `shape`), and last what objects mean to each
//! other ([`meaning`]). A stage reports all its errors at once, each with its place; syntax alone ends
//! at the first. Names that lead nowhere are reported beside errors of shape (`dangling`); what else a document means is
//! asked when its shape is right. No input panics: text of any kind, size and depth gets a tree or an error.

mod dangling;
mod diagnostic;
mod shape;
mod tree;

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

pub use diagnostic::{Diagnostic, Diagnostics, Related};
pub use tree::DEEPEST_NESTING;

use crate::document::{Path, from_document};
use crate::meaning::{self, Problem};
use crate::model::Configuration;
use crate::types::AddressRange;
use diagnostic::Text;
use tree::{Kind, Node, Span};

/// The largest document that is read, in bytes: a million routes fit.
pub const LARGEST_DOCUMENT: usize = 256 << 20;

/// A document that was read without errors, and where each of its parts stands in the text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What the document says, as rows.
    pub configuration: Configuration,
    text: Arc<Text>,
    root: Node,
}

/// Reads a document from YAML or JSON and checks all of it: syntax, shape, meaning. `name` is what errors call it,
/// mostly the name of its file. Cost: the text, several times over.
pub fn read(name: &str, bytes: &[u8]) -> Result<Source, Diagnostics> {
    let source = read_shape(name, bytes)?;
    let problems = meaning::check(&source.configuration);
    if problems.is_empty() {
        Ok(source)
    } else {
        Err(source.diagnose(problems))
    }
}

/// Reads a document without asking what its objects mean to each other: syntax and shape alone.
pub fn read_shape(name: &str, bytes: &[u8]) -> Result<Source, Diagnostics> {
    let fail = |text: String, list| Diagnostics::new(Arc::new(Text::new(name, text)), list);
    if bytes.len() > LARGEST_DOCUMENT {
        let message = format!(
            "the document has {} bytes, expected at most {LARGEST_DOCUMENT}",
            bytes.len()
        );
        return Err(fail(String::new(), vec![Diagnostic::new(0..0, message)]));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            // Only the line of the bad byte is needed, but its number counts those before it.
            let (good, bad) = bytes.split_at(error.valid_up_to());
            let mut text = String::from_utf8_lossy(good).into_owned();
            let at = text.len();
            text.push(char::REPLACEMENT_CHARACTER);
            let span = at..text.len();
            let byte = bad.first().copied().unwrap_or_default();
            let message = format!("expected UTF-8 text, found the byte 0x{byte:02x}");
            return Err(fail(text, vec![Diagnostic::new(span, message)]));
        }
    };
    let (root, mut list) = match tree::parse(text) {
        Ok(parsed) => parsed,
        Err(error) => return Err(fail(text.to_owned(), vec![error])),
    };
    let value = root.to_value();
    list.extend(shape::check(text, &root, &value));
    repetitions(&root, None, &mut list);
    if !list.is_empty() {
        list.extend(dangling::check(&root));
        return Err(fail(text.to_owned(), list));
    }
    // What the schema lets through, the types take; were it otherwise, these are still errors and no panic.
    let configuration = match from_document(&value) {
        Ok(configuration) => configuration,
        Err(problems) => {
            let list = problems.into_iter().map(|problem| located(&root, problem));
            return Err(fail(text.to_owned(), list.collect()));
        }
    };
    Ok(Source {
        configuration,
        text: Arc::new(Text::new(name, text.to_owned())),
        root,
    })
}

impl Source {
    /// Where a part of the document stands in the text, in bytes: a field's value, or the key of an object. Members of
    /// sets (addresses, ranges, sources) are found by their text or their index. Where there is no such part, the
    /// nearest one above it; `None` only where the path leads nowhere at all.
    pub fn locate(&self, path: &Path) -> Option<Range<usize>> {
        let first = path.steps().first()?;
        step_into(&self.root, first)?;
        Some(locate(&self.root, path, Place::Value))
    }

    /// The problems of a configuration that came from this document, with their places.
    pub fn diagnose(&self, problems: Vec<Problem>) -> Diagnostics {
        let list = problems.into_iter().map(|p| located(&self.root, p));
        Diagnostics::new(self.text.clone(), list.collect())
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }
}

/// A document as YAML, in the order of its names; [`read`] gives it back.
pub fn to_yaml(document: &serde_json::Value) -> Result<String, serde_saphyr::ser::Error> {
    let options = serde_saphyr::ser_options! {
        yaml_12: true,
        no_lang_directive: true,
        prefer_block_scalars: false,
        compact_list_indent: false,
    };
    serde_saphyr::to_string_with_options(document, options)
}

/// A document as indented JSON, in the order of its names; [`read`] gives it back.
pub fn to_json(document: &serde_json::Value) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document)
}

/// A problem with its place.
fn located(root: &Node, problem: Problem) -> Diagnostic {
    let Problem {
        path,
        message,
        help,
    } = problem;
    let span = locate(root, &path, Place::Value);
    let mut diagnostic = Diagnostic::new(span, message).at(path);
    diagnostic.help = help;
    diagnostic
}

/// What of an entry is meant.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Key,
    /// The value where it is one word, otherwise its key.
    Value,
}

/// The place of a path, or of the nearest part above it that exists.
fn locate(root: &Node, path: &Path, place: Place) -> Span {
    let mut node = root;
    let mut span = head(root);
    for (index, step) in path.steps().iter().enumerate() {
        let Some((key, child)) = step_into(node, step) else {
            break;
        };
        let last = index + 1 == path.steps().len();
        let key_wanted = last && place == Place::Key;
        span = match (&child.kind, key) {
            (Kind::List(_) | Kind::Map(_), None) => head(child),
            (Kind::List(_) | Kind::Map(_), Some(key)) => key,
            (_, Some(key)) if key_wanted || child.span.is_empty() => key,
            _ => child.span.clone(),
        };
        node = child;
    }
    span
}

/// Where a list or map begins: its first key, or its first character.
fn head(node: &Node) -> Span {
    match &node.kind {
        Kind::Map(entries) => {
            let first = entries
                .values()
                .map(|e| e.key.clone())
                .min_by_key(|k| k.start);
            first.unwrap_or(node.span.start..node.span.start + 1)
        }
        Kind::List(items) => items
            .first()
            .map_or(node.span.start..node.span.start + 1, head),
        _ => node.span.clone(),
    }
}

fn step_into<'a>(node: &'a Node, step: &str) -> Option<(Option<Span>, &'a Node)> {
    match &node.kind {
        Kind::Map(entries) => {
            let entry = entries.get(step).or_else(|| {
                let canonical = canonical_key(step);
                let mut alike = entries
                    .iter()
                    .filter(|(k, _)| canonical_key(k) == canonical);
                alike.next().map(|(_, entry)| entry)
            })?;
            Some((Some(entry.key.clone()), &entry.value))
        }
        Kind::List(items) => {
            if let Ok(index) = step.parse::<usize>() {
                return items.get(index).map(|item| (None, item));
            }
            let wanted = canonical_member(step);
            let item = items.iter().find(
                |item| matches!(&item.kind, Kind::Text(text) if canonical_member(text) == wanted),
            )?;
            Some((None, item))
        }
        _ => None,
    }
}

fn find<'a>(root: &'a Node, path: &Path) -> Option<&'a Node> {
    let mut steps = path.steps().iter();
    steps.try_fold(root, |node, step| {
        step_into(node, step).map(|(_, child)| child)
    })
}

/// The canonical spelling of what may be a map's key: names are their own, prefixes and addresses have several.
fn canonical_key(text: &str) -> String {
    if let Ok(network) = text.parse::<IpNet>() {
        return network.to_string();
    }
    match text.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => text.to_owned(),
    }
}

/// The canonical spelling of what may be a member of a set.
fn canonical_member(text: &str) -> String {
    match text.parse::<AddressRange>() {
        Ok(range) => range.to_string(),
        Err(_) => canonical_key(text),
    }
}

/// Where the walk is: the steps from the top, each pointing to the one above it. No cost until it is made a path.
struct Trail<'a> {
    above: Option<&'a Trail<'a>>,
    step: &'a dyn std::fmt::Display,
}

impl Trail<'_> {
    fn path(&self) -> Path {
        let above = self.above.map(Trail::path).unwrap_or_default();
        above.join(self.step)
    }
}

/// Keys and members that are one value in different spellings, or members that are the same: reading them into a map or
/// a set would lose all but one in silence.
fn repetitions(node: &Node, above: Option<&Trail<'_>>, out: &mut Vec<Diagnostic>) {
    match &node.kind {
        Kind::Map(entries) => {
            let mut keys: Vec<(&String, &tree::Entry)> = entries.iter().collect();
            keys.sort_by_key(|(_, entry)| entry.key.start);
            let mut seen = HashMap::new();
            for (key, entry) in keys {
                let step: &dyn std::fmt::Display = key;
                let trail = Trail { above, step };
                let first = seen.entry(canonical_key(key)).or_insert(&entry.key);
                if *first != &entry.key {
                    out.push(
                        Diagnostic::new(entry.key.clone(), "the same key appears twice")
                            .at(trail.path())
                            .related((*first).clone(), "it appears here first"),
                    );
                }
                repetitions(&entry.value, Some(&trail), out);
            }
        }
        Kind::List(items) => {
            let mut seen = HashMap::new();
            for (index, item) in items.iter().enumerate() {
                let step: &dyn std::fmt::Display = &index;
                let trail = Trail { above, step };
                let Kind::Text(text) = &item.kind else {
                    repetitions(item, Some(&trail), out);
                    continue;
                };
                let first = seen.entry(canonical_member(text)).or_insert(&item.span);
                if *first != &item.span {
                    out.push(
                        Diagnostic::new(item.span.clone(), "the same value appears twice")
                            .at(trail.path())
                            .related((*first).clone(), "it appears here first"),
                    );
                }
            }
        }
        _ => {}
    }
}
