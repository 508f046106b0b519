//! Every kind of damage to the journal or the rows is found, and the revision named.

mod common;
#[path = "tamper/flip.rs"]
mod flip;
#[path = "power/random.rs"]
mod random;
#[path = "power/world.rs"]
mod world;

use std::collections::BTreeSet;

use common::*;
use flip::{Original, Place};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use random::Random;
use rewire_configdb::{CommitRequest, Entry, Error, StateDigest, Store};
use rewire_schema::{Change, Configuration, testing};
use rusqlite::config::DbConfig;
use world::{World, scratch};

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
    without_triggers(&connection);
    let unlock = "PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;";
    connection
        .execute_batch(&format!("{unlock} {sql}"))
        .unwrap();
    drop(connection);
    Store::open(&path).unwrap().verify().unwrap_err()
}

/// Whoever has the file can change it without asking the triggers that keep its history.
fn without_triggers(connection: &rusqlite::Connection) {
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
        .unwrap();
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
    without_triggers(&connection);
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
    // The byte is the end of the changeset, which names all columns that there are.
    let Error::Journal { what, source } = error else {
        panic!("{error:?}")
    };
    assert_eq!(what, "revision 3");
    assert!(
        source
            .to_string()
            .ends_with("bytes follow after the last change")
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
        text(&damaged("INSERT INTO vpc (name) VALUES ('green')")),
        @"the state of revision 3 does not match its digest: expected 32bdab6bce63, found 2904b0c0c84e (the first row that differs is vpcs.green)"
    );
    insta::assert_snapshot!(
        text(&damaged("DELETE FROM interface")),
        @"the state of revision 3 does not match its digest: expected 32bdab6bce63, found c57cb4c5b465 (the first row that differs is interfaces.wan)"
    );
    insta::assert_snapshot!(text(&damaged("UPDATE interface SET mac = 'nonsense'")), @r#"the store is damaged: row "wan": table interface, column mac: expected a MAC address like 02:00:00:00:00:01, found "nonsense""#);
}

#[test]
fn what_lies_beside_the_journal_is_looked_at() {
    for (sql, expected) in [
        (
            "DROP TRIGGER journal_is_never_changed",
            "the store is damaged: trigger journal_is_never_changed is missing",
        ),
        (
            "DROP TRIGGER journal_is_never_changed;
             CREATE TRIGGER journal_is_never_changed BEFORE UPDATE ON journal BEGIN SELECT 1; END",
            "the store is damaged: trigger journal_is_never_changed is not defined as it should be",
        ),
        (
            "CREATE VIEW everything AS SELECT * FROM vpc",
            "the store is damaged: view everything does not belong to a store",
        ),
        (
            "INSERT INTO candidate VALUES ('ada', 1, 'ada', 0, 1, 0, 0, 0, '', x'010000ff')",
            "candidate \"ada\" cannot be read",
        ),
        (
            "INSERT INTO candidate VALUES ('ada', 1, 'ada', 0, 1, 1, 0, 0, '', x'010000')",
            "the store is damaged: candidate \"ada\" is not summed up as it is",
        ),
        (
            "INSERT INTO candidate VALUES ('ada', 9, 'ada', 0, 1, 0, 0, 0, '', x'010000')",
            "the store is damaged: candidate \"ada\" is of revision 9, and the journal has 0 to 3",
        ),
        (
            "INSERT INTO scheduled VALUES (1, 0, 9, NULL, 'ada', '', 0, NULL, NULL, NULL, 0, 0, 0, x'010000')",
            "the store is damaged: scheduled commit 1 is of revision 9, and the journal has 0 to 3",
        ),
        (
            "INSERT INTO tag VALUES ('release', 9, 'ada', 0)",
            "the store is damaged: tag \"release\" is of revision 9, and the journal has 0 to 3",
        ),
        (
            "INSERT INTO confirmation VALUES (1, 9, 8, 0, 'ada')",
            "the store is damaged: the commit to confirm is of revision 9, and the journal has 0 to 3",
        ),
    ] {
        let found = text(&damaged(sql));
        assert!(found.starts_with(expected), "{sql}: {found}");
    }
}

/// Candidates and scheduled commits expect the rows of the revision that they are made on, whatever was committed since.
#[test]
fn what_waits_fits_onto_its_base() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let blue = |text| vpc("blue", Some(text));
    commit(&mut store, &insert([blue("one")])).unwrap();
    let to = |text| update(blue("one"), blue(text));
    commit(&mut store, &[to("two")].into_iter().collect()).unwrap();
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    let fits = |store: &mut Store, base, change: Change| {
        let changeset = [change].into_iter().collect();
        save_candidate(store, "ada", base, &changeset, "ada").unwrap();
        let found = store.verify();
        store.discard_candidate("ada").unwrap();
        let request = CommitRequest::new(base, &changeset, "ada", "later");
        let id = store.schedule(request, 0).unwrap();
        let scheduled = store.verify();
        store.cancel(id).unwrap();
        assert_eq!(found.is_ok(), scheduled.is_ok());
        found.map(drop).map_err(|error| text(&error))
    };
    assert_eq!(fits(&mut store, 1, to("three")), Ok(()));
    assert_eq!(
        fits(&mut store, 2, update(blue("two"), blue("three"))),
        Ok(())
    );
    assert_eq!(fits(&mut store, 0, Change::Insert(blue("four"))), Ok(()));
    assert_eq!(
        fits(&mut store, 3, Change::Delete(vpc("red", None))),
        Ok(())
    );
    let wrong = |base| {
        let why = "the store is damaged: candidate \"ada\" does not fit onto revision";
        Err(format!("{why} {base} at vpcs.blue"))
    };
    assert_eq!(fits(&mut store, 2, to("three")), wrong(2));
    assert_eq!(fits(&mut store, 3, to("three")), wrong(3));
    assert_eq!(fits(&mut store, 1, Change::Insert(blue("four"))), wrong(1));
    assert_eq!(fits(&mut store, 0, Change::Delete(blue("one"))), wrong(0));
    // What is older than the journal cannot be looked at any more.
    let changeset = [to("three")].into_iter().collect();
    save_candidate(&mut store, "ada", 1, &changeset, "ada").unwrap();
    store.prune(2, false).unwrap();
    store.verify().unwrap();
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

/// A store with rows in its tables, and three revisions.
fn full_store(path: &std::path::Path) {
    let mut store = Store::create(path).unwrap();
    commit_target(&mut store, &a_row_a_table())
        .unwrap()
        .unwrap();
    commit(&mut store, &insert([vpc("blue-two", Some("one"))])).unwrap();
    rewind(&mut store, 1).unwrap();
}

/// A small configuration that has rows in each table that random configurations have rows in.
fn a_row_a_table() -> Configuration {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut all = Configuration::default();
    for _ in 0..5 {
        let more = testing::configuration().new_tree(&mut runner).unwrap();
        for row in more.current().rows() {
            all.insert(row);
        }
    }
    let tables = |rows: &Configuration| -> BTreeSet<_> {
        let rows = rows.rows();
        rows.map(|row| row.table().definition().name).collect()
    };
    let mut small = testing::consistent(&all);
    let wanted = tables(&small);
    for row in small.clone().rows() {
        let mut fewer = small.clone();
        fewer.remove(&row);
        let fewer = testing::consistent(&fewer);
        if tables(&fewer) == wanted {
            small = fewer;
        }
    }
    small
}

/// What verification makes of a copy of which one byte was changed.
fn verify_flipped(original: &Original, place: &Place, byte: usize, mask: u8) -> Option<Error> {
    original.with_copy(|path| {
        if !place.flip(path, byte, mask) {
            return None;
        }
        let result = Store::open(path).and_then(|store| store.verify());
        Some(result.expect_err(&format!("{place}, byte {byte} ^ {mask:#04x}")))
    })
}

/// The revision that an error names.
fn named(error: &Error) -> Option<u64> {
    match error {
        Error::BrokenChain { revision, .. }
        | Error::DigestMismatch { revision, .. }
        | Error::Fold { revision, .. } => Some(*revision),
        _ => None,
    }
}

#[test]
fn every_byte_of_every_entry_counts() {
    let (_folder, path) = folder();
    full_store(&path);
    let original = Original::new(&path);
    let mut random = Random(setting("REWIRE_SEED", 1));
    let mut flips = 0;
    let places = original.places("journal");
    let bytes: usize = places.iter().map(Place::bytes).sum();
    let sample = match setting("REWIRE_THOROUGH", 0) {
        0 => 500,
        _ => bytes,
    };
    for place in places {
        let revision = place.number("revision");
        for byte in 0..place.bytes() {
            let mask = 1 << random.below(8);
            // Of a changeset, some bytes are enough, unless all are asked for.
            if place.column == "changeset" && random.below(bytes) >= sample {
                continue;
            }
            let Some(error) = verify_flipped(&original, &place, byte, mask) else {
                continue;
            };
            flips += 1;
            let words = text(&error);
            let found = named(&error) == Some(revision)
                || words.contains(&format!("revision {revision}"))
                || words.contains(&format!("journal entry {revision}"));
            // An entry with another number is missing where it was, and too much where it is now.
            assert!(
                found || place.column == "revision",
                "{place}, byte {byte} ^ {mask:#04x}: {words}"
            );
        }
    }
    println!("{flips} flips were found");
    assert!(flips > 300);
}

#[test]
fn every_byte_of_every_row_counts() {
    let (_folder, path) = folder();
    full_store(&path);
    let original = Original::new(&path);
    let mut random = Random(setting("REWIRE_SEED", 1));
    let (mut flips, mut tables) = (0, 0);
    for table in original.tables() {
        let places = original.places(&table);
        tables += usize::from(!places.is_empty());
        for place in places {
            for byte in 0..place.bytes() {
                let mask = 1 << random.below(8);
                let Some(error) = verify_flipped(&original, &place, byte, mask) else {
                    continue;
                };
                flips += 1;
                let known = matches!(
                    error,
                    Error::DigestMismatch {
                        revision: 3,
                        row: Some(_),
                        ..
                    } | Error::Damaged { .. }
                );
                assert!(known, "{place}, byte {byte} ^ {mask:#04x}: {error:?}");
            }
        }
    }
    println!("{flips} flips in the rows of {tables} tables were found");
    assert!(tables >= 12, "only {tables} tables have rows");
}

/// One byte of the file itself. Most bytes are of no account (free space, and what is not covered); where verification says that all is in
/// order, it must be.
#[test]
fn no_byte_of_the_file_makes_verification_lie() {
    let (_folder, path) = folder();
    full_store(&path);
    let whole = std::fs::read(&path).unwrap();
    let truth = World::of(&path).unwrap();
    let configuration = Store::open(&path).unwrap().configuration().unwrap();
    let mut random = Random(setting("REWIRE_SEED", 1));
    let flips = setting("REWIRE_FLIPS", 800);
    let (mut found, mut lies) = (0, Vec::new());
    let scratch = scratch();
    let copy = scratch.path().join("gateway.db");
    let offsets: Vec<usize> = if flips == 0 {
        (0..whole.len()).collect()
    } else {
        // Where there is something, as a rule.
        let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
        (0..flips)
            .map(|_| match random.below(8) {
                0 => random.below(whole.len()),
                _ => used[random.below(used.len())],
            })
            .collect()
    };
    for offset in &offsets {
        let mask = 1 << random.below(8);
        let mut bytes = whole.clone();
        bytes[*offset] ^= mask;
        std::fs::write(&copy, &bytes).unwrap();
        match World::of(&copy) {
            Err(_) => found += 1,
            Ok(world) => {
                let rows = Store::open(&copy).unwrap().configuration().unwrap();
                if world != truth || rows != configuration {
                    lies.push((*offset, mask));
                }
            }
        }
    }
    println!("{found} of {} flips were found", offsets.len());
    assert!(lies.is_empty(), "{} lies: {lies:?}", lies.len());
}

fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => otherwise,
    }
}
