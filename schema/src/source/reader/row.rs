//! Rows, made of what a document says, what was before, and what would be anyway.

use super::{At, Reader, Stop, Way};
use crate::model::{Row, RowKey, Table};
use crate::outline::{Object, Part};
use crate::source::event::Span;
use crate::table::ColumnDefinition;
use crate::value::{FieldError, Value};

impl<'a> Reader<'_, 'a> {
    /// Begins a row whose key is known.
    pub(super) fn begin(&mut self, table: Table, way: &mut Way) -> Result<Making, Stop> {
        let mut row = Making::new(table, self.buffers.pop());
        if !way.whole {
            row.before = self.before(table)?;
            // What is new has nothing below it yet: all of it must be said.
            way.whole = row.before.is_none();
            row.new = way.whole;
        }
        row.names = self.findings.as_ref().map_or(0, |f| f.names.len());
        Ok(row)
    }

    pub(super) fn before(&mut self, table: Table) -> Result<Option<Row>, Stop> {
        match RowKey::from_values(table, &self.key) {
            Ok(key) => Ok(self.target.before(&key)?),
            // A key that is wrong is told already.
            Err(_) => Ok(None),
        }
    }

    /// Makes the row, with what it was before or would be anyway for what is not said.
    pub(super) fn finish(&mut self, mut row: Making, at: At<'_>, place: Span) -> Result<(), Stop> {
        let definition = row.table.definition();
        let before = row.before.as_ref().map(Row::values);
        row.bad |= self.key.contains(&Value::Null);
        for (index, column) in definition.columns.iter().enumerate() {
            if index < self.key.len() {
                copy(&mut row.values[index], &self.key[index]);
            } else if row.said & (1 << index) == 0 {
                match (&before, column.absent()) {
                    (Some(before), _) => copy(&mut row.values[index], &before[index]),
                    (None, Some(absent)) => row.values[index] = absent,
                    (None, None) => {
                        let doc = column.description();
                        self.missing(column.field, &doc, (at, &place), row.new)?;
                        row.bad = true;
                    }
                }
            }
        }
        if row.bad {
            if let Some(findings) = &mut self.findings {
                findings.unfinished.insert((row.table, self.key.clone()));
            }
            return Ok(());
        }
        if matches!(row.values.last(), Some(Value::Text(_))) {
            self.settle_marks(&mut row, at)?;
        }
        match Row::from_values(row.table, &row.values) {
            Ok(made) => {
                if !self.target.put(made, row.before) {
                    self.problem(place, at, FieldError::new("the same key appears twice"))?;
                }
            }
            Err(error) => self.problem(place, at, FieldError::new(error.to_string()))?,
        }
        if let Some(findings) = &mut self.findings {
            findings.names.truncate(row.names);
        }
        self.buffers.push(row.values);
        Ok(())
    }

    /// The objects of one table with this key, and all below them, give way.
    pub(super) fn clear_objects(&mut self, table: Table, object: &Object) -> Result<(), Stop> {
        let mut tables = vec![table];
        tables_below(object, &mut tables);
        for table in tables {
            self.target.clear(table, &self.key)?;
        }
        Ok(())
    }

    /// Everything in this part gives way.
    pub(super) fn clear(&mut self, part: &Part) -> Result<(), Stop> {
        let mut tables = Vec::new();
        tables_of(part, &mut tables);
        for table in tables {
            self.target.clear(table, &self.key)?;
        }
        Ok(())
    }
}

/// A clone into memory that is there already.
fn copy(to: &mut Value, from: &Value) {
    match (to, from) {
        (Value::Text(to), Value::Text(from)) => from.clone_into(to),
        (to, from) => *to = from.clone(),
    }
}

/// A row in the making.
pub(super) struct Making {
    pub(super) table: Table,
    /// The values in the order of the columns, the marks of fields last. Those of the key are filled in at the end.
    pub(super) values: Vec<Value>,
    /// The columns whose values the document says, as bits.
    pub(super) said: u64,
    /// Whether something is wrong with it.
    pub(super) bad: bool,
    pub(super) before: Option<Row>,
    /// Whether the document could have said a part of it, had it been there before.
    pub(super) new: bool,
    /// How many names had been noted when it began.
    pub(super) names: usize,
    /// The fields that the document marks, and where.
    pub(super) marked: Vec<(&'static str, Span)>,
}

impl Making {
    pub(super) fn new(table: Table, buffer: Option<Vec<Value>>) -> Self {
        let mut values = buffer.unwrap_or_default();
        values.resize(table.definition().columns.len(), Value::Null);
        Making {
            table,
            values,
            said: 0,
            bad: false,
            before: None,
            new: false,
            names: 0,
            marked: Vec::new(),
        }
    }

    pub(super) fn column(&self, index: usize) -> &'static ColumnDefinition {
        &self.table.definition().columns[index]
    }

    pub(super) fn say(&mut self, index: usize, value: Option<Value>) {
        self.said |= 1 << index;
        match value {
            Some(value) => self.values[index] = value,
            None => self.bad = true,
        }
    }
}

/// The tables whose rows stand in a part of the document, objects above those below them.
fn tables_of(part: &Part, tables: &mut Vec<Table>) {
    match part {
        Part::Value(_) => {}
        Part::Object(object) => {
            tables.extend(object.table);
            tables_below(object, tables);
        }
        Part::Map(inner) | Part::List(inner) | Part::Set(inner) => {
            tables.push(inner.table);
            tables_below(&inner.object, tables);
        }
    }
}

fn tables_below(object: &Object, tables: &mut Vec<Table>) {
    for field in &object.fields {
        tables_of(&field.part, tables);
    }
}
