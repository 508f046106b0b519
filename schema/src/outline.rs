//! The outline of documents: which sections, objects and fields there are, and in which table each is stored. Made from the
//! tables' definitions, it is what reads and writes documents, makes their JSON Schema, and guides an editor.

use std::sync::LazyLock;

use crate::model::{SECTIONS, Table};
use crate::table::{ColumnDefinition, Step, one_line};

/// A map with fixed fields: the document itself, a section, or an object.
#[derive(Debug)]
pub struct Object {
    /// The table of its row; none for a section.
    pub table: Option<Table>,
    /// What it is, on one line.
    pub doc: String,
    /// Its fields: values first, then the parts below, the marks last.
    pub fields: Vec<Field>,
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it is for, on one line.
    pub doc: String,
    /// What it holds.
    pub part: Part,
}

/// What a field holds.
#[derive(Debug)]
pub enum Part {
    /// A value: the number of its column in the object's table.
    Value(usize),
    /// A section, or an object of which there is at most one.
    Object(Object),
    /// Objects by the texts of a key.
    Map(Collection),
    /// Objects in order.
    List(Collection),
    /// Values, each of which may stand as an object with marks.
    Set(Collection),
}

/// The objects below one field.
#[derive(Debug)]
pub struct Collection {
    /// The table of their rows.
    pub table: Table,
    /// The number of the column that tells them apart: the last one of the key.
    pub key: usize,
    /// What each is. For a set, its fields are the marks.
    pub object: Object,
}

impl Collection {
    /// The column that tells the objects apart.
    pub fn key_column(&self) -> &'static ColumnDefinition {
        &self.table.definition().columns[self.key]
    }
}

impl Object {
    fn section(doc: String) -> Self {
        Object {
            table: None,
            doc,
            fields: Vec::new(),
        }
    }

    fn of(table: Table) -> Self {
        let definition = table.definition();
        let columns = definition.columns.iter().enumerate();
        let any = definition.columns.iter().any(|c| !c.key && !c.is_mark());
        // Where there is no other field, there is none to be marked.
        let shown = |column: &ColumnDefinition| {
            !column.key && (any || column.name != ColumnDefinition::FIELD_MARKS.name)
        };
        let fields = columns.filter(|(_, column)| shown(column));
        Object {
            table: Some(table),
            doc: one_line(definition.doc),
            fields: fields
                .map(|(index, column)| Field {
                    name: column.field,
                    doc: column.description(),
                    part: Part::Value(index),
                })
                .collect(),
        }
    }

    /// The field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The column behind a field that holds a value.
    pub fn column(&self, field: &Field) -> Option<&'static ColumnDefinition> {
        match field.part {
            Part::Value(index) => Some(&self.table?.definition().columns[index]),
            _ => None,
        }
    }

    /// The object that stands at a table's place, which has to be in the outline already, less the last steps.
    fn descend(&mut self, steps: &[Step]) -> &mut Object {
        let mut object = self;
        let mut path = Vec::new();
        for step in steps {
            let Step::Field(name) = step else { continue };
            path.push(*name);
            let index = match object.fields.iter().position(|f| f.name == *name) {
                Some(index) => index,
                None => {
                    let path = path.join(".");
                    let doc = SECTIONS.iter().find(|(section, _)| *section == path);
                    let doc = doc.map_or_else(String::new, |(_, doc)| (*doc).to_owned());
                    object.add(Field {
                        name,
                        doc: doc.clone(),
                        part: Part::Object(Object::section(doc)),
                    })
                }
            };
            object = match &mut object.fields[index].part {
                Part::Object(object) => object,
                Part::Map(c) | Part::List(c) | Part::Set(c) => &mut c.object,
                Part::Value(_) => {
                    unreachable!("a place leads through objects; a test goes through all")
                }
            };
        }
        object
    }

    /// Adds a field before the marks; gives its index.
    fn add(&mut self, field: Field) -> usize {
        let is_mark = |field: &&Field| self.column(field).is_some_and(ColumnDefinition::is_mark);
        let marks = self.fields.iter().rev().take_while(is_mark).count();
        let index = self.fields.len() - marks;
        self.fields.insert(index, field);
        index
    }
}

/// The outline of whole documents.
pub fn outline() -> &'static Object {
    static OUTLINE: LazyLock<Object> = LazyLock::new(make);
    &OUTLINE
}

fn make() -> Object {
    let doc = SECTIONS.iter().find(|(path, _)| path.is_empty());
    let mut root = Object::section(doc.map_or_else(String::new, |(_, doc)| (*doc).to_owned()));
    for table in Table::ALL {
        let definition = table.definition();
        let steps: Vec<Step> = definition.steps().collect();
        let collection = |key| Collection {
            table: *table,
            key,
            object: Object::of(*table),
        };
        let (name, part, above) = match steps.as_slice() {
            [above @ .., Step::Field(name), Step::Key(key)] => {
                (*name, Part::Map(collection(*key)), above)
            }
            [above @ .., Step::Field(name), Step::Position(key)] => {
                (*name, Part::List(collection(*key)), above)
            }
            [above @ .., Step::Field(name), Step::Member(key)] => {
                (*name, Part::Set(collection(*key)), above)
            }
            [above @ .., Step::Field(name)] => (*name, Part::Object(Object::of(*table)), above),
            _ => unreachable!("a place ends with a field and what tells its objects apart"),
        };
        let doc = one_line(definition.section);
        root.descend(above).add(Field { name, doc, part });
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_has_its_place() {
        for table in Table::ALL {
            let definition = table.definition();
            let mut keys = Vec::new();
            for step in definition.steps() {
                let (open, close, column) = match step {
                    Step::Field(name) => {
                        assert!(!name.contains(['{', '[', '<']), "{}", definition.place);
                        continue;
                    }
                    Step::Key(column) => ('{', '}', column),
                    Step::Position(column) => ('[', ']', column),
                    Step::Member(column) => ('<', '>', column),
                };
                let name = definition.columns[column].name;
                let written = format!("{open}{name}{close}");
                assert!(definition.place.contains(&written), "{}", definition.place);
                keys.push(column);
            }
            // The key's columns in the order of the place: what comes from the path is the key.
            let expected: Vec<usize> = (0..definition.key_len()).collect();
            assert_eq!(keys, expected, "{}", definition.place);
        }
    }

    #[test]
    fn everything_says_what_it_is_for() {
        fn walk(object: &Object, path: &str) {
            assert!(!object.doc.is_empty(), "{path}");
            let mut names = std::collections::BTreeSet::new();
            for field in &object.fields {
                assert!(!field.doc.is_empty(), "{path}.{}", field.name);
                assert!(names.insert(field.name), "{path}.{} twice", field.name);
                let path = format!("{path}.{}", field.name);
                match &field.part {
                    Part::Value(_) => {}
                    Part::Object(object) => walk(object, &path),
                    Part::Map(c) | Part::List(c) | Part::Set(c) => walk(&c.object, &path),
                }
            }
        }
        walk(outline(), "");
    }
}
