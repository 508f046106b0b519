//! Maps, lists and sets of objects.

use std::collections::HashMap;

use super::row::Making;
use super::{Reader, Said, Stop, Trail, Way};
use crate::model::RowKey;
use crate::outline::{Collection, Part};
use crate::source::event::{self, Event, Scalar, Span};
use crate::source::words::{self, Found};
use crate::table::one_line;
use crate::value::{FieldError, Value};

impl<'a> Reader<'_, 'a> {
    /// Objects by the texts of a key.
    pub(super) fn map(
        &mut self,
        inner: &'static Collection,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        way: Way,
    ) -> Result<(), Stop> {
        if first.0 != Event::MapStart {
            return self.unexpected(first, Some(at), Some(key), "a map", |found| {
                found.is_nothing().then(|| words::EMPTY_MAP.to_owned())
            });
        }
        let column = inner.key_column();
        let mut seen = HashMap::new();
        while let Some((text, span)) = self.next_key()? {
            let step = Trail {
                above: Some(at),
                step: &text,
            };
            let value = match column.parse(&text) {
                Ok(value) => value,
                Err(error) => {
                    self.problem(span.clone(), Some(&step), error)?;
                    Value::Null
                }
            };
            let first = self.next()?;
            if let Some(earlier) = self.earlier(&mut seen, &value, &span) {
                self.twice("key", span, earlier, &step)?;
                event::skip(self.events, &first.0)?;
                continue;
            }
            self.key.push(value);
            let result = self.entry(inner, first, &step, &span, way);
            self.key.pop();
            result?;
        }
        Ok(())
    }

    /// One entry of a map, whose key is known.
    pub(super) fn entry(
        &mut self,
        inner: &'static Collection,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        mut way: Way,
    ) -> Result<(), Stop> {
        let outermost = self.outermost.is_none();
        if outermost {
            self.outermost = RowKey::from_values(inner.table, &self.key).ok();
        }
        if way.patch && first.0 == Event::Scalar(Scalar::Null) {
            self.clear_objects(inner.table, &inner.object)?;
        } else {
            if outermost && way.entries {
                self.clear_objects(inner.table, &inner.object)?;
                way = Way::WHOLE;
            }
            self.object(&inner.object, first, Some(at), Some(key), way)?;
        }
        if outermost {
            self.outermost = None;
        }
        Ok(())
    }

    /// Objects in order. A list that is given takes the place of the one before.
    pub(super) fn list(
        &mut self,
        inner: &'static Collection,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        way: Way,
    ) -> Result<(), Stop> {
        if first.0 != Event::ListStart {
            return self.no_list(first, at, key);
        }
        if !way.whole {
            self.clear_objects(inner.table, &inner.object)?;
        }
        let mut count = 0usize;
        loop {
            let first = self.next()?;
            if first.0 == Event::ListEnd {
                break;
            }
            let step = Trail {
                above: Some(at),
                step: &count,
            };
            self.key.push(Value::Integer(count as i64));
            let result = self.object(&inner.object, first, Some(&step), None, Way::WHOLE);
            self.key.pop();
            result?;
            count += 1;
        }
        self.bounds(inner, count, count, at, key)
    }

    /// Values, each of which may stand as an object with marks.
    pub(super) fn set(
        &mut self,
        inner: &'static Collection,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        mut way: Way,
    ) -> Result<(), Stop> {
        if first.0 != Event::ListStart {
            return self.no_list(first, at, key);
        }
        if way.patch && !way.whole {
            self.clear_objects(inner.table, &inner.object)?;
            way = Way::WHOLE;
        }
        let before = match way.whole {
            true => 0,
            false => self.target.count(inner.table, &self.key)?,
        };
        let (mut count, mut added) = (0usize, 0);
        let mut seen = HashMap::new();
        loop {
            let first = self.next()?;
            if first.0 == Event::ListEnd {
                break;
            }
            let step = Trail {
                above: Some(at),
                step: &count,
            };
            added += usize::from(self.member(inner, first, &step, &mut seen, way)?);
            count += 1;
        }
        self.bounds(inner, count, before + added, at, key)
    }

    /// One member of a set. Whether it is new.
    pub(super) fn member(
        &mut self,
        inner: &'static Collection,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        seen: &mut HashMap<Value, Span>,
        way: Way,
    ) -> Result<bool, Stop> {
        let column = inner.key_column();
        let mut row = Making::new(inner.table, self.buffers.pop());
        let mut place = first.1.clone();
        let value = if first.0 == Event::MapStart {
            let mut value = None;
            let mut said = Said::default();
            let fields = &inner.object.fields;
            place = first.1.start..first.1.start + 1;
            while let Some((name, span)) = self.next_key()? {
                let step = Trail {
                    above: Some(at),
                    step: &name,
                };
                let index = if name == column.field {
                    fields.len()
                } else if let Some(index) = fields.iter().position(|f| f.name == name) {
                    index
                } else {
                    let names = fields.iter().map(|f| f.name);
                    let names = std::iter::once(column.field).chain(names);
                    self.unknown_field(names, (&name, span), Some(at))?;
                    continue;
                };
                let first = self.next()?;
                if let Some(earlier) = said.at(index, &span) {
                    self.twice("key", span, earlier, &step)?;
                    event::skip(self.events, &first.0)?;
                } else if index == fields.len() {
                    place = first.1.clone();
                    value = self.value(column, first, &step, &span, way)?;
                    row.bad |= value.is_none();
                } else if let Part::Value(number) = fields[index].part {
                    let value = self.value(row.column(number), first, &step, &span, way)?;
                    row.say(number, value);
                }
            }
            if said.nowhere(fields.len()) {
                let doc = one_line(inner.table.definition().section);
                self.missing(column.field, &doc, (Some(at), &place), false)?;
            }
            value
        } else {
            let span = first.1.clone();
            self.value(column, first, at, &span, Way::WHOLE)?
        };
        let Some(value) = value else {
            return Ok(false);
        };
        if let Some(earlier) = self.earlier(seen, &value, &place) {
            self.twice("value", place, earlier, at)?;
            return Ok(false);
        }
        self.key.push(value);
        let result = self.finish_member(row, at, place, way);
        self.key.pop();
        result
    }

    pub(super) fn finish_member(
        &mut self,
        mut row: Making,
        at: &Trail<'_>,
        place: Span,
        way: Way,
    ) -> Result<bool, Stop> {
        if !way.whole {
            row.before = self.before(row.table)?;
        }
        let new = row.before.is_none();
        self.finish(row, Some(at), place)?;
        Ok(new)
    }

    /// Checks how many there are: `count` in the document, `all` together with those from before.
    pub(super) fn bounds(
        &mut self,
        inner: &'static Collection,
        count: usize,
        all: usize,
        at: &Trail<'_>,
        key: &Span,
    ) -> Result<(), Stop> {
        let definition = inner.table.definition();
        let least = definition.least;
        let found = Found {
            event: &Event::ListStart,
            source: "",
            parts: count,
        };
        let message = match definition.most {
            _ if all.max(count) < least => {
                let items = words::plural(least, "item");
                format!("expected at least {items}, found {found}")
            }
            Some(most) if count > most => {
                let items = words::plural(most, "item");
                format!("expected at most {items}, found {found}")
            }
            Some(most) if all > most => {
                let items = words::plural(most, "item");
                format!("expected at most {items}, together with those from before there are {all}")
            }
            _ => return Ok(()),
        };
        self.problem(key.clone(), Some(at), FieldError::new(message))
    }

    pub(super) fn no_list(
        &mut self,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
    ) -> Result<(), Stop> {
        self.unexpected(first, Some(at), Some(key), "a list", |found| {
            found.is_nothing().then(|| words::EMPTY_LIST.to_owned())
        })
    }

    /// The place where a value stood first; only where errors are explained.
    pub(super) fn earlier(
        &self,
        seen: &mut HashMap<Value, Span>,
        value: &Value,
        span: &Span,
    ) -> Option<Span> {
        if self.findings.is_none() || *value == Value::Null {
            return None;
        }
        let earlier = seen.get(value).cloned();
        if earlier.is_none() {
            seen.insert(value.clone(), span.clone());
        }
        earlier
    }
}
