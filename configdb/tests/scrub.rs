//! Rows that are recounted while others commit: nothing is found where nothing is wrong, and what is wrong is found.

mod common;

use std::ops::ControlFlow;

use common::*;
use proptest::prelude::*;
use rewire_configdb::{Error, Scrubbed, Store};
use rewire_schema::testing;

/// Steps until the end.
fn finish(scrub: &mut rewire_configdb::Scrub, most: usize) -> Result<Scrubbed, Error> {
    loop {
        if let ControlFlow::Break(scrubbed) = scrub.step(most)? {
            return Ok(scrubbed);
        }
    }
}

fn rows(store: &Store) -> u64 {
    store.configuration().unwrap().rows().count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is committed, gone back from and pruned between two steps.
    #[test]
    fn nothing_is_found_where_nothing_is_wrong(
        states in proptest::collection::vec(testing::configuration(), 1..8),
        most in 1usize..7,
        steps in proptest::collection::vec(0usize..6, 8),
    ) {
        let (_folder, path) = folder_in_memory();
        let mut store = Store::create(path).unwrap();
        let mut scrub = store.scrub().unwrap();
        let mut done = None;
        for (state, steps) in states.iter().zip(&steps) {
            for _ in 0..*steps {
                if let ControlFlow::Break(scrubbed) = scrub.step(most).unwrap() {
                    prop_assert_eq!(scrubbed.revision, store.head().unwrap());
                    done = Some(scrubbed);
                    scrub = store.scrub().unwrap();
                }
            }
            commit_target(&mut store, state).unwrap();
            let head = store.head().unwrap();
            if *steps == 5 && head > 1 {
                // Behind the back of a recount that may be of an older revision.
                store.prune(head - 1, true).unwrap();
            }
        }
        let scrubbed = finish(&mut scrub, most).unwrap();
        prop_assert_eq!(scrubbed.revision, store.head().unwrap());
        if done.is_none() {
            finish(&mut store.scrub().unwrap(), most).unwrap();
        }
        let whole = finish(&mut store.scrub().unwrap(), most).unwrap();
        prop_assert_eq!(whole, Scrubbed { revision: store.head().unwrap(), rows: rows(&store) });
    }
}

/// A store of three networks in three revisions.
fn store() -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    for name in ["blue", "green", "red"] {
        commit(&mut store, &insert([vpc(name, Some("a description"))])).unwrap();
    }
    (folder, store)
}

fn damage(store: &Store, sql: &str) {
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    let triggers: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for trigger in triggers {
        let drop = format!("DROP TRIGGER {trigger}");
        connection.execute_batch(&drop).unwrap();
    }
    assert_eq!(connection.execute(sql, []).unwrap(), 1, "{sql}");
}

#[test]
fn what_is_wrong_is_found() {
    for (sql, expected) in [
        (
            "UPDATE vpc SET description = 'b description' WHERE name = 'blue'",
            "the state of revision 3 does not match its digest",
        ),
        (
            "DELETE FROM vpc WHERE name = 'green'",
            "the state of revision 3 does not match its digest",
        ),
        (
            "UPDATE vpc SET name = 'bl ue' WHERE name = 'blue'",
            "the store is damaged",
        ),
        (
            "UPDATE journal SET author = 'eve' WHERE revision = 3",
            "the journal is broken at revision 3",
        ),
        (
            "UPDATE journal SET state_digest = zeroblob(32) WHERE revision = 3",
            "the journal is broken at revision 3",
        ),
    ] {
        let (_folder, store) = store();
        damage(&store, sql);
        let found = store.scrub().and_then(|mut scrub| finish(&mut scrub, 1));
        let error = found.expect_err(sql);
        assert!(error.is_damage(), "{error}");
        let text = text(&error);
        assert!(text.starts_with(expected), "{sql}: {text}");
    }
}

/// An entry that comes while the rows are counted, and is not what was committed.
#[test]
fn an_entry_that_is_damaged_meanwhile_is_found() {
    let (_folder, mut store) = store();
    let mut scrub = store.scrub().unwrap();
    assert!(scrub.step(1).unwrap().is_continue());
    commit(&mut store, &insert([vpc("grey", None)])).unwrap();
    damage(
        &store,
        "UPDATE journal SET message = 'nothing' WHERE revision = 4",
    );
    let error = finish(&mut scrub, 1).unwrap_err();
    assert!(
        matches!(error, Error::BrokenChain { revision: 4, .. }),
        "{error:?}"
    );
}

/// No reader keeps the write-ahead log from being taken into the file between two steps.
#[test]
fn the_log_is_free_between_steps() {
    let (_folder, mut store) = store();
    let mut scrub = store.scrub().unwrap();
    assert!(scrub.step(1).unwrap().is_continue());
    commit(&mut store, &insert([vpc("grey", None)])).unwrap();
    let other = rusqlite::Connection::open(store.path()).unwrap();
    let (busy, log): (i64, i64) = other
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!((busy, log), (0, 0));
    let scrubbed = finish(&mut scrub, 1).unwrap();
    assert_eq!((scrubbed.revision, scrubbed.rows), (4, 4));
}
