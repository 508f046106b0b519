//! `docs/model.md`, the page of all that a configuration can say: it is written from the model, and this test holds it to
//! that. To write it again: `REWIRE_BLESS=1 cargo test -p rewire-cli --test model_page`.

use std::fmt::Write as _;

use rewire_schema::format::Format;
use rewire_schema::outline::{Collection, Field, Object, Part, outline};
use rewire_schema::{ColumnDefinition, Kind, Table, Value};

const INTRODUCTION: &str = "\
# What a configuration can say

This page is written from the model. A document is one object in YAML or JSON; its parts are below, by their place.
`{name}` stands for a key of one's own, `[n]` for a place in a list, counted from 0, and `<value>` for a value of a set. A
value of a set is written as it is, or as an object that says more of it. Fields without a default must be there.

Every object and every value of a set can have two fields more: `deactivated` (true: kept, but ignored with all below
it) and `annotation` (a note for people, one line). An object that has fields can have `marks`, too: the same two for each
field by its name. `marks: {mtu: {deactivated: true, annotation: \"until the switch is new\"}}` keeps the MTU, but the
gateway runs as if it were not given. Only a field that is given can be marked, and one that is required cannot be
deactivated.

";

/// Puts a text into one cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Text as documents write it: no quotes around words and addresses.
fn plain(column: &ColumnDefinition, value: &Value) -> String {
    match column.show(value) {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

fn takes(column: &ColumnDefinition) -> String {
    let of = |format: &Format| format!("[{0}](#{0})", format.name);
    match column.kind {
        Kind::Line { longest } => format!("one line, at most {longest} characters"),
        Kind::Flag => "true or false".to_owned(),
        Kind::Integer { .. } => {
            let (least, most) = column.bounds().expect("a number has bounds");
            format!("{least} to {most}")
        }
        Kind::Words(words) => {
            let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            words.join(", ")
        }
        Kind::List(format) => of(format),
        Kind::FieldMarks => "marks by the names of fields".to_owned(),
        Kind::Text(format) => match column.target {
            Some(target) => {
                let noun = Table::named(target).expect("a table").definition().noun();
                let article = if noun.starts_with(['a', 'e', 'i', 'o', 'A']) {
                    "an"
                } else {
                    "a"
                };
                format!("the name of {article} {noun}")
            }
            None => of(format),
        },
    }
}

fn default_of(column: &ColumnDefinition) -> String {
    match column.absent() {
        None => "must be there".to_owned(),
        Some(Value::Null) if matches!(column.kind, Kind::Flag) => "`false`".to_owned(),
        Some(Value::Null) => "may be absent".to_owned(),
        Some(value) => format!("`{}`", plain(column, &value)),
    }
}

/// The fields of an object that hold values, but for the marks that every object has.
fn columns(object: &Object) -> impl Iterator<Item = (&Field, &'static ColumnDefinition)> {
    object
        .fields
        .iter()
        .filter_map(|field| Some((field, object.column(field)?)))
        .filter(|(field, _)| !["deactivated", "annotation", "marks"].contains(&field.name))
}

fn write_values(page: &mut String, object: &Object) {
    if columns(object).next().is_none() {
        return;
    }
    page.push_str("| field | takes | without it | what it is for |\n|---|---|---|---|\n");
    for (field, column) in columns(object) {
        let (takes, absent) = (takes(column), default_of(column));
        let doc = cell(&field.doc);
        writeln!(page, "| `{}` | {takes} | {absent} | {doc} |", field.name).unwrap();
    }
    page.push('\n');
    for (field, column) in columns(object) {
        if let Kind::Words(words) = column.kind {
            writeln!(page, "The words of `{}`:\n", field.name).unwrap();
            for (word, doc) in words {
                writeln!(page, "- `{word}`: {}", doc.trim()).unwrap();
            }
            page.push('\n');
        }
    }
}

fn write_object(page: &mut String, place: &str, doc: &str, object: &Object) {
    writeln!(page, "## `{place}`\n\n{doc}\n").unwrap();
    write_values(page, object);
    write_parts(page, place, object);
}

fn write_parts(page: &mut String, above: &str, object: &Object) {
    for field in &object.fields {
        let place = match above {
            "" => field.name.to_owned(),
            above => format!("{above}.{}", field.name),
        };
        let key = |collection: &Collection| collection.key_column().field;
        match &field.part {
            Part::Value(_) => {}
            Part::Object(object) => write_object(page, &place, &field.doc, object),
            Part::Map(below) => {
                let place = format!("{place}.{{{}}}", key(below));
                write_object(page, &place, &field.doc, &below.object);
            }
            Part::List(below) => {
                write_object(page, &format!("{place}[n]"), &field.doc, &below.object);
            }
            Part::Set(below) => {
                let takes = takes(below.key_column());
                let doc = format!("{} Each is: {takes}.", field.doc);
                write_object(
                    page,
                    &format!("{place}.<{}>", key(below)),
                    &doc,
                    &below.object,
                );
            }
        }
    }
}

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    write_parts(&mut page, "", outline());
    page.push_str("# Formats\n");
    for format in rewire_schema::format::FORMATS {
        write!(page, "\n### {}\n\n{}\n", format.name, format.description).unwrap();
    }
    page
}

#[test]
fn the_page_that_is_checked_in_is_the_one_of_the_model() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/model.md");
    let current = page();
    if std::env::var_os("REWIRE_BLESS").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        stored == current,
        "docs/model.md is stale; write it again: REWIRE_BLESS=1 cargo test -p rewire-cli --test model_page"
    );
}
