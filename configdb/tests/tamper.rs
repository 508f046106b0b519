//! Every kind of damage to the journal or the rows is found, and the revision named.

mod common;

use common::*;
use rewire_configdb::{Entry, Error, StateDigest, Store};

/// A store with three revisions, damaged by SQL behind its back.
fn damaged(sql: &str) -> Error {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let blue = |text| vpc("blue", Some(text));
    commit(
        &mut store,
        &insert([
            blue("one"),
            vpc("red", None),
            interface("wan", "red", "null:a"),
        ]),
    )
    .unwrap();
    commit(
        &mut store,
        &[update(blue("one"), blue("two"))].into_iter().collect(),
    )
    .unwrap();
    rewind(&mut store, 1).unwrap();
    store.verify().unwrap();
    drop(store);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let unlock = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;
        DROP TRIGGER journal_is_never_changed; DROP TRIGGER journal_is_never_shortened;";
    connection
        .execute_batch(&format!("{unlock} {sql}"))
        .unwrap();
    drop(connection);
    Store::open(&path).unwrap().verify().unwrap_err()
}

/// Three revisions, of which the last was rewritten and sealed again: the chain holds, and yet it is not true.
fn forged(forge: impl FnOnce(&mut Entry)) -> Error {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    for name in ["blue", "red", "green"] {
        commit(&mut store, &insert([vpc(name, None)])).unwrap();
    }
    let mut entry = store.entry(3).unwrap();
    forge(&mut entry);
    let entry = entry.sealed();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection
        .execute_batch("DROP TRIGGER journal_is_never_changed")
        .unwrap();
    let sql = "UPDATE journal SET state_digest = ?1, changeset = ?2, hash = ?3 WHERE revision = 3";
    let (digest, hash) = (entry.state_digest.to_bytes(), entry.hash.to_bytes());
    connection
        .execute(sql, (digest, entry.changeset, hash))
        .unwrap();
    store.verify().unwrap_err()
}

#[test]
fn a_chain_that_was_sealed_again_is_still_found_out() {
    let error = forged(|entry| entry.state_digest = StateDigest::EMPTY);
    insta::assert_snapshot!(
        text(&error),
        @"the state of revision 3 does not match its digest: expected 000000000000, found 7291124047c4"
    );
    let error =
        forged(|entry| entry.changeset = rewire_journal::encode(&insert([vpc("red", None)])));
    insta::assert_snapshot!(text(&error), @"the journal does not fold at revision 3: vpcs.red exists already");
    let error = forged(|entry| entry.changeset.push(0));
    insta::assert_snapshot!(
        text(&error),
        @"revision 3 cannot be read: the changeset is malformed at byte 35: bytes follow after the last change"
    );
}

/// SQL that flips the lowest bit of the last byte of a BLOB.
fn flip(column: &str, revision: u64) -> String {
    let last = format!("substr({column}, -1)");
    let digits = "'0123456789ABCDEF'";
    let other = format!("substr('1032547698BADCFE', instr({digits}, substr(hex({last}), 2)), 1)");
    format!(
        "UPDATE journal SET {column} = substr({column}, 1, length({column}) - 1) \
         || unhex(substr(hex({last}), 1, 1) || {other}) WHERE revision = {revision}"
    )
}

#[test]
fn one_byte_of_an_entry_is_enough() {
    for revision in 1..=3 {
        for column in ["parent", "state_digest", "hash", "changeset"] {
            let sql = flip(column, revision);
            // `||` gives text; the column wants a BLOB.
            let sql = sql
                .replace(
                    &format!("SET {column} = "),
                    &format!("SET {column} = CAST("),
                )
                .replace(" WHERE", " AS BLOB) WHERE");
            let error = damaged(&sql);
            assert!(
                matches!(error, Error::BrokenChain { revision: found, .. } if found == revision),
                "{column} of {revision}: {error:?}"
            );
        }
    }
}

#[test]
fn every_other_column_of_an_entry_is_covered() {
    for (column, value) in [
        ("author", "'eve'"),
        ("message", "message || ' '"),
        ("committed_at", "committed_at + 1"),
        ("schema_version", "3"),
        ("rewind_to", "0"),
    ] {
        let error = damaged(&format!(
            "UPDATE journal SET {column} = {value} WHERE revision = 2"
        ));
        assert!(
            matches!(error, Error::BrokenChain { revision: 2, .. }),
            "{column}: {error:?}"
        );
    }
}

#[test]
fn entries_cannot_go_missing() {
    let error = damaged("DELETE FROM journal WHERE revision = 2");
    assert!(
        matches!(error, Error::BrokenChain { revision: 3, .. }),
        "{error:?}"
    );
    // Without its last entry the journal leads to another state than the rows are.
    let error = damaged("DELETE FROM journal WHERE revision = 3");
    insta::assert_snapshot!(
        text(&error),
        @"the state of revision 2 does not match its digest: expected 9a198fc502d2, found 32bdab6bce63 (the first row that differs is vpcs.blue)"
    );
    let error = damaged("UPDATE meta SET identity = zeroblob(16)");
    assert!(
        matches!(error, Error::BrokenChain { revision: 1, .. }),
        "{error:?}"
    );
}

#[test]
fn rows_that_the_journal_does_not_know_are_named() {
    insta::assert_snapshot!(
        text(&damaged("UPDATE vpc SET description = 'onf' WHERE name = 'blue'")),
        @"the state of revision 3 does not match its digest: expected 32bdab6bce63, found 2d48719092c8 (the first row that differs is vpcs.blue)"
    );
    insta::assert_snapshot!(
        text(&damaged("INSERT INTO vpc VALUES ('green', NULL)")),
        @"the state of revision 3 does not match its digest: expected 32bdab6bce63, found 2904b0c0c84e (the first row that differs is vpcs.green)"
    );
    insta::assert_snapshot!(
        text(&damaged("DELETE FROM interface")),
        @"the state of revision 3 does not match its digest: expected 32bdab6bce63, found c57cb4c5b465 (the first row that differs is interfaces.wan)"
    );
    insta::assert_snapshot!(text(&damaged("UPDATE interface SET mac = 'nonsense'")), @r#"the store is damaged: row "wan": table interface, column mac: expected a MAC address like 02:00:00:00:00:01, found "nonsense""#);
}

#[test]
fn the_database_itself_keeps_history() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    commit(&mut store, &insert([vpc("blue", None)])).unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    for sql in ["UPDATE journal SET author = 'eve'", "DELETE FROM journal"] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
    store.verify().unwrap();
}
