//! The marks of an object's fields.

use super::row::Making;
use super::{At, Reader, Stop, Trail, Way};
use crate::marks::{self, FieldMark, FieldMarks};
use crate::source::event::{self, Event, Scalar, Span};
use crate::source::words;
use crate::table::ColumnDefinition;
use crate::value::{Column as _, FieldError, Value};

/// What helps where a field cannot be deactivated.
const REQUIRED: &str = "deactivate the whole object, or give the field another value";

impl<'a> Reader<'_, 'a> {
    /// The marks of the fields of an object; none where they are wrong, which is told. Where a document may say a part,
    /// those of other fields stay.
    pub(super) fn field_marks(
        &mut self,
        row: &mut Making,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        way: Way,
    ) -> Result<Option<Value>, Stop> {
        if first.0 == Event::Scalar(Scalar::Null) {
            return Ok(Some(Value::Null));
        }
        if first.0 != Event::MapStart {
            let help = |_: &words::Found<'_>| None;
            self.unexpected(first, Some(at), Some(key), "a map", help)?;
            return Ok(None);
        }
        let before = row.before.as_ref().map(|row| row.marks().fields().clone());
        let mut marks = before.unwrap_or_default();
        let mut good = true;
        while let Some((name, span)) = self.next_key()? {
            let definition = row.table.definition();
            let Some(column) = definition.markable(&name) else {
                let fields = definition.columns.iter().filter(|c| !c.key && !c.is_mark());
                self.unknown_field(fields.map(|c| c.field), (&name, span), Some(at))?;
                good = false;
                continue;
            };
            let step = Trail {
                above: Some(at),
                step: &column.field,
            };
            let first = self.next()?;
            if let Some((_, earlier)) = row.marked.iter().find(|(field, _)| *field == column.field)
            {
                self.twice("key", span, earlier.clone(), &step)?;
                event::skip(self.events, &first.0)?;
                continue;
            }
            row.marked.push((column.field, span.clone()));
            let mark = marks.remove(column.field).unwrap_or_default();
            match self.field_mark(column, mark, first, &step, &span, way)? {
                Some(mark) => marks.set(column.field, mark),
                None => good = false,
            }
        }
        Ok(good.then(|| marks.to_value()))
    }

    /// What the document makes of the mark of one field.
    fn field_mark(
        &mut self,
        column: &'static ColumnDefinition,
        mut mark: FieldMark,
        first: (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        way: Way,
    ) -> Result<Option<FieldMark>, Stop> {
        if first.0 == Event::Scalar(Scalar::Null) {
            return Ok(Some(FieldMark::default()));
        }
        if first.0 != Event::MapStart {
            let help =
                |_: &words::Found<'_>| Some("deactivated and annotation stand below it".to_owned());
            self.unexpected(first, Some(at), Some(key), "a map", help)?;
            return Ok(None);
        }
        let mut good = true;
        let mut said: Vec<(&str, Span)> = Vec::new();
        while let Some((name, span)) = self.next_key()? {
            let Some(part) = marks::part(&name) else {
                let names = marks::PARTS.iter().map(|part| part.field);
                self.unknown_field(names, (&name, span), Some(at))?;
                good = false;
                continue;
            };
            let step = Trail {
                above: Some(at),
                step: &part.field,
            };
            let first = self.next()?;
            if let Some((_, earlier)) = said.iter().find(|(field, _)| *field == part.field) {
                self.twice("key", span, earlier.clone(), &step)?;
                event::skip(self.events, &first.0)?;
                continue;
            }
            said.push((part.field, span.clone()));
            let place = first.1.clone();
            let Some(value) = self.value(part, first, &step, &span, way)? else {
                good = false;
                continue;
            };
            if let Err(error) = mark.take(part, &value) {
                self.problem(place.clone(), Some(&step), error)?;
            }
            if mark.deactivated
                && column.required()
                && part.field == ColumnDefinition::DEACTIVATED.field
            {
                let message = format!(
                    "the field \"{}\" is required, and cannot be deactivated",
                    column.field
                );
                let help = Some(REQUIRED.to_owned());
                self.problem(place, Some(&step), FieldError { message, help })?;
                good = false;
            }
        }
        Ok(good.then_some(mark))
    }

    /// Takes away the marks of fields that are not set any more. Those that the document says itself are told.
    pub(super) fn settle_marks(&mut self, row: &mut Making, at: At<'_>) -> Result<(), Stop> {
        let definition = row.table.definition();
        let Some(Ok(mut marks)) = row.values.last().map(FieldMarks::from_value) else {
            // Wrong ones are told where the row is made.
            return Ok(());
        };
        for gone in marks.settle(definition, &row.values) {
            let Some((field, place)) = row.marked.iter().find(|(field, _)| *field == gone) else {
                continue;
            };
            let path = super::path(at)
                .join(ColumnDefinition::FIELD_MARKS.field)
                .join(field);
            self.diagnose(
                place.clone(),
                format!("{field} is not set here: there is nothing to mark"),
                |d| {
                    d.path = path;
                    d.help = Some(match definition.markable(field).and_then(|c| c.absent()) {
                        Some(absent) if absent != Value::Null => {
                            format!("say it, and other than {absent}, or leave its marks out")
                        }
                        _ => "say it, or leave its marks out".to_owned(),
                    });
                },
            )?;
        }
        if let Some(last) = row.values.last_mut() {
            *last = marks.to_value();
        }
        Ok(())
    }
}
