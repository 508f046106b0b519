//! JSON (RFC 8259) as a stream of events, quickly. What is wrong with a text that is no JSON, YAML says.

use std::borrow::Cow;

use serde_json::Number;

use super::diagnostic::Diagnostic;
use super::event::{DEEPEST_NESTING, Event, Events, Scalar, Span, unusual};

/// The quick parser of JSON.
pub(super) struct JsonEvents<'a> {
    text: &'a str,
    at: usize,
    /// What is open: a map or a list, and whether anything stands in it yet.
    open: Vec<Open>,
    state: State,
}

struct Open {
    map: bool,
    empty: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// A value must stand here.
    Value,
    /// A key, an item or an end may stand here.
    Inside,
    /// The document is over.
    End,
}

impl<'a> JsonEvents<'a> {
    /// Whether a text may be JSON that is worth a try: a map stands for the whole configuration.
    pub(super) fn may_read(text: &str) -> bool {
        text.trim_start_matches([' ', '\t', '\r', '\n'])
            .starts_with('{')
    }

    pub(super) fn new(text: &'a str) -> Self {
        JsonEvents {
            text,
            at: 0,
            open: Vec::new(),
            state: State::Value,
        }
    }

    /// Goes over white space; gives the byte that follows it.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn after_value(&mut self) {
        self.state = match self.open.is_empty() {
            true => State::End,
            false => State::Inside,
        };
    }

    fn value(&mut self) -> Option<Event<'a>> {
        let rest = &self.text[self.at..];
        let event = match rest.as_bytes().first()? {
            b'{' => return self.enter(true),
            b'[' => return self.enter(false),
            b'"' => Event::Scalar(Scalar::Text(self.string()?)),
            b'-' | b'0'..=b'9' => Event::Scalar(Scalar::Number(self.number()?)),
            _ => {
                let words = [
                    ("null", Scalar::Null),
                    ("true", Scalar::Bool(true)),
                    ("false", Scalar::Bool(false)),
                ];
                let mut words = words.into_iter();
                let (word, scalar) = words.find(|(word, _)| rest.starts_with(word))?;
                self.at += word.len();
                Event::Scalar(scalar)
            }
        };
        self.after_value();
        Some(event)
    }

    fn enter(&mut self, map: bool) -> Option<Event<'a>> {
        if self.open.len() >= DEEPEST_NESTING {
            return None;
        }
        self.at += 1;
        self.open.push(Open { map, empty: true });
        self.state = State::Inside;
        Some(match map {
            true => Event::MapStart,
            false => Event::ListStart,
        })
    }

    /// What stands in a map or a list: an end, the next key, or the next item.
    fn inside(&mut self) -> Option<Event<'a>> {
        let (map, empty) = self.open.last().map(|open| (open.map, open.empty))?;
        if self.take(if map { b'}' } else { b']' }) {
            self.open.pop();
            self.after_value();
            return Some(match map {
                true => Event::MapEnd,
                false => Event::ListEnd,
            });
        }
        if !empty && !self.take(b',') {
            return None;
        }
        self.open.last_mut()?.empty = false;
        self.peek();
        if !map {
            return self.value();
        }
        let key = self.string()?;
        if !self.take(b':') {
            return None;
        }
        self.state = State::Value;
        Some(Event::Key(key))
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let rest = self.text[self.at..].strip_prefix('"')?;
        let special = |b: &u8| matches!(b, b'"' | b'\\' | 0..=0x1f);
        let end = rest.bytes().position(|b| special(&b))?;
        if rest.as_bytes()[end] == b'"' {
            self.at += end + 2;
            return Some(Cow::Borrowed(&rest[..end]));
        }
        // Escapes: the end is the first quote that none of them covers.
        let mut bytes = rest.bytes().enumerate();
        let end = loop {
            match bytes.next()? {
                (end, b'"') => break end,
                (_, b'\\') => drop(bytes.next()?),
                _ => {}
            }
        };
        let quoted = &self.text[self.at..self.at + end + 2];
        self.at += end + 2;
        serde_json::from_str::<String>(quoted).ok().map(Cow::Owned)
    }

    fn number(&mut self) -> Option<Number> {
        let rest = &self.text[self.at..];
        let part = |b: u8| b.is_ascii_digit() || b"+-.eE".contains(&b);
        let length = rest.bytes().position(|b| !part(b)).unwrap_or(rest.len());
        let number = serde_json::from_str(&rest[..length]).ok()?;
        self.at += length;
        Some(number)
    }
}

impl<'a> Events<'a> for JsonEvents<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Box<Diagnostic>> {
        let next = self.peek();
        let start = self.at;
        let event = match self.state {
            State::End if next.is_none() => return Ok(None),
            State::End => None,
            State::Value => self.value(),
            State::Inside => self.inside(),
        };
        match event {
            Some(event) => Ok(Some((event, start..self.at))),
            None => Err(unusual(start)),
        }
    }
}
