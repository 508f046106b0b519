//! Text to tree: YAML 1.2 (and so JSON), every node with its place in the text.
//!
//! What documents do not need is refused, with its place: anchors, aliases, merge keys, tags, keys that are not plain
//! text, several documents in one stream. So the tree is never larger than the text, and never deeper than
//! [`DEEPEST_NESTING`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::ops::Range;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, options};
use serde_json::Number;

use super::diagnostic::Diagnostic;
use crate::document::Path;

/// The deepest that maps and lists may be nested in a document. The model needs 7.
pub const DEEPEST_NESTING: usize = 32;

/// A place in the text, in bytes.
pub(super) type Span = Range<usize>;

/// One node of the tree.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What a node is, in the words of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(BTreeMap<String, Entry>),
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: Span,
    pub(super) value: Node,
}

impl Node {
    /// The node as a JSON value.
    pub(super) fn to_value(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(b) => Value::Bool(*b),
            Kind::Number(n) => Value::Number(n.clone()),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_value).collect()),
            Kind::Map(entries) => {
                let entries = entries.iter();
                Value::Object(
                    entries
                        .map(|(k, e)| (k.clone(), e.value.to_value()))
                        .collect(),
                )
            }
        }
    }
}

/// Reads one document. The diagnostics beside the tree are the keys that a map has twice; of those the first counts.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<Diagnostic>), Diagnostic> {
    let options = options! {
        flow_nesting_limit: 2 * DEEPEST_NESTING,
        block_nesting_limit: 2 * DEEPEST_NESTING,
        disallow_directives: true,
        emit_comments: false,
    };
    let mut builder = Builder::default();
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
        let span = clamp(text, span.byte_range().unwrap_or_default());
        if matches!(event, Event::DocumentStart(..)) {
            documents += 1;
            if documents > 1 {
                return Err(Diagnostic::new(
                    span,
                    "a second document begins here, expected one only",
                ));
            }
        }
        builder.event(event, span)?;
    }
    match builder.root {
        Some(root) => Ok((root, builder.twice)),
        None => Err(
            Diagnostic::new(0..0, "the document is empty, expected a map")
                .help("a configuration with nothing in it is written {}"),
        ),
    }
}

/// Ranges that lie in the text, on the borders of characters.
fn clamp(text: &str, span: Span) -> Span {
    let border = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = border(span.start);
    start..border(span.end).max(start)
}

fn syntax_error(text: &str, error: &ScanError) -> Diagnostic {
    let at = error.marker().byte_offset().unwrap_or_default();
    let span = clamp(text, at..at);
    let rest = &text[span.start..];
    let line = &text[text[..span.start].rfind('\n').map_or(0, |n| n + 1)..];
    let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    let end = span.start
        + rest
            .chars()
            .next()
            .filter(|c| *c != '\n')
            .map_or(0, char::len_utf8);
    let diagnostic = Diagnostic::new(span.start..end, format!("syntax error: {}", error.info()));
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return Diagnostic::new(span.start..end, too_deep());
    }
    if indentation.contains('\t') {
        diagnostic.help("YAML is indented by spaces, never by tabs")
    } else {
        diagnostic
    }
}

fn too_deep() -> String {
    format!("maps and lists are nested deeper than {DEEPEST_NESTING}")
}

/// Builds the tree from the parser's events.
#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Node>,
    twice: Vec<Diagnostic>,
}

/// A map or a list that is not closed yet.
enum Frame {
    List {
        start: Span,
        items: Vec<Node>,
    },
    Map {
        start: Span,
        entries: BTreeMap<String, Entry>,
        key: Option<(String, Span)>,
    },
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Diagnostic> {
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor != 0, tag.is_some()),
            Event::Alias(_) | Event::UnresolvedAlias(_) => (true, false),
            _ => (false, false),
        };
        if anchor {
            return Err(self.refuse(span, "anchors (&) and aliases (*) are not supported here"));
        }
        if tag {
            return Err(self.refuse(span, "tags (!) are not supported here"));
        }
        match event {
            Event::Scalar(text, style, _, _) => self.scalar(&text, style, span),
            Event::SequenceStart(..) => self.open(Frame::List {
                start: span,
                items: Vec::new(),
            }),
            Event::MappingStart(..) => self.open(Frame::Map {
                start: span,
                entries: BTreeMap::new(),
                key: None,
            }),
            Event::SequenceEnd | Event::MappingEnd => {
                let node = match self.open.pop() {
                    Some(Frame::List { start, items }) => Node {
                        span: start.start..span.end.max(start.end),
                        kind: Kind::List(items),
                    },
                    Some(Frame::Map { start, entries, .. }) => Node {
                        span: start.start..span.end.max(start.end),
                        kind: Kind::Map(entries),
                    },
                    None => return Ok(()),
                };
                self.node(node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(&mut self, frame: Frame) -> Result<(), Diagnostic> {
        let (Frame::List { start, .. } | Frame::Map { start, .. }) = &frame;
        if let Some(Frame::Map { key: None, .. }) = self.open.last() {
            return Err(self.refuse(start.clone(), "a key must be text, found a map or a list"));
        }
        if self.open.len() >= DEEPEST_NESTING {
            return Err(self.refuse(start.clone(), too_deep()));
        }
        self.open.push(frame);
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<(), Diagnostic> {
        if let Some(Frame::Map {
            key: key @ None, ..
        }) = self.open.last_mut()
        {
            *key = Some((text.to_owned(), span.clone()));
            if text == "<<" && style == ScalarStyle::Plain {
                return Err(self.refuse(span, "merge keys (<<) are not supported here"));
            }
            return Ok(());
        }
        let kind = match style {
            ScalarStyle::Plain => resolve(text),
            _ => Kind::Text(text.to_owned()),
        };
        self.node(Node { span, kind });
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn node(&mut self, node: Node) {
        let path = self.path();
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, key, .. }) => {
                let Some((name, span)) = key.take() else {
                    return;
                };
                match entries.entry(name) {
                    MapEntry::Vacant(entry) => {
                        entry.insert(Entry {
                            key: span,
                            value: node,
                        });
                    }
                    MapEntry::Occupied(entry) => self.twice.push(
                        Diagnostic::new(span, "the same key appears twice")
                            .at(path)
                            .related(entry.get().key.clone(), "it appears here first"),
                    ),
                }
            }
        }
    }

    /// The path of the node that is being read.
    fn path(&self) -> Path {
        Path::new(self.open.iter().filter_map(|frame| match frame {
            Frame::List { items, .. } => Some(items.len().to_string()),
            Frame::Map { key, .. } => key.as_ref().map(|(name, _)| name.clone()),
        }))
    }

    fn refuse(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(span, message).at(self.path())
    }
}

/// What a plain scalar is by the core schema of YAML 1.2 (section 10.3.2), but for `.inf` and `.nan`, which are text.
fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    match number(text) {
        Some(number) => Kind::Number(number),
        None => Kind::Text(text.to_owned()),
    }
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let plain = digits.bytes().all(|b| b.is_ascii_alphanumeric());
            let value = plain.then(|| u64::from_str_radix(digits, radix));
            return value.and_then(Result::ok).map(Number::from);
        }
    }
    if unsigned.bytes().all(|b| b.is_ascii_digit()) {
        let integer = text.strip_prefix('+').unwrap_or(text);
        if let Ok(integer) = integer.parse::<i64>() {
            return Some(integer.into());
        }
        if let Ok(integer) = integer.parse::<u64>() {
            return Some(integer.into());
        }
    }
    let float_like = unsigned
        .bytes()
        .all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    if !float_like {
        return None;
    }
    let float: f64 = text.parse().ok()?;
    // The JSON Schema takes 1500.0 for an integer; so does this.
    if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 {
        return Some((float as i64).into());
    }
    Number::from_f64(float)
}
