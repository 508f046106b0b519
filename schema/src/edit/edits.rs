//! Edits that are not committed yet: the rows that they change, and the objects that are not complete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::changeset::Changeset;
use crate::document::Path;
use crate::edit::error::EditError;
use crate::marks::{FieldMark, FieldMarks};
use crate::model::{Row, RowKey, Table};
use crate::value::{Column as _, Value};

/// Edits on a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// The rows that they change.
    pub changeset: Changeset,
    /// The objects whose required fields are not all given yet, by their keys.
    pub drafts: BTreeMap<RowKey, Draft>,
}

/// An object as far as it is given. It becomes a row when nothing that is required is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    key: RowKey,
    /// The values by the number of their column, less those that are as where a document says nothing.
    given: BTreeMap<usize, Value>,
}

impl Draft {
    /// A new object, of which nothing is given yet but its key.
    pub fn new(key: RowKey) -> Self {
        Draft {
            key,
            given: BTreeMap::new(),
        }
    }

    /// The object of a row.
    pub fn of(row: &Row) -> Self {
        let mut object = Draft::new(row.row_key());
        let keys = row.table().definition().key_len();
        for (column, value) in row.values().into_iter().enumerate().skip(keys) {
            object.set(column, value);
        }
        object
    }

    /// Which object it is.
    pub fn key(&self) -> &RowKey {
        &self.key
    }

    /// Where it stands.
    pub fn path(&self) -> Path {
        self.key.path()
    }

    /// The value of a column, if it is given and not the default.
    pub fn get(&self, column: usize) -> Option<&Value> {
        self.given.get(&column)
    }

    /// The given values by the number of their column, less defaults.
    pub fn given(&self) -> impl Iterator<Item = (usize, &Value)> {
        self.given.iter().map(|(column, value)| (*column, value))
    }

    /// Gives the column a value. The default is the same as none.
    pub fn set(&mut self, column: usize, value: Value) {
        let definition = &self.key.table().definition().columns[column];
        match definition.absent().as_ref() == Some(&value) {
            true => drop(self.clear(column)),
            false => drop(self.given.insert(column, value)),
        }
    }

    /// Takes the value of a column back, and with it the marks of its field; gives whether it had one.
    pub fn clear(&mut self, column: usize) -> bool {
        let had = self.given.remove(&column).is_some();
        if had {
            self.set_mark(column, FieldMark::default());
        }
        had
    }

    /// The marks of fields.
    pub fn field_marks(&self) -> FieldMarks {
        let marks = self.given.get(&self.marks_column());
        let marks = marks.map(FieldMarks::from_value);
        marks.and_then(Result::ok).unwrap_or_default()
    }

    /// The mark of the field of a column.
    pub fn mark(&self, column: usize) -> FieldMark {
        let field = self.key.table().definition().columns[column].field;
        self.field_marks().get(field).cloned().unwrap_or_default()
    }

    /// Gives the field of a column another mark.
    pub fn set_mark(&mut self, column: usize, mark: FieldMark) {
        let marks_column = self.marks_column();
        if !self.given.contains_key(&marks_column) && mark == FieldMark::default() {
            return;
        }
        let mut marks = self.field_marks();
        marks.set(self.key.table().definition().columns[column].field, mark);
        match marks.is_empty() {
            true => drop(self.given.remove(&marks_column)),
            false => drop(self.given.insert(marks_column, marks.to_value())),
        }
    }

    /// The number of the column of the marks of fields: the last one.
    fn marks_column(&self) -> usize {
        self.key.table().definition().columns.len() - 1
    }

    /// The same object under another key of its table.
    #[must_use]
    pub fn renamed(mut self, key: RowKey) -> Self {
        self.key = key;
        self
    }

    /// The names of the fields that are required and not given, in the order of the model.
    pub fn missing(&self) -> Vec<&'static str> {
        let columns = self.key.table().definition().columns.iter().enumerate();
        columns
            .filter(|(index, column)| column.required() && !self.given.contains_key(index))
            .map(|(_, column)| column.field)
            .collect()
    }

    /// The row, where nothing is missing.
    ///
    /// # Errors
    ///
    /// Where a given value is not what its column takes.
    pub fn row(&self) -> Result<Option<Row>, EditError> {
        let table = self.key.table();
        let mut values = self.key.values();
        for (index, column) in table.definition().columns.iter().enumerate() {
            if column.key {
                continue;
            }
            match self.given.get(&index).cloned().or_else(|| column.absent()) {
                Some(value) => values.push(value),
                None => return Ok(None),
            }
        }
        Ok(Some(Row::from_values(table, &values)?))
    }
}

/// A draft as it is kept, by names: those outlast migrations.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    table: String,
    key: Vec<Value>,
    given: BTreeMap<String, Value>,
}

impl Edits {
    /// Edits with this changeset, and with drafts from the text that [`Edits::drafts_text`] made.
    ///
    /// # Errors
    ///
    /// Where the text is none of those, or names what the model does not have.
    pub fn new(changeset: Changeset, drafts: &str) -> Result<Self, EditError> {
        let mut edits = Edits {
            changeset,
            drafts: BTreeMap::new(),
        };
        if drafts.is_empty() {
            return Ok(edits);
        }
        let bad = |what: &str| EditError::Drafts(what.to_owned());
        let kept: Vec<Kept> =
            serde_json::from_str(drafts).map_err(|error| bad(&error.to_string()))?;
        for kept in kept {
            let table = Table::named(&kept.table)
                .ok_or_else(|| bad(&format!("no table \"{}\"", kept.table)))?;
            let mut draft = Draft::new(RowKey::from_values(table, &kept.key)?);
            for (name, value) in kept.given {
                let column = table.definition().position(&name);
                let column = column.ok_or_else(|| bad(&format!("no column \"{name}\"")))?;
                draft.set(column, value);
            }
            edits.drafts.insert(draft.key.clone(), draft);
        }
        Ok(edits)
    }

    /// The drafts as text; empty where there is none.
    pub fn drafts_text(&self) -> String {
        if self.drafts.is_empty() {
            return String::new();
        }
        let keep = |draft: &Draft| {
            let definition = draft.key.table().definition();
            let name = |column: usize| definition.columns[column].name.to_owned();
            Kept {
                table: definition.name.to_owned(),
                key: draft.key.values(),
                given: draft.given().map(|(c, v)| (name(c), v.clone())).collect(),
            }
        };
        let kept: Vec<Kept> = self.drafts.values().map(keep).collect();
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Whether nothing is edited.
    pub fn is_empty(&self) -> bool {
        self.changeset.is_empty() && self.drafts.is_empty()
    }

    /// What is not complete.
    pub fn incomplete(&self) -> Vec<Incomplete> {
        self.drafts.values().map(Incomplete::of).collect()
    }
}

/// An object that is not complete, and why. `Display` is a sentence: `interfaces.lan is not complete: mac is missing`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is not complete: {} {} missing", crate::value::and(.missing), if .missing.len() == 1 { "is" } else { "are" })]
pub struct Incomplete {
    /// Where it stands.
    pub path: Path,
    /// The fields that are required and not given.
    pub missing: Vec<&'static str>,
}

impl Incomplete {
    pub(crate) fn of(draft: &Draft) -> Self {
        Incomplete {
            path: draft.path(),
            missing: draft.missing(),
        }
    }
}
