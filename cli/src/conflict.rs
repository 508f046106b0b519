//! Conflicts with what others committed, as people and machines read them: the three sides of each.

use rewire_configdb::Conflict;
use rewire_schema::merge::Side;
use rewire_schema::{Row, Value as Field};
use serde_json::{Map, Value, json};

use crate::failure::Code;
use crate::terminal::{clean, paint};

/// What cannot be brought together.
#[derive(Debug)]
pub(crate) enum Conflicts {
    /// Edits with what others committed since.
    Merge(Vec<Conflict>),
    /// The undoing of a revision with what later ones made of it.
    Revert {
        revision: u64,
        depends: Vec<Conflict>,
    },
}

impl Conflicts {
    pub(crate) fn code(&self) -> Code {
        match self {
            Conflicts::Merge(_) => Code::Conflict,
            Conflicts::Revert { .. } => Code::RevertConflict,
        }
    }

    fn all(&self) -> &[Conflict] {
        match self {
            Conflicts::Merge(conflicts) => conflicts,
            Conflicts::Revert { depends, .. } => depends,
        }
    }

    /// What it is about, on one line.
    fn summary(&self) -> String {
        let count = self.all().len();
        match self {
            Conflicts::Merge(_) => {
                let s = if count == 1 { "" } else { "s" };
                format!("{count} conflict{s} with what others committed since: nothing was changed")
            }
            Conflicts::Revert { revision, .. } => {
                let (what, s) = if count == 1 {
                    ("change", "s")
                } else {
                    ("changes", "")
                };
                format!(
                    "revision {revision} cannot be undone: {count} later {what} depend{s} on it"
                )
            }
        }
    }

    fn help(&self) -> &'static str {
        match self {
            Conflicts::Merge(_) => {
                "make yours as it shall be (`rewire load`), or go back to theirs (`rewire discard`)"
            }
            Conflicts::Revert { .. } => {
                "undo the later revisions first, or go back with `rewire rewind`"
            }
        }
    }

    /// What each side is called: where both come from, ours, theirs.
    fn names(&self) -> [String; 3] {
        match self {
            Conflicts::Merge(_) => ["base", "ours", "theirs"].map(str::to_owned),
            Conflicts::Revert { revision, .. } => [
                format!("revision {revision}"),
                "undone".to_owned(),
                "now".to_owned(),
            ],
        }
    }

    /// Each conflict with its sides under each other.
    pub(crate) fn render(&self, colour: bool) -> String {
        let mut out = format!("{}: {}\n", paint("error", "1;31", colour), self.summary());
        let names = self.names();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for Conflict {
            conflict,
            revision,
            author,
        } in self.all()
        {
            let place = clean(&conflict.place().to_string());
            out.push_str(&format!("  {}\n", paint(&place, "1", colour)));
            let who = match (revision, author) {
                (Some(revision), Some(author)) => {
                    format!("   (revision {revision} by {})", clean(author))
                }
                _ => String::new(),
            };
            let sides = [
                (&conflict.base, ""),
                (&conflict.ours, ""),
                (&conflict.theirs, who.as_str()),
            ];
            for (name, (side, who)) in names.iter().zip(sides) {
                out.push_str(&format!(
                    "    {name:<width$}  {}{who}\n",
                    clean(&text(side))
                ));
            }
        }
        out.push_str(&format!(
            "{}: {}\n",
            paint("help", "1;36", colour),
            self.help()
        ));
        out
    }

    /// What machines read besides the code.
    pub(crate) fn to_json(&self) -> Map<String, Value> {
        let mut error = Map::new();
        error.insert("message".to_owned(), json!(self.summary()));
        error.insert("help".to_owned(), json!(self.help()));
        if let Conflicts::Revert { revision, .. } = self {
            error.insert("revision".to_owned(), json!(revision));
        }
        error.insert("conflicts".to_owned(), self.all().iter().map(one).collect());
        error
    }
}

fn text(side: &Side) -> String {
    match side {
        Side::Absent => "not there".to_owned(),
        Side::Value(value) => value.to_string(),
        Side::Row(row) => {
            let fields = set_fields(row).map(|(field, value)| format!("{field} {value}"));
            let fields: Vec<String> = fields.collect();
            match fields.is_empty() {
                true => "there".to_owned(),
                false => format!("there: {}", fields.join(", ")),
            }
        }
    }
}

fn set_fields(row: &Row) -> impl Iterator<Item = (&'static str, Field)> {
    row.fields()
        .into_iter()
        .filter(|(_, value)| *value != Field::Null)
}

fn one(conflict: &Conflict) -> Value {
    let sides = &conflict.conflict;
    json!({
        "path": sides.place().steps(),
        "base": side(&sides.base),
        "ours": side(&sides.ours),
        "theirs": side(&sides.theirs),
        "revision": conflict.revision,
        "author": conflict.author,
    })
}

/// A field's `value`; or whether an object is `there`, and its `fields`.
fn side(side: &Side) -> Value {
    match side {
        Side::Absent => json!({ "there": false }),
        Side::Value(value) => json!({ "value": value }),
        Side::Row(row) => {
            let fields: Map<String, Value> = set_fields(row)
                .map(|(field, value)| (field.to_owned(), json!(value)))
                .collect();
            json!({ "there": true, "fields": fields })
        }
    }
}
