//! What SQLite refuses, said in terms of rows.

use std::fmt;

use rewire_schema::meaning::{self, How};
use rewire_schema::{Change, Changeset, Mismatch, Problem, Row, RowKey, Table, Value};
use rusqlite::{Connection, ffi};

use crate::error::{During, Error};
use crate::{blame, rows};

/// A reference that would lead nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The row that refers.
    pub row: Row,
    /// The columns that it refers by.
    pub columns: &'static [&'static str],
    /// The row that does not exist.
    pub target: RowKey,
    /// Whether the commit deletes that row, or it was never there.
    pub how: How,
    /// The revision that inserted the referring row, where undoing an old revision would leave it dangling.
    pub since: Option<u64>,
}

impl Dangling {
    /// The same as a problem at its place.
    pub fn problem(&self) -> Problem {
        let mut problem = meaning::dangling(&self.row, self.columns, &self.target, self.how);
        if let Some(revision) = self.since {
            problem.message += &format!(" (the row is of revision {revision})");
        }
        problem
    }
}

impl fmt::Display for Dangling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem().fmt(f)
    }
}

/// Whether the open transaction holds references that lead nowhere, which SQLite counts as it goes. Constant cost.
pub(crate) fn has_dangling(connection: &Connection) -> Result<bool, Error> {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is that of an open connection, which is borrowed for the whole call and used by no other thread
    // (a rusqlite connection is not Sync); both pointers are to live integers.
    let code = unsafe {
        ffi::sqlite3_db_status(
            connection.handle(),
            ffi::SQLITE_DBSTATUS_DEFERRED_FKS,
            &mut current,
            &mut highest,
            0,
        )
    };
    if code != ffi::SQLITE_OK {
        let source = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        return Err(source).during("counting references");
    }
    Ok(current != 0)
}

/// The most dangling references that are told apart: enough to see what is wrong.
const MOST_DANGLING: usize = 32;

/// The references that a changeset leaves dangling, after it was applied. Cost: the changed rows and what refers to those
/// that are gone.
pub(crate) fn find_dangling(
    connection: &Connection,
    changeset: &Changeset,
) -> Result<Vec<Dangling>, Error> {
    let mut dangling: Vec<Dangling> = Vec::new();
    for change in changeset.iter() {
        if let Some(row) = change.after() {
            for (columns, target) in references(row) {
                if rows::find(connection, &target)?.is_none() {
                    let how = match changeset.get(&target) {
                        Some(Change::Delete(_)) => How::Deleted,
                        _ => How::Missing,
                    };
                    dangling.push(Dangling {
                        row: row.clone(),
                        columns,
                        target,
                        how,
                        since: None,
                    });
                }
            }
        }
        if let Change::Delete(row) = change {
            let target = row.row_key();
            for (row, reference) in rows::referring(connection, &target, MOST_DANGLING)? {
                let found = Dangling {
                    row,
                    columns: reference.columns,
                    target: target.clone(),
                    how: How::Deleted,
                    since: None,
                };
                if !dangling.contains(&found) {
                    dangling.push(found);
                }
                if dangling.len() >= MOST_DANGLING {
                    break;
                }
            }
        }
        if dangling.len() >= MOST_DANGLING {
            break;
        }
    }
    Ok(dangling)
}

/// Says which revision inserted each referring row.
pub(crate) fn blame_dangling(
    connection: &Connection,
    dangling: &mut [Dangling],
) -> Result<(), Error> {
    let rows: Vec<Row> = dangling.iter().map(|one| one.row.clone()).collect();
    for blame in blame::of_rows(connection, &rows)? {
        let ours = dangling
            .iter_mut()
            .filter(|one| one.row.row_key() == blame.key);
        ours.for_each(|one| one.since = blame.created);
    }
    Ok(())
}

/// What a row refers to: the referring columns, and the key of the other row. A reference with a NULL refers to nothing.
fn references(row: &Row) -> Vec<(&'static [&'static str], RowKey)> {
    let definition = row.table().definition();
    let values = row.values();
    let value = |name: &str| {
        let place = definition
            .columns
            .iter()
            .position(|column| column.name == name);
        place.map_or(Value::Null, |place| values[place].clone())
    };
    let references = definition.references.iter();
    references
        .filter_map(|reference| {
            let key: Vec<Value> = reference
                .columns
                .iter()
                .map(|column| value(column))
                .collect();
            let table = Table::named(reference.table)?;
            if key.contains(&Value::Null) {
                return None;
            }
            // A column that refers takes what the key of the other takes.
            let key = RowKey::from_values(table, &key).ok()?;
            Some((reference.columns, key))
        })
        .collect()
}

/// Turns SQLite's refusal to write `row` into an error that names rows.
pub(crate) fn explain(connection: &Connection, error: rusqlite::Error, row: &Row) -> Error {
    let during = "writing the configuration's rows";
    let rusqlite::Error::SqliteFailure(code, Some(message)) = &error else {
        return Err::<(), _>(error).during(during).unwrap_err();
    };
    let named = message.split_once(": ").map_or("", |(_, named)| named);
    let explained = match code.extended_code {
        ffi::SQLITE_CONSTRAINT_PRIMARYKEY => rows::find(connection, &row.row_key()).map(|found| {
            Mismatch {
                expected: None,
                found: found.map(Box::new),
            }
            .into()
        }),
        ffi::SQLITE_CONSTRAINT_UNIQUE => duplicate(connection, named, row),
        ffi::SQLITE_CONSTRAINT_CHECK => Ok(Error::Check {
            path: row.path(),
            constraint: named.to_owned(),
        }),
        _ => return Err::<(), _>(error).during(during).unwrap_err(),
    };
    explained.unwrap_or_else(|error| error)
}

/// `named` is SQLite's list of the columns that must be unique together: `table.column, table.column`.
fn duplicate(connection: &Connection, named: &str, row: &Row) -> Result<Error, Error> {
    let column = |name: &str| Some(name.split_once('.')?.1.to_owned());
    let columns: Vec<String> = named.split(", ").filter_map(column).collect();
    let other = rows::find_by(connection, row, &columns)?;
    let other = other.map(|row| row.path()).unwrap_or_default();
    Ok(Error::Duplicate {
        path: row.path(),
        columns,
        other,
    })
}
