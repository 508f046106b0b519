//! What else is wrong with a document some objects of which have the wrong shape: names that lead nowhere, and what the
//! other objects mean. Whoever mends the document sees all of it at the first try.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Diagnostic;
use super::place;
use super::reader::Findings;
use crate::meaning::{self, Problem};
use crate::model::{Configuration, Row, RowKey, Table};
use crate::value::Value;

/// What is wrong with the rows that could be made, and with the names in those that could not. Cost: the rows.
pub(super) fn check(mut rows: Configuration, findings: &mut Findings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names = Names::new(&rows, &findings.unfinished);
    for named in &findings.names {
        if let Some((message, help)) = names.unknown(named.table, &named.name) {
            let mut diagnostic = Diagnostic::new(named.span.clone(), message);
            diagnostic.path = named.path.clone();
            diagnostic.help = help;
            findings.list.push(diagnostic);
        }
    }
    let broken: Vec<Row> = findings
        .broken
        .iter()
        .flat_map(|key| all_of(&rows, key))
        .collect();
    for row in &broken {
        problems.extend(names.dangling(row));
    }
    // A rule that asks for an object that is broken has nothing to say.
    let mut gone: BTreeSet<RowKey> = findings.unfinished_keys().collect();
    for row in broken {
        rows.remove(&row);
        gone.insert(row.row_key());
    }
    let asks_for_broken = |row: &Row| {
        references(row)
            .any(|(_, table, name)| key(table, &name).is_some_and(|key| gone.contains(&key)))
    };
    let meant = meaning::check(&rows).into_iter().filter(|problem| {
        let object = place::of(&problem.path).object;
        let row = object.and_then(|key| rows.find(&key));
        !row.is_some_and(|row| asks_for_broken(&row))
    });
    problems.extend(meant);
    problems
}

/// An object with all below it.
fn all_of(rows: &Configuration, key: &RowKey) -> Vec<Row> {
    let values = key.values();
    let tables = Table::ALL
        .iter()
        .filter(|table| is_below(**table, key.table()));
    tables
        .flat_map(|table| rows.below(*table, &values))
        .collect()
}

/// Whether the objects of a table are those of another, or stand in them.
fn is_below(table: Table, above: Table) -> bool {
    let steps = |table: Table| table.definition().steps().collect::<Vec<_>>();
    steps(table).starts_with(&steps(above))
}

/// The names that there are, those of objects that could not be made a row of included.
struct Names<'r> {
    rows: &'r Configuration,
    unfinished: &'r BTreeSet<(Table, Vec<Value>)>,
    /// For suggestions, by the name of the table.
    listed: std::cell::RefCell<BTreeMap<&'static str, Vec<String>>>,
}

impl<'r> Names<'r> {
    fn new(rows: &'r Configuration, unfinished: &'r BTreeSet<(Table, Vec<Value>)>) -> Self {
        Names {
            rows,
            unfinished,
            listed: Default::default(),
        }
    }

    fn knows(&self, table: &'static str, name: &Value) -> bool {
        key(table, name).is_some_and(|key| {
            let unfinished = (key.table(), key.values());
            self.rows.find(&key).is_some() || self.unfinished.contains(&unfinished)
        })
    }

    /// The words for a name that is none of a table's.
    fn unknown(&self, table: &'static str, name: &Value) -> Option<(String, Option<String>)> {
        if *name == Value::Null || self.knows(table, name) {
            return None;
        }
        let mut listed = self.listed.borrow_mut();
        let names = listed.entry(table).or_insert_with(|| self.list(table));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(meaning::unknown(table, &name.to_string(), &names))
    }

    fn list(&self, table: &str) -> Vec<String> {
        let Some(table) = Table::named(table) else {
            return Vec::new();
        };
        let first = |key: Vec<Value>| key.first().map(Value::to_string);
        let unfinished = self.unfinished.iter().filter(|(t, _)| *t == table);
        let mut names: Vec<String> = (self
            .rows
            .rows_of(table)
            .filter_map(|row| first(row.values())))
        .chain(unfinished.filter_map(|(_, key)| first(key.clone())))
        .collect();
        names.sort();
        names
    }

    /// The fields of a row whose names lead nowhere.
    fn dangling(&self, row: &Row) -> Vec<Problem> {
        let problems = references(row).filter_map(|(field, table, name)| {
            let (message, help) = self.unknown(table, &name)?;
            let mut problem = Problem::new(row.path().join(field), message);
            problem.help = help;
            Some(problem)
        });
        problems.collect()
    }
}

/// The names of other objects in a row's fields: the field, the table, the name.
fn references(row: &Row) -> impl Iterator<Item = (&'static str, &'static str, Value)> {
    let columns = row.table().definition().columns.iter().zip(row.values());
    columns.filter_map(|(column, value)| match column.target {
        Some(table) if !column.key && value != Value::Null => Some((column.field, table, value)),
        _ => None,
    })
}

fn key(table: &str, name: &Value) -> Option<RowKey> {
    RowKey::from_values(Table::named(table)?, std::slice::from_ref(name)).ok()
}
