//! Holds the SQL of the migrations and the definitions of the model together.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use rewire_schema::model::{LARGEST_MTU, MOST_NEXT_HOPS, SMALLEST_MTU};
use rewire_schema::types::{RouteType, TransportProtocol};
use rewire_schema::{Kind, Row, SqlType, Table, Value, testing};
use rusqlite::{Connection, params_from_iter};

/// The tables that are the store's own, not the configuration's.
const STORE_TABLES: [&str; 8] = [
    "candidate",
    "checkpoint",
    "confirmation",
    "exclusive_lock",
    "journal",
    "meta",
    "scheduled",
    "tag",
];

/// The folders of all migrations, in order.
fn migrations() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    folders
}

fn run(connection: &Connection, folder: &std::path::Path, file: &str) {
    let sql = fs::read_to_string(folder.join(file)).unwrap();
    // As diesel does: each migration is one transaction.
    connection
        .execute_batch(&format!("BEGIN; {sql} COMMIT;"))
        .unwrap();
}

/// A database with all migrations, where references are not enforced.
fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    migrations()
        .iter()
        .for_each(|folder| run(&connection, folder, "up.sql"));
    connection
}

/// What a query without parameters gives, each row through `read`.
fn all<T>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = connection.prepare(sql).unwrap();
    statement
        .query_map([], read)
        .unwrap()
        .map(|row| row.unwrap())
        .collect()
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn the_tables_are_those_of_the_model() {
    let connection = database();
    let names: Vec<String> = all(
        &connection,
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
        |row| row.get(0),
    );
    let mut expected: Vec<String> = Table::ALL
        .iter()
        .map(|table| table.definition().name.to_owned())
        .collect();
    expected.extend(STORE_TABLES.map(str::to_owned));
    expected.sort();
    assert_eq!(names, expected);
    // A change is applied and taken back as it stands in the journal: nothing may happen besides.
    let triggers = "SELECT tbl_name FROM sqlite_schema WHERE type = 'trigger'";
    for table in all(&connection, triggers, |row| row.get::<_, String>(0)) {
        assert!(
            STORE_TABLES.contains(&table.as_str()),
            "{table} has a trigger"
        );
    }
}

#[test]
fn columns_are_those_of_the_model_in_order() {
    let connection = database();
    for table in Table::ALL {
        let definition = table.definition();
        let sql = format!("PRAGMA table_xinfo({})", definition.name);
        let found = all(&connection, &sql, |row| {
            Ok((
                row.get::<_, String>("name")?,
                row.get::<_, String>("type")?,
                row.get::<_, bool>("notnull")?,
                row.get::<_, i64>("pk")?,
                row.get::<_, i64>("hidden")?,
                row.get::<_, Option<String>>("dflt_value")?,
            ))
        });
        let columns = definition.columns.iter().zip(1..);
        let expected: Vec<_> = columns
            .map(|(column, place)| {
                let sql_type = match column.sql_type {
                    SqlType::Integer => "INTEGER",
                    SqlType::Text => "TEXT",
                    SqlType::Any => "INTEGER",
                };
                let key = if column.key { place } else { 0 };
                (
                    column.name.to_owned(),
                    sql_type.to_owned(),
                    !column.nullable,
                    key,
                    0,
                    None,
                )
            })
            .collect();
        assert_eq!(found, expected, "{}", definition.name);
        assert!(
            definition.columns[..definition.key_len()]
                .iter()
                .all(|column| !column.nullable)
        );
    }
}

#[test]
fn tables_are_strict_and_the_configurations_are_their_own_index() {
    let connection = database();
    let sql = "SELECT name, strict, wr FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'";
    let found = all(&connection, sql, |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, bool>(1)?,
            row.get::<_, bool>(2)?,
        ))
    });
    assert_eq!(found.len(), Table::ALL.len() + STORE_TABLES.len());
    for (name, strict, without_rowid) in found {
        assert!(strict, "{name}");
        assert!(without_rowid == Table::named(&name).is_some(), "{name}");
    }
}

#[test]
fn references_are_those_of_the_model_and_deferred() {
    let connection = database();
    for table in Table::ALL {
        let definition = table.definition();
        let sql = format!("PRAGMA foreign_key_list({})", definition.name);
        let mut found: Vec<(i64, String, Vec<String>, Vec<String>)> = Vec::new();
        for (id, target, from, to, actions) in all(&connection, &sql, |row| {
            let actions: (String, String) = (row.get("on_update")?, row.get("on_delete")?);
            let names = (row.get::<_, String>("from")?, row.get::<_, String>("to")?);
            Ok((
                row.get("id")?,
                row.get::<_, String>("table")?,
                names.0,
                names.1,
                actions,
            ))
        }) {
            assert_eq!(
                actions,
                ("NO ACTION".to_owned(), "NO ACTION".to_owned()),
                "{}",
                definition.name
            );
            match found.last_mut() {
                Some(last) if last.0 == id => {
                    last.2.push(from);
                    last.3.push(to);
                }
                _ => found.push((id, target, vec![from], vec![to])),
            }
        }
        let found: BTreeSet<_> = found
            .into_iter()
            .map(|(_, target, from, to)| (target, from, to))
            .collect();
        let references = definition.references.iter().map(|reference| {
            let target = Table::named(reference.table).unwrap().definition();
            let key = target.columns.iter().filter(|column| column.key);
            (
                reference.table.to_owned(),
                reference
                    .columns
                    .iter()
                    .map(|column| (*column).to_owned())
                    .collect(),
                key.map(|column| column.name.to_owned()).collect(),
            )
        });
        let expected: BTreeSet<(String, Vec<String>, Vec<String>)> = references.collect();
        assert_eq!(found, expected, "{}", definition.name);
        let sql = format!(
            "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{}'",
            definition.name
        );
        let text: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
        let deferred = text.matches("DEFERRABLE INITIALLY DEFERRED").count();
        assert_eq!(deferred, definition.references.len(), "{}", definition.name);
    }
}

/// Deleting a row looks for rows that refer to it. Without an index that reads the whole table.
#[test]
fn every_reference_can_be_followed_backwards_through_an_index() {
    let connection = database();
    for table in Table::ALL {
        let definition = table.definition();
        let sql = format!("SELECT name FROM pragma_index_list('{}')", definition.name);
        let indices = all(&connection, &sql, |row| row.get::<_, String>(0));
        let columns: Vec<Vec<String>> = indices
            .iter()
            .map(|index| {
                let sql = format!("SELECT name FROM pragma_index_info('{index}') ORDER BY seqno");
                all(&connection, &sql, |row| row.get(0))
            })
            .collect();
        for reference in definition.references {
            let found = columns.iter().any(|index| {
                index
                    .iter()
                    .zip(reference.columns)
                    .filter(|(a, b)| a == b)
                    .count()
                    == reference.columns.len()
            });
            assert!(
                found,
                "{}: {:?} has no index",
                definition.name, reference.columns
            );
        }
    }
}

fn insert(connection: &Connection, row: &Row) -> rusqlite::Result<usize> {
    insert_values(connection, row.table(), &row.values())
}

fn insert_values(
    connection: &Connection,
    table: Table,
    values: &[Value],
) -> rusqlite::Result<usize> {
    let marks = vec!["?"; values.len()].join(", ");
    let sql = format!("INSERT INTO {} VALUES ({marks})", table.definition().name);
    let values = values.iter().map(|value| match value {
        Value::Null => rusqlite::types::Value::Null,
        Value::Integer(integer) => rusqlite::types::Value::Integer(*integer),
        Value::Text(text) => rusqlite::types::Value::Text(text.clone()),
    });
    connection.execute(&sql, params_from_iter(values))
}

/// Whether the database takes this row with another value in one column.
fn takes(connection: &Connection, row: &Row, column: &str, value: Value) -> bool {
    let place = row
        .table()
        .definition()
        .columns
        .iter()
        .position(|c| c.name == column)
        .unwrap();
    let mut values = row.values();
    values[place] = value;
    connection.execute_batch("SAVEPOINT one").unwrap();
    let taken = insert_values(connection, row.table(), &values).is_ok();
    connection
        .execute_batch("ROLLBACK TO one; RELEASE one")
        .unwrap();
    taken
}

/// A row of a table, made from the texts of its columns.
fn sample(table: Table) -> Row {
    let values = table
        .definition()
        .columns
        .iter()
        .map(|column| match column.name {
            "mtu" => Value::Integer(1500),
            "position" => Value::Integer(0),
            "external_port" | "internal_port" => Value::Integer(80),
            _ if column.nullable => Value::Null,
            "mac" => Value::Text("02:00:00:00:00:01".into()),
            "port" => Value::Text("null:a".into()),
            "prefix" => Value::Text("10.0.0.0/8".into()),
            "range" | "external_address" | "internal_address" => Value::Text("192.0.2.1".into()),
            "address" if table == Table::InterfaceAddress => Value::Text("192.0.2.1/24".into()),
            "address" => Value::Text("192.0.2.1".into()),
            "route_type" => Value::Text("unicast".into()),
            "protocol" => Value::Text("tcp".into()),
            _ => Value::Text("name".into()),
        });
    Row::from_values(table, &values.collect::<Vec<_>>()).unwrap()
}

/// The words of a CHECK on a column: `column IN ('a', 'b')`.
fn words_in_sql(connection: &Connection, table: Table, column: &str) -> BTreeSet<String> {
    let name = table.definition().name;
    let sql = format!("SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{name}'");
    let text: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
    let (_, list) = text.split_once(&format!("CHECK ({column} IN (")).unwrap();
    let (list, _) = list.split_once(')').unwrap();
    list.split(',')
        .map(|word| word.trim().trim_matches('\'').to_owned())
        .collect()
}

/// The words that the model has for a column.
fn words_in_rust(table: Table, column: &str) -> BTreeSet<String> {
    let definition = table.definition();
    let column = definition.columns[definition.position(column).unwrap()];
    match column.kind {
        Kind::Words(words) => words.iter().map(|(word, _)| (*word).to_owned()).collect(),
        other => panic!("no words: {other:?}"),
    }
}

fn check_words<T>(table: Table, column: &str)
where
    T: std::str::FromStr + std::fmt::Display,
{
    let connection = database();
    let (sql, rust) = (
        words_in_sql(&connection, table, column),
        words_in_rust(table, column),
    );
    assert!(rust.len() > 1);
    assert_eq!(sql, rust, "{column}");
    let row = sample(table);
    for word in &rust {
        assert_eq!(word.parse::<T>().ok().unwrap().to_string(), *word);
        assert!(
            takes(&connection, &row, column, Value::Text(word.clone())),
            "{word}"
        );
        for other in [
            word.to_uppercase(),
            format!("{word} "),
            format!(" {word}"),
            word[1..].to_owned(),
        ] {
            assert!(
                !takes(&connection, &row, column, Value::Text(other.clone())),
                "{other}"
            );
        }
    }
    for other in [Value::Null, Value::Integer(0), Value::Text(String::new())] {
        assert!(!takes(&connection, &row, column, other));
    }
}

#[test]
fn words_are_those_of_the_enums() {
    check_words::<RouteType>(Table::Route, "route_type");
    check_words::<TransportProtocol>(Table::PortForward, "protocol");
}

#[test]
fn numbers_have_the_bounds_of_the_model() {
    let connection = database();
    let most = MOST_NEXT_HOPS as i64 - 1;
    for (table, column, first, last) in [
        (
            Table::Interface,
            "mtu",
            i64::from(SMALLEST_MTU),
            i64::from(LARGEST_MTU),
        ),
        (Table::NextHop, "position", 0, most),
        (Table::PortForward, "external_port", 1, 65535),
        (Table::PortForward, "internal_port", 1, 65535),
    ] {
        let row = sample(table);
        for (value, expected) in [
            (first - 1, false),
            (first, true),
            (last, true),
            (last + 1, false),
        ] {
            assert_eq!(
                takes(&connection, &row, column, Value::Integer(value)),
                expected,
                "{column} {value}"
            );
        }
        assert!(
            !takes(&connection, &row, column, Value::Text("many".into())),
            "{column}"
        );
    }
}

#[test]
fn names_have_the_lengths_of_the_model() {
    let connection = database();
    for table in [
        Table::Vpc,
        Table::Interface,
        Table::Pool,
        Table::Masquerade,
        Table::PortForward,
        Table::StaticNat,
    ] {
        let row = sample(table);
        for name in [
            "a",
            "9",
            "A-b.c_d",
            &"x".repeat(63),
            &"x".repeat(64),
            "",
            "-a",
            ".a",
            "_a",
        ] {
            let good = name.parse::<rewire_schema::types::Name>().is_ok();
            assert_eq!(
                takes(&connection, &row, "name", Value::Text(name.into())),
                good,
                "{name}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What the strategies call consistent, the database takes, and it reads back the same.
    #[test]
    fn every_consistent_configuration_fits(configuration in testing::configuration()) {
        let connection = database();
        connection.pragma_update(None, "foreign_keys", true).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        for row in configuration.rows() {
            insert(&connection, &row).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        for table in Table::ALL {
            let definition = table.definition();
            let names: Vec<&str> = definition.columns.iter().map(|column| column.name).collect();
            let sql = format!("SELECT {} FROM {}", names.join(", "), definition.name);
            let rows = all(&connection, &sql, |row| {
                (0..names.len())
                    .map(|index| {
                        Ok(match row.get(index)? {
                            rusqlite::types::Value::Integer(integer) => Value::Integer(integer),
                            rusqlite::types::Value::Text(text) => Value::Text(text),
                            _ => Value::Null,
                        })
                    })
                    .collect::<rusqlite::Result<Vec<Value>>>()
            });
            let found: BTreeSet<Row> = rows.iter().map(|values| Row::from_values(*table, values).unwrap()).collect();
            let expected: BTreeSet<Row> = configuration.rows().filter(|row| row.table() == *table).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn each_migration_says_its_number_and_can_be_taken_back() {
    let connection = Connection::open_in_memory().unwrap();
    let folders = migrations();
    let tables = "SELECT count(*) FROM sqlite_schema";
    let mut sizes = vec![0];
    for (folder, version) in folders.iter().zip(1..) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with(&format!("{version:04}_")), "{name}");
        run(&connection, folder, "up.sql");
        sizes.push(number(&connection, tables));
        // The first one comes from before there was a number to set; it never stands alone in a store.
        if version > 1 {
            assert_eq!(
                number(&connection, "PRAGMA user_version"),
                version,
                "{name}"
            );
        }
    }
    assert_eq!(number(&connection, "PRAGMA application_id"), 0x5265_7769);
    for (folder, size) in folders.iter().zip(sizes).rev() {
        run(&connection, folder, "down.sql");
        assert_eq!(number(&connection, tables), size, "{}", folder.display());
    }
}
