//! What several tests of documents need.

#![allow(dead_code, unreachable_pub)]

use std::sync::LazyLock;

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::Index;
use rewire_schema::format::FORMATS;
use rewire_schema::{Configuration, Marks, from_document, json_schema, testing};
use serde_json::Value as Json;

/// What the JSON Schema says of documents, with the formats that it names.
static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let mut options = jsonschema::options().should_validate_formats(true);
    for format in FORMATS {
        options = options.with_format(format.name, |text: &str| (format.canonical)(text).is_ok());
    }
    options.build(&json_schema()).unwrap()
});

/// What a document says, if the JSON Schema lets it through and rows can be made of it.
pub fn accepted(document: &Json) -> Option<Configuration> {
    let valid = SCHEMA.is_valid(document);
    from_document(document).ok().filter(|_| valid)
}

/// A configuration that a document can say, some of its objects with marks.
pub fn configuration() -> impl Strategy<Value = Configuration> {
    let marks = (any::<Index>(), any::<bool>(), prop::bool::weighted(0.7));
    (testing::configuration(), prop::collection::vec(marks, 0..8)).prop_map(|(mut rows, marks)| {
        let all: Vec<_> = rows.rows().collect();
        if !all.is_empty() {
            for (index, deactivated, annotated) in marks {
                let mut row = index.get(&all).clone();
                let annotation = annotated.then(|| "for a while".parse().unwrap());
                *row.marks_mut() = Marks::new(deactivated, annotation);
                rows.insert(row);
            }
        }
        // The database takes objects without the parts that they need, documents do not.
        testing::complete(&testing::consistent(&rows))
    })
}

/// The steps of everything in a document, parts before what they are parts of.
pub fn places(document: &Json) -> Vec<Vec<String>> {
    fn walk(value: &Json, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let children: Vec<(String, &Json)> = match value {
            Json::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
            Json::Array(list) => list
                .iter()
                .enumerate()
                .map(|(i, v)| (i.to_string(), v))
                .collect(),
            _ => Vec::new(),
        };
        for (step, child) in children {
            path.push(step);
            walk(child, path, found);
            found.push(path.clone());
            path.pop();
        }
    }
    let mut found = Vec::new();
    walk(document, &mut Vec::new(), &mut found);
    found
}

/// The part of a document that the steps lead to.
pub fn part<'j>(document: &'j mut Json, steps: &[String]) -> Option<&'j mut Json> {
    steps.iter().try_fold(document, |value, step| match value {
        Json::Object(map) => map.get_mut(step),
        Json::Array(list) => list.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Takes a part out.
pub fn take_out(document: &mut Json, steps: &[String]) {
    let Some((last, above)) = steps.split_last() else {
        return;
    };
    match part(document, above) {
        Some(Json::Object(map)) => drop(map.shift_remove(last)),
        Some(Json::Array(list)) => {
            let index: usize = last.parse().unwrap();
            if index < list.len() {
                list.remove(index);
            }
        }
        _ => {}
    }
}
