//! A configuration's rows as a document: one walk along the outline, and through each table once.

use std::io::{self, Write};

use serde_json::Value as Json;

use super::{Form, JsonText, YamlText};
use crate::model::{Configuration, Row, RowKey, Table};
use crate::outline::{Collection, Object, Part, outline};
use crate::state::ancestors;
use crate::value::Value;

/// Writes a configuration as YAML. What is not different from what it would be anyway is left out, and so are rows whose
/// parent is missing; a store's foreign keys do not let that happen. Cost: the configuration, in time; little memory.
///
/// # Errors
///
/// Those of `out`.
pub fn write_yaml(rows: &Configuration, out: &mut dyn Write) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    walk(rows, &mut YamlText::new(&mut out))?;
    out.flush()
}

/// Writes a configuration as indented JSON, like [`write_yaml`].
///
/// # Errors
///
/// Those of `out`.
pub fn write_json(rows: &Configuration, out: &mut dyn Write) -> io::Result<()> {
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    walk(rows, &mut JsonText::new(&mut out))?;
    out.flush()
}

fn walk(rows: &Configuration, form: &mut dyn Form) -> io::Result<()> {
    let cursors = Table::ALL.iter().map(|table| Cursor::new(rows, *table));
    let mut writer = Writer {
        rows,
        form,
        cursors: cursors.collect(),
    };
    writer.form.open(true)?;
    writer.parts(outline(), &[])?;
    writer.form.close()?;
    writer.form.finish()
}

/// One table, in the order of its keys: that of the parents, too, so that the rows below each come next in line.
struct Cursor<'r> {
    rows: Box<dyn Iterator<Item = Row> + 'r>,
    /// The values of the next row.
    next: Option<Vec<Value>>,
    /// Whether the parent of the next row is there.
    has_parent: bool,
}

impl<'r> Cursor<'r> {
    fn new(rows: &'r Configuration, table: Table) -> Self {
        let mut rows = rows.rows_of(table);
        Cursor {
            next: rows.next().map(|row| row.values()),
            rows,
            has_parent: false,
        }
    }

    fn advance(&mut self) -> Option<Vec<Value>> {
        self.has_parent = false;
        let next = self.rows.next().map(|row| row.values());
        std::mem::replace(&mut self.next, next)
    }
}

struct Writer<'r, 'f> {
    rows: &'r Configuration,
    form: &'f mut dyn Form,
    /// In the order of the tables.
    cursors: Vec<Cursor<'r>>,
}

impl Writer<'_, '_> {
    /// Whether the next row of a table has this key, as far as it goes. Rows without a parent are gone past.
    fn is_next(&mut self, table: Table, key: &[Value]) -> bool {
        let cursor = &mut self.cursors[table as usize];
        while let Some(next) = &cursor.next {
            if next.starts_with(key) {
                return true;
            }
            if !cursor.has_parent {
                let key = RowKey::from_values(table, &next[..table.definition().key_len()]);
                let there = |key: RowKey| self.rows.find(&key).is_some();
                cursor.has_parent = key.is_ok_and(|key| ancestors(&key).all(there));
            }
            if cursor.has_parent {
                return false;
            }
            cursor.advance();
        }
        false
    }

    /// The next row of a table, if it has this key, as far as it goes.
    fn take(&mut self, table: Table, key: &[Value]) -> Option<Vec<Value>> {
        let next = self.is_next(table, key);
        next.then(|| self.cursors[table as usize].advance())?
    }

    /// The fields of an object: its values first, that nobody has to look for them behind all that is below it.
    fn object(&mut self, table: Table, object: &Object, values: &[Value]) -> io::Result<()> {
        self.form.open(true)?;
        self.values(table, values)?;
        self.parts(object, &values[..table.definition().key_len()])?;
        self.form.close()
    }

    fn values(&mut self, table: Table, values: &[Value]) -> io::Result<()> {
        let columns = table.definition().columns.iter().zip(values);
        for (column, value) in columns.filter(|(column, _)| !column.key) {
            if column.absent().as_ref() != Some(value) {
                self.form.key(column.field)?;
                self.value(&column.show(value))?;
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &Json) -> io::Result<()> {
        super::value(self.form, value)
    }

    /// What is below an object or a section with this key.
    fn parts(&mut self, object: &Object, key: &[Value]) -> io::Result<()> {
        for field in &object.fields {
            if !self.holds_any(&field.part, key) {
                continue;
            }
            self.form.key(field.name)?;
            match &field.part {
                Part::Value(_) => {}
                Part::Object(inner) => match inner.table {
                    Some(table) => {
                        if let Some(values) = self.take(table, key) {
                            self.object(table, inner, &values)?;
                        }
                    }
                    None => {
                        self.form.open(true)?;
                        self.parts(inner, key)?;
                        self.form.close()?;
                    }
                },
                Part::Map(inner) => {
                    self.form.open(true)?;
                    while let Some(values) = self.take(inner.table, key) {
                        self.form.key(&values[inner.key].to_string())?;
                        self.object(inner.table, &inner.object, &values)?;
                    }
                    self.form.close()?;
                }
                Part::List(inner) => {
                    self.form.open(false)?;
                    while let Some(values) = self.take(inner.table, key) {
                        self.object(inner.table, &inner.object, &values)?;
                    }
                    self.form.close()?;
                }
                Part::Set(inner) => {
                    self.form.open(false)?;
                    while let Some(values) = self.take(inner.table, key) {
                        self.member(inner, &values)?;
                    }
                    self.form.close()?;
                }
            }
        }
        Ok(())
    }

    fn member(&mut self, inner: &Collection, values: &[Value]) -> io::Result<()> {
        let column = inner.key_column();
        let value = column.show(&values[inner.key]);
        let columns = inner.table.definition().columns.iter().zip(values);
        let mut own = columns.filter(|(column, _)| !column.key);
        if own.all(|(column, value)| column.absent().as_ref() == Some(value)) {
            return self.value(&value);
        }
        self.form.open(true)?;
        self.form.key(column.field)?;
        self.value(&value)?;
        self.values(inner.table, values)?;
        self.form.close()
    }

    /// Whether a part of an object with this key holds anything.
    fn holds_any(&mut self, part: &Part, key: &[Value]) -> bool {
        match part {
            Part::Value(_) => false,
            Part::Object(inner) => match inner.table {
                Some(table) => self.is_next(table, key),
                None => inner
                    .fields
                    .iter()
                    .any(|field| self.holds_any(&field.part, key)),
            },
            Part::Map(inner) | Part::List(inner) | Part::Set(inner) => {
                self.is_next(inner.table, key)
            }
        }
    }
}
