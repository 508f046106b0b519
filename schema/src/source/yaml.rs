//! YAML 1.2 (and so JSON) as a stream of events.
//!
//! What documents do not need is refused, with its place: anchors, aliases, merge keys, tags, keys that are not plain
//! text, several documents in one stream. So a document is never larger than its text, and never deeper than
//! [`DEEPEST_NESTING`].

use granit_parser::{ErrorKind, Event as Yaml, Parser, ScalarStyle, ScanError, StrInput, options};
use serde_json::Number;

use super::diagnostic::Diagnostic;
use super::event::{DEEPEST_NESTING, Event, Events, Scalar, Span};

/// The parser of all of YAML.
pub(super) struct YamlEvents<'a> {
    text: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    open: Vec<Open>,
    documents: usize,
    nodes: usize,
}

/// A map or a list that is not closed yet.
#[derive(Clone, Copy, PartialEq)]
enum Open {
    List,
    /// The next node is a key.
    Key,
    /// The next node is a value.
    Value,
}

impl<'a> YamlEvents<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let options = options! {
            flow_nesting_limit: 2 * DEEPEST_NESTING,
            block_nesting_limit: 2 * DEEPEST_NESTING,
            disallow_directives: true,
            emit_comments: false,
        };
        YamlEvents {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            open: Vec::new(),
            documents: 0,
            nodes: 0,
        }
    }

    fn step(&mut self, event: Yaml<'a>, span: Span) -> Result<Option<Event<'a>>, Box<Diagnostic>> {
        let (anchor, tag) = match &event {
            Yaml::Scalar(_, _, anchor, tag)
            | Yaml::SequenceStart(_, anchor, tag)
            | Yaml::MappingStart(_, anchor, tag) => (*anchor != 0, tag.is_some()),
            Yaml::Alias(_) | Yaml::UnresolvedAlias(_) => (true, false),
            _ => (false, false),
        };
        if anchor {
            return refuse(span, "anchors (&) and aliases (*) are not supported here");
        }
        if tag {
            return refuse(span, "tags (!) are not supported here");
        }
        Ok(Some(match event {
            Yaml::Scalar(text, style, _, _) => {
                if self.open.last() == Some(&Open::Key) {
                    if text == "<<" && style == ScalarStyle::Plain {
                        return refuse(span, "merge keys (<<) are not supported here");
                    }
                    self.node();
                    return Ok(Some(Event::Key(text)));
                }
                self.node();
                Event::Scalar(match style {
                    ScalarStyle::Plain => resolve(&text).unwrap_or(Scalar::Text(text)),
                    _ => Scalar::Text(text),
                })
            }
            Yaml::SequenceStart(..) => {
                self.enter(Open::List, span)?;
                Event::ListStart
            }
            Yaml::MappingStart(..) => {
                self.enter(Open::Key, span)?;
                Event::MapStart
            }
            Yaml::SequenceEnd => {
                self.open.pop();
                Event::ListEnd
            }
            Yaml::MappingEnd => {
                self.open.pop();
                Event::MapEnd
            }
            Yaml::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return refuse(span, "a second document begins here, expected one only");
                }
                return Ok(None);
            }
            _ => return Ok(None),
        }))
    }

    /// A node begins: keys and values take turns.
    fn node(&mut self) {
        self.nodes += 1;
        match self.open.last_mut() {
            Some(open @ Open::Key) => *open = Open::Value,
            Some(open @ Open::Value) => *open = Open::Key,
            Some(Open::List) | None => {}
        }
    }

    fn enter(&mut self, open: Open, span: Span) -> Result<(), Box<Diagnostic>> {
        if self.open.last() == Some(&Open::Key) {
            return refuse(span, "a key must be text, found a map or a list");
        }
        if self.open.len() >= DEEPEST_NESTING {
            return refuse(span, too_deep());
        }
        self.node();
        self.open.push(open);
        Ok(())
    }
}

impl<'a> Events<'a> for YamlEvents<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Box<Diagnostic>> {
        while let Some(event) = self.parser.next() {
            let (event, span) = event.map_err(|error| syntax_error(self.text, &error))?;
            let span = clamp(self.text, span.byte_range().unwrap_or_default());
            if let Some(event) = self.step(event, span.clone())? {
                return Ok(Some((event, span)));
            }
        }
        if self.nodes == 0 {
            return Err(Box::new(empty()));
        }
        Ok(None)
    }
}

fn empty() -> Diagnostic {
    Diagnostic::new(0..0, "the document is empty, expected a map")
        .help("a configuration with nothing in it is written {}")
}

fn refuse<T>(span: Span, message: impl Into<String>) -> Result<T, Box<Diagnostic>> {
    Err(Box::new(Diagnostic::new(span, message)))
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

fn syntax_error(text: &str, error: &ScanError) -> Box<Diagnostic> {
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
    Box::new(if *error.kind() == ErrorKind::RecursionLimitExceeded {
        Diagnostic::new(span.start..end, too_deep())
    } else if indentation.contains('\t') {
        diagnostic.help("YAML is indented by spaces, never by tabs")
    } else {
        diagnostic
    })
}

fn too_deep() -> String {
    format!("maps and lists are nested deeper than {DEEPEST_NESTING}")
}

/// What a plain scalar is by the core schema of YAML 1.2 (section 10.3.2), but for `.inf` and `.nan`, which are text; none
/// where it is text.
pub(super) fn resolve<'a>(text: &str) -> Option<Scalar<'a>> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Scalar::Null),
        "true" | "True" | "TRUE" => Some(Scalar::Bool(true)),
        "false" | "False" | "FALSE" => Some(Scalar::Bool(false)),
        _ => number(text).map(Scalar::Number),
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
