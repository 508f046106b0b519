//! From a stream of events to rows, along the [outline](crate::outline), in one pass and without a tree.
//!
//! One reader serves every way of loading ([`Way`]) and both speeds: where errors are to be explained, each is told with its
//! place and the reading goes on; where they are not, the first one ends it, and nothing is kept that only explanations need.

use std::collections::BTreeSet;

use super::diagnostic::{Diagnostic, Related};
use super::event::{self, Event, Events, Scalar, Span};
use super::words::{self, Found};
use crate::document::Path;
use crate::model::{Row, RowKey, Table};
use crate::outline::{Field, Object, Part, outline};
use crate::state::StateError;
use crate::suggestion::did_you_mean;
use crate::value::{FieldError, Kind, Value};

/// What a document that says only a part means for what it does not say.
mod collections;
mod marks;
mod row;
mod value;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// What is not said is as it would be anyway. Otherwise it is as it was before.
    pub(crate) whole: bool,
    /// Null takes away what it stands for, and sets are given whole (RFC 7396). Otherwise sets unite.
    pub(crate) patch: bool,
    /// An entry of an outermost map is whole, all below it included.
    pub(crate) entries: bool,
}

impl Way {
    /// The document is everything.
    pub(crate) const WHOLE: Way = Way {
        whole: true,
        patch: false,
        entries: false,
    };
}

/// Where rows go, and where what was before comes from.
pub(crate) trait Target {
    /// The row of this key as it was before.
    fn before(&mut self, key: &RowKey) -> Result<Option<Row>, StateError>;
    /// The number of rows of `table` before whose keys begin so.
    fn count(&mut self, table: Table, key: &[Value]) -> Result<usize, StateError>;
    /// The rows of `table` whose keys begin so give way to what the document says.
    fn clear(&mut self, table: Table, key: &[Value]) -> Result<(), StateError>;
    /// What is after, in place of `before` where that was asked for. Whether it is the first row of its key.
    fn put(&mut self, row: Row, before: Option<Row>) -> bool;
}

/// Why the reading ended early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text is refused here, or is not what a quick reading takes.
    Refused(Box<Diagnostic>),
    /// What was before cannot be read.
    State(StateError),
}

impl From<Box<Diagnostic>> for Stop {
    fn from(diagnostic: Box<Diagnostic>) -> Self {
        Stop::Refused(diagnostic)
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Stop::State(error)
    }
}

/// What a reading that explains errors found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What is wrong.
    pub(crate) list: Vec<Diagnostic>,
    /// The outermost objects that something is wrong with.
    pub(crate) broken: BTreeSet<RowKey>,
    /// The objects that could not be made a row of.
    pub(crate) unfinished: BTreeSet<(Table, Vec<Value>)>,
    /// The names of other objects that such an object says.
    pub(crate) names: Vec<Named>,
}

impl Findings {
    /// The keys of the objects that could not be made a row of, as far as they are good.
    pub(super) fn unfinished_keys(&self) -> impl Iterator<Item = RowKey> {
        let keys = self.unfinished.iter();
        keys.filter_map(|(table, key)| RowKey::from_values(*table, key).ok())
    }
}

/// A name that stands in an object that could not be made a row of.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) table: &'static str,
    pub(crate) name: Value,
    pub(crate) path: Path,
    pub(crate) span: Span,
}

/// Where the walk is: the steps from the top, each pointing to the one above it. No cost until it is made a path.
#[derive(Clone, Copy)]
struct Trail<'t> {
    above: Option<&'t Trail<'t>>,
    step: &'t dyn std::fmt::Display,
}

impl Trail<'_> {
    fn path(&self) -> Path {
        let above = self.above.map(Trail::path).unwrap_or_default();
        above.join(self.step)
    }
}

type At<'t> = Option<&'t Trail<'t>>;

fn path(at: At<'_>) -> Path {
    at.map(Trail::path).unwrap_or_default()
}

/// Reads one document.
pub(super) struct Reader<'r, 'a> {
    pub(super) text: &'a str,
    pub(super) events: &'r mut dyn Events<'a>,
    pub(super) target: &'r mut dyn Target,
    /// Where errors are to be explained.
    pub(super) findings: Option<&'r mut Findings>,
    /// Called now and then with the number of bytes that are read.
    pub(super) progress: &'r mut dyn FnMut(usize),
    /// The key of the object that the walk is in.
    key: Vec<Value>,
    outermost: Option<RowKey>,
    events_read: usize,
    buffers: Vec<Vec<Value>>,
}

/// What helps where a document that may say a part does not say enough.
const NEW: &str = "this is not there yet, and what is new must be complete";
/// How many events lie between two reports of progress.
const EVENTS_A_REPORT: usize = 1 << 14;

impl<'r, 'a> Reader<'r, 'a> {
    pub(super) fn new(
        text: &'a str,
        events: &'r mut dyn Events<'a>,
        target: &'r mut dyn Target,
        findings: Option<&'r mut Findings>,
        progress: &'r mut dyn FnMut(usize),
    ) -> Self {
        Reader {
            text,
            events,
            target,
            findings,
            progress,
            key: Vec::new(),
            outermost: None,
            events_read: 0,
            buffers: Vec::new(),
        }
    }

    /// Reads the document to its end.
    pub(super) fn document(&mut self, way: Way) -> Result<(), Stop> {
        let first = self.next()?;
        self.object(outline(), first, None, None, way)?;
        match self.events.next()? {
            None => Ok(()),
            Some((_, span)) => Err(refusal(span, "expected the end of the document")),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.events.next()? {
            Some((event, span)) => {
                self.events_read += 1;
                if self.events_read.is_multiple_of(EVENTS_A_REPORT) {
                    (self.progress)(span.end);
                }
                Ok((event, span))
            }
            None => {
                let end = self.text.len();
                Err(refusal(end..end, "the document ends in the middle"))
            }
        }
    }

    /// Tells an error and goes on, or ends where errors are not to be explained.
    fn problem(&mut self, span: Span, at: At<'_>, error: FieldError) -> Result<(), Stop> {
        self.diagnose(span, error.message, |diagnostic| {
            diagnostic.path = path(at);
            diagnostic.help = error.help;
        })
    }

    fn diagnose(
        &mut self,
        span: Span,
        message: String,
        details: impl FnOnce(&mut Diagnostic),
    ) -> Result<(), Stop> {
        let mut diagnostic = Diagnostic::new(span, message);
        let Some(findings) = &mut self.findings else {
            return Err(Stop::Refused(Box::new(diagnostic)));
        };
        details(&mut diagnostic);
        findings.list.push(diagnostic);
        findings.broken.extend(self.outermost.clone());
        Ok(())
    }

    /// Something else stands here than what is expected. Goes over it.
    fn unexpected(
        &mut self,
        (event, span): (Event<'a>, Span),
        at: At<'_>,
        key: Option<&Span>,
        expected: &str,
        help: impl FnOnce(&Found<'_>) -> Option<String>,
    ) -> Result<(), Stop> {
        let parts = event::skip(self.events, &event)?;
        let source = self.text.get(span.clone()).unwrap_or_default();
        let found = Found {
            event: &event,
            source,
            parts,
        };
        let error = FieldError {
            message: format!("expected {expected}, found {found}"),
            help: help(&found),
        };
        self.problem(place(&event, span, key), at, error)
    }

    /// An object, a section, or the document itself; `key` is the place of its key in the text.
    fn object(
        &mut self,
        object: &'static Object,
        first: (Event<'a>, Span),
        at: At<'_>,
        key: Option<&Span>,
        mut way: Way,
    ) -> Result<(), Stop> {
        if first.0 != Event::MapStart {
            return self.unexpected(first, at, key, "a map", |found| {
                found.is_nothing().then(|| words::EMPTY_MAP.to_owned())
            });
        }
        let mut row = match object.table {
            Some(table) => Some(self.begin(table, &mut way)?),
            None => None,
        };
        let mut head = key.cloned();
        let mut said = Said::default();
        while let Some((name, span)) = self.next_key()? {
            head.get_or_insert_with(|| span.clone());
            let fields = &object.fields;
            let Some(index) = fields.iter().position(|f| f.name == name) else {
                self.unknown_field(fields.iter().map(|f| f.name), (&name, span), at)?;
                continue;
            };
            let field = &fields[index];
            let step = Trail {
                above: at,
                step: &field.name,
            };
            let first = self.next()?;
            if let Some(earlier) = said.at(index, &span) {
                self.twice("key", span, earlier, &step)?;
                event::skip(self.events, &first.0)?;
                continue;
            }
            match (&field.part, &mut row) {
                (Part::Value(column), Some(row)) => {
                    let definition = row.column(*column);
                    let value = match definition.kind {
                        Kind::FieldMarks => self.field_marks(row, first, &step, &span, way)?,
                        _ => self.value(definition, first, &step, &span, way)?,
                    };
                    row.say(*column, value);
                }
                (part, _) => self.part(part, first, &step, &span, way)?,
            }
        }
        let Some(row) = row else { return Ok(()) };
        let place = head.unwrap_or(first.1.start..first.1.start + 1);
        let missing = fields_of(object).filter(|(index, field)| {
            // What must not be empty must be there.
            let least = match &field.part {
                Part::List(inner) | Part::Set(inner) => inner.table.definition().least,
                _ => 0,
            };
            least > 0 && row.before.is_none() && said.nowhere(*index)
        });
        for (_, field) in missing {
            self.missing(field.name, &field.doc, (at, &place), row.new)?;
        }
        self.finish(row, at, place)
    }

    /// What stands in a field that holds more than a value.
    fn part(
        &mut self,
        part: &'static Part,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        mut way: Way,
    ) -> Result<(), Stop> {
        if way.patch && first.0 == Event::Scalar(Scalar::Null) {
            if let Part::List(inner) | Part::Set(inner) = part
                && inner.table.definition().least > 0
            {
                return self.required(at, key);
            }
            return self.clear(part);
        }
        match part {
            Part::Value(_) => Ok(event::skip(self.events, &first.0).map(drop)?),
            Part::Object(inner) => {
                let outermost = match inner.table {
                    Some(table) if self.outermost.is_none() => RowKey::from_values(table, &[]).ok(),
                    _ => None,
                };
                if outermost.is_some() && way.entries {
                    self.clear(part)?;
                    way = Way::WHOLE;
                }
                let entered = outermost.is_some();
                self.outermost = self.outermost.take().or(outermost);
                self.object(inner, first, Some(at), Some(key), way)?;
                if entered {
                    self.outermost = None;
                }
                Ok(())
            }
            Part::Map(inner) => self.map(inner, first, at, key, way),
            Part::List(inner) => self.list(inner, first, at, key, way),
            Part::Set(inner) => self.set(inner, first, at, key, way),
        }
    }

    fn next_key(&mut self) -> Result<Option<(std::borrow::Cow<'a, str>, Span)>, Stop> {
        match self.next()? {
            (Event::Key(name), span) => Ok(Some((name, span))),
            _ => Ok(None),
        }
    }

    fn unknown_field(
        &mut self,
        names: impl Iterator<Item = &'static str> + Clone,
        (name, span): (&str, Span),
        at: At<'_>,
    ) -> Result<(), Stop> {
        let (first, _) = self.next()?;
        event::skip(self.events, &first)?;
        self.diagnose(span, "no such field".to_owned(), |diagnostic| {
            diagnostic.path = path(at).join(name);
            diagnostic.help = did_you_mean(name, names.clone()).or_else(|| {
                let names: Vec<&str> = names.collect();
                (!names.is_empty()).then(|| format!("the fields here: {}", names.join(", ")))
            });
        })
    }

    fn missing(
        &mut self,
        name: &str,
        doc: &str,
        (at, place): (At<'_>, &Span),
        new: bool,
    ) -> Result<(), Stop> {
        let message = format!("the field \"{name}\" is missing");
        self.diagnose(place.clone(), message, |diagnostic| {
            diagnostic.path = path(at);
            diagnostic.note = Some(format!("{name}: {doc}"));
            diagnostic.help = new.then(|| NEW.to_owned());
        })
    }

    /// A field that an object cannot be without is taken away.
    fn required(&mut self, at: &Trail<'_>, key: &Span) -> Result<(), Stop> {
        let message = format!("the field \"{}\" is required", at.step);
        self.problem(key.clone(), Some(at), FieldError::new(message))
    }

    fn twice(&mut self, what: &str, span: Span, earlier: Span, at: &Trail<'_>) -> Result<(), Stop> {
        let message = format!("the same {what} appears twice");
        self.diagnose(span, message, |diagnostic| {
            diagnostic.path = at.path();
            diagnostic.related = Some(Box::new(Related {
                span: earlier,
                label: "it appears here first".to_owned(),
            }));
        })
    }
}

/// The fields of an object that were said, and where.
#[derive(Default)]
struct Said(Vec<(usize, Span)>);

impl Said {
    /// Takes a field down; gives its earlier place if it has one.
    fn at(&mut self, index: usize, span: &Span) -> Option<Span> {
        match self.0.iter().find(|(field, _)| *field == index) {
            Some((_, earlier)) => Some(earlier.clone()),
            None => {
                self.0.push((index, span.clone()));
                None
            }
        }
    }

    fn nowhere(&self, index: usize) -> bool {
        self.0.iter().all(|(field, _)| *field != index)
    }
}

fn fields_of(object: &'static Object) -> impl Iterator<Item = (usize, &'static Field)> {
    object.fields.iter().enumerate()
}

/// The place of a value: its own where it is one word, otherwise its key's, or its first character's.
fn place(event: &Event<'_>, span: Span, key: Option<&Span>) -> Span {
    match (event, key) {
        (Event::Scalar(_), _) if !span.is_empty() => span,
        (_, Some(key)) => key.clone(),
        _ => span.start..span.start + 1,
    }
}

fn refusal(span: Span, message: &str) -> Stop {
    Stop::Refused(Box::new(Diagnostic::new(span, message)))
}
