//! A document as a stream: what a parser of any syntax gives, one step at a time, each with its place in the text.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Number;

use super::diagnostic::Diagnostic;

/// The deepest that maps and lists may be nested in a document. The model needs 8.
pub const DEEPEST_NESTING: usize = 32;

/// A place in the text, in bytes.
pub(crate) type Span = Range<usize>;

/// One step of a document. Maps and lists are closed by what closes them; in a map every value has its key before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event<'a> {
    MapStart,
    MapEnd,
    ListStart,
    ListEnd,
    Key(Cow<'a, str>),
    Scalar(Scalar<'a>),
}

/// A value that has no parts, in the words of JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
}

impl Scalar<'_> {
    /// The value as JSON.
    pub(super) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Scalar::Null => Value::Null,
            Scalar::Bool(flag) => Value::Bool(*flag),
            Scalar::Number(number) => Value::Number(number.clone()),
            Scalar::Text(text) => Value::String(text.clone().into_owned()),
        }
    }
}

/// A parser. Its events are whole: what is open is closed before the end, and the document is one value.
pub(super) trait Events<'a> {
    /// The next event; none after the end of the document.
    ///
    /// # Errors
    ///
    /// Where the text is not of the syntax, or holds what documents may not hold. Nothing is asked for after that.
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Box<Diagnostic>>;
}

/// Goes over the rest of a value whose first event was taken already; gives the number of its parts, if it has any.
pub(super) fn skip<'a>(
    events: &mut dyn Events<'a>,
    first: &Event<'a>,
) -> Result<usize, Box<Diagnostic>> {
    if !matches!(first, Event::MapStart | Event::ListStart) {
        return Ok(0);
    }
    let (mut depth, mut parts) = (1, 0);
    while depth > 0 {
        let Some((event, _)) = events.next()? else {
            break;
        };
        // A map's values are counted, not its keys.
        let part = !matches!(event, Event::Key(_) | Event::MapEnd | Event::ListEnd);
        parts += usize::from(depth == 1 && part);
        match event {
            Event::MapStart | Event::ListStart => depth += 1,
            Event::MapEnd | Event::ListEnd => depth -= 1,
            Event::Key(_) | Event::Scalar(_) => {}
        }
    }
    Ok(parts)
}

/// What a quick parser does not take. Nobody reads this: another parser tells what is wrong, if anything is.
pub(super) fn unusual(at: usize) -> Box<Diagnostic> {
    Box::new(Diagnostic::new(at..at, "not of the plain form"))
}
