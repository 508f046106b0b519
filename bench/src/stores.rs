//! Stores to measure with: ours, and beside it what SQLite alone keeps in the same tables on the same disk.

use std::path::Path;

use rewire_compiler::not_yet;
use rewire_configdb::{Checker, CommitRequest, Committed, StateReader, Store, Unchecked};
use rewire_schema::{Changeset, Configuration, Row, Value, meaning};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ToSql, params_from_iter};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// What the command line checks at a commit. Cost: the change.
pub(crate) struct OfChange;

impl Checker for OfChange {
    fn check(
        &mut self,
        _: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        match meaning::check_change_and(state, changeset, &not_yet)?.first() {
            None => Ok(()),
            Some(problem) => Err(problem.to_string().into()),
        }
    }
}

/// A store whose first revision is this configuration.
pub(crate) fn store_with(path: &Path, configuration: &Configuration) -> Result<Store, Failure> {
    let mut store = Store::create(path)?;
    let changeset = Changeset::between(&Configuration::default(), configuration);
    store.commit(
        CommitRequest::new(0, &changeset, "bench", "all"),
        &mut Unchecked,
    )?;
    Ok(store)
}

/// A checked commit on the last revision.
pub(crate) fn commit(store: &mut Store, changeset: &Changeset) -> Result<Committed, Failure> {
    let base = store.head()?;
    let request = CommitRequest::new(base, changeset, "bench", "a change");
    Ok(store.commit(request, &mut OfChange)?)
}

/// SQLite alone: the same tables, keys, references and indices, in a write-ahead log with full syncs.
pub(crate) fn raw(path: &Path) -> Result<Connection, Failure> {
    drop(Store::create(path)?);
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

struct Parameter(Value);

impl ToSql for Parameter {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match &self.0 {
            Value::Null => Ok(ToSqlOutput::from(rusqlite::types::Null)),
            Value::Integer(integer) => integer.to_sql(),
            Value::Text(text) => text.to_sql(),
        }
    }
}

/// Inserts a row with a prepared statement.
pub(crate) fn insert(connection: &Connection, row: &Row) -> Result<(), Failure> {
    let definition = row.table().definition();
    let values = row.values();
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {} VALUES ({marks})", definition.name);
    connection
        .prepare_cached(&sql)?
        .execute(params_from_iter(values.into_iter().map(Parameter)))?;
    Ok(())
}
