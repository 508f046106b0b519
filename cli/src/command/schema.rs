use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::terminal::paint;

/// Print what a configuration can say
///
/// The JSON Schema is for editors, which complete and check documents by it. The paths are for people: one line for each
/// object and field, with what it means.
#[derive(clap::Args)]
pub(crate) struct Schema {
    /// How to say it
    #[arg(long, value_enum, default_value_t = Format::JsonSchema)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    JsonSchema,
    Paths,
}

impl Schema {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let schema = rewire_schema::json_schema();
        Ok(match self.format {
            Format::JsonSchema => {
                context.shown(|_| rewire_schema::json_schema_text(), || json!({ "json_schema": schema }))
            }
            Format::Paths => {
                let mut paths = BTreeMap::new();
                walk(&schema, &schema, "", 0, &mut paths);
                context.shown(|colour| text(&paths, colour), || json!({ "paths": paths }))
            }
        })
    }
}

fn text(paths: &BTreeMap<String, String>, colour: bool) -> String {
    let lines = paths.iter().map(|(path, meaning)| format!("{}\n    {meaning}\n", paint(path, "1", colour)));
    lines.collect()
}

/// No object of the model is as deep as this; a schema that refers to itself ends here.
const DEEPEST: usize = 24;

/// Gathers the paths below a part of the schema, each with its description.
fn walk(root: &Value, part: &Value, path: &str, depth: usize, paths: &mut BTreeMap<String, String>) {
    if depth > DEEPEST {
        return;
    }
    if let Some(target) = part.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix('#')) {
        if let Some(target) = root.pointer(target) {
            walk(root, target, path, depth + 1, paths);
        }
    }
    if !path.is_empty()
        && let Some(meaning) = part.get("description").and_then(Value::as_str)
    {
        // What is said where it is used is more exact than what is said of the type.
        paths.insert(path.to_owned(), meaning.to_owned());
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        let choices = part.get(choice).and_then(Value::as_array).into_iter().flatten();
        // The words that a field may hold are no paths of their own.
        for choice in choices.filter(|choice| choice.get("const").is_none()) {
            walk(root, choice, path, depth + 1, paths);
        }
    }
    for (name, property) in part.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        walk(root, property, &below, depth + 1, paths);
    }
    if let Some(member) = part.get("additionalProperties").filter(|member| member.is_object()) {
        let key = part.pointer("/propertyNames/format").and_then(Value::as_str).unwrap_or("name");
        walk(root, member, &format!("{path}.<{key}>"), depth + 1, paths);
    }
    if let Some(item) = part.get("items").filter(|item| item.is_object()) {
        walk(root, item, &format!("{path}[]"), depth + 1, paths);
    }
}
