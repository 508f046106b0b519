//! Marks of single fields, and how they are stored: one text an object, in JSON.
//!
//! The text is canonical: fields by name, `deactivated` before `annotation`, nothing that says nothing, no spaces. Equal
//! marks have equal texts, so that digests and comparisons of stored rows hold.
//!
//! Only what is given can be marked: a field that goes back to what it is where nothing is said loses its marks. A field
//! that is required cannot be deactivated, because nothing could take its place.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::table::{ColumnDefinition, TableDefinition};
use crate::types::Line;
use crate::value::{Column, FieldError, Kind, RawValue, SqlType, Value};

/// What a single field carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldMark {
    /// Whether it is kept, but as if it were not given.
    pub deactivated: bool,
    /// What somebody noted about it.
    pub annotation: Option<Line>,
}

impl FieldMark {
    /// The mark as a document shows it.
    pub fn to_json(&self) -> Json {
        let mut map = Map::new();
        if self.deactivated {
            map.insert(ColumnDefinition::DEACTIVATED.field.to_owned(), true.into());
        }
        if let Some(annotation) = &self.annotation {
            let annotation = annotation.as_str().into();
            map.insert(ColumnDefinition::ANNOTATION.field.to_owned(), annotation);
        }
        Json::Object(map)
    }
}

/// Marks of an object's fields, by the fields' names in documents. Fields without any are not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldMarks(BTreeMap<String, FieldMark>);

impl FieldMarks {
    pub(super) const NONE: FieldMarks = FieldMarks(BTreeMap::new());

    /// The mark of a field.
    pub fn get(&self, field: &str) -> Option<&FieldMark> {
        self.0.get(field)
    }

    /// The fields that are marked, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldMark)> {
        self.0.iter().map(|(field, mark)| (field.as_str(), mark))
    }

    /// Whether no field is marked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives a field another mark; one that says nothing takes it away.
    pub fn set(&mut self, field: &str, mark: FieldMark) {
        // An annotation of nothing is none.
        let annotation = mark.annotation.filter(|note| !note.as_str().is_empty());
        let mark = FieldMark { annotation, ..mark };
        match mark == FieldMark::default() {
            true => drop(self.0.remove(field)),
            false => drop(self.0.insert(field.to_owned(), mark)),
        }
    }

    /// Takes a field's mark away.
    pub fn remove(&mut self, field: &str) -> Option<FieldMark> {
        self.0.remove(field)
    }

    /// Whether any field is kept and ignored.
    pub fn any_deactivated(&self) -> bool {
        self.0.values().any(|mark| mark.deactivated)
    }

    /// The names of the fields that are kept and ignored.
    pub fn deactivated(&self) -> impl Iterator<Item = &str> {
        let hidden = self.0.iter().filter(|(_, mark)| mark.deactivated);
        hidden.map(|(field, _)| field.as_str())
    }

    /// The marks as a document shows them.
    pub fn to_json(&self) -> Json {
        let marks = self.0.iter();
        Json::Object(
            marks
                .map(|(name, mark)| (name.clone(), mark.to_json()))
                .collect(),
        )
    }

    /// Reads what [`FieldMarks::to_json`] gives; null says nothing.
    pub(crate) fn from_json(json: &Json) -> Result<Self, FieldError> {
        let map = |json: &Json| match json {
            Json::Null => Ok(Map::new()),
            Json::Object(map) => Ok(map.clone()),
            _ => Err(FieldError::new("expected a map")),
        };
        let mut marks = FieldMarks::default();
        for (field, json) in map(json)? {
            let mut mark = FieldMark::default();
            for (name, json) in map(&json)? {
                let column =
                    part(&name).ok_or_else(|| FieldError::new(format!("no mark \"{name}\"")))?;
                mark.take(column, &column.read(&json)?)?;
            }
            marks.set(&field, mark);
        }
        Ok(marks)
    }

    /// Whether marks are of fields that a table's objects have, each of a kind that the field can have.
    pub(crate) fn fit(&self, table: &TableDefinition) -> Result<(), String> {
        for (field, mark) in self.iter() {
            let Some(column) = table.markable(field) else {
                return Err(format!("no field \"{field}\" to mark"));
            };
            if mark.deactivated && column.required() {
                return Err(format!(
                    "the field \"{field}\" is required, and is deactivated"
                ));
            }
        }
        Ok(())
    }

    /// Takes away the marks of fields that are as they would be anyway; gives their names.
    pub(crate) fn settle(&mut self, table: &TableDefinition, values: &[Value]) -> Vec<String> {
        let given = |field: &str| {
            let mut columns = table.columns.iter().zip(values);
            columns.any(|(column, value)| {
                column.field == field && column.absent().as_ref() != Some(value)
            })
        };
        let gone: Vec<String> = self
            .0
            .keys()
            .filter(|field| !given(field))
            .cloned()
            .collect();
        gone.iter().for_each(|field| drop(self.0.remove(field)));
        gone
    }
}

/// What a mark of a single field says: the same as those of an object.
pub(crate) static PARTS: [ColumnDefinition; 2] =
    [ColumnDefinition::DEACTIVATED, ColumnDefinition::ANNOTATION];

/// The part of a mark that has this name in documents.
pub(crate) fn part(name: &str) -> Option<&'static ColumnDefinition> {
    PARTS.iter().find(|column| column.field == name)
}

impl FieldMark {
    /// Takes one of the mark's values over.
    pub(crate) fn take(
        &mut self,
        column: &ColumnDefinition,
        value: &Value,
    ) -> Result<(), FieldError> {
        if column.name == ColumnDefinition::DEACTIVATED.name {
            self.deactivated = bool::from_value(value).map_err(FieldError::new)?;
        } else {
            self.annotation = Option::from_value(value).map_err(FieldError::new)?;
        }
        Ok(())
    }
}

impl Column for FieldMarks {
    const SQL_TYPE: SqlType = SqlType::Text;
    const KIND: Kind = Kind::FieldMarks;
    const NULLABLE: bool = true;

    fn to_value(&self) -> Value {
        match self.is_empty() {
            true => Value::Null,
            false => Value::Text(self.to_json().to_string()),
        }
    }

    fn from_raw(value: RawValue<'_>) -> Result<Self, String> {
        let text = match value {
            RawValue::Null => return Ok(FieldMarks::default()),
            RawValue::Text(text) => text,
            RawValue::Integer(number) => {
                return Err(format!("expected marks of fields, found {number}"));
            }
        };
        let json = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let marks = FieldMarks::from_json(&json).map_err(|error| error.message)?;
        match RawValue::from(&marks.to_value()) == value {
            true => Ok(marks),
            false => Err("expected marks of fields in canonical form".to_owned()),
        }
    }
}
