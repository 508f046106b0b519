//! The JSON Schema of documents, made from the outline.

use serde_json::{Map, Value, json};

use crate::model::Table;
use crate::outline::{Collection, Object, Part, outline};
use crate::table::ColumnDefinition;
use crate::value::Kind;

/// The JSON Schema of documents, in draft 2020-12. Text of the types of this crate has a `format` of its own, which
/// other programs may leave unchecked: a `pattern` beside it says nearly the same.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let mut schema = object(outline(), &mut definitions);
    schema["title"] = "Document".into();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$defs"] = Value::Object(definitions);
    schema
}

/// The JSON Schema as it is checked in: indented, with a final line break.
pub fn json_schema_text() -> String {
    // The alternate form of a JSON value is its indented text.
    format!("{:#}\n", json_schema())
}

fn object(object: &Object, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in &object.fields {
        let mut schema = match &field.part {
            Part::Value(_) => match object.column(field) {
                Some(column) => {
                    if column.required() {
                        required.push(Value::from(field.name));
                    }
                    match (column.kind, object.table) {
                        (Kind::FieldMarks, Some(table)) => field_marks(table),
                        _ => value(column),
                    }
                }
                None => continue,
            },
            Part::Object(inner) => self::object(inner, definitions),
            Part::Map(inner) => json!({
                "type": "object",
                "propertyNames": key(inner.key_column()),
                "additionalProperties": reference(inner, definitions),
            }),
            Part::List(inner) => array(reference(inner, definitions), inner),
            Part::Set(inner) => array(member(inner), inner),
        };
        schema["description"] = field.doc.as_str().into();
        properties.insert(field.name.to_owned(), schema);
        // What must not be empty must be there.
        if let Part::List(inner) | Part::Set(inner) = &field.part
            && inner.table.definition().least > 0
        {
            required.push(field.name.into());
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": object.doc,
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = Value::Array(required);
    }
    schema
}

/// The objects of a collection, defined once under the name of their table.
fn reference(collection: &Collection, definitions: &mut Map<String, Value>) -> Value {
    let name = collection.table.definition().name;
    if !definitions.contains_key(name) {
        // Holds the place, so that definitions come in the order of the outline.
        definitions.insert(name.to_owned(), Value::Null);
        let schema = object(&collection.object, definitions);
        definitions.insert(name.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn array(items: Value, collection: &Collection) -> Value {
    let definition = collection.table.definition();
    let mut schema = json!({ "type": "array", "items": items });
    if definition.least > 0 {
        schema["minItems"] = definition.least.into();
    }
    if let Some(most) = definition.most {
        schema["maxItems"] = most.into();
    }
    schema
}

/// A member of a set: the value alone, or an object with the value and marks.
fn member(collection: &Collection) -> Value {
    let column = collection.key_column();
    let mut properties = Map::new();
    properties.insert(column.field.to_owned(), value(column));
    for field in &collection.object.fields {
        if let Some(column) = collection.object.column(field) {
            let mut schema = value(column);
            schema["description"] = field.doc.as_str().into();
            properties.insert(field.name.to_owned(), schema);
        }
    }
    json!({
        "if": { "type": "object" },
        "then": {
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": [column.field],
        },
        "else": value(column),
    })
}

/// The marks of a table's fields.
fn field_marks(table: Table) -> Value {
    let or_null = |properties: Map<String, Value>| {
        json!({
            "type": ["object", "null"],
            "additionalProperties": false,
            "properties": properties,
        })
    };
    let mark = |column: &ColumnDefinition| {
        let mut properties = Map::new();
        let parts = [ColumnDefinition::DEACTIVATED, ColumnDefinition::ANNOTATION];
        for part in parts {
            let mut schema = value(&part);
            if part.name == ColumnDefinition::DEACTIVATED.name && column.required() {
                schema = json!({ "type": ["boolean", "null"], "enum": [false, null] });
            }
            properties.insert(part.field.to_owned(), schema);
        }
        or_null(properties)
    };
    let columns = table.definition().columns.iter();
    let fields = columns.filter(|column| !column.key && !column.is_mark());
    or_null(
        fields
            .map(|column| (column.field.to_owned(), mark(column)))
            .collect(),
    )
}

fn key(column: &ColumnDefinition) -> Value {
    match column.kind {
        Kind::Integer { .. } => json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)$" }),
        _ => value(&ColumnDefinition {
            nullable: false,
            ..*column
        }),
    }
}

fn value(column: &ColumnDefinition) -> Value {
    let or_null = |kind: &str| match column.nullable && !column.key {
        true => json!([kind, "null"]),
        false => kind.into(),
    };
    let mut schema = match column.kind {
        Kind::Line { longest } => json!({ "type": or_null("string"), "maxLength": longest }),
        Kind::Text(format) => json!({
            "type": match (format.numeric, column.nullable && !column.key) {
                (false, _) => or_null("string"),
                (true, false) => json!(["integer", "string"]),
                (true, true) => json!(["integer", "string", "null"]),
            }, "format": format.name, "pattern": format.pattern,
        }),
        Kind::Words(words) => json!({
            "type": or_null("string"),
            "oneOf": words.iter().map(|(word, doc)| json!({ "const": word, "description": doc.trim() })).collect::<Value>(),
        }),
        Kind::Integer { .. } => {
            let (least, most) = column.bounds().unwrap_or((i64::MIN, i64::MAX));
            json!({ "type": or_null("integer"), "minimum": least, "maximum": most })
        }
        Kind::Flag => json!({ "type": or_null("boolean") }),
        Kind::FieldMarks => json!({ "type": or_null("object") }),
        Kind::List(format) => {
            let one = |types: &[&str]| {
                json!({
                    "type": types, "minimum": 1, "maximum": u16::MAX,
                    "format": format.name, "pattern": format.pattern,
                })
            };
            let mut schema = match column.nullable {
                true => one(&["integer", "string", "array", "null"]),
                false => one(&["integer", "string", "array"]),
            };
            schema["items"] = one(&["integer", "string"]);
            schema["minItems"] = 1.into();
            schema
        }
    };
    if matches!(column.kind, Kind::Words(_)) && column.nullable && !column.key {
        // A word or nothing.
        if let Some(Value::Array(words)) = schema.get_mut("oneOf") {
            words.push(json!({ "type": "null" }));
        }
    }
    if let Some(default) = column.default {
        schema["default"] = column.show(&default());
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::FORMATS;

    #[test]
    fn the_schema_that_is_checked_in_is_the_one_of_the_model() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/rewire.schema.json");
        let current = json_schema_text();
        if std::env::var_os("REWIRE_BLESS").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == current,
            "schema/rewire.schema.json is stale; regenerate it: \
             REWIRE_BLESS=1 cargo test -p rewire-schema --lib json_schema"
        );
    }

    #[test]
    fn every_format_is_known() {
        fn walk(schema: &Value) {
            if let Some(format) = schema.get("format").and_then(Value::as_str) {
                assert!(FORMATS.iter().any(|f| f.name == format), "{format}");
            }
            match schema {
                Value::Object(map) => map.values().for_each(walk),
                Value::Array(list) => list.iter().for_each(walk),
                _ => {}
            }
        }
        walk(&json_schema());
    }
}
