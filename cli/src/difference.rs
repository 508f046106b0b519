//! A changeset as people read it: object by object, in the order of a document.

use std::collections::BTreeSet;
use std::fmt::Write;

use rewire_schema::outline::outline;
use rewire_schema::{Change, Changeset, FieldMark, Kind, Path, Row, Value};
use serde_json::{Map, Value as Json, json};

use crate::selection::Selection;
use crate::terminal::{clean, paint};

/// One line for each object that is new or gone, the fields under those that are new; one line for each changed field.
pub(crate) fn render(changeset: &Changeset, selection: &Selection, colour: bool) -> String {
    let mut out = String::new();
    for (path, change) in sorted(changeset) {
        match change {
            Change::Insert(row) => {
                line(&mut out, '+', &path.to_string(), colour);
                for (field, value) in selected(row, &path, selection) {
                    if value != Value::Null {
                        let text = format!("  {field}: {}", shown(row, field, &value));
                        line(&mut out, '+', &text, colour);
                    }
                }
                for (place, _, mark) in marks(None, Some(row), &path, selection) {
                    line(&mut out, '+', &format!("  {place}: {mark}"), colour);
                }
            }
            Change::Delete(_) => line(&mut out, '-', &path.to_string(), colour),
            Change::Update { before, after } => {
                for (field, old, new) in differing(before, after, &path, selection) {
                    let text = format!(
                        "{}: {} -> {}",
                        path.join(field),
                        shown(before, field, &old),
                        shown(after, field, &new)
                    );
                    line(&mut out, '~', &text, colour);
                }
                for (place, old, new) in marks(Some(before), Some(after), &path, selection) {
                    let text = format!("{path}.{place}: {old} -> {new}");
                    line(&mut out, '~', &text, colour);
                }
            }
        }
    }
    out
}

/// What differs in the marks of fields: the place below the object, and the marks before and after in words.
fn marks(
    before: Option<&Row>,
    after: Option<&Row>,
    path: &Path,
    selection: &Selection,
) -> Vec<(String, String, String)> {
    let fields = |row: Option<&Row>| {
        row.map(|row| row.marks().fields().clone())
            .unwrap_or_default()
    };
    let (before, after) = (fields(before), fields(after));
    let names: BTreeSet<&str> = before
        .iter()
        .chain(after.iter())
        .map(|(name, _)| name)
        .collect();
    let wanted =
        |name: &&str| selection.covers_field(path, name) || selection.covers_field(path, MARKS);
    let pairs = names
        .into_iter()
        .filter(wanted)
        .map(|name| (name, before.get(name), after.get(name)));
    let differing = pairs.filter(|(_, before, after)| before != after);
    differing
        .map(|(name, before, after)| (format!("{MARKS}.{name}"), mark(before), mark(after)))
        .collect()
}

/// The mark of a field in words.
pub(crate) fn mark(mark: Option<&FieldMark>) -> String {
    let Some(mark) = mark else {
        return "none".to_owned();
    };
    let note = mark
        .annotation
        .as_ref()
        .map(|note| format!("\"{}\"", clean(note.as_str())));
    let word = mark.deactivated.then(|| "deactivated".to_owned());
    let parts: Vec<String> = word.into_iter().chain(note).collect();
    parts.join(", ")
}

/// The field of the marks of fields.
pub(crate) const MARKS: &str = "marks";

/// A value as people write it: flags are true or false.
fn shown(row: &Row, field: &str, value: &Value) -> String {
    let columns = row.table().definition().columns;
    match columns.iter().find(|column| column.field == field) {
        Some(column) if matches!(column.kind, Kind::Flag) => (*value != Value::Null).to_string(),
        _ => clean(&value.to_string()),
    }
}

/// The same for machines: one object for each row that differs, with the fields that do.
pub(crate) fn to_json(changeset: &Changeset, selection: &Selection) -> Json {
    let rows = sorted(changeset).into_iter().map(|(path, change)| {
        let (word, fields) = match change {
            Change::Insert(row) => ("insert", all_fields(row, &path, selection, "after")),
            Change::Delete(row) => ("delete", all_fields(row, &path, selection, "before")),
            Change::Update { before, after } => {
                ("update", both_fields(before, after, &path, selection))
            }
        };
        json!({ "path": path.steps(), "change": word, "fields": fields })
    });
    rows.collect()
}

/// The fields of a row that are wanted, without the marks of fields.
fn selected(row: &Row, path: &Path, selection: &Selection) -> Vec<(&'static str, Value)> {
    let mut fields = row.fields();
    fields.retain(|(field, _)| *field != MARKS && selection.covers_field(path, field));
    fields
}

/// The marks of the fields that are wanted, for machines; null where there are none.
fn marks_to_json(row: &Row, path: &Path, selection: &Selection) -> Json {
    let mut marks = row.marks().fields().to_json();
    if let Json::Object(marks) = &mut marks {
        marks.retain(|field, _| {
            selection.covers_field(path, field) || selection.covers_field(path, MARKS)
        });
        if marks.is_empty() {
            return Json::Null;
        }
    }
    marks
}

/// The fields that differ and are wanted, with both values.
fn differing(
    before: &Row,
    after: &Row,
    path: &Path,
    selection: &Selection,
) -> Vec<(&'static str, Value, Value)> {
    let pairs = selected(before, path, selection)
        .into_iter()
        .zip(selected(after, path, selection));
    let differing = pairs.filter(|((_, old), (_, new))| old != new);
    differing
        .map(|((field, old), (_, new))| (field, old, new))
        .collect()
}

fn all_fields(row: &Row, path: &Path, selection: &Selection, side: &str) -> Json {
    let fields = selected(row, path, selection)
        .into_iter()
        .filter(|(_, value)| *value != Value::Null);
    let fields = fields.map(|(field, value)| (field.to_owned(), json!({ side: value })));
    let mut fields: Map<String, Json> = fields.collect();
    let marks = marks_to_json(row, path, selection);
    if !marks.is_null() {
        fields.insert(MARKS.to_owned(), json!({ side: marks }));
    }
    Json::Object(fields)
}

fn both_fields(before: &Row, after: &Row, path: &Path, selection: &Selection) -> Json {
    let fields = differing(before, after, path, selection).into_iter();
    let fields =
        fields.map(|(field, old, new)| (field.to_owned(), json!({ "before": old, "after": new })));
    let mut fields: Map<String, Json> = fields.collect();
    let [old, new] = [before, after].map(|row| marks_to_json(row, path, selection));
    if old != new {
        fields.insert(MARKS.to_owned(), json!({ "before": old, "after": new }));
    }
    Json::Object(fields)
}

/// The changes in the order of a document.
fn sorted(changeset: &Changeset) -> Vec<(Path, &Change)> {
    let mut changes: Vec<(Path, &Change)> = changeset.iter().map(|c| (c.row().path(), c)).collect();
    changes.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    changes
}

/// The order of a document's sections.
fn rank(path: &Path) -> usize {
    let mut sections = outline().fields.iter();
    let first = path.steps().first();
    let position = first.and_then(|step| sections.position(|section| section.name == step));
    position.unwrap_or(usize::MAX)
}

fn line(out: &mut String, sign: char, text: &str, colour: bool) {
    let code = match sign {
        '+' => "32",
        '-' => "31",
        _ => "33",
    };
    // Writing into a string does not fail.
    let _ = writeln!(out, "{}", paint(&format!("{sign} {text}"), code, colour));
}

#[cfg(test)]
mod tests {
    use rewire_schema::{Configuration, source};

    use super::*;

    fn configuration(text: &str) -> Configuration {
        source::read_shape("test", text.as_bytes())
            .unwrap()
            .configuration
    }

    #[test]
    fn new_gone_and_changed_objects_have_lines_of_their_own() {
        let before = configuration("{vpcs: {blue: {description: old}, red: {}}}");
        let after = configuration(
            "{vpcs: {blue: {routes: {10.0.0.0/8: {type: blackhole}}}, green: {description: x}}}",
        );
        let changeset = Changeset::between(&before, &after);
        let all = Selection::EVERYTHING;
        assert_eq!(
            render(&changeset, &all, false),
            "~ vpcs.blue.description: old -> none\n\
             + vpcs.blue.routes.10.0.0.0/8\n\
             +   type: blackhole\n\
             + vpcs.green\n\
             +   description: x\n\
             - vpcs.red\n"
        );
        assert!(render(&changeset, &all, true).starts_with("\u{1b}[33m~ vpcs.blue"));
        assert_eq!(render(&Changeset::default(), &all, true), "");
    }

    #[test]
    fn marks_of_fields_have_lines_of_their_own() {
        let before = configuration("{vpcs: {blue: {description: old, vni: 7}}}");
        let after = configuration(
            "{vpcs: {blue: {description: old, vni: 7, marks: {vni: {deactivated: true, annotation: later}}}, \
             red: {description: new, marks: {description: {deactivated: true}}}}}",
        );
        let changeset = Changeset::between(&before, &after);
        assert_eq!(
            render(&changeset, &Selection::EVERYTHING, false),
            "~ vpcs.blue.marks.vni: none -> deactivated, \"later\"\n\
             + vpcs.red\n\
             +   description: new\n\
             +   marks.description: deactivated\n"
        );
        let json = to_json(&changeset, &Selection::EVERYTHING);
        let mark = json!({ "vni": { "deactivated": true, "annotation": "later" } });
        assert_eq!(
            json[0]["fields"],
            json!({ "marks": { "before": null, "after": mark } })
        );
    }
}
