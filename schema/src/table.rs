//! Descriptions of tables: what the macros of `object.rs` make, what SQL is checked against, and what generic code
//! over all tables (the store, the journal's encoding, documents, the editor) goes by.

use crate::marks::FieldMarks;
use crate::types::Line;
use crate::value::{Column, FieldError, Kind, RawValue, SqlType, Value};

/// A table: its name, its columns (the key first) and what they refer to.
#[derive(Clone, Copy, Debug)]
pub struct TableDefinition {
    /// The table's name in SQL.
    pub name: &'static str,
    /// What one of its objects is, in words.
    pub doc: &'static str,
    /// Where its objects stand in documents: names of fields, and between them `{column}` for the key of a map,
    /// `[column]` for the index in a list and `<column>` for a member of a set.
    pub place: &'static str,
    /// What the map, list or set of its objects is, in words.
    pub section: &'static str,
    /// The fewest objects below one parent.
    pub least: usize,
    /// The most objects below one parent.
    pub most: Option<usize>,
    /// All columns: those of the key first, then the fields, then the marks.
    pub columns: &'static [ColumnDefinition],
    /// The foreign keys.
    pub references: &'static [Reference],
    /// Columns whose values no two active rows share. NULL equals nothing.
    pub unique: &'static [&'static [&'static str]],
}

impl TableDefinition {
    /// The number of columns that make the key; they come first.
    pub fn key_len(&self) -> usize {
        self.columns.iter().take_while(|c| c.key).count()
    }

    /// The place of a column.
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// The field of this name, if it is one that can be marked: neither of the key nor a mark itself.
    pub fn markable(&self, field: &str) -> Option<&'static ColumnDefinition> {
        let mut fields = self.columns.iter().filter(|c| !c.key && !c.is_mark());
        fields.find(|column| column.field == field)
    }

    /// What an object of the table is called: `VPC`, `route next hop`.
    pub fn noun(&self) -> String {
        match self.name {
            "vpc" => "VPC".to_owned(),
            "nat_pool" => "pool".to_owned(),
            "acl" => "ACL".to_owned(),
            other => other.replace('_', " "),
        }
    }

    /// The steps of [`TableDefinition::place`].
    pub fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        self.place.split('/').map(|step| {
            let inner = |open, close| step.strip_prefix(open)?.strip_suffix(close);
            let column = |name: &str| {
                // A test goes through all tables.
                self.position(name).unwrap_or_default()
            };
            if let Some(name) = inner('{', '}') {
                Step::Key(column(name))
            } else if let Some(name) = inner('[', ']') {
                Step::Position(column(name))
            } else if let Some(name) = inner('<', '>') {
                Step::Member(column(name))
            } else {
                Step::Field(step)
            }
        })
    }
}

/// One step of the place of a table's objects. Numbers are those of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of this name.
    Field(&'static str),
    /// The key of a map.
    Key(usize),
    /// The index in a list.
    Position(usize),
    /// A member of a set.
    Member(usize),
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub struct ColumnDefinition {
    /// The column's name in SQL.
    pub name: &'static str,
    /// Its field's name in documents.
    pub field: &'static str,
    /// What it is for, as the model says it; see [`ColumnDefinition::description`].
    pub doc: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The bounds of a number, where they are closer than those of its type.
    pub range: Option<(i64, i64)>,
    /// What it is where a document says nothing; NULL if it may be, otherwise the field is required.
    pub default: Option<fn() -> Value>,
    /// Its declared type.
    pub sql_type: SqlType,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// Whether it belongs to the key.
    pub key: bool,
    /// The table whose object it names.
    pub target: Option<&'static str>,
    /// Reads a stored value, and writes it as it is stored; the error says what was expected and what was found. Another
    /// value than the given one has the same meaning, and is never stored.
    pub canonical: fn(&Value) -> Result<Value, String>,
    /// Whether a text is canonical: what the function above says, without making a value.
    pub is_canonical_text: fn(&str) -> bool,
}

/// A stored value, read and written again.
fn canonical<T: Column>(value: &Value) -> Result<Value, String> {
    T::from_value(value).map(|read| read.to_value())
}

impl ColumnDefinition {
    /// The column of a field of type `T`.
    pub const fn of<T: Column>(name: &'static str) -> Self {
        ColumnDefinition {
            name,
            field: name,
            doc: "",
            kind: T::KIND,
            range: None,
            default: None,
            sql_type: T::SQL_TYPE,
            nullable: T::NULLABLE,
            key: false,
            target: None,
            canonical: canonical::<T>,
            is_canonical_text: T::is_stored_as,
        }
    }

    pub(crate) const DEACTIVATED: ColumnDefinition = ColumnDefinition {
        doc: "Whether this is kept, but ignored with all below it, as if it were not there.",
        ..ColumnDefinition::of::<bool>("deactivated")
    };
    pub(crate) const ANNOTATION: ColumnDefinition = ColumnDefinition {
        doc: "A note about this, for people.",
        ..ColumnDefinition::of::<Option<Line>>("annotation")
    };

    pub(crate) const FIELD_MARKS: ColumnDefinition = ColumnDefinition {
        doc: "Marks of single fields by their names: what is deactivated there is kept, but counts as if it were not given.",
        ..ColumnDefinition::of::<FieldMarks>("marks")
    };

    /// Whether it is one of the marks that every object can have.
    pub fn is_mark(&self) -> bool {
        let marks = [
            Self::DEACTIVATED.name,
            Self::ANNOTATION.name,
            Self::FIELD_MARKS.name,
        ];
        marks.contains(&self.name)
    }

    /// Whether a document must say it.
    pub fn required(&self) -> bool {
        !self.key && !self.nullable && self.default.is_none()
    }

    /// The value where a document says nothing, if that can be.
    pub fn absent(&self) -> Option<Value> {
        match self.default {
            Some(default) => Some(default()),
            None => self.nullable.then_some(Value::Null),
        }
    }

    /// What it is for, on one line.
    pub fn description(&self) -> String {
        one_line(self.doc)
    }

    /// Reads a value as it stands in a document.
    ///
    /// # Errors
    ///
    /// What was expected and what was found.
    pub fn read(&self, json: &serde_json::Value) -> Result<Value, FieldError> {
        self.within(self.kind.read(json)?)
    }

    /// Reads a value as somebody types it.
    ///
    /// # Errors
    ///
    /// What was expected and what was found.
    pub fn parse(&self, text: &str) -> Result<Value, FieldError> {
        let kind = match self.bounds() {
            Some((least, most)) => Kind::Integer { least, most },
            None => self.kind,
        };
        self.within(kind.parse(text)?)
    }

    /// The value as it stands in a document. NULL is null; a document leaves it out.
    pub fn show(&self, value: &Value) -> serde_json::Value {
        self.kind.show(value)
    }

    /// The bounds of a number.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        match self.kind {
            Kind::Integer { least, most } => Some(self.range.unwrap_or((least, most))),
            _ => None,
        }
    }

    fn within(&self, value: Value) -> Result<Value, FieldError> {
        if let (Some((least, most)), Value::Integer(number)) = (self.bounds(), &value)
            && !(least..=most).contains(number)
        {
            return Err(FieldError::new(format!(
                "expected a whole number from {least} to {most}, found {number}"
            )));
        }
        Ok(value)
    }
}

/// Whether two texts are the same, in constants.
pub(crate) const fn same_text(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// The text of a doc comment on one line.
pub(crate) fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A foreign key: `columns` name a row of `table` by its whole key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The referring columns.
    pub columns: &'static [&'static str],
    /// The table that is referred to.
    pub table: &'static str,
}

/// Why stored values are not a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The number of values is not that of the columns.
    #[error("table {table}: expected {expected} values, found {found}")]
    Count {
        /// The table.
        table: &'static str,
        /// Its number of columns.
        expected: usize,
        /// The number of values given.
        found: usize,
    },
    /// A value is not what its column takes.
    #[error("table {table}, column {column}: {reason}")]
    Value {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// What was expected and what was found.
        reason: String,
    },
}

/// Reads the values of one row in turn.
pub(crate) struct Values<I> {
    table: &'static TableDefinition,
    values: I,
    next: usize,
}

impl<'a, I: ExactSizeIterator<Item = RawValue<'a>>> Values<I> {
    /// The values of a whole row.
    pub(crate) fn new(table: &'static TableDefinition, values: I) -> Result<Self, RowError> {
        Values::expecting(table, values, table.columns.len())
    }

    /// The values of a row's key.
    pub(crate) fn of_key(table: &'static TableDefinition, values: I) -> Result<Self, RowError> {
        Values::expecting(table, values, table.key_len())
    }

    fn expecting(
        table: &'static TableDefinition,
        values: I,
        expected: usize,
    ) -> Result<Self, RowError> {
        if values.len() != expected {
            return Err(RowError::Count {
                table: table.name,
                expected,
                found: values.len(),
            });
        }
        Ok(Values {
            table,
            values,
            next: 0,
        })
    }

    pub(crate) fn next_of<T: Column>(&mut self) -> Result<T, RowError> {
        self.next_checked(|_: &T, _| Ok(()))
    }

    /// The next value, where it fits the table.
    pub(crate) fn next_checked<T: Column>(
        &mut self,
        fits: fn(&T, &TableDefinition) -> Result<(), String>,
    ) -> Result<T, RowError> {
        let index = self.next;
        self.next += 1;
        // There are as many as there are columns.
        let value = T::from_raw(self.values.next().unwrap_or(RawValue::Null));
        let value = value.and_then(|value| fits(&value, self.table).map(|()| value));
        value.map_err(|reason| RowError::Value {
            table: self.table.name,
            column: self.table.columns[index].name,
            reason,
        })
    }
}
