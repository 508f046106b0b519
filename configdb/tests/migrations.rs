//! Stores of earlier schema versions open, verify and go back across their migration, or are refused with the reason.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use common::*;
use rewire_configdb::{
    CandidateSummary, Counts, EntryKind, Error, LogQuery, SCHEMA_VERSION, Store,
};
use rewire_schema::edit::{self, Command, Edits, to_set_commands, words};
use tempfile::TempDir;

/// A store as the last program of schema version 2 wrote it: five revisions, of which the fourth is a rewind, and two
/// candidates. `stores/version-2.txt` is what that program read in it.
const VERSION_2: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/version-2.db");
const READ_IN_VERSION_2: &str = include_str!("stores/version-2.txt");

/// A store as the last program of schema version 4 wrote it: four revisions, of which the third is undone by the fourth; a
/// candidate; a tag. `stores/version-4.txt` is what that program said of it.
const VERSION_4: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stores/version-4.db");
const READ_IN_VERSION_4: &str = include_str!("stores/version-4.txt");

/// A copy, to be written to.
fn old_store() -> (TempDir, PathBuf) {
    let (folder, path) = folder();
    fs::copy(VERSION_2, &path).unwrap();
    (folder, path)
}

/// Every row of every revision, and what names the revisions.
fn contents(store: &Store) -> String {
    let mut out = String::new();
    for revision in 0..=5 {
        writeln!(out, "## {revision}").unwrap();
        for row in store.configuration_at(revision).unwrap().rows() {
            // What did not exist then is none.
            let fields = row.fields().into_iter();
            let set: Vec<String> = fields
                .filter(|(_, value)| *value != rewire_schema::Value::Null)
                .map(|(name, value)| format!(" {name}={value}"))
                .collect();
            writeln!(out, "{}{}", row.path(), set.concat()).unwrap();
        }
    }
    for revision in 1..=5 {
        let entry = store.entry(revision).unwrap();
        writeln!(
            out,
            "{revision} {} {} {}",
            entry.hash, entry.state_digest, entry.schema_version
        )
        .unwrap();
    }
    out
}

fn user_version(path: &Path) -> u32 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_store_of_version_2_opens_with_all_that_it_held() {
    let (_folder, path) = old_store();
    assert_eq!(user_version(&path), 2);
    let mut store = Store::open(&path).unwrap().with_clock(|| 7);
    assert_eq!(user_version(&path), SCHEMA_VERSION);
    assert_eq!(contents(&store), READ_IN_VERSION_2);
    let verified = store.verify().unwrap();
    assert_eq!((verified.revisions, verified.floor), (5, 0));

    // The journal is summed up.
    let log = store.log(LogQuery::last(10)).unwrap();
    let counts: Vec<_> = log.iter().map(|entry| entry.counts).collect();
    let count = |inserted, updated, deleted| Counts {
        inserted,
        updated,
        deleted,
    };
    let expected = [
        count(2, 0, 0),
        count(0, 0, 2),
        count(0, 1, 1),
        count(3, 0, 0),
        count(17, 0, 0),
    ];
    assert_eq!(counts, expected);
    assert_eq!(log[1].kind, EntryKind::Rewind { to: 1 });
    let red = vpc("red", None).row_key();
    assert_eq!(store.blame(&[red]).unwrap()[0].created, Some(5));

    // So are the candidates.
    let candidates: BTreeMap<String, CandidateSummary> = store
        .candidates()
        .unwrap()
        .into_iter()
        .map(|candidate| (candidate.name.clone(), candidate))
        .collect();
    assert_eq!(candidates.keys().collect::<Vec<_>>(), ["ada", "default"]);
    let ada = &candidates["ada"];
    assert_eq!((ada.base, ada.counts, ada.version), (5, count(1, 0, 0), 1));
    let changeset = insert([route("red", "0.0.0.0/0")]);
    assert_eq!(
        store.candidate("ada").unwrap().unwrap().changeset,
        changeset
    );

    // It goes on: forwards, and back across the migration.
    commit(&mut store, &changeset).unwrap();
    assert_eq!(store.entry(6).unwrap().schema_version, SCHEMA_VERSION);
    rewind(&mut store, 2).unwrap();
    assert_eq!(
        store.configuration().unwrap(),
        store.configuration_at(2).unwrap()
    );
    store.verify().unwrap();
    drop(store);
    let store = Store::open_read_only(&path).unwrap();
    assert_eq!(contents(&store), READ_IN_VERSION_2);
}

#[test]
fn reading_does_not_migrate() {
    let (_folder, path) = old_store();
    let before = fs::read(&path).unwrap();
    let error = Store::open_read_only(&path).unwrap_err();
    assert!(matches!(
        error,
        Error::Older {
            store: 2,
            ours: SCHEMA_VERSION,
            ..
        }
    ));
    let message = text(&error).replace(path.to_str().unwrap(), "PATH");
    insta::assert_snapshot!(message, @"PATH is a store of schema version 2; this program reads version 10: open it for writing once, which migrates it");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// What is wrong with an old store is said, and it stays as it was.
#[test]
fn a_store_that_cannot_be_migrated_stays_as_it_was() {
    let cases = [
        (
            "UPDATE vpc SET description = 'another' WHERE name = 'blue'",
            "the state of revision 5 does not match its digest: expected 52ba10e31eec, found 9d791bf462f0",
        ),
        (
            "DELETE FROM vpc WHERE name = 'outside'",
            "the store is damaged: after its migration, a row of table static_nat refers to nothing",
        ),
        (
            "UPDATE journal SET changeset = x'01' WHERE revision = 3",
            "revision 3 cannot be read: the changeset ends early, at byte 1",
        ),
        (
            "UPDATE candidate SET changeset = x'09' WHERE name = 'ada'",
            "candidate \"ada\" cannot be read: the changeset is encoded in format 9; this program reads format 1",
        ),
    ];
    for (damage, expected) in cases {
        let (_folder, path) = old_store();
        let connection = rusqlite::Connection::open(&path).unwrap();
        let unlock = "PRAGMA foreign_keys = OFF; DROP TRIGGER journal_is_never_changed;";
        connection
            .execute_batch(&format!("{unlock} {damage}"))
            .unwrap();
        let tables = |connection: &rusqlite::Connection| -> i64 {
            let sql = "SELECT count(*) FROM sqlite_schema";
            connection.query_row(sql, [], |row| row.get(0)).unwrap()
        };
        let before = tables(&connection);
        let error = Store::open(&path).unwrap_err();
        assert_eq!(text(&error), expected);
        assert_eq!((user_version(&path), tables(&connection)), (2, before));
    }
}

/// Several programs start at once after an upgrade.
#[test]
fn whoever_comes_first_migrates() {
    let (_folder, path) = old_store();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(&path).unwrap();
                assert_eq!(store.head().unwrap(), 5);
            });
        }
    });
    assert_eq!(contents(&Store::open(&path).unwrap()), READ_IN_VERSION_2);
}

/// Every revision as the commands that make it, and what names it.
fn commands(store: &Store) -> String {
    let mut out = String::new();
    for revision in 1..=4 {
        let commands = to_set_commands(&store.configuration_at(revision).unwrap());
        write!(out, "## {revision}\n{commands}").unwrap();
    }
    for revision in 1..=4 {
        let entry = store.entry(revision).unwrap();
        writeln!(out, "{revision} {} {}", entry.hash, entry.state_digest).unwrap();
    }
    out
}

/// Rows of the past have no marks of fields, and their digests stay.
#[test]
fn a_store_of_version_4_opens_with_all_that_it_held() {
    let (_folder, path) = folder();
    fs::copy(VERSION_4, &path).unwrap();
    assert_eq!(user_version(&path), 4);
    let mut store = Store::open(&path).unwrap().with_clock(|| 7);
    assert_eq!(user_version(&path), SCHEMA_VERSION);
    assert_eq!(commands(&store), READ_IN_VERSION_4);
    store.verify().unwrap();
    let bob = store.candidate("bob").unwrap().unwrap();
    assert_eq!(bob.changeset.len(), 2);

    // It goes on with marks of fields, and back across the migration.
    let mut edits = Edits::default();
    let running = store.configuration().unwrap();
    for line in [
        "deactivate interfaces blue0 mtu",
        "annotate interfaces blue0 mtu \"until the switch is new\"",
    ] {
        let words: Vec<String> = words::split(line)
            .unwrap()
            .into_iter()
            .map(|w| w.text)
            .collect();
        let command = Command::parse(&words).unwrap();
        edit::apply(&running, &mut edits, &command).unwrap();
    }
    commit(&mut store, &edits.changeset).unwrap();
    let marked = store.configuration().unwrap();
    assert_ne!(marked.effective().as_ref(), &marked);
    rewind(&mut store, 1).unwrap();
    rewind(&mut store, 5).unwrap();
    assert_eq!(store.configuration().unwrap(), marked);
    store.verify().unwrap();
    drop(store);
    assert_eq!(
        commands(&Store::open_read_only(&path).unwrap()),
        READ_IN_VERSION_4
    );
}
