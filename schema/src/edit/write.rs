//! States and edits written as commands: what is written leads there again.

use std::fmt::Write as _;

use crate::changeset::Change;
use crate::document::Path;
use crate::edit::edits::{Draft, Edits};
use crate::edit::path::{KeyPart, Node, Target};
use crate::edit::words::quote;
use crate::marks::FieldMark;
use crate::model::{Configuration, Row, RowKey, Table};
use crate::outline::{Collection, Object, Part};
use crate::state::{Rows, StateError, ancestors};
use crate::table::ColumnDefinition;
use crate::types::Line;
use crate::value::{Kind, Value};

/// A configuration as commands that make it out of nothing, in the order of a document. Cost: the configuration.
pub fn to_set_commands(configuration: &Configuration) -> String {
    // A configuration in memory can always be read.
    set_commands(configuration, &Target::root()).unwrap_or_default()
}

/// What stands at a place and below it as commands. Cost: what is written.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn set_commands(rows: &dyn Rows, target: &Target) -> Result<String, StateError> {
    let mut writer = Writer {
        rows,
        text: String::new(),
    };
    let key: Vec<Value> = target.keys.iter().filter_map(known).collect();
    let path = target.path();
    match target.node() {
        _ if key.len() < target.keys.len() => {}
        Node::Object(object) => writer.object(object, &key, &path)?,
        Node::Collection(collection, _) => writer.collection(collection, &key, &path)?,
        Node::Field(object, column) => {
            if let Some(row) = writer.row(object, &key)? {
                let mut above = target.clone();
                above.leave();
                let value = row.values().into_iter().nth(column);
                let values = value.map(|value| (column, value)).into_iter();
                object_line(&mut writer.text, row.table(), &above.path(), values);
                let mark = Draft::of(&row).mark(column);
                field_mark(&mut writer.text, &path, &FieldMark::default(), &mark);
            }
        }
    }
    Ok(writer.text)
}

fn known(key: &super::path::KeyWord) -> Option<Value> {
    match &key.part {
        KeyPart::Value(value) => Some(value.clone()),
        _ => None,
    }
}

struct Writer<'a> {
    rows: &'a dyn Rows,
    text: String,
}

impl Writer<'_> {
    fn row(&self, object: &Object, key: &[Value]) -> Result<Option<Row>, StateError> {
        match object.table.map(|table| RowKey::from_values(table, key)) {
            Some(Ok(key)) => self.rows.find(&key),
            _ => Ok(None),
        }
    }

    fn object(&mut self, object: &Object, key: &[Value], path: &Path) -> Result<(), StateError> {
        if let Some(row) = self.row(object, key)? {
            object_line(&mut self.text, row.table(), path, own(&row));
            marks(&mut self.text, None, &Draft::of(&row));
        }
        self.parts(object, key, path)
    }

    fn parts(&mut self, object: &Object, key: &[Value], path: &Path) -> Result<(), StateError> {
        for field in &object.fields {
            let path = || path.join(field.name);
            match &field.part {
                Part::Value(_) => {}
                Part::Object(inner) => self.object(inner, key, &path())?,
                Part::Map(c) | Part::List(c) | Part::Set(c) => self.collection(c, key, &path())?,
            }
        }
        Ok(())
    }

    fn collection(
        &mut self,
        collection: &Collection,
        above: &[Value],
        path: &Path,
    ) -> Result<(), StateError> {
        for row in self.rows.below(collection.table, above)? {
            let key = row.row_key().values();
            let Some(last) = key.last() else { continue };
            let path = path.join(last);
            object_line(&mut self.text, row.table(), &path, own(&row));
            marks(&mut self.text, None, &Draft::of(&row));
            self.parts(&collection.object, &key, &path)?;
        }
        Ok(())
    }
}

impl Edits {
    /// The edits as commands: done to the state that the edits are on, they make the same edits. Cost: the edits.
    pub fn to_set_commands(&self) -> String {
        let mut text = String::new();
        // The last entry of a list goes first: the others keep their place.
        for change in self.changeset.iter().rev() {
            let Change::Delete(row) = change else {
                continue;
            };
            let key = row.row_key();
            let goes = |key: &RowKey| {
                matches!(self.changeset.get(key), Some(Change::Delete(_)))
                    && !self.drafts.contains_key(key)
            };
            if goes(&key) && !ancestors(&key).any(|above| goes(&above)) {
                line(&mut text, "delete", &key.path());
            }
        }
        for table in Table::ALL {
            let mut objects: Vec<(RowKey, Option<Draft>, Draft)> = Vec::new();
            for change in self.changeset.below(*table, &[]) {
                let key = change.row().row_key();
                if let Some(after) = change.after().filter(|_| !self.drafts.contains_key(&key)) {
                    let before = change.before().map(Draft::of);
                    objects.push((key, before, Draft::of(after)));
                }
            }
            for (key, draft) in self.drafts.iter().filter(|(key, _)| key.table() == *table) {
                let before = self.changeset.get(key).and_then(Change::before);
                objects.push((key.clone(), before.map(Draft::of), draft.clone()));
            }
            objects.sort_by(|a, b| a.0.cmp(&b.0));
            for (_, before, after) in objects {
                update(&mut text, before.as_ref(), &after);
            }
        }
        text
    }
}

/// The commands that lead from one state of an object to another.
fn update(text: &mut String, before: Option<&Draft>, after: &Draft) {
    let path = after.path();
    let table = after.key().table();
    let was = |column| before.and_then(|before| before.get(column));
    let changed = after
        .given()
        .filter(|(column, value)| was(*column) != Some(*value));
    let changed: Vec<(usize, Value)> = changed.map(|(c, value)| (c, value.clone())).collect();
    let columns = table.definition().columns;
    if before.is_none() || changed.iter().any(|(c, value)| shown(&columns[*c], value)) {
        object_line(text, table, &path, changed.into_iter());
    }
    for (column, _) in before.iter().flat_map(|before| before.given()) {
        if after.get(column).is_none() && !columns[column].is_mark() {
            line(text, "delete", &path.join(columns[column].field));
        }
    }
    marks(text, before, after);
}

/// The values of a row's own fields.
fn own(row: &Row) -> impl Iterator<Item = (usize, Value)> {
    let keys = row.table().definition().key_len();
    row.values().into_iter().enumerate().skip(keys)
}

/// Whether a value stands in a `set`.
fn shown(column: &ColumnDefinition, value: &Value) -> bool {
    !column.is_mark() && column.absent().as_ref() != Some(value)
}

fn object_line(
    text: &mut String,
    table: Table,
    path: &Path,
    values: impl Iterator<Item = (usize, Value)>,
) {
    text.push_str("set");
    push_path(text, path);
    for (column, value) in values {
        let column = &table.definition().columns[column];
        if shown(column, &value) {
            let value = match (column.kind, &value) {
                (Kind::Flag, _) => "true".to_owned(),
                (_, value) => value.to_string(),
            };
            let _ = write!(text, " {} {}", column.field, quote(&value));
        }
    }
    text.push('\n');
}

/// The commands for what differs in the marks of an object.
fn marks(text: &mut String, before: Option<&Draft>, after: &Draft) {
    let definition = after.key().table().definition();
    let value = |object: &Draft, name: &str| object.get(definition.position(name)?).cloned();
    let both = |name: &str| {
        let was = before.and_then(|before| value(before, name));
        (was, value(after, name))
    };
    match both(ColumnDefinition::DEACTIVATED.name) {
        (None, Some(_)) => line(text, "deactivate", &after.path()),
        (Some(_), None) => line(text, "activate", &after.path()),
        _ => {}
    }
    let (was, is) = both(ColumnDefinition::ANNOTATION.name);
    if was != is {
        let note = is.map_or_else(String::new, |note| note.to_string());
        annotate(text, &after.path(), &note);
    }
    let before = before.map(Draft::field_marks).unwrap_or_default();
    let none = FieldMark::default();
    let after_marks = after.field_marks();
    for (column, _) in after.given() {
        let field = definition.columns[column].field;
        let [was, is] = [&before, &after_marks].map(|marks| marks.get(field).unwrap_or(&none));
        field_mark(text, &after.path().join(field), was, is);
    }
}

/// The commands for what differs in the mark of a field.
fn field_mark(text: &mut String, path: &Path, was: &FieldMark, is: &FieldMark) {
    match (was.deactivated, is.deactivated) {
        (false, true) => line(text, "deactivate", path),
        (true, false) => line(text, "activate", path),
        _ => {}
    }
    if was.annotation != is.annotation {
        annotate(text, path, is.annotation.as_ref().map_or("", Line::as_str));
    }
}

fn annotate(text: &mut String, path: &Path, note: &str) {
    text.push_str("annotate");
    push_path(text, path);
    let _ = writeln!(text, " {}", quote(note));
}

fn line(text: &mut String, verb: &str, path: &Path) {
    text.push_str(verb);
    push_path(text, path);
    text.push('\n');
}

fn push_path(text: &mut String, path: &Path) {
    for step in path.steps() {
        text.push(' ');
        text.push_str(&quote(step));
    }
}
