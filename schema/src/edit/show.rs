//! A part of a state as a document shows it, with the objects in it that are not complete.

use serde_json::{Map, Value as Json};

use crate::edit::edits::{Draft, Edits};
use crate::edit::path::{KeyPart, Node, Order, Target};
use crate::edit::workspace::Workspace;
use crate::model::RowKey;
use crate::outline::{Collection, Object, Part};
use crate::state::{Rows, StateError};
use crate::value::Value;

/// What stands at a place of a state under edits, as it stands in a document; none where nothing does. Objects that are not
/// complete are shown as far as they are given. Cost: what is shown.
///
/// # Errors
///
/// Where the state cannot be read.
pub fn document_at(
    rows: &dyn Rows,
    edits: &Edits,
    target: &Target,
) -> Result<Option<Json>, StateError> {
    let shower = Shower(Workspace::new(rows, edits));
    let key = target.keys.iter().map(|key| match &key.part {
        KeyPart::Value(value) => Some(value.clone()),
        KeyPart::End | KeyPart::Before(_) => None,
    });
    let Some(key) = key.collect::<Option<Vec<Value>>>() else {
        return Ok(None);
    };
    match target.node() {
        Node::Object(object) => shower.object(object, &key),
        Node::Collection(collection, order) => {
            shower.collection(collection, order == Order::Map, &key)
        }
        Node::Field(object, column) => {
            let there = shower.row(object, &key)?;
            let definition = object
                .table
                .map(|table| &table.definition().columns[column]);
            Ok(there.zip(definition).and_then(|(there, definition)| {
                let value = there.get(column).cloned().or_else(|| definition.absent())?;
                Some(definition.show(&value))
            }))
        }
    }
}

struct Shower<'a>(Workspace<'a>);

impl Shower<'_> {
    fn row(&self, object: &Object, key: &[Value]) -> Result<Option<Draft>, StateError> {
        match object.table.map(|table| RowKey::from_values(table, key)) {
            Some(Ok(key)) => self.0.object(&key),
            _ => Ok(None),
        }
    }

    fn object(&self, object: &Object, key: &[Value]) -> Result<Option<Json>, StateError> {
        let there = self.row(object, key)?;
        let mut map = Map::new();
        for field in &object.fields {
            let inner = match &field.part {
                Part::Value(column) => {
                    let value = there.as_ref().and_then(|there| there.get(*column));
                    let definition = object.column(field);
                    definition
                        .zip(value)
                        .map(|(column, value)| column.show(value))
                }
                Part::Object(inner) => self.object(inner, key)?,
                Part::Map(collection) => self.collection(collection, true, key)?,
                Part::List(collection) | Part::Set(collection) => {
                    self.collection(collection, false, key)?
                }
            };
            map.extend(inner.map(|inner| (field.name.to_owned(), inner)));
        }
        let any = there.is_some() || !map.is_empty();
        Ok(any.then_some(Json::Object(map)))
    }

    /// A map, or else a list; of a set, a member without marks is its text.
    fn collection(
        &self,
        collection: &Collection,
        is_map: bool,
        above: &[Value],
    ) -> Result<Option<Json>, StateError> {
        let column = collection.key_column();
        let is_member = collection.table.definition().place.ends_with('>');
        let (mut map, mut list) = (Map::new(), Vec::new());
        for key in self.0.keys_below(collection.table, above)? {
            let key = key.values();
            let (Some(last), Some(inner)) = (key.last(), self.object(&collection.object, &key)?)
            else {
                continue;
            };
            if is_map {
                map.insert(last.to_string(), inner);
                continue;
            }
            list.push(match inner {
                Json::Object(marks) if is_member && marks.is_empty() => column.show(last),
                Json::Object(marks) if is_member => {
                    let mut member = Map::new();
                    member.insert(column.field.to_owned(), column.show(last));
                    member.extend(marks);
                    Json::Object(member)
                }
                other => other,
            });
        }
        Ok(match (map.is_empty(), list.is_empty()) {
            (true, true) => None,
            (false, _) => Some(Json::Object(map)),
            (_, false) => Some(Json::Array(list)),
        })
    }
}
