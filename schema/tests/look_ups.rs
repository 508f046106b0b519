//! What rules look rows up by has an index in the database: the check of a change goes through no table.

use std::fs;

use rewire_schema::{Table, meaning};
use rusqlite::{Connection, params_from_iter};

/// A database with all migrations.
fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    let off = connection.pragma_update(None, "foreign_keys", false);
    off.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let folders = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let mut folders: Vec<_> = folders.collect();
    folders.sort();
    for folder in folders {
        let sql = fs::read_to_string(folder.join("up.sql")).unwrap();
        connection.execute_batch(&sql).unwrap();
    }
    connection
}

/// How SQLite would look up rows of a table by these columns.
fn plan(connection: &Connection, table: Table, columns: &[&str]) -> Vec<String> {
    let name = table.definition().name;
    let conditions: Vec<String> = (1..)
        .zip(columns)
        .map(|(n, c)| format!("{c} = ?{n}"))
        .collect();
    let condition = conditions.join(" AND ");
    let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM {name} WHERE {condition}");
    let mut statement = connection.prepare(&sql).unwrap();
    let values = params_from_iter(columns.iter().map(|_| "x"));
    let details = statement
        .query_map(values, |row| row.get("detail"))
        .unwrap();
    details.map(|detail| detail.unwrap()).collect()
}

#[test]
fn every_look_up_of_a_rule_goes_through_an_index() {
    let connection = database();
    assert!(!meaning::LOOK_UPS.is_empty());
    for (table, columns) in meaning::LOOK_UPS {
        let plan = plan(&connection, *table, columns);
        let searches = plan.iter().all(|step| step.starts_with("SEARCH"));
        assert!(
            searches && !plan.is_empty(),
            "{table:?} by {columns:?}: {plan:?}"
        );
    }
}

#[test]
fn every_reference_can_be_followed_back_through_an_index() {
    let connection = database();
    for table in Table::ALL {
        for reference in table.definition().references {
            let plan = plan(&connection, *table, reference.columns);
            let searches = plan.iter().all(|step| step.starts_with("SEARCH"));
            assert!(searches, "{table:?} by {:?}: {plan:?}", reference.columns);
        }
    }
}
