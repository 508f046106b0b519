//! The words for what stands in a document.

use std::fmt;

use super::event::{Event, Scalar};
use crate::value::{Kind, or};

pub(super) const EMPTY_MAP: &str = "leave the field out, or write {} for an empty map";
pub(super) const EMPTY_LIST: &str = "leave the field out, or write [] for an empty list";

/// What was found: a value's first event, its text, and the number of its parts.
pub(super) struct Found<'f> {
    pub(super) event: &'f Event<'f>,
    pub(super) source: &'f str,
    pub(super) parts: usize,
}

impl Found<'_> {
    pub(super) fn is_nothing(&self) -> bool {
        *self.event == Event::Scalar(Scalar::Null)
    }

    /// Text that looks like a number must be quoted, and the other way round. `good`: as text it would be taken.
    pub(super) fn help(&self, kind: Kind, good: bool) -> Option<String> {
        let Event::Scalar(found) = self.event else {
            return None;
        };
        match (kind, found) {
            (
                Kind::Line { .. } | Kind::Text(_) | Kind::Words(_),
                Scalar::Number(_) | Scalar::Bool(_),
            ) if good => {
                let source = self.source;
                Some(format!("put it in quotes to make it text: \"{source}\""))
            }
            (Kind::Integer { .. }, Scalar::Text(text)) if text.parse::<i64>().is_ok() => {
                Some(format!("leave the quotes out: {text}"))
            }
            (Kind::Flag, Scalar::Text(text)) if *text == "true" || *text == "false" => {
                Some(format!("leave the quotes out: {text}"))
            }
            (Kind::Flag, Scalar::Text(text)) if ["yes", "on"].contains(&&**text) => {
                Some("write true".to_owned())
            }
            (Kind::Flag, Scalar::Text(text)) if ["no", "off"].contains(&&**text) => {
                Some("write false".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Scalar(Scalar::Null) => f.write_str("nothing"),
            Event::Scalar(Scalar::Bool(flag)) => flag.fmt(f),
            Event::Scalar(Scalar::Number(_)) if self.source.len() <= 40 => f.write_str(self.source),
            Event::Scalar(Scalar::Number(_)) => f.write_str("a number"),
            Event::Scalar(Scalar::Text(text)) | Event::Key(text) => {
                write!(f, "\"{}\"", text.chars().take(80).collect::<String>())
            }
            Event::ListStart if self.parts == 0 => f.write_str("an empty list"),
            Event::ListStart => write!(f, "a list of {}", plural(self.parts, "item")),
            Event::MapStart => f.write_str("a map"),
            Event::MapEnd | Event::ListEnd => f.write_str("an end"),
        }
    }
}

/// What a field of this kind takes, in words.
pub(super) fn expected(kind: Kind, bounds: Option<(i64, i64)>) -> String {
    match kind {
        Kind::Line { .. } | Kind::Text(_) => "text".to_owned(),
        Kind::Words(words) => or(&words.iter().map(|(word, _)| *word).collect::<Vec<_>>()),
        Kind::Integer { least, most } => {
            let (least, most) = bounds.unwrap_or((least, most));
            format!("a whole number from {least} to {most}")
        }
        Kind::Flag => "true or false".to_owned(),
        Kind::List(_) => "a number, text or a list of them".to_owned(),
        Kind::FieldMarks => "a map".to_owned(),
    }
}

pub(super) fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
