//! The shape of a document: the tree against the JSON Schema, every error in plain words.

use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError, Validator};
use serde_json::Value;

use super::diagnostic::Diagnostic;
use super::tree::{Kind, Node};
use super::{Place, locate};
use crate::document::Path;
use crate::format::{self, FORMATS};
use crate::suggestion::did_you_mean;
use crate::value::FieldError;

struct Shape {
    schema: Value,
    validator: Validator,
}

static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    let schema = crate::json_schema();
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in FORMATS {
        options = options.with_format(format.name, |text: &str| (format.canonical)(text).is_ok());
    }
    let validator = options
        .build(&schema)
        .expect("the schema is made from the model, not from input, and tests build it");
    Shape { schema, validator }
});

/// Everything about the tree that is not as the JSON Schema says.
pub(super) fn check(text: &str, root: &Node, value: &Value) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let checker = Checker { text, root };
    for error in SHAPE.validator.iter_errors(value) {
        checker.explain(&error, &mut diagnostics);
    }
    // A text that misses its format misses the pattern beside it, too: one error is enough.
    let mut seen = std::collections::HashSet::new();
    diagnostics.retain(|d| seen.insert((d.path.clone(), d.span.clone(), d.message.clone())));
    diagnostics
}

struct Checker<'a> {
    text: &'a str,
    root: &'a Node,
}

impl Checker<'_> {
    fn explain(&self, error: &ValidationError<'_>, out: &mut Vec<Diagnostic>) {
        use ValidationErrorKind as E;
        let path = steps(error.instance_path());
        let mut add = |message: String, help: Option<String>| {
            let span = locate(self.root, &path, Place::Value);
            let mut diagnostic = Diagnostic::new(span, message).at(path.clone());
            diagnostic.help = help;
            out.push(diagnostic);
        };
        let found = self.found(&path);
        match error.kind() {
            E::AdditionalProperties { unexpected } => {
                let known = schema_at(error.schema_path(), 1)
                    .and_then(|s| s.get("properties"))
                    .and_then(Value::as_object);
                for name in unexpected {
                    let at = path.join(name);
                    let span = locate(self.root, &at, Place::Key);
                    let mut diagnostic = Diagnostic::new(span, "no such field").at(at);
                    let names = known.iter().flat_map(|k| k.keys()).map(String::as_str);
                    diagnostic.help = did_you_mean(name, names.clone()).or_else(|| {
                        let names: Vec<&str> = names.collect();
                        (!names.is_empty())
                            .then(|| format!("the fields here: {}", names.join(", ")))
                    });
                    out.push(diagnostic);
                }
            }
            E::Required { property } => {
                let name = property.as_str().unwrap_or_default();
                let description = schema_at(error.schema_path(), 1)
                    .and_then(|s| s.pointer(&format!("/properties/{name}/description")))
                    .and_then(Value::as_str)
                    .map(|d| format!("{name}: {}", one_line(d)));
                let span = locate(self.root, &path, Place::Key);
                let message = format!("the field \"{name}\" is missing");
                let mut diagnostic = Diagnostic::new(span, message).at(path.clone());
                diagnostic.help = description;
                out.push(diagnostic);
            }
            E::Type { kind } => {
                let expected = self.expected_types(kind);
                add(
                    format!("expected {expected}, found {found}"),
                    self.help_with_type(kind, &path),
                );
            }
            E::AnyOf { context } | E::OneOfNotValid { context } => {
                self.explain_alternatives(context, error, out);
            }
            E::Format { format } => {
                let found = error.instance().as_str().unwrap_or_default();
                let error = match format::named(format).map(|f| (f.canonical)(found)) {
                    Some(Err(error)) => error,
                    _ => FieldError {
                        message: format!("expected text of the format {format}, found \"{found}\""),
                        help: None,
                    },
                };
                add(error.message, error.help);
            }
            E::Pattern { pattern } => {
                let format = schema_at(error.schema_path(), 1)
                    .and_then(|s| s.get("format"))
                    .and_then(Value::as_str)
                    .and_then(format::named);
                let text = error.instance().as_str().unwrap_or_default();
                let (message, help) = match format.map(|f| (f.canonical)(text)) {
                    Some(Err(error)) => (error.message, error.help),
                    _ => (format!("expected text like {pattern}, found {found}"), None),
                };
                add(message, help);
            }
            E::PropertyNames { error: inner } => {
                let key = inner.instance().as_str().unwrap_or_default();
                let mut list = Vec::new();
                self.explain(inner, &mut list);
                for mut diagnostic in list {
                    diagnostic.path = path.join(key);
                    diagnostic.span = locate(self.root, &diagnostic.path, Place::Key);
                    out.push(diagnostic);
                }
            }
            E::Minimum { limit } => add(format!("expected at least {limit}, found {found}"), None),
            E::Maximum { limit } => add(format!("expected at most {limit}, found {found}"), None),
            E::MinItems { limit } => {
                let items = plural(*limit, "item");
                add(format!("expected at least {items}, found {found}"), None);
            }
            E::MaxItems { limit } => {
                let items = plural(*limit, "item");
                add(format!("expected at most {items}, found {found}"), None);
            }
            E::MaxLength { limit } => {
                let length = error
                    .instance()
                    .as_str()
                    .unwrap_or_default()
                    .chars()
                    .count();
                let expected = plural(*limit, "character");
                add(format!("expected at most {expected}, found {length}"), None);
            }
            // Members that are alike are found by `repetitions`, which also knows different spellings of one value.
            E::UniqueItems => {}
            _ => add(error.to_string(), None),
        }
    }

    /// An optional value, or one of several words.
    fn explain_alternatives(
        &self,
        context: &[Vec<ValidationError<'static>>],
        error: &ValidationError<'_>,
        out: &mut Vec<Diagnostic>,
    ) {
        let mut words = Vec::new();
        for branch in context {
            for error in branch {
                if let ValidationErrorKind::Constant { expected_value } = error.kind() {
                    words.extend(expected_value.as_str().map(str::to_owned));
                }
            }
        }
        let path = steps(error.instance_path());
        if !words.is_empty() {
            let span = locate(self.root, &path, Place::Value);
            let message = format!("expected {}, found {}", or(&words), self.found(&path));
            let mut diagnostic = Diagnostic::new(span, message).at(path);
            let found = error.instance().as_str().unwrap_or_default();
            diagnostic.help = did_you_mean(found, words.iter().map(String::as_str));
            out.push(diagnostic);
            return;
        }
        // "Something or nothing": what the something says is what matters.
        let is_null = |e: &ValidationError<'_>| {
            matches!(
                e.kind(),
                ValidationErrorKind::Type {
                    kind: TypeKind::Single(JsonType::Null)
                }
            )
        };
        let branch = context.iter().find(|b| !b.iter().any(is_null));
        for error in branch.into_iter().flatten() {
            self.explain(error, out);
        }
    }

    fn expected_types(&self, kind: &TypeKind) -> String {
        match kind {
            TypeKind::Single(single) => type_name(*single).to_owned(),
            TypeKind::Multiple(several) => {
                let names: Vec<String> = several
                    .iter()
                    .filter(|t| *t != JsonType::Null)
                    .map(|t| type_name(t).to_owned())
                    .collect();
                or(&names)
            }
        }
    }

    /// Text that looks like a number must be quoted, and the other way round.
    fn help_with_type(&self, kind: &TypeKind, path: &Path) -> Option<String> {
        let wants = |t: JsonType| match kind {
            TypeKind::Single(single) => *single == t,
            TypeKind::Multiple(several) => several.contains(t),
        };
        let node = super::find(self.root, path)?;
        match &node.kind {
            Kind::Number(_) | Kind::Bool(_) if wants(JsonType::String) => {
                let text = self.text.get(node.span.clone())?;
                Some(format!("put it in quotes to make it text: \"{text}\""))
            }
            Kind::Text(text) if wants(JsonType::Integer) && text.parse::<i64>().is_ok() => {
                Some(format!("leave the quotes out: {text}"))
            }
            Kind::Null if wants(JsonType::Object) => {
                Some("leave the field out, or write {} for an empty map".to_owned())
            }
            Kind::Null if wants(JsonType::Array) => {
                Some("leave the field out, or write [] for an empty list".to_owned())
            }
            _ => None,
        }
    }

    /// What is there, in words.
    fn found(&self, path: &Path) -> String {
        let Some(node) = super::find(self.root, path) else {
            return "nothing".to_owned();
        };
        match &node.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => value.to_string(),
            Kind::Number(_) => match self.text.get(node.span.clone()) {
                Some(text) if text.len() <= 40 => text.to_owned(),
                _ => "a number".to_owned(),
            },
            Kind::Text(text) => {
                let shown: String = text.chars().take(80).collect();
                format!("\"{shown}\"")
            }
            Kind::List(items) if items.is_empty() => "an empty list".to_owned(),
            Kind::List(items) => format!("a list of {}", plural(items.len() as u64, "item")),
            Kind::Map(_) => "a map".to_owned(),
        }
    }
}

fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "nothing",
        JsonType::Number => "a number",
        JsonType::Object => "a map",
        JsonType::String => "text",
    }
}

fn or(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn steps(location: &jsonschema::paths::Location) -> Path {
    Path::new(location)
}

/// The part of the schema that a location leads to, less its last steps; references on the way are followed.
fn schema_at(location: &jsonschema::paths::Location, less: usize) -> Option<&'static Value> {
    let path = steps(location);
    let (wanted, _) = path.steps().split_at(path.steps().len().checked_sub(less)?);
    let mut schema = &SHAPE.schema;
    for step in wanted {
        schema = match schema {
            Value::Array(list) => list.get(step.parse::<usize>().ok()?)?,
            _ => schema.get(step)?,
        };
        if step == "$ref" {
            let pointer = schema.as_str()?.strip_prefix('#')?;
            schema = SHAPE.schema.pointer(pointer)?;
        }
    }
    Some(schema)
}
