//! Names that lead nowhere, in a document whose shape is wrong as well.
//!
//! What such a document means cannot be asked: it is not known yet. But whether a name that stands in it is the key of
//! an object can be, so that whoever mends the document sees that, too, at the first try.

use super::diagnostic::Diagnostic;
use super::tree::{Kind, Node};
use crate::document::Path;
use crate::meaning;
use crate::types::Name;

/// Where in documents a field refers to an object by its name: the field, and the table that it refers to. `*` stands
/// for any key or index. A test holds this to the model.
const REFERENCES: [(&[&str], &str); 10] = [
    (&["interfaces", "*", "vpc"], "vpc"),
    (
        &["vpcs", "*", "routes", "*", "next_hops", "*", "interface"],
        "interface",
    ),
    (&["nat", "pools", "*", "vpc"], "vpc"),
    (&["nat", "masquerade", "*", "vpc"], "vpc"),
    (&["nat", "masquerade", "*", "interface"], "interface"),
    (&["nat", "masquerade", "*", "pool"], "nat_pool"),
    (&["nat", "port_forward", "*", "external_vpc"], "vpc"),
    (&["nat", "port_forward", "*", "internal_vpc"], "vpc"),
    (&["nat", "static", "*", "external_vpc"], "vpc"),
    (&["nat", "static", "*", "internal_vpc"], "vpc"),
];

/// The section of the document whose keys are the names of a table's objects.
fn section(table: &str) -> &'static [&'static str] {
    match table {
        "vpc" => &["vpcs"],
        "interface" => &["interfaces"],
        _ => &["nat", "pools"],
    }
}

/// Finds the references that lead nowhere. A section that is no map has names that nobody knows: what refers there is let
/// be.
pub(super) fn check(root: &Node) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for (pattern, table) in REFERENCES {
        let Some(names) = names(root, section(table)) else {
            continue;
        };
        visit(root, pattern, &mut Vec::new(), &mut |path, node| {
            let Kind::Text(text) = &node.kind else { return };
            // What is no name at all is the shape's to refuse.
            if text.parse::<Name>().is_ok() && !names.contains(&text.as_str()) {
                let (message, help) = meaning::unknown(table, text, &names);
                let mut diagnostic =
                    Diagnostic::new(node.span.clone(), message).at(Path::new(path));
                diagnostic.help = help;
                found.push(diagnostic);
            }
        });
    }
    found
}

/// The keys of a section; none where it is not there.
fn names<'a>(root: &'a Node, section: &[&str]) -> Option<Vec<&'a str>> {
    let mut node = root;
    for step in section {
        let Kind::Map(entries) = &node.kind else {
            return None;
        };
        match entries.get(*step) {
            Some(entry) => node = &entry.value,
            None => return Some(Vec::new()),
        }
    }
    match &node.kind {
        Kind::Map(entries) => Some(entries.keys().map(String::as_str).collect()),
        _ => None,
    }
}

/// Calls `at` for every node that the pattern leads to, with its path.
fn visit<'a>(
    node: &'a Node,
    pattern: &[&str],
    path: &mut Vec<String>,
    at: &mut dyn FnMut(&[String], &'a Node),
) {
    let Some((step, rest)) = pattern.split_first() else {
        return at(path, node);
    };
    let children: Vec<(String, &Node)> = match &node.kind {
        Kind::Map(entries) if *step == "*" => entries
            .iter()
            .map(|(key, entry)| (key.clone(), &entry.value))
            .collect(),
        Kind::Map(entries) => {
            let entry = entries.get(*step);
            entry
                .map(|entry| ((*step).to_owned(), &entry.value))
                .into_iter()
                .collect()
        }
        Kind::List(items) if *step == "*" => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        path.push(key);
        visit(child, rest, path, at);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::Table;

    #[test]
    fn every_reference_of_the_model_is_listed() {
        let in_model: BTreeSet<(&str, &str)> = Table::ALL
            .iter()
            .flat_map(|table| {
                let definition = table.definition();
                // A reference by the key is the object's place in the document, and cannot dangle there.
                let is_field =
                    |name: &str| definition.columns.iter().any(|c| c.name == name && !c.key);
                let references = definition.references.iter();
                references.filter_map(move |reference| match reference.columns {
                    [column] if is_field(column) => Some((*column, reference.table)),
                    _ => None,
                })
            })
            .collect();
        let listed: BTreeSet<(&str, &str)> = REFERENCES
            .iter()
            .map(|(pattern, table)| (*pattern.last().expect("a field"), *table))
            .collect();
        assert_eq!(listed, in_model);
        // Names of fields repeat: the number of references is the model's, too.
        let number: usize = Table::ALL
            .iter()
            .flat_map(|table| {
                table
                    .definition()
                    .references
                    .iter()
                    .map(move |r| (table, r))
            })
            .filter(|(table, reference)| {
                let columns = table.definition().columns;
                matches!(reference.columns, [c] if columns.iter().any(|d| d.name == *c && !d.key))
            })
            .count();
        assert_eq!(REFERENCES.len(), number);
    }
}
