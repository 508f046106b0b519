//! From documents to rows and back: the tree that people write, and the flat tables that the database keeps. Both ways go
//! along the [outline](crate::outline).

use std::fmt;

use serde_json::{Map, Value as Json};

use crate::marks::FieldMarks;
use crate::meaning::Problem;
use crate::model::{Configuration, Row, RowKey, Table};
use crate::outline::{Collection, Object, Part, outline};
use crate::table::Step;
use crate::value::{Column as _, FieldError, Value};

/// Where in a document an object or a field stands, like `interfaces.wan.neighbors.203.0.113.1.mac`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// The path with these steps, from the top of the document.
    pub fn new(steps: impl IntoIterator<Item = impl fmt::Display>) -> Self {
        Path(steps.into_iter().map(|s| s.to_string()).collect())
    }
    /// The path of a part of this one.
    pub fn join(&self, step: impl fmt::Display) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_string());
        Path(steps)
    }
    /// The steps from the top of the document: the keys of maps, and indices (from 0) into lists.
    pub fn steps(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Path {
    /// Dots between the steps, indices in brackets: `vpcs.blue.routes.0.0.0.0/0.next_hops[0].via`. The empty path is
    /// the document itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the document");
        }
        for (index, step) in self.0.iter().enumerate() {
            let step = if step.is_empty() { "\"\"" } else { step };
            if step.bytes().all(|b| b.is_ascii_digit()) {
                write!(f, "[{step}]")?;
            } else if index == 0 {
                f.write_str(step)?;
            } else {
                write!(f, ".{step}")?;
            }
        }
        Ok(())
    }
}

fn path_of(table: Table, key: &[Value]) -> Path {
    Path::new(table.definition().steps().map(|step| match step {
        Step::Field(name) => name.to_owned(),
        Step::Key(column) | Step::Position(column) | Step::Member(column) => {
            key.get(column).map(Value::to_string).unwrap_or_default()
        }
    }))
}

impl Row {
    /// Where the object of this row stands in a document. The members of a set (addresses, ranges, sources) stand
    /// under their own text.
    pub fn path(&self) -> Path {
        path_of(self.table(), &self.values())
    }

    /// The row's own fields (those that are not its key) by name, as a diff shows them.
    pub fn fields(&self) -> Vec<(&'static str, Value)> {
        let definition = self.table().definition();
        let columns = definition.columns.iter().zip(self.values());
        columns
            .filter(|(c, _)| !c.key)
            .map(|(c, value)| (c.field, value))
            .collect()
    }
}

impl RowKey {
    /// Where the object of the row with this key stands in a document.
    pub fn path(&self) -> Path {
        path_of(self.table(), &self.values())
    }
}

/// A configuration as a document: a tree of maps and lists with nothing in it but what is not as it would be anyway.
///
/// Rows whose parent is missing are left out; a store's foreign keys do not let that happen. Cost: the configuration.
pub fn to_document(configuration: &Configuration) -> Json {
    let mut root = Map::new();
    for table in Table::ALL {
        let steps: Vec<Step> = table.definition().steps().collect();
        for row in configuration.rows_of(*table) {
            put(&mut root, &steps, &row.values(), *table);
        }
    }
    Json::Object(root)
}

/// One object without what is below it, as a document shows it.
pub fn object_of(row: &Row) -> Json {
    Json::Object(own_fields(row.table(), &row.values()))
}

fn own_fields(table: Table, values: &[Value]) -> Map<String, Json> {
    let mut object = Map::new();
    for (column, value) in table.definition().columns.iter().zip(values) {
        if !column.key && column.absent().as_ref() != Some(value) {
            object.insert(column.field.to_owned(), column.show(value));
        }
    }
    object
}

fn put(root: &mut Map<String, Json>, steps: &[Step], values: &[Value], table: Table) {
    let mut above = root;
    let mut rest = steps;
    loop {
        let (name, key, after) = match rest {
            [Step::Field(name), after @ ..] => match after {
                [Step::Field(_), ..] | [] => (*name, None, after),
                [key, after @ ..] => (*name, Some(*key), after),
            },
            _ => return,
        };
        rest = after;
        let last = rest.is_empty();
        let empty = match key {
            Some(Step::Position(_) | Step::Member(_)) => Json::Array(Vec::new()),
            _ => Json::Object(Map::new()),
        };
        let own = || own_fields(table, values);
        let inner = above.entry(name).or_insert(empty);
        above = match (key, inner) {
            (None, Json::Object(object)) => {
                if last {
                    object.extend(own());
                    return;
                }
                object
            }
            (Some(Step::Key(column)), Json::Object(map)) => {
                let key = values[column].to_string();
                if last {
                    map.insert(key, Json::Object(own()));
                    return;
                }
                match map.get_mut(&key) {
                    Some(Json::Object(object)) => object,
                    _ => return,
                }
            }
            (Some(Step::Position(column)), Json::Array(list)) => {
                if last {
                    // Rows come in the order of their position.
                    list.push(Json::Object(own()));
                    return;
                }
                let index = match &values[column] {
                    Value::Integer(index) => usize::try_from(*index).unwrap_or(usize::MAX),
                    _ => return,
                };
                match list.get_mut(index) {
                    Some(Json::Object(object)) => object,
                    _ => return,
                }
            }
            (Some(Step::Member(column)), Json::Array(list)) => {
                let definition = &table.definition().columns[column];
                let value = definition.show(&values[column]);
                let mut marks = own();
                list.push(if marks.is_empty() {
                    value
                } else {
                    let mut object = Map::new();
                    object.insert(definition.field.to_owned(), value);
                    object.append(&mut marks);
                    Json::Object(object)
                });
                return;
            }
            _ => return,
        };
    }
}

/// Reads a document. All that is wrong with its shape is reported; what it means is not asked. Cost: the document.
///
/// # Errors
///
/// A problem for each field that is unknown, missing, of the wrong type or out of its bounds.
pub fn from_document(document: &Json) -> Result<Configuration, Vec<Problem>> {
    let mut reader = Reader {
        configuration: Configuration::default(),
        problems: Vec::new(),
        path: Vec::new(),
    };
    reader.object(outline(), document, &[]);
    if reader.problems.is_empty() {
        Ok(reader.configuration)
    } else {
        Err(reader.problems)
    }
}

struct Reader {
    configuration: Configuration,
    problems: Vec<Problem>,
    path: Vec<String>,
}

impl Reader {
    fn problem(&mut self, error: FieldError) {
        let mut problem = Problem::new(Path(self.path.clone()), error.message);
        problem.help = error.help;
        self.problems.push(problem);
    }

    fn at(&mut self, step: impl fmt::Display, inner: impl FnOnce(&mut Self)) {
        self.path.push(step.to_string());
        inner(self);
        self.path.pop();
    }

    /// An object or a section whose row, if it has one, has this key.
    fn object(&mut self, object: &Object, json: &Json, key: &[Value]) {
        let Json::Object(fields) = json else {
            return self.problem(FieldError::new("expected a map"));
        };
        if let Some(table) = object.table {
            self.row(table, object, fields, key);
        }
        for (name, json) in fields {
            match object.field(name).map(|field| &field.part) {
                None => {
                    let at = |r: &mut Self| r.problem(FieldError::new("no such field"));
                    self.at(name, at);
                }
                Some(Part::Value(_)) => {}
                Some(Part::Object(inner)) => self.at(name, |r| r.object(inner, json, key)),
                Some(Part::Map(inner)) => self.at(name, |r| r.map(inner, json, key)),
                Some(Part::List(inner)) => self.at(name, |r| r.list(inner, json, key)),
                Some(Part::Set(inner)) => self.at(name, |r| r.set(inner, json, key)),
            }
        }
    }

    fn row(&mut self, table: Table, object: &Object, fields: &Map<String, Json>, key: &[Value]) {
        let columns = table.definition().columns;
        let mut values = key.to_vec();
        let before = self.problems.len();
        for column in &columns[key.len()..] {
            let value = match fields.get(column.field).filter(|json| !json.is_null()) {
                Some(json) => match column.read(json) {
                    Ok(value) => value,
                    Err(error) => {
                        self.at(column.field, |r| r.problem(error));
                        continue;
                    }
                },
                None => match column.absent() {
                    Some(value) => value,
                    None => {
                        let message = format!("the field \"{}\" is missing", column.field);
                        self.problem(FieldError::new(message));
                        continue;
                    }
                },
            };
            values.push(value);
        }
        if self.problems.len() > before {
            return;
        }
        if let Some(unset) = unset_marks(table, &values).first() {
            let message = format!("the field \"{unset}\" is marked, and is not set");
            return self.problem(FieldError::new(message));
        }
        debug_assert_eq!(object.table, Some(table));
        match Row::from_values(table, &values) {
            Ok(row) => drop(self.configuration.insert(row)),
            Err(error) => self.problem(FieldError::new(error.to_string())),
        }
    }

    fn map(&mut self, collection: &Collection, json: &Json, key: &[Value]) {
        let Json::Object(entries) = json else {
            return self.problem(FieldError::new("expected a map"));
        };
        for (text, json) in entries {
            self.at(text, |r| match collection.key_column().parse(text) {
                Ok(last) => r.object(&collection.object, json, &below(key, last)),
                Err(error) => r.problem(error),
            });
        }
    }

    fn list(&mut self, collection: &Collection, json: &Json, key: &[Value]) {
        let Json::Array(items) = json else {
            return self.problem(FieldError::new("expected a list"));
        };
        for (index, json) in (0i64..).zip(items) {
            let key = below(key, Value::Integer(index));
            self.at(index, |r| r.object(&collection.object, json, &key));
        }
    }

    fn set(&mut self, collection: &Collection, json: &Json, key: &[Value]) {
        let Json::Array(items) = json else {
            return self.problem(FieldError::new("expected a list"));
        };
        let column = collection.key_column();
        for (index, json) in items.iter().enumerate() {
            self.at(index, |r| {
                let mut marks = Map::new();
                let value = match json {
                    Json::Object(object) => {
                        marks = object.clone();
                        marks.shift_remove(column.field).unwrap_or_default()
                    }
                    other => other.clone(),
                };
                match column.read(&value) {
                    Ok(Value::Null) => {
                        let message = format!("the field \"{}\" is missing", column.field);
                        r.problem(FieldError::new(message));
                    }
                    Ok(last) => {
                        let key = below(key, last);
                        r.object(&collection.object, &Json::Object(marks), &key);
                    }
                    Err(error) => r.problem(error),
                }
            });
        }
    }
}

/// The marked fields of a row's values that are as they would be anyway.
fn unset_marks(table: Table, values: &[Value]) -> Vec<String> {
    let mut marks = values
        .last()
        .map_or(Ok(FieldMarks::default()), FieldMarks::from_value);
    marks
        .as_mut()
        .map_or(Vec::new(), |marks| marks.settle(table.definition(), values))
}

fn below(key: &[Value], last: Value) -> Vec<Value> {
    let mut key = key.to_vec();
    key.push(last);
    key
}
