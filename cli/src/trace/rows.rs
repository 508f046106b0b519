//! Where facts come from: the objects of the configuration, and who changed each last.

use rewire_configdb::Store;
use rewire_schema::{Changeset, Path};
use serde_json::{Value, json};

use super::report::Report;
use crate::failure::Failure;
use crate::history::first_line;
use crate::selection::Selection;
use crate::terminal::clean;
use crate::when;

/// Says beside each step who last changed the object that it comes from, in the journal up to a revision, or in the edits of a
/// candidate on top of it. An object that nobody has written has none: a learned route, a rule that a peering makes.
pub(crate) fn fill(
    report: &mut Report,
    store: &Store,
    revision: u64,
    edits: Option<&Changeset>,
) -> Result<(), Failure> {
    for step in &mut report.steps {
        let Some(path) = &step.source else { continue };
        let Ok(selection) = Selection::of_path(path) else {
            continue;
        };
        let is_edited = edits.is_some_and(|edits| !selection.of(edits.clone()).is_empty());
        let found = match is_edited {
            true => Some(json!({ "path": path, "candidate": true })),
            false => selection.last_change(store, revision)?.map(|entry| {
                json!({
                    "path": path,
                    "revision": entry.revision,
                    "author": entry.author,
                    "time": when::utc(entry.committed_at),
                    "message": entry.message,
                })
            }),
        };
        step.rows.extend(found);
    }
    Ok(())
}

/// A row in a line.
pub(crate) fn line(row: &Value) -> Option<String> {
    let steps = row["path"].as_array()?.iter().filter_map(Value::as_str);
    let path = Path::new(steps.map(str::to_owned).collect::<Vec<_>>());
    if row["candidate"] == json!(true) {
        return Some(format!("{path}  in the candidate"));
    }
    let text = |field: &str| row[field].as_str().unwrap_or_default();
    let line = format!(
        "{path}  revision {} by {}, {}, {}",
        row["revision"],
        clean(text("author")),
        when::local_of(text("time")),
        clean(&first_line(text("message")))
    );
    Some(line.trim_end_matches([',', ' ']).to_owned())
}
