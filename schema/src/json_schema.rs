//! The JSON Schema of documents, made from the model.

use serde_json::{Value, json};

use crate::Document;
use crate::format::FORMATS;

/// The JSON Schema of documents, in draft 2020-12. Text of the types of this crate has a `format` of its own, which
/// other programs may leave unchecked: a `pattern` beside it says nearly the same.
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(Document).to_value();
    let patterns: Vec<(String, &str)> = definitions(&schema)
        .filter_map(|definition| {
            let format = definition.get("format")?.as_str()?;
            let format = FORMATS.iter().find(|f| f.name == format)?;
            Some((definition.get("pattern")?.as_str()?.to_owned(), format.name))
        })
        // Several formats may share a pattern; keys are names or prefixes, never interface addresses.
        .filter(|(_, format)| ["name", "prefix"].contains(format))
        .collect();
    give_keys_a_format(&mut schema, &patterns);
    schema
}

/// The JSON Schema as it is checked in: indented, with a final line break.
pub fn json_schema_text() -> String {
    // The alternate form of a JSON value is its indented text.
    format!("{:#}\n", json_schema())
}

fn definitions(schema: &Value) -> impl Iterator<Item = &Value> {
    schema
        .get("$defs")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.values())
}

/// The generator says of a map with text keys: what matches this pattern is an object, anything else is forbidden. This
/// turns it into: every key is of this format, and every value is an object. So a bad key is an error of the key.
fn give_keys_a_format(schema: &mut Value, patterns: &[(String, &str)]) {
    match schema {
        Value::Object(map) => {
            let pattern = map
                .get("patternProperties")
                .and_then(Value::as_object)
                .and_then(|p| p.iter().next())
                .map(|(pattern, value)| (pattern.clone(), value.clone()));
            let format = pattern
                .as_ref()
                .and_then(|(pattern, _)| patterns.iter().find(|(p, _)| p == pattern));
            if let (Some((pattern, value)), Some((_, format))) = (&pattern, format) {
                map.shift_remove("patternProperties");
                map.insert(
                    "propertyNames".into(),
                    json!({ "format": format, "pattern": pattern }),
                );
                map.insert("additionalProperties".into(), value.clone());
            }
            map.values_mut()
                .for_each(|v| give_keys_a_format(v, patterns));
        }
        Value::Array(list) => list
            .iter_mut()
            .for_each(|v| give_keys_a_format(v, patterns)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_map_has_keys_of_a_format() {
        fn walk(schema: &Value) {
            assert!(schema.get("patternProperties").is_none(), "{schema}");
            let open = schema
                .get("additionalProperties")
                .is_some_and(Value::is_object);
            if open {
                let format = schema["propertyNames"]["format"].as_str().unwrap();
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
