//! Where facts come from: the objects of the configuration, and who changed each last.

use std::collections::BTreeMap;

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
///
/// Cost: the rows of those objects, and one look through the journal for all of them.
pub(crate) fn fill(
    reports: &mut [Report],
    store: &Store,
    revision: u64,
    edits: Option<&Changeset>,
) -> Result<(), Failure> {
    let mut found: BTreeMap<Vec<String>, Option<Value>> = BTreeMap::new();
    let (mut paths, mut groups) = (Vec::new(), Vec::new());
    for path in reports
        .iter()
        .flat_map(|report| &report.steps)
        .filter_map(|step| step.source.as_ref())
    {
        if found.contains_key(path) {
            continue;
        }
        found.insert(path.clone(), None);
        let Ok(selection) = Selection::of_path(path) else {
            continue;
        };
        let is_edited = edits.is_some_and(|edits| !selection.of(edits.clone()).is_empty());
        if is_edited {
            found.insert(
                path.clone(),
                Some(json!({ "path": path, "candidate": true })),
            );
        } else {
            paths.push(path.clone());
            groups.push(selection.keys(store)?);
        }
    }
    let entries = store.last_changes(revision, &groups)?;
    for (path, entry) in paths.into_iter().zip(entries) {
        let row = entry.map(|entry| {
            json!({
                "path": path,
                "revision": entry.revision,
                "author": entry.author,
                "time": when::utc(entry.committed_at),
                "message": entry.message,
            })
        });
        found.insert(path, row);
    }
    for step in reports.iter_mut().flat_map(|report| &mut report.steps) {
        let row = step.source.as_ref().and_then(|path| found.get(path));
        step.rows.extend(row.cloned().flatten());
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
