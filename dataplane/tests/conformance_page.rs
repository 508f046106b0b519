//! `docs/conformance.md` is held against what it speaks of: it leaves out no requirement and no case, and names no test that is
//! not there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every requirement, by the heading that it stands under.
const REQUIREMENTS: [(&str, &str); 4] = [
    (
        "RFC 4787",
        "REQ-1 REQ-2 REQ-3 REQ-3a REQ-4 REQ-5 REQ-5a REQ-5b REQ-5c REQ-6 REQ-6a REQ-7 REQ-8 REQ-8a REQ-9 REQ-9a REQ-10 REQ-10a \
         REQ-11 REQ-12 REQ-12a REQ-12b REQ-13 REQ-13a REQ-14 REQ-14a",
    ),
    (
        "RFC 5382",
        "REQ-1 REQ-2 REQ-2a REQ-3 REQ-3a REQ-3b REQ-4 REQ-4a REQ-5 REQ-5a REQ-6 REQ-7 REQ-8 REQ-8a REQ-9 REQ-10",
    ),
    (
        "RFC 5508",
        "REQ-1 REQ-1a REQ-2 REQ-2a REQ-3 REQ-3a REQ-3b REQ-3c REQ-3d REQ-4 REQ-4a REQ-4b REQ-4c REQ-5 REQ-5a REQ-5b REQ-5c REQ-6 \
         REQ-7 REQ-7a REQ-8 REQ-9 REQ-10a REQ-10b REQ-10c REQ-11",
    ),
    ("RFC 7857", "2.1 2.2 3 4 5 6 6.1 7 8 9 10 11"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The cells of each row of the page's tables, with the heading above.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let mut heading = "";
    let mut rows = Vec::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if let Some(row) = line
            .strip_prefix("| ")
            .filter(|row| !row.starts_with("| |"))
        {
            let cells = row.trim_end().trim_end_matches('|').split(" | ");
            rows.push((heading, cells.map(str::trim).collect()));
        }
    }
    rows
}

/// The tests that a cell names.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn every_requirement_is_listed_with_what_becomes_of_it() {
    let page = read("docs/conformance.md");
    let rows = rows(&page);
    for (rfc, requirements) in REQUIREMENTS {
        for requirement in requirements.split_whitespace() {
            let row = rows
                .iter()
                .find(|(heading, cells)| heading.starts_with(rfc) && cells[0] == requirement);
            let (_, cells) =
                row.unwrap_or_else(|| panic!("{rfc} {requirement} is not in docs/conformance.md"));
            let result = cells.get(3).copied().unwrap_or_default();
            assert!(!result.is_empty(), "{rfc} {requirement} has no result");
            let shown = cells
                .get(4)
                .is_some_and(|cell| names(cell).next().is_some());
            assert!(
                shown || !result.eq("met"),
                "{rfc} {requirement} is met, and no test shows it"
            );
        }
    }
}

#[test]
fn every_test_that_is_named_exists_and_every_case_is_named() {
    let page = read("docs/conformance.md");
    let mut named = BTreeSet::new();
    for (heading, cells) in rows(&page) {
        for name in cells.last().into_iter().flat_map(|cell| names(cell)) {
            let (file, function) = name
                .split_once("::")
                .unwrap_or_else(|| panic!("{heading}: {name} is no test"));
            let places = [
                (
                    format!("tests/conformance/{file}.py"),
                    format!("\ndef {function}("),
                ),
                (format!("tests/tests/{file}.rs"), format!("fn {function}(")),
                (
                    format!("dataplane/tests/{file}.rs"),
                    format!("fn {function}("),
                ),
                (
                    format!("dataplane/packet/tests/{file}.rs"),
                    format!("fn {function}("),
                ),
            ];
            let place = places.iter().find(|(path, _)| root().join(path).exists());
            let (path, declared) =
                place.unwrap_or_else(|| panic!("{heading}: there is no file of {name}"));
            assert!(
                read(path).contains(declared),
                "{heading}: {path} has no {function}"
            );
            named.insert(name.to_owned());
        }
    }
    for entry in fs::read_dir(root().join("tests/conformance")).expect("the cases are there") {
        let path = entry.expect("an entry").path();
        let module = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for line in fs::read_to_string(&path)
            .into_iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        {
            if let Some(case) = line
                .strip_prefix("def test_")
                .and_then(|rest| rest.split('(').next())
            {
                let name = format!("{module}::test_{case}");
                assert!(
                    named.contains(&name),
                    "docs/conformance.md does not name {name}"
                );
            }
        }
    }
}
