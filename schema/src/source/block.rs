//! The plain form of YAML that `rewire` writes as a stream of events, quickly: maps and lists by indentation, keys and
//! words on one line. Everything else (flow style but `{}` and `[]`, several lines, comments behind values, anchors, tags…)
//! is not taken here, and left to the parser of all of YAML.

use std::borrow::Cow;

use super::diagnostic::Diagnostic;
use super::event::{DEEPEST_NESTING, Event, Events, Scalar, Span, unusual};
use super::yaml::resolve;

/// The longest key, in bytes; YAML has a limit of 1024 characters.
const LONGEST_KEY: usize = 1000;

/// The quick parser of the plain form.
pub(super) struct BlockEvents<'a> {
    text: &'a str,
    /// Where the next thing stands.
    at: usize,
    /// The maps and lists that are open, each with its column.
    open: Vec<Open>,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
struct Open {
    map: bool,
    column: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// A line begins.
    Line,
    /// The value of a key follows on its line.
    Value,
    /// The value of a key is a map or a list that begins on a line of its own.
    Below,
    /// A key follows.
    Key,
    /// An empty map or list is to be closed.
    Close { map: bool },
}

impl<'a> BlockEvents<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        BlockEvents {
            text,
            at: if text.starts_with('\u{feff}') { 3 } else { 0 },
            open: Vec::new(),
            state: State::Below,
        }
    }

    /// Goes to the next line that says something; gives the column where it begins, or none at the end of the text.
    fn line(&mut self) -> Option<Option<usize>> {
        let bytes = self.text.as_bytes();
        loop {
            let spaces = bytes[self.at..].iter().take_while(|b| **b == b' ').count();
            match bytes[self.at + spaces..] {
                [b'#' | b'\n', ..] | [b'\r', b'\n', ..] => {
                    let end = self.end_of_line();
                    let comment = &bytes[self.at + spaces..end];
                    // A carriage return alone ends a line, too.
                    if comment.iter().rev().skip(1).any(|b| *b == b'\r') {
                        return None;
                    }
                    self.at = (end + 1).min(bytes.len());
                }
                [] => return Some(None),
                _ => {
                    self.at += spaces;
                    return Some(Some(spaces));
                }
            }
        }
    }

    /// Where the line break is, or the end of the text.
    fn end_of_line(&self) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().position(|b| *b == b'\n');
        self.at + length.unwrap_or(rest.len())
    }

    fn starts_item(&self) -> bool {
        self.text[self.at..].starts_with("- ")
    }

    /// The event at the beginning of a line; nothing where the document is over.
    fn at_line(&mut self, line: usize) -> Option<Option<Event<'a>>> {
        let column = self.line()?;
        let Some(open) = self.open.last().copied() else {
            return column.is_none().then_some(None);
        };
        if column.is_none_or(|column| column < open.column) {
            self.open.pop();
            // The line is looked at again for what this one is in.
            self.at = if column.is_none() { self.at } else { line };
            return Some(Some(end(open.map)));
        }
        if column != Some(open.column) {
            return None;
        }
        match open.map {
            true => self.key().map(Some),
            false => self.item().map(Some),
        }
    }

    fn enter(&mut self, map: bool, column: usize) -> Option<Event<'a>> {
        if self.open.len() >= DEEPEST_NESTING {
            return None;
        }
        self.open.push(Open { map, column });
        Some(match map {
            true => Event::MapStart,
            false => Event::ListStart,
        })
    }

    /// The map or list that begins on the next line.
    fn below(&mut self) -> Option<Event<'a>> {
        let column = self.line()??;
        let above = self.open.last().map_or(-1, |open| open.column as isize);
        if column as isize <= above {
            return None;
        }
        let map = !self.starts_item();
        if map && self.peek_key().is_none() {
            return None;
        }
        self.state = if map { State::Key } else { State::Line };
        self.at -= if map { 0 } else { column };
        self.enter(map, column)
    }

    /// An item of the list: what follows its dash.
    fn item(&mut self) -> Option<Event<'a>> {
        if !self.starts_item() {
            return None;
        }
        let column = self.open.last()?.column + 2;
        self.at += 2;
        if self.peek_key().is_some() {
            self.state = State::Key;
            return self.enter(true, column);
        }
        self.scalar()
    }

    /// The key that stands here, and where what follows its colon begins.
    fn peek_key(&self) -> Option<(&'a str, usize)> {
        let rest = &self.text[self.at..];
        let bytes = rest.as_bytes();
        let ends = |colon: usize| {
            bytes.get(colon) == Some(&b':')
                && matches!(bytes.get(colon + 1), None | Some(b' ' | b'\n' | b'\r'))
        };
        if bytes.first() == Some(&b'"') {
            let length = rest[1..]
                .bytes()
                .position(|b| matches!(b, b'"' | b'\\' | b'\n'))?;
            let closed = bytes[length + 1] == b'"' && ends(length + 2) && length <= LONGEST_KEY;
            return closed.then(|| (&rest[1..=length], self.at + length + 3));
        }
        if !bytes.first()?.is_ascii_alphanumeric() {
            return None;
        }
        for (index, byte) in bytes.iter().enumerate().take(LONGEST_KEY) {
            match byte {
                b':' if ends(index) => return Some((&rest[..index], self.at + index + 1)),
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'.' | b'_' | b'/' | b':' | b'-' => {}
                _ => return None,
            }
        }
        None
    }

    fn key(&mut self) -> Option<Event<'a>> {
        let (key, after) = self.peek_key()?;
        let bytes = self.text.as_bytes();
        self.at = after;
        (self.state, self.at) = match (bytes.get(after), bytes.get(after + 1)) {
            (Some(b' '), Some(first)) if !first.is_ascii_whitespace() => (State::Value, after + 1),
            (None | Some(b'\n'), _) => (State::Below, (after + 1).min(bytes.len())),
            (Some(b'\r'), Some(b'\n')) => (State::Below, after + 2),
            _ => return None,
        };
        Some(Event::Key(Cow::Borrowed(key)))
    }

    /// A value of one word, to the end of its line.
    fn scalar(&mut self) -> Option<Event<'a>> {
        let end = self.end_of_line();
        let line = &self.text[self.at..end];
        let value = line
            .strip_suffix('\r')
            .unwrap_or(line)
            .trim_end_matches(' ');
        self.state = State::Line;
        let event = match value.as_bytes().first()? {
            b'"' => Event::Scalar(Scalar::Text(double_quoted(value)?)),
            b'\'' => {
                let inner = value.strip_prefix('\'')?.strip_suffix('\'')?;
                let plain = !inner.contains('\'') && !inner.contains(char::is_control);
                Event::Scalar(Scalar::Text(Cow::Borrowed(plain.then_some(inner)?)))
            }
            b'{' if value == "{}" => {
                self.state = State::Close { map: true };
                Event::MapStart
            }
            b'[' if value == "[]" => {
                self.state = State::Close { map: false };
                Event::ListStart
            }
            b'~' if value == "~" => Event::Scalar(Scalar::Null),
            first if first.is_ascii_alphanumeric() => {
                let bytes = value.as_bytes();
                let plain = bytes.iter().enumerate().all(|(index, byte)| match byte {
                    b':' => bytes.get(index + 1).is_some_and(|next| *next != b' '),
                    b'#' => bytes[index - 1] != b' ',
                    b' '..=b'~' => true,
                    byte => *byte >= 0x80,
                }) && (value.is_ascii() || !value.contains(is_special));
                let scalar = resolve(plain.then_some(value)?);
                Event::Scalar(scalar.unwrap_or(Scalar::Text(Cow::Borrowed(value))))
            }
            _ => return None,
        };
        self.at = (end + 1).min(self.text.len());
        Some(event)
    }
}

impl<'a> Events<'a> for BlockEvents<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Box<Diagnostic>> {
        let start = self.at;
        let event = match self.state {
            State::Line => match self.at_line(start) {
                Some(None) => return Ok(None),
                Some(event) => event,
                None => None,
            },
            State::Value => self.scalar(),
            State::Below => self.below(),
            State::Key => self.key(),
            State::Close { map } => {
                self.state = State::Line;
                Some(end(map))
            }
        };
        match event {
            Some(event) => Ok(Some((event, start..self.at))),
            None => Err(unusual(start)),
        }
    }
}

fn end(map: bool) -> Event<'static> {
    match map {
        true => Event::MapEnd,
        false => Event::ListEnd,
    }
}

/// Text in double quotes whose escapes mean the same in JSON.
fn double_quoted(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains(char::is_control) {
        return None;
    }
    if !inner.contains(['"', '\\']) {
        return Some(Cow::Borrowed(inner));
    }
    // Halves of characters beyond 16 bits: YAML has none.
    let halves = inner.contains("\\ud") || inner.contains("\\uD");
    let text = serde_json::from_str(value).ok();
    text.filter(|_| !halves).map(Cow::Owned)
}

/// Characters beyond ASCII that YAML does not take for a letter among others.
fn is_special(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'
        )
}
