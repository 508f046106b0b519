//! Every reference leads somewhere. Generic over all tables: the model says what refers to what.

use std::collections::{BTreeSet, HashMap};

use super::Problem;
use crate::model::{Configuration, Row, Table};
use crate::suggestion::did_you_mean;
use crate::table::Reference;
use crate::value::Value;

pub(super) fn check(configuration: &Configuration, problems: &mut Vec<Problem>) {
    let mut keys: HashMap<&str, BTreeSet<Vec<Value>>> = HashMap::new();
    let referred: BTreeSet<&str> = Table::ALL
        .iter()
        .flat_map(|t| t.definition().references)
        .map(|r| r.table)
        .collect();
    for row in configuration.rows() {
        let name = row.table().definition().name;
        if referred.contains(name) {
            keys.entry(name).or_default().insert(row.row_key().values());
        }
    }
    let none = BTreeSet::new();
    for row in configuration.rows() {
        for reference in row.table().definition().references {
            let known = keys.get(reference.table).unwrap_or(&none);
            problems.extend(check_one(&row, reference, known));
        }
    }
}

fn check_one(row: &Row, reference: &Reference, known: &BTreeSet<Vec<Value>>) -> Option<Problem> {
    let columns = row.table().definition().columns;
    let values = row.values();
    let mut key = Vec::with_capacity(reference.columns.len());
    let mut from_key = false;
    for name in reference.columns {
        let index = columns.iter().position(|c| c.name == *name)?;
        from_key |= columns[index].key;
        key.push(values[index].clone());
    }
    if key.contains(&Value::Null) || known.contains(&key) {
        return None;
    }
    let text = key
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    let path = match reference.columns {
        [column] if !from_key => row.path().join(column),
        _ => row.path(),
    };
    let names: Vec<&str> = known
        .iter()
        .filter_map(|key| match key.as_slice() {
            [Value::Text(name)] => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let (message, help) = unknown(reference.table, &text, &names);
    let mut problem = Problem::new(path, message);
    problem.help = help;
    Some(problem)
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
