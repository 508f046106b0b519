//! The configuration's rows in SQL. Everything here goes by the tables' definitions: there is no second list of columns.

use std::fmt::Display;
use std::sync::LazyLock;

use rewire_journal::{RawValue, RowCounter, StateDigest};
use rewire_schema::{Configuration, Reference, Row, RowError, RowKey, RowList, Table, Value};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::error::{During, Error};

/// The statements of one table. Parameters are numbered by column.
pub(crate) struct Statements {
    all: String,
    /// Parameters: the key.
    find: String,
    /// Parameters: the row.
    pub(crate) insert: String,
    /// Parameters: the whole row as it must be.
    pub(crate) delete: String,
    /// Parameters: the whole row as it must be, then the new values of the columns that are not the key. A table of
    /// nothing but a key has no updates.
    pub(crate) update: Option<String>,
    /// For each reference of this table, the rows that refer to a key. Parameters: that key, and the most rows to give.
    referring: Vec<(&'static Reference, String)>,
}

static STATEMENTS: LazyLock<Vec<Statements>> = LazyLock::new(|| {
    Table::ALL
        .iter()
        .map(|table| Statements::new(*table))
        .collect()
});

impl Statements {
    fn new(table: Table) -> Self {
        let definition = table.definition();
        let (name, columns, key_len) = (definition.name, definition.columns, definition.key_len());
        let list = |items: Vec<String>, between: &str| items.join(between);
        let names = list(columns.iter().map(|c| c.name.to_owned()).collect(), ", ");
        let equal = |index: usize| format!("{} = ?{}", columns[index].name, index + 1);
        let key = list((0..key_len).map(equal).collect(), " AND ");
        // The key by `=`, so that it is looked up; the rest by `IS`, for which NULL equals NULL.
        let rest = (key_len..columns.len())
            .map(|index| format!("{} IS ?{}", columns[index].name, index + 1));
        let whole = list(std::iter::once(key.clone()).chain(rest).collect(), " AND ");
        let numbers = list((1..=columns.len()).map(|n| format!("?{n}")).collect(), ", ");
        let order = list(
            columns[..key_len]
                .iter()
                .map(|c| c.name.to_owned())
                .collect(),
            ", ",
        );
        let set = columns[key_len..]
            .iter()
            .zip(columns.len() + 1..)
            .map(|(column, number)| format!("{} = ?{number}", column.name));
        let set = list(set.collect(), ", ");
        let referring = definition.references.iter().map(|reference| {
            let columns = reference.columns.iter().zip(1..);
            let condition = list(
                columns.map(|(c, n)| format!("{c} = ?{n}")).collect(),
                " AND ",
            );
            let limit = reference.columns.len() + 1;
            (
                reference,
                format!(
                    "SELECT {names} FROM {name} WHERE {condition} ORDER BY {order} LIMIT ?{limit}"
                ),
            )
        });
        Statements {
            all: format!("SELECT {names} FROM {name} ORDER BY {order}"),
            find: format!("SELECT {names} FROM {name} WHERE {key}"),
            insert: format!("INSERT INTO {name} ({names}) VALUES ({numbers})"),
            delete: format!("DELETE FROM {name} WHERE {whole}"),
            update: (!set.is_empty()).then(|| format!("UPDATE {name} SET {set} WHERE {whole}")),
            referring: referring.collect(),
        }
    }

    pub(crate) fn of(table: Table) -> &'static Statements {
        &STATEMENTS[table as usize]
    }
}

/// The number of statements that are worth keeping prepared.
pub(crate) fn statement_count() -> usize {
    STATEMENTS.iter().map(|s| 5 + s.referring.len()).sum()
}

pub(crate) struct Parameter<'a>(pub(crate) &'a Value);

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(integer) => ValueRef::Integer(*integer),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// One value of a row of a table, as it is stored.
fn raw_value<'a>(
    table: Table,
    row: &'a rusqlite::Row<'_>,
    index: usize,
) -> Result<RawValue<'a>, Error> {
    let damaged = |found: &dyn Display| {
        let definition = table.definition();
        let (table, column) = (definition.name, definition.columns[index].name);
        Error::Damaged {
            why: format!("table {table}, column {column} holds {found}"),
        }
    };
    match row.get_ref(index).during("reading a row")? {
        ValueRef::Null => Ok(RawValue::Null),
        ValueRef::Integer(integer) => Ok(RawValue::Integer(integer)),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(RawValue::Text(text)),
            Err(_) => Err(damaged(&"text that is not UTF-8")),
        },
        other => Err(damaged(&other.data_type())),
    }
}

/// What is wrong with a stored row of these values.
fn damaged_row(table: Table, values: &[RawValue<'_>], error: &RowError) -> Error {
    let key = &values[..table.definition().key_len()];
    let key: Vec<String> = key.iter().map(RawValue::to_string).collect();
    Error::Damaged {
        why: format!("row \"{}\": {error}", key.join(" ")),
    }
}

fn read_row(table: Table, sql: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let columns = table.definition().columns.len();
    let values: Vec<RawValue<'_>> = (0..columns)
        .map(|index| raw_value(table, sql, index))
        .collect::<Result<_, _>>()?;
    Row::from_raw(table, values.iter().copied())
        .map_err(|error| damaged_row(table, &values, &error))
}

/// A row whose columns hold just what this program writes for its values. Another way to write the same value, like a
/// capital letter in a MAC address, is damage too.
fn read_exact_row(table: Table, sql: &rusqlite::Row<'_>) -> Result<Row, Error> {
    let row = read_row(table, sql)?;
    let columns = table.definition().columns.iter().enumerate();
    for ((index, column), value) in columns.zip(row.values()) {
        let exact = match (sql.get_ref(index).during("reading a row")?, &value) {
            (ValueRef::Null, Value::Null) => true,
            (ValueRef::Integer(found), Value::Integer(value)) => found == *value,
            (ValueRef::Text(found), Value::Text(value)) => found == value.as_bytes(),
            _ => false,
        };
        if !exact {
            let why = format!("{}: {} is not written as {value}", row.path(), column.name);
            return Err(Error::Damaged { why });
        }
    }
    Ok(row)
}

fn query(
    connection: &Connection,
    table: Table,
    sql: &str,
    parameters: &[Value],
    each: impl FnMut(Row),
) -> Result<(), Error> {
    query_by(read_row, connection, table, sql, parameters, each)
}

fn query_by(
    read: fn(Table, &rusqlite::Row<'_>) -> Result<Row, Error>,
    connection: &Connection,
    table: Table,
    sql: &str,
    parameters: &[Value],
    mut each: impl FnMut(Row),
) -> Result<(), Error> {
    let during = "reading the configuration's rows";
    let mut statement = connection.prepare_cached(sql).during(during)?;
    let parameters = params_from_iter(parameters.iter().map(Parameter));
    let mut rows = statement.query(parameters).during(during)?;
    while let Some(row) = rows.next().during(during)? {
        each(read(table, row)?);
    }
    Ok(())
}

/// All rows. Cost: all rows.
pub(crate) fn configuration(connection: &Connection) -> Result<Configuration, Error> {
    configuration_of(connection, Table::ALL.iter().copied())
}

/// All rows of some tables. Cost: those rows.
pub(crate) fn configuration_of(
    connection: &Connection,
    tables: impl Iterator<Item = Table>,
) -> Result<Configuration, Error> {
    let mut configuration = Configuration::default();
    for table in tables {
        configuration.extend(list(connection, table, |_| ())?);
    }
    Ok(configuration)
}

/// As [`configuration_of`], with the digest of the rows as they are stored.
pub(crate) fn counted_configuration_of(
    connection: &Connection,
    tables: impl Iterator<Item = Table>,
) -> Result<(Configuration, StateDigest), Error> {
    let mut configuration = Configuration::default();
    let mut counter = RowCounter::default();
    for table in tables {
        let definition = table.definition();
        let rows = list(connection, table, |values| {
            counter.add(definition, values.iter().copied());
        })?;
        configuration.extend(rows);
    }
    Ok((configuration, counter.digest()))
}

/// The most columns that a table has.
const MOST_COLUMNS: usize = {
    let (mut most, mut table) = (0, 0);
    while table < Table::ALL.len() {
        let columns = Table::ALL[table].definition().columns.len();
        if columns > most {
            most = columns;
        }
        table += 1;
    }
    most
};

/// All rows of a table, each shown to `each` as it is stored. Nothing is made of a row but the row itself: a million of them
/// are read at every start.
fn list(
    connection: &Connection,
    table: Table,
    mut each: impl FnMut(&[RawValue<'_>]),
) -> Result<RowList, Error> {
    let during = "reading the configuration's rows";
    let mut statement = connection
        .prepare_cached(&Statements::of(table).all)
        .during(during)?;
    let mut list = RowList::new(table);
    let mut rows = statement.query([]).during(during)?;
    let columns = table.definition().columns;
    while let Some(row) = rows.next().during(during)? {
        let mut values = [RawValue::Null; MOST_COLUMNS];
        let values = &mut values[..columns.len()];
        for (index, value) in values.iter_mut().enumerate() {
            *value = raw_value(table, row, index)?;
        }
        list.push(values.iter().copied())
            .map_err(|error| damaged_row(table, values, &error))?;
        each(values);
    }
    Ok(list)
}

/// Goes through all rows of a table, in the order of their keys, and checks that each is written as this program writes it.
/// Cost: the table, a row at a time.
pub(crate) fn for_each_exact(
    connection: &Connection,
    table: Table,
    each: impl FnMut(Row),
) -> Result<(), Error> {
    let sql = &Statements::of(table).all;
    query_by(read_exact_row, connection, table, sql, &[], each)
}

/// Goes through at most so many rows of a table, in the order of their keys, from behind a key on, and checks that each is
/// written as this program writes it. Cost: those rows; the key is the table's own index.
pub(crate) fn after(
    connection: &Connection,
    table: Table,
    key: Option<&[Value]>,
    most: usize,
    each: impl FnMut(Row),
) -> Result<(), Error> {
    let sql = after_sql(table, key.is_some(), most);
    let parameters = key.unwrap_or_default();
    query_by(read_exact_row, connection, table, &sql, parameters, each)
}

/// The statement of [`after`].
fn after_sql(table: Table, has_key: bool, most: usize) -> String {
    let definition = table.definition();
    let names: Vec<&str> = definition.columns.iter().map(|c| c.name).collect();
    let key = names[..definition.key_len()].join(", ");
    let numbers: Vec<String> = (1..=definition.key_len())
        .map(|n| format!("?{n}"))
        .collect();
    let condition = match has_key {
        true => format!(" WHERE ({key}) > ({})", numbers.join(", ")),
        false => String::new(),
    };
    format!(
        "SELECT {} FROM {}{condition} ORDER BY {key} LIMIT {most}",
        names.join(", "),
        definition.name
    )
}

/// Goes through all rows of a table, in the order of their keys, by their values as they are stored, as long as `each` says
/// true; says whether that was to the end. A value of a type that no column has ends it, too. Cost: the table, a row at a
/// time.
pub(crate) fn all_raw(
    connection: &Connection,
    table: Table,
    mut each: impl FnMut(&[RawValue<'_>]) -> bool,
) -> Result<bool, Error> {
    let during = "reading the configuration's rows";
    let mut statement = connection
        .prepare_cached(&Statements::of(table).all)
        .during(during)?;
    let mut rows = statement.query([]).during(during)?;
    let columns = table.definition().columns.len();
    while let Some(row) = rows.next().during(during)? {
        let mut values = Vec::with_capacity(columns);
        for index in 0..columns {
            let value = match row.get_ref(index).during(during)? {
                ValueRef::Null => Some(RawValue::Null),
                ValueRef::Integer(integer) => Some(RawValue::Integer(integer)),
                ValueRef::Text(bytes) => str::from_utf8(bytes).ok().map(RawValue::Text),
                ValueRef::Real(_) | ValueRef::Blob(_) => None,
            };
            values.extend(value);
        }
        if !each(&values) || values.len() < columns {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The number of rows of a table. Cost: a look at each page of the table.
pub(crate) fn count(connection: &Connection, table: Table) -> Result<usize, Error> {
    let sql = format!("SELECT count(*) FROM {}", table.definition().name);
    let count = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, i64>(0)))
        .during("counting the configuration's rows")?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The row with this key.
pub(crate) fn find(connection: &Connection, key: &RowKey) -> Result<Option<Row>, Error> {
    let (table, values) = (key.table(), key.values());
    let mut found = None;
    let sql = &Statements::of(table).find;
    query(connection, table, sql, &values, |row| found = Some(row))?;
    Ok(found)
}

/// The row that has the values of `row` in the columns of these names, if there is one.
pub(crate) fn find_by(
    connection: &Connection,
    row: &Row,
    names: &[String],
) -> Result<Option<Row>, Error> {
    let table = row.table();
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (column, value) in table.definition().columns.iter().zip(row.values()) {
        if names.iter().any(|name| name == column.name) {
            columns.push(column.name);
            values.push(value);
        }
    }
    if columns.is_empty() {
        return Ok(None);
    }
    Ok(by(connection, table, &columns, &values)?.into_iter().next())
}

/// The rows whose key begins with these values, in the order of their keys. Cost: those rows; the key is the table's own
/// index.
pub(crate) fn below(
    connection: &Connection,
    table: Table,
    key_prefix: &[Value],
) -> Result<Vec<Row>, Error> {
    let definition = table.definition();
    let columns = &definition.columns[..key_prefix.len().min(definition.key_len())];
    if columns.len() < key_prefix.len() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    by(connection, table, &names, key_prefix)
}

/// At most so many of the rows that [`below`] gives. Cost: those rows.
pub(crate) fn some_below(
    connection: &Connection,
    table: Table,
    key_prefix: &[Value],
    most: usize,
) -> Result<Vec<Row>, Error> {
    let columns = table
        .definition()
        .columns
        .iter()
        .take_while(|column| column.key);
    let names: Vec<&str> = columns
        .take(key_prefix.len())
        .map(|column| column.name)
        .collect();
    if names.len() < key_prefix.len() {
        return Ok(Vec::new());
    }
    let sql = format!("{} LIMIT {most}", by_sql(table, &names, key_prefix)?);
    let mut found = Vec::new();
    query(connection, table, &sql, key_prefix, |row| found.push(row))?;
    Ok(found)
}

/// The rows that have these values in these columns, in the order of their keys; NULL equals NULL. Cost: those rows, where
/// an index begins with the columns; otherwise the table.
pub(crate) fn by(
    connection: &Connection,
    table: Table,
    columns: &[&str],
    values: &[Value],
) -> Result<Vec<Row>, Error> {
    let sql = by_sql(table, columns, values)?;
    let mut found = Vec::new();
    query(connection, table, &sql, values, |row| found.push(row))?;
    Ok(found)
}

/// The statement of [`by`]. Columns are compared by `=` where they can be, so that they are looked up.
pub(crate) fn by_sql(table: Table, columns: &[&str], values: &[Value]) -> Result<String, Error> {
    let definition = table.definition();
    let known = |name: &str| definition.columns.iter().any(|column| column.name == name);
    if columns.len() != values.len() || !columns.iter().all(|name| known(name)) {
        return Err(Error::NoSuchColumns {
            table: definition.name,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        });
    }
    let names = |columns: &mut dyn Iterator<Item = &str>| columns.collect::<Vec<_>>().join(", ");
    let all = names(&mut definition.columns.iter().map(|column| column.name));
    let order = names(
        &mut definition.columns[..definition.key_len()]
            .iter()
            .map(|c| c.name),
    );
    let conditions = columns
        .iter()
        .zip(values)
        .zip(1..)
        .map(|((name, value), number)| {
            let operator = if *value == Value::Null { "IS" } else { "=" };
            format!("{name} {operator} ?{number}")
        });
    let conditions: Vec<String> = conditions.collect();
    let condition = match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    };
    Ok(format!(
        "SELECT {all} FROM {}{condition} ORDER BY {order}",
        definition.name
    ))
}

/// Rows that refer to the row with this key, whether or not that exists; at most `most` for each kind of reference. Cost:
/// those rows, through indices.
pub(crate) fn referring(
    connection: &Connection,
    key: &RowKey,
    most: usize,
) -> Result<Vec<(Row, &'static Reference)>, Error> {
    let (target, mut parameters) = (key.table(), key.values());
    let len = parameters.len();
    parameters.push(Value::Integer(i64::try_from(most).unwrap_or(i64::MAX)));
    let mut found = Vec::new();
    for table in Table::ALL {
        for (reference, sql) in &Statements::of(*table).referring {
            if reference.table == target.definition().name && len == reference.columns.len() {
                query(connection, *table, sql, &parameters, |row| {
                    found.push((row, *reference))
                })?;
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plans::scans;

    /// The cost of a change does not grow with the configuration: no statement of one goes through a table.
    #[test]
    fn every_statement_of_a_change_goes_through_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::Store::create(folder.path().join("gateway.db")).unwrap();
        for statements in STATEMENTS.iter() {
            let Statements {
                all: _,
                find,
                insert: _,
                delete,
                update,
                referring,
            } = statements;
            let searching = [find, delete]
                .into_iter()
                .chain(update)
                .chain(referring.iter().map(|(_, sql)| sql));
            for sql in searching {
                assert_eq!(scans(&store.connection, sql), [""; 0], "{sql}");
            }
        }
    }
    /// Nor does a step of a recount: it begins where the last one ended, and sorts nothing.
    #[test]
    fn a_recount_goes_on_through_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::Store::create(folder.path().join("gateway.db")).unwrap();
        for table in Table::ALL {
            let sql = after_sql(*table, true, 10);
            assert_eq!(scans(&store.connection, &sql), [""; 0], "{sql}");
            let plan = format!("EXPLAIN QUERY PLAN {sql}");
            let mut plan = store.connection.prepare(&plan).unwrap();
            let parameters = vec!["x"; plan.parameter_count()];
            let details = plan
                .query_map(params_from_iter(parameters), |row| {
                    row.get::<_, String>("detail")
                })
                .unwrap();
            for detail in details {
                let detail = detail.unwrap();
                assert!(!detail.contains("TEMP B-TREE"), "{sql}: {detail}");
            }
        }
    }
}
