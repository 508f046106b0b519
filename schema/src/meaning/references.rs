//! Every reference leads somewhere, and what is in effect refers to nothing that is deactivated. Generic over all tables:
//! the model says what refers to what.

use std::collections::BTreeMap;

use super::words::{How, dangling};
use super::{Problem, Problems};
use crate::changeset::{Change, Changeset};
use crate::document::Path;
use crate::model::{Configuration, Row, RowKey, Table};
use crate::state::{Effective, Rows, StateError, referring};
use crate::suggestion::did_you_mean;
use crate::table::Reference;
use crate::value::Value;

/// All references of a configuration, of which `effective` is what is in effect.
pub(super) fn check(
    configuration: &Configuration,
    effective: &Configuration,
    problems: &mut Problems,
) {
    let all = std::ptr::eq(configuration, effective);
    configuration.each_reference(&mut |row, reference, target| {
        if effective.contains(&target) {
            return;
        }
        if !configuration.contains(&target) {
            let names = names(configuration.rows_of(target.table()));
            problems.push(missing(&row(), reference, &target, &names));
        } else if !all
            && effective
                .find(&row().row_key())
                .is_some_and(|row| refers(&row, &target))
        {
            problems.push(dangling(
                &row(),
                reference.columns,
                &target,
                How::Deactivated,
            ));
        }
    });
}

/// The references that a change can have broken, of the state `after`. Of what `effective` holds besides the changed rows,
/// only that it is or is not in effect has changed.
pub(super) fn check_change(
    after: &dyn Rows,
    changeset: &Changeset,
    effective: &Changeset,
    problems: &mut Problems,
) -> Result<(), StateError> {
    let visible = Effective(after);
    let mut rows = BTreeMap::new();
    let mut add = |row: Row| {
        rows.entry(row.row_key()).or_insert(row);
    };
    for changes in [changeset, effective] {
        for change in changes.iter() {
            match change {
                Change::Delete(row) => referring(after, &row.row_key())?
                    .into_iter()
                    .for_each(&mut add),
                // Of what is in effect, the row as it is stored: a deactivated field must lead somewhere, too.
                Change::Insert(row) | Change::Update { after: row, .. } => {
                    after.find(&row.row_key())?.into_iter().for_each(&mut add);
                }
            }
        }
    }
    for row in rows.into_values() {
        let mut targets = Vec::new();
        row.each_reference(&mut |reference, target| targets.push((reference, target)));
        for (reference, target) in targets {
            if visible.find(&target)?.is_some() {
                continue;
            }
            if after.find(&target)?.is_none() {
                let names = names(after.below(target.table(), &[])?.into_iter());
                problems.push(missing(&row, reference, &target, &names));
            } else if visible
                .find(&row.row_key())?
                .is_some_and(|row| refers(&row, &target))
            {
                problems.push(dangling(&row, reference.columns, &target, How::Deactivated));
            }
        }
    }
    Ok(())
}

/// Whether a row refers to this one: of two that differ in what is deactivated, one may not.
fn refers(row: &Row, target: &RowKey) -> bool {
    let mut found = false;
    row.each_reference(&mut |_, key| found |= key == *target);
    found
}

/// The names of a table's objects, where names are all that their keys are.
fn names(rows: impl Iterator<Item = Row>) -> Vec<String> {
    let name = |row: Row| match row.row_key().values().as_slice() {
        [Value::Text(name)] => Some(name.clone()),
        _ => None,
    };
    rows.filter_map(name).collect()
}

fn missing(row: &Row, reference: &Reference, target: &RowKey, names: &[String]) -> Problem {
    let values = target.values();
    let key: Vec<String> = values.iter().map(Value::to_string).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (message, help) = unknown(reference.table, &key.join(" "), &names);
    Problem {
        path: place(row, reference.columns),
        message,
        help,
    }
}

/// The field that refers; the object itself where it refers by its key.
pub(super) fn place(row: &Row, columns: &[&str]) -> Path {
    let definition = row.table().definition();
    let field = |name: &str| {
        let column = &definition.columns[definition.position(name)?];
        (!column.key).then_some(column.field)
    };
    match columns {
        [column] => match field(column) {
            Some(field) => row.path().join(field),
            None => row.path(),
        },
        _ => row.path(),
    }
}

/// What is said of a name that is none of a table's, and what helps.
pub(crate) fn unknown(table: &str, text: &str, names: &[&str]) -> (String, Option<String>) {
    let what = Table::named(table).map_or_else(|| table.to_owned(), |t| t.definition().noun());
    let help = did_you_mean(text, names.iter().copied()).or_else(|| match names {
        [] => Some(format!("there is no {what} at all")),
        names if names.len() <= 8 => Some(format!("there is {}", names.join(", "))),
        _ => None,
    });
    (format!("no {what} is named \"{text}\""), help)
}
