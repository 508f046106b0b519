//! The values of fields.

use super::{Named, Reader, Stop, Trail, Way, place};
use crate::source::event::{Event, Scalar, Span};
use crate::source::words::{self, Found};
use crate::table::ColumnDefinition;
use crate::value::{FieldError, Kind, Value};

impl<'a> Reader<'_, 'a> {
    /// The value of one field; none where it is wrong, which is told.
    pub(super) fn value(
        &mut self,
        column: &'static ColumnDefinition,
        (event, span): (Event<'a>, Span),
        at: &Trail<'_>,
        key: &Span,
        way: Way,
    ) -> Result<Option<Value>, Stop> {
        let read = match &event {
            Event::Scalar(Scalar::Null) if way.patch => match column.absent() {
                Some(value) => return Ok(Some(value)),
                None => {
                    self.required(at, key)?;
                    return Ok(None);
                }
            },
            Event::Scalar(Scalar::Null) if column.nullable => return Ok(Some(Value::Null)),
            Event::Scalar(Scalar::Text(text)) => match column.kind {
                // Text of the right kind needs no other form on the way into its row.
                Kind::Text(_) | Kind::Line { .. } if self.findings.is_none() && !column.key => {
                    return Ok(Some(Value::Text(text.to_string())));
                }
                Kind::Line { .. } | Kind::Text(_) | Kind::Words(_) | Kind::List(_) => {
                    column.parse(text)
                }
                Kind::Integer { .. } | Kind::Flag | Kind::FieldMarks => {
                    return self.wrong(column, event, span, at, key);
                }
            },
            Event::Scalar(scalar @ Scalar::Bool(_)) if matches!(column.kind, Kind::Flag) => {
                column.read(&scalar.to_json())
            }
            Event::Scalar(scalar @ Scalar::Number(number)) => match column.kind {
                Kind::Integer { .. } if number.is_i64() => column.read(&scalar.to_json()),
                Kind::List(_) => column.read(&scalar.to_json()),
                Kind::Text(format) if format.numeric => column.read(&scalar.to_json()),
                _ => return self.wrong(column, event, span, at, key),
            },
            Event::ListStart if matches!(column.kind, Kind::List(_)) => {
                return self.items(column, at, span, key);
            }
            _ => return self.wrong(column, event, span, at, key),
        };
        match read {
            Ok(value) => {
                self.note_name(column, &value, at, &span);
                Ok(Some(value))
            }
            Err(error) => {
                self.problem(place(&event, span, Some(key)), Some(at), error)?;
                Ok(None)
            }
        }
    }

    pub(super) fn wrong(
        &mut self,
        column: &'static ColumnDefinition,
        event: Event<'a>,
        span: Span,
        at: &Trail<'_>,
        key: &Span,
    ) -> Result<Option<Value>, Stop> {
        // A word of the wrong type would often be wrong as text, too: that error says more.
        let source = self.text.get(span.clone()).unwrap_or_default();
        let word = matches!(event, Event::Scalar(Scalar::Bool(_) | Scalar::Number(_)));
        if word
            && let (Kind::Text(_) | Kind::List(_), Err(error)) = (column.kind, column.parse(source))
        {
            self.problem(place(&event, span, Some(key)), Some(at), error)?;
            return Ok(None);
        }
        let expected = words::expected(column.kind, column.bounds());
        let good = column.parse(source).is_ok();
        let help = |found: &Found<'_>| found.help(column.kind, good);
        self.unexpected((event, span), Some(at), Some(key), &expected, help)?;
        Ok(None)
    }

    /// A list of texts and numbers as the value of one field.
    pub(super) fn items(
        &mut self,
        column: &'static ColumnDefinition,
        at: &Trail<'_>,
        list: Span,
        key: &Span,
    ) -> Result<Option<Value>, Stop> {
        let mut items = Vec::new();
        let mut good = true;
        let mut index = 0;
        loop {
            let (event, span) = self.next()?;
            let step = Trail {
                above: Some(at),
                step: &index,
            };
            match &event {
                Event::ListEnd => break,
                Event::Scalar(scalar @ (Scalar::Number(_) | Scalar::Text(_))) => {
                    let item = scalar.to_json();
                    if let Err(error) = column.read(&item) {
                        self.problem(span, Some(&step), error)?;
                        good = false;
                    }
                    items.push(item);
                }
                _ => {
                    self.unexpected((event, span), Some(&step), None, "a number or text", |_| {
                        None
                    })?;
                    good = false;
                }
            }
            index += 1;
        }
        if !good {
            return Ok(None);
        }
        if items.is_empty() {
            let message = "expected at least 1 item, found an empty list";
            self.problem(key.clone(), Some(at), FieldError::new(message))?;
            return Ok(None);
        }
        match column.read(&serde_json::Value::Array(items)) {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                self.problem(place(&Event::ListStart, list, Some(key)), Some(at), error)?;
                Ok(None)
            }
        }
    }

    /// Keeps the name of another object, in case the row does not come about.
    pub(super) fn note_name(
        &mut self,
        column: &'static ColumnDefinition,
        value: &Value,
        at: &Trail<'_>,
        span: &Span,
    ) {
        if let (Some(findings), Some(table)) = (&mut self.findings, column.target) {
            findings.names.push(Named {
                table,
                name: value.clone(),
                path: at.path(),
                span: span.clone(),
            });
        }
    }
}
