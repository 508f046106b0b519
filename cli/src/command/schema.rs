use rewire_schema::outline::{Collection, Object, Part, outline};
use serde_json::{Map, Value, json};

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
        Ok(match self.format {
            Format::JsonSchema => context.shown(
                |_| rewire_schema::json_schema_text(),
                || json!({ "json_schema": rewire_schema::json_schema() }),
            ),
            Format::Paths => {
                let mut paths = Vec::new();
                walk(outline(), "", &mut paths);
                context.shown(|colour| text(&paths, colour), || to_json(&paths))
            }
        })
    }
}

fn text(paths: &[(String, &str)], colour: bool) -> String {
    let lines = paths.iter().map(|(path, doc)| format!("{}\n    {doc}\n", paint(path, "1", colour)));
    lines.collect()
}

fn to_json(paths: &[(String, &str)]) -> Value {
    let paths: Map<String, Value> = paths.iter().map(|(path, doc)| (path.clone(), json!(doc))).collect();
    json!({ "paths": paths })
}

/// Gathers the paths below an object, each with what it means, in the order of documents.
fn walk(object: &'static Object, path: &str, paths: &mut Vec<(String, &'static str)>) {
    for field in &object.fields {
        let path = match path.is_empty() {
            true => field.name.to_owned(),
            false => format!("{path}.{}", field.name),
        };
        paths.push((path.clone(), &field.doc));
        let mut each = |collection: &'static Collection, path: String| {
            paths.push((path.clone(), &collection.object.doc));
            walk(&collection.object, &path, paths);
        };
        match &field.part {
            Part::Value(_) => {}
            Part::Object(inner) => walk(inner, &path, paths),
            Part::List(collection) => each(collection, format!("{path}[N]")),
            Part::Map(collection) | Part::Set(collection) => {
                let key = collection.key_column().field;
                each(collection, format!("{path}.<{key}>"));
            }
        }
    }
}
