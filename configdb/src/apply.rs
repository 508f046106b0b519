//! Changes to the configuration's rows.

use rewire_schema::{Change, Changeset, Mismatch, Row, Value};
use rusqlite::{Connection, params_from_iter};

use crate::constraint;
use crate::error::{During, Error};
use crate::rows::{Parameter, Statements, find};

/// Applies a changeset row by row. Each row must be as the changeset says it was.
///
/// The order lets any change through whose end is consistent: rows leave, then fields change, then rows come. An update
/// that meets a unique value which another update has yet to give up (two interfaces swap their ports) is put off and
/// done as a deletion and an insertion; all others happen in place, so that SQLite need not look at the rows that refer
/// to them. References are deferred to the commit.
pub(crate) fn apply(connection: &Connection, changeset: &Changeset) -> Result<(), Error> {
    for change in changeset.iter().rev() {
        if let Change::Delete(before) = change {
            delete(connection, before)?;
        }
    }
    let mut put_off = Vec::new();
    for change in changeset.iter() {
        if let Change::Update { before, after } = change {
            if before == after || before.row_key() != after.row_key() {
                return Err(Error::Malformed {
                    path: before.path(),
                });
            }
            match update(connection, before, after) {
                Err(Error::Duplicate { .. }) => put_off.push((before, after)),
                result => result?,
            }
        }
    }
    for (before, _) in &put_off {
        delete(connection, before)?;
    }
    for (_, after) in &put_off {
        insert(connection, after)?;
    }
    for change in changeset.iter() {
        if let Change::Insert(after) = change {
            insert(connection, after)?;
        }
    }
    Ok(())
}

fn insert(connection: &Connection, row: &Row) -> Result<(), Error> {
    let values = row.values();
    execute(
        connection,
        &Statements::of(row.table()).insert,
        &values,
        row,
    )
    .map(drop)
}

fn delete(connection: &Connection, before: &Row) -> Result<(), Error> {
    let changed = execute(
        connection,
        &Statements::of(before.table()).delete,
        &before.values(),
        before,
    )?;
    expect_one(connection, changed, before)
}

fn update(connection: &Connection, before: &Row, after: &Row) -> Result<(), Error> {
    let definition = before.table().definition();
    // Two rows of nothing but the same key are equal, and the caller has excluded that.
    let Some(sql) = &Statements::of(before.table()).update else {
        return Err(Error::Malformed {
            path: before.path(),
        });
    };
    let mut values = before.values();
    values.extend(after.values().drain(definition.key_len()..));
    let changed = execute(connection, sql, &values, after)?;
    expect_one(connection, changed, before)
}

fn execute(
    connection: &Connection,
    sql: &str,
    values: &[Value],
    row: &Row,
) -> Result<usize, Error> {
    let mut statement = connection
        .prepare_cached(sql)
        .during("writing the configuration's rows")?;
    let parameters = params_from_iter(values.iter().map(Parameter));
    let result = statement.execute(parameters);
    drop(statement);
    result.map_err(|error| constraint::explain(connection, error, row))
}

fn expect_one(connection: &Connection, changed: usize, expected: &Row) -> Result<(), Error> {
    if changed == 1 {
        return Ok(());
    }
    let found = find(connection, &expected.row_key())?;
    Err(Mismatch {
        expected: Some(Box::new(expected.clone())),
        found: found.map(Box::new),
    }
    .into())
}
