//! Holds the SQL of the migrations and the definitions of the model together.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use rewire_schema::model::{RouteRow, VpcRow};
use rewire_schema::{ColumnDefinition, Kind, Row, SqlType, Table, Value, testing};
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
    // As the store does: in a transaction.
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
                    SqlType::Any => "ANY",
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

/// The index of a reference that may be NULL leaves those out that are; SQLite must use it all the same.
#[test]
fn what_nothing_refers_to_is_deleted_without_a_look_at_every_row() {
    let connection = database();
    let vpc = |name: &str| Row::from(VpcRow::new(name.parse().unwrap()));
    insert(&connection, &vpc("a")).unwrap();
    for number in 0..1000u32 {
        let prefix = format!("10.{}.{}.0/24", number / 256, number % 256);
        let route = RouteRow {
            to_vpc: (number < 500).then(|| "a".parse().unwrap()),
            ..RouteRow::unicast("a".parse().unwrap(), prefix.parse().unwrap())
        };
        insert(&connection, &route.into()).unwrap();
    }
    insert(&connection, &vpc("b")).unwrap();
    connection
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    let delete = "DELETE FROM vpc WHERE name = 'b'";
    let mut statement = connection.prepare(delete).unwrap();
    assert_eq!(statement.execute([]).unwrap(), 1);
    let steps = statement.get_status(rusqlite::StatementStatus::FullscanStep);
    assert!(steps < 100, "{steps}");
    connection.execute_batch("DROP INDEX route_to_vpc").unwrap();
    insert(&connection, &vpc("b")).unwrap();
    let mut statement = connection.prepare(delete).unwrap();
    statement.execute([]).unwrap();
    let steps = statement.get_status(rusqlite::StatementStatus::FullscanStep);
    assert!(
        steps >= 999,
        "without the index it looks at every row: {steps}"
    );
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

/// Every column of the model with its table.
fn columns() -> impl Iterator<Item = (Table, &'static ColumnDefinition)> {
    let tables = Table::ALL.iter();
    tables.flat_map(|table| table.definition().columns.iter().map(|c| (*table, c)))
}

#[test]
fn words_are_those_of_the_model() {
    let connection = database();
    let mut seen = 0;
    for (table, column) in columns() {
        let Kind::Words(words) = column.kind else {
            continue;
        };
        seen += 1;
        let rust: BTreeSet<String> = words.iter().map(|(word, _)| (*word).to_owned()).collect();
        let sql = words_in_sql(&connection, table, column.name);
        assert_eq!(sql, rust, "{table:?} {}", column.name);
        let row = testing::sample(table);
        let takes = |value| takes(&connection, &row, column.name, value);
        for word in &rust {
            assert!(takes(Value::Text(word.clone())), "{word}");
            let nearly = [
                word.to_uppercase(),
                format!("{word} "),
                format!(" {word}"),
                word[1..].to_owned(),
            ];
            for other in nearly {
                assert!(!takes(Value::Text(other.clone())), "{other}");
            }
        }
        assert!(!takes(Value::Integer(0)));
        assert!(!takes(Value::Text(String::new())));
        assert_eq!(takes(Value::Null), column.nullable);
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn numbers_have_the_bounds_of_the_model() {
    let connection = database();
    for (table, column) in columns() {
        let (least, most) = match column.kind {
            Kind::Integer { .. } => column.bounds().unwrap(),
            Kind::Flag => (1, 1),
            // A single port.
            Kind::List(_) => (1, 65535),
            _ => continue,
        };
        let most = match (column.name, table.definition().most) {
            ("position", Some(many)) => many as i64 - 1,
            _ => most,
        };
        let row = testing::sample(table);
        let takes = |value| takes(&connection, &row, column.name, value);
        let cases = [
            (least - 1, false),
            (least, true),
            (most, true),
            (most + 1, false),
        ];
        for (value, expected) in cases {
            let taken = takes(Value::Integer(value));
            assert_eq!(taken, expected, "{table:?} {} {value}", column.name);
        }
        assert!(!takes(Value::Text("many".into())), "{}", column.name);
        assert_eq!(takes(Value::Null), column.nullable, "{}", column.name);
    }
}

#[test]
fn lists_of_ports_are_numbers_or_texts() {
    let connection = database();
    let row = testing::sample(Table::PortForward);
    let takes = |value: &str| {
        let value = Value::Text(value.to_owned());
        takes(&connection, &row, "external_port", value)
    };
    assert!(takes("80-82"));
    assert!(takes("80,443"));
    // A single port is a number.
    for text in ["80", "", "-80", "http", "0-80"] {
        assert!(!takes(text), "{text}");
    }
}

#[test]
fn names_have_the_lengths_of_the_model() {
    let connection = database();
    let mut seen = 0;
    for table in Table::ALL {
        let definition = table.definition();
        let named = definition.key_len() == 1 && definition.columns[0].name == "name";
        if !named {
            continue;
        }
        seen += 1;
        let row = testing::sample(*table);
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
            let taken = takes(&connection, &row, "name", Value::Text(name.into()));
            assert_eq!(taken, good, "{table:?} {name}");
        }
    }
    assert!(seen > 10, "{seen}");
}

/// What must be unique is so among what is not deactivated.
#[test]
fn unique_columns_are_those_of_the_model() {
    let connection = database();
    for table in Table::ALL {
        let definition = table.definition();
        let sql = format!(
            "SELECT name FROM pragma_index_list('{}') WHERE \"unique\" AND origin <> 'pk'",
            definition.name
        );
        let mut found = BTreeSet::new();
        for index in all(&connection, &sql, |row| row.get::<_, String>(0)) {
            let sql = format!("SELECT sql FROM sqlite_schema WHERE name = '{index}'");
            let text: String = connection.query_row(&sql, [], |row| row.get(0)).unwrap();
            let (_, condition) = text
                .split_once(" WHERE ")
                .or(text.split_once("WHERE "))
                .unwrap();
            let sql = format!("SELECT name FROM pragma_index_info('{index}') ORDER BY seqno");
            let columns = all(&connection, &sql, |row| row.get::<_, String>(0));
            let mut expected = vec!["deactivated IS NULL".to_owned()];
            for name in &columns {
                let column = &definition.columns[definition.position(name).unwrap()];
                if !column.key && !column.required() {
                    // Where the field of another default were deactivated, the index would not see that default.
                    assert_eq!(column.absent(), Some(Value::Null), "{name}");
                    let field = column.field;
                    expected.push(format!(
                        "json_extract(marks, '$.{field}.deactivated') IS NULL"
                    ));
                }
            }
            let conditions: Vec<&str> = condition.split(" AND ").map(str::trim).collect();
            assert_eq!(conditions, expected, "{text}");
            found.insert(columns);
        }
        let unique = definition.unique.iter();
        let expected = unique.map(|columns| columns.iter().map(|c| (*c).to_owned()).collect());
        assert_eq!(
            found,
            expected.collect::<BTreeSet<Vec<String>>>(),
            "{}",
            definition.name
        );
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
    connection
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
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
