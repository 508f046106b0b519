//! Who made a row what it is. `verbs.rs` compares it with a look at every revision of random histories.

mod common;

use common::*;
use proptest::prelude::*;
use proptest::sample::Index;
use rewire_configdb::{LogQuery, Store, Touching};
use rewire_schema::{Change, Changeset, Row, RowKey, Table, Value, testing};

fn wan(port: &str, mtu: u16) -> Row {
    let Row::Interface(mut row) = interface("wan", "blue", port) else {
        unreachable!()
    };
    row.mtu = mtu;
    Row::Interface(row)
}

fn change(changes: impl IntoIterator<Item = Change>) -> Changeset {
    changes.into_iter().collect()
}

fn of(store: &Store, row: &Row, field: &str) -> Option<u64> {
    let blame = store.blame(&[row.row_key()]).unwrap().remove(0);
    let (_, since) = blame
        .fields
        .iter()
        .find(|(name, _)| *name == field)
        .unwrap();
    *since
}

/// Five revisions: two rows, a port, an MTU, something else, and back to the second.
fn history() -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    commit(
        &mut store,
        &insert([vpc("blue", None), wan("null:a", 1500)]),
    )
    .unwrap();
    commit(
        &mut store,
        &change([update(wan("null:a", 1500), wan("null:b", 1500))]),
    )
    .unwrap();
    commit(
        &mut store,
        &change([update(wan("null:b", 1500), wan("null:b", 9000))]),
    )
    .unwrap();
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    (folder, store)
}

#[test]
fn each_field_has_its_own_revision() {
    let (_folder, mut store) = history();
    let row = wan("null:b", 9000);
    let blame = store.blame(&[row.row_key()]).unwrap().remove(0);
    assert_eq!((blame.key, blame.created), (row.row_key(), Some(1)));
    for (field, since) in [
        ("vpc", 1),
        ("port", 2),
        ("mtu", 3),
        ("description", 1),
        ("annotation", 1),
    ] {
        assert_eq!(of(&store, &row, field), Some(since), "{field}");
    }
    // Going back makes a revision, and that is it.
    rewind(&mut store, 2).unwrap();
    assert_eq!(of(&store, &row, "mtu"), Some(5));
    assert_eq!(of(&store, &row, "port"), Some(2));
    // Who removes a row and makes it again has made all of it.
    commit(&mut store, &change([Change::Delete(wan("null:b", 1500))])).unwrap();
    assert_eq!(store.blame(&[row.row_key()]).unwrap(), []);
    commit(&mut store, &insert([row.clone()])).unwrap();
    assert_eq!(
        (of(&store, &row, "port"), of(&store, &row, "vpc")),
        (Some(7), Some(7))
    );
}

#[test]
fn many_rows_are_answered_in_the_order_of_the_question() {
    let (_folder, store) = history();
    let keys = ["red", "absent", "blue"].map(|name| vpc(name, None).row_key());
    let blames = store.blame(&keys).unwrap();
    let found: Vec<_> = blames
        .iter()
        .map(|blame| (&blame.key, blame.created))
        .collect();
    assert_eq!(found, [(&keys[0], Some(4)), (&keys[2], Some(1))]);
    assert_eq!(store.blame(&[]).unwrap(), []);
}

#[test]
fn the_log_of_a_row_is_what_touched_it() {
    let (_folder, mut store) = history();
    rewind(&mut store, 2).unwrap();
    let keys = [wan("null:a", 1500).row_key()];
    let revisions = |store: &Store, query: LogQuery<'_>| -> Vec<u64> {
        let entries = store.log(query).unwrap();
        entries.iter().map(|entry| entry.revision).collect()
    };
    let all = LogQuery {
        touching: Some(Touching::Rows(&keys)),
        ..LogQuery::last(10)
    };
    assert_eq!(revisions(&store, all), [5, 3, 2, 1]);
    assert_eq!(revisions(&store, LogQuery { limit: 2, ..all }), [5, 3]);
    assert_eq!(
        revisions(
            &store,
            LogQuery {
                before: Some(3),
                ..all
            }
        ),
        [2, 1]
    );
    assert_eq!(
        revisions(
            &store,
            LogQuery {
                before: Some(0),
                ..all
            }
        ),
        [0; 0]
    );
    assert_eq!(revisions(&store, LogQuery { limit: 0, ..all }), [0; 0]);
    assert_eq!(
        revisions(
            &store,
            LogQuery {
                touching: Some(Touching::Rows(&[])),
                ..all
            }
        ),
        [0; 0]
    );
    assert_eq!(
        revisions(
            &store,
            LogQuery {
                before: Some(4),
                ..LogQuery::last(2)
            }
        ),
        [3, 2]
    );
    assert_eq!(
        revisions(
            &store,
            LogQuery {
                before: Some(u64::MAX),
                ..LogQuery::last(1)
            }
        ),
        [5]
    );
}

/// The oracle: decode every changeset, and look at the key of each row.
fn revisions_below(store: &Store, tables: &[Table], key_prefix: &[Value]) -> Vec<u64> {
    let is_below =
        |key: RowKey| tables.contains(&key.table()) && key.values().starts_with(key_prefix);
    let revisions = (1..=store.head().unwrap()).rev();
    let touched = revisions.filter(|revision| {
        let changeset = store.entry(*revision).unwrap().decode_changeset().unwrap();
        changeset
            .iter()
            .any(|change| is_below(change.row().row_key()))
    });
    touched.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_log_of_an_object_is_what_touched_it_or_its_parts(
        states in prop::collection::vec(testing::configuration(), 1..8),
        places in prop::collection::vec((any::<Index>(), any::<Index>()), 12),
        before in any::<Index>(),
        limit in 0usize..9,
    ) {
        let (_folder, path) = folder();
        let mut store = Store::create(path).unwrap();
        for state in &states {
            commit_target(&mut store, state).unwrap();
        }
        let before = before.index(states.len() + 2) as u64;
        let keys: Vec<RowKey> = states.iter().flat_map(|state| state.rows()).map(|row| row.row_key()).collect();
        for (row, length) in places {
            if keys.is_empty() {
                break;
            }
            let key = row.get(&keys);
            let values = key.values();
            let key_prefix = &values[..length.index(values.len() + 1)];
            for tables in [Table::ALL, &[key.table()], &[]] {
                let touching = Some(Touching::Below { tables, key_prefix });
                let revisions = |query: LogQuery<'_>| -> Vec<u64> {
                    let entries = store.log(LogQuery { touching, ..query }).unwrap();
                    entries.iter().map(|entry| entry.revision).collect()
                };
                let mut expected = revisions_below(&store, tables, key_prefix);
                prop_assert_eq!(revisions(LogQuery::last(usize::MAX)), &expected[..]);
                expected.retain(|revision| *revision < before);
                expected.truncate(limit);
                let query = LogQuery { before: Some(before), ..LogQuery::last(limit) };
                prop_assert_eq!(revisions(query), expected);
            }
        }
    }

    #[test]
    fn the_last_changes_of_groups_are_the_first_of_their_logs(
        states in prop::collection::vec(testing::configuration(), 1..8),
        groups in prop::collection::vec(prop::collection::vec(any::<Index>(), 0..4), 0..6),
        before in any::<Index>(),
    ) {
        let (_folder, path) = folder();
        let mut store = Store::create(path).unwrap();
        for state in &states {
            commit_target(&mut store, state).unwrap();
        }
        let mut keys: Vec<RowKey> = states.iter().flat_map(|state| state.rows()).map(|row| row.row_key()).collect();
        keys.push(vpc("never", None).row_key());
        let groups: Vec<Vec<RowKey>> = groups.iter().map(|group| group.iter().map(|row| row.get(&keys).clone()).collect()).collect();
        let revision = before.index(states.len() + 2) as u64;
        let expected: Vec<_> = groups.iter().map(|group| {
            let query = LogQuery { before: Some(revision + 1), limit: 1, touching: Some(Touching::Rows(group)) };
            store.log(query).unwrap().into_iter().next()
        }).collect();
        prop_assert_eq!(store.last_changes(revision, &groups).unwrap(), expected);
    }
}
