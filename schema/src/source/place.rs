//! What a path of a document leads to, by the outline alone.

use crate::document::Path;
use crate::model::{RowKey, Table};
use crate::outline::{Part, outline};
use crate::table::ColumnDefinition;
use crate::value::Value;

/// What a path leads to.
#[derive(Default)]
pub(super) struct Place {
    /// The innermost object on the way.
    pub(super) object: Option<RowKey>,
    /// The column of the field or member that the path ends with.
    pub(super) column: Option<&'static ColumnDefinition>,
    /// The field's name and what it is for.
    pub(super) doc: Option<String>,
}

/// Follows a path as far as it leads somewhere.
pub(super) fn of(path: &Path) -> Place {
    let mut place = Place::default();
    let mut object = outline();
    let mut key = Vec::new();
    let mut steps = path.steps().iter();
    while let Some(name) = steps.next() {
        let Some(field) = object.field(name) else {
            break;
        };
        match &field.part {
            Part::Value(_) => {
                place.column = object.column(field);
                place.doc = Some(format!("{}: {}", field.name, field.doc));
                break;
            }
            Part::Object(inner) => object = inner,
            Part::Map(inner) | Part::List(inner) => {
                let Some(step) = steps.next() else { break };
                let Ok(value) = inner.key_column().parse(step) else {
                    break;
                };
                key.push(value);
                object = &inner.object;
            }
            Part::Set(inner) => {
                let column = inner.key_column();
                let member = steps.next();
                let part = steps.next();
                // A member, its value where it stands as an object, or one of its marks.
                if let Some(mark) = part.and_then(|name| inner.object.field(name)) {
                    place.column = inner.object.column(mark);
                    place.doc = Some(format!("{}: {}", mark.name, mark.doc));
                } else if member.is_some() && part.is_none_or(|name| name == column.field) {
                    place.column = Some(column);
                    place.doc = Some(format!("{}: {}", field.name, field.doc));
                }
                break;
            }
        }
        place.object = object.table.and_then(|table| row_key(table, &key));
    }
    place
}

fn row_key(table: Table, key: &[Value]) -> Option<RowKey> {
    RowKey::from_values(table, key).ok()
}
