use std::collections::BTreeMap;

use rewire_configdb::{LogEntry, LogQuery, Store};
use rewire_schema::{Path, Row, Value as Field};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::columns::{Cell, columns};
use crate::context::Context;
use crate::difference::{MARKS, mark};
use crate::failure::{Code, Failure};
use crate::history::first_line;
use crate::selection::PathWords;
use crate::when;

/// Say who last changed each field of an object, when, and what for
///
/// A line is a field with its value, and the revision that gave it that value.
#[derive(clap::Args)]
pub(crate) struct Blame {
    #[command(flatten)]
    path: PathWords,
}

/// A field, and the revision that gave it its value; none where that was pruned.
struct Line {
    path: Path,
    value: Field,
    revision: Option<u64>,
}

impl Blame {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let selection = self.path.selection()?;
        let store = context.open()?;
        let rows = selection.rows(&store)?;
        if rows.is_empty() {
            let message = format!("there is nothing at {selection} in the running configuration");
            return Err(Failure::new(Code::NoSuchName, message).help("`rewire log PATH` finds what is gone"));
        }
        let keys: Vec<_> = rows.iter().map(Row::row_key).collect();
        let blamed = store.blame(&keys)?;
        let mut lines = Vec::new();
        for blame in blamed {
            let Some(row) = rows.iter().find(|row| row.row_key() == blame.key) else {
                continue;
            };
            let path = row.path();
            let fields = row.fields();
            if fields.is_empty() || (selection.covers(&path) && fields.iter().all(|(_, value)| *value == Field::Null)) {
                lines.push(Line { path, value: Field::Null, revision: blame.created });
                continue;
            }
            for (column, revision) in blame.fields {
                let Some(name) = field_of(row, column).filter(|name| *name != MARKS) else {
                    continue;
                };
                let value = fields.iter().find(|(field, _)| *field == name);
                let Some((_, value)) = value.filter(|_| selection.covers_field(&path, name)) else {
                    continue;
                };
                // A field that never had a value has no story.
                if *value != Field::Null || revision != blame.created {
                    lines.push(Line { path: path.join(name), value: value.clone(), revision });
                }
            }
            for (field, revision) in blame.marks {
                if selection.covers_field(&path, &field) || selection.covers_field(&path, MARKS) {
                    let value = Field::Text(mark(row.marks().fields().get(&field)));
                    lines.push(Line { path: path.join(MARKS).join(field), value, revision });
                }
            }
        }
        let revisions = revisions(&store, &lines)?;
        Ok(context.shown(|_| text(&lines, &revisions), || to_json(&lines, &revisions)))
    }
}

/// What documents call a column.
fn field_of(row: &Row, column: &str) -> Option<&'static str> {
    let definition = row.table().definition();
    definition.position(column).map(|index| definition.columns[index].field)
}

/// What is known of each revision that is blamed.
fn revisions(store: &Store, lines: &[Line]) -> Result<BTreeMap<u64, LogEntry>, Failure> {
    let mut entries = BTreeMap::new();
    for revision in lines.iter().filter_map(|line| line.revision) {
        if !entries.contains_key(&revision) {
            let query = LogQuery { before: Some(revision + 1), ..LogQuery::last(1) };
            entries.extend(store.log(query)?.into_iter().map(|entry| (entry.revision, entry)));
        }
    }
    Ok(entries)
}

fn text(lines: &[Line], revisions: &BTreeMap<u64, LogEntry>) -> String {
    let header = ["field", "value", "revision", "author", "time", "message"];
    let mut rows = vec![header.map(Cell::word).into_iter().collect::<Vec<_>>()];
    for line in lines {
        let value = match &line.value {
            Field::Null => String::new(),
            value => value.to_string(),
        };
        let mut row = vec![Cell::word(&line.path.to_string()), Cell::word(&value)];
        match line.revision.and_then(|revision| revisions.get(&revision)) {
            Some(entry) => row.extend([
                Cell::word(&entry.revision.to_string()),
                Cell::word(&entry.author),
                Cell::word(&when::local(entry.committed_at)),
                Cell::word(&first_line(&entry.message)),
            ]),
            None => row.push(Cell::word("pruned")),
        }
        rows.push(row);
    }
    columns(&rows).into_iter().map(|line| format!("{line}\n")).collect()
}

fn to_json(lines: &[Line], revisions: &BTreeMap<u64, LogEntry>) -> Value {
    let fields = lines.iter().map(|line| {
        let entry = line.revision.and_then(|revision| revisions.get(&revision));
        json!({
            "path": line.path.steps(),
            "value": line.value,
            "revision": line.revision,
            "author": entry.map(|entry| &entry.author),
            "time": entry.map(|entry| when::utc(entry.committed_at)),
            "message": entry.map(|entry| &entry.message),
        })
    });
    json!({ "fields": fields.collect::<Value>() })
}
