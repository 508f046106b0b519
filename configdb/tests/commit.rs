//! Commits: what goes through, what is refused and how it is said, and what a refusal leaves behind.

mod common;

use std::time::Duration;

use common::*;
use rewire_configdb::{
    Checked, Checker, CommitRequest, EntryKind, Error, LogQuery, StateReader, Store, Unchecked,
};
use rewire_schema::state::referring;
use rewire_schema::{Change, Changeset, Configuration, Row, Table, Value};

fn store_with(rows: impl IntoIterator<Item = Row>) -> (tempfile::TempDir, Store) {
    let (folder, path) = folder();
    let mut store = Store::create(path)
        .unwrap()
        .with_clock(|| 1_700_000_000_000_000);
    commit(&mut store, &insert(rows)).unwrap();
    (folder, store)
}

fn check(store: &mut Store, base: u64, changeset: &Changeset) -> Result<Checked, Error> {
    let request = CommitRequest::new(base, changeset, "ada", "a test");
    store.check(request, &mut Unchecked)
}

/// Expects that `changeset` is refused and changes nothing; gives the error.
fn refused(store: &mut Store, changeset: &Changeset) -> Error {
    let before = (store.head().unwrap(), store.configuration().unwrap());
    let error = commit(store, changeset).unwrap_err();
    assert_eq!(
        (store.head().unwrap(), store.configuration().unwrap()),
        before
    );
    store.verify().unwrap();
    // A check says the same, and the next commit works.
    let base = before.0;
    assert_eq!(
        text(&check(store, base, changeset).unwrap_err()),
        text(&error)
    );
    commit(store, &insert([vpc("next", None)])).unwrap();
    rewind(store, base).unwrap();
    error
}

#[test]
fn a_commit_is_there_after_reopening() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap().with_clock(|| 42);
    let rows = [
        vpc("blue", Some("a b")),
        interface("wan", "blue", "null:a"),
        route("blue", "10.0.0.0/8"),
    ];
    let committed = commit(&mut store, &insert(rows.clone())).unwrap();
    assert_eq!(committed.revision, 1);
    let expected = store.configuration().unwrap();
    assert_eq!(expected.rows().collect::<Vec<_>>(), rows);
    drop(store);

    let store = Store::open(&path).unwrap();
    assert_eq!(store.head().unwrap(), 1);
    assert_eq!(store.configuration().unwrap(), expected);
    let entry = store.entry(1).unwrap();
    let log = store.log(LogQuery::last(5)).unwrap();
    assert_eq!(log.len(), 1);
    assert_eq!(
        (log[0].hash, log[0].counts.inserted, log[0].counts.total()),
        (entry.hash, 3, 3)
    );
    assert_eq!(entry.hash, committed.hash);
    assert_eq!(entry.hash, entry.compute_hash());
    assert_eq!(entry.state_digest, committed.state_digest);
    assert_eq!(
        (
            entry.author.as_str(),
            entry.message.as_str(),
            entry.committed_at
        ),
        ("ada", "a test", 42)
    );
    assert_eq!(entry.kind, EntryKind::Commit);
    assert_eq!(store.changesets_since(0).unwrap(), [(1, insert(rows))]);
    assert!(store.changesets_since(1).unwrap().is_empty());
    assert!(matches!(
        store.changesets_since(2),
        Err(Error::NoSuchRevision {
            revision: 2,
            head: 1
        })
    ));
    assert!(matches!(
        store.entry(2),
        Err(Error::NoSuchRevision {
            revision: 2,
            head: 1
        })
    ));
    assert!(matches!(
        store.entry(u64::MAX),
        Err(Error::NoSuchRevision { .. })
    ));
    assert_eq!(store.verify().unwrap().rows, 3);
}

#[test]
fn nothing_is_no_commit() {
    let (_folder, mut store) = store_with([vpc("blue", None)]);
    assert!(matches!(
        commit(&mut store, &Changeset::default()),
        Err(Error::NothingToCommit)
    ));
    assert_eq!(store.head().unwrap(), 1);
}

#[test]
fn references_that_lead_nowhere_are_named() {
    let (_folder, mut store) = store_with([
        vpc("blue", None),
        interface("wan", "blue", "null:a"),
        route("blue", "10.0.0.0/8"),
        next_hop("blue", "10.0.0.0/8", "wan"),
    ]);
    let error = refused(&mut store, &insert([interface("lan", "red", "null:b")]));
    insta::assert_snapshot!(text(&error), @r#"interfaces.lan.vpc: interface lan belongs to VPC red, which does not exist"#);

    let error = refused(&mut store, &insert([next_hop("blue", "0.0.0.0/0", "wan")]));
    insta::assert_snapshot!(
        text(&error),
        @r#"vpcs.blue.routes.0.0.0.0/0.next_hops[0]: route next hop blue/0.0.0.0/0/0 is part of route blue/0.0.0.0/0, which does not exist"#
    );

    // What refers to a row that goes is named too, wherever it stands.
    let gone = [Change::Delete(vpc("blue", None))].into_iter().collect();
    let error = refused(&mut store, &gone);
    insta::assert_snapshot!(
        text(&error),
        @r#"interfaces.wan.vpc: interface wan belongs to VPC blue, which this commit deletes; vpcs.blue.routes.10.0.0.0/8: route blue/10.0.0.0/8 belongs to VPC blue, which this commit deletes"#
    );
}

#[test]
fn values_that_are_taken_are_named_with_their_owner() {
    let (_folder, mut store) = store_with([vpc("blue", None), interface("wan", "blue", "null:a")]);
    let error = refused(&mut store, &insert([interface("lan", "blue", "null:a")]));
    insta::assert_snapshot!(text(&error), @"interfaces.lan: port is already taken by interfaces.wan");
}

#[test]
fn values_out_of_range_are_named() {
    let (_folder, mut store) = store_with([vpc("blue", None)]);
    let Row::Interface(mut row) = interface("wan", "blue", "null:a") else {
        unreachable!()
    };
    row.mtu = 9001;
    let error = refused(&mut store, &insert([Row::Interface(row)]));
    insta::assert_snapshot!(text(&error), @"interfaces.wan: the database refuses the value: mtu BETWEEN 576 AND 9000");
}

#[test]
fn rows_that_are_not_as_the_changeset_says_are_refused() {
    let (_folder, mut store) = store_with([vpc("blue", Some("old")), vpc("red", None)]);
    let cases: [Changeset; 5] = [
        // It is there already, with other values or the same.
        insert([vpc("blue", None)]),
        insert([vpc("red", None)]),
        // It has other values, or none where some are expected.
        [update(vpc("blue", Some("other")), vpc("blue", Some("new")))]
            .into_iter()
            .collect(),
        [Change::Delete(vpc("red", Some("x")))]
            .into_iter()
            .collect(),
        // It is not there at all.
        [Change::Delete(vpc("green", None))].into_iter().collect(),
    ];
    let mut texts = Vec::new();
    for changeset in &cases {
        let expected =
            Configuration::apply(&mut store.configuration().unwrap(), changeset).unwrap_err();
        let error = refused(&mut store, changeset);
        texts.push(text(&error));
        match error {
            Error::Mismatch(mismatch) => assert_eq!(mismatch, expected),
            other => panic!("{other:?}"),
        }
    }
    insta::assert_snapshot!(texts.join("\n"), @r#"
    vpcs.blue exists already
    vpcs.red exists already
    vpcs.blue: description is "old", the change expects "other"
    vpcs.red: description is none, the change expects "x"
    vpcs.green does not exist, the change expects it
    "#);
}

#[test]
fn updates_that_are_none_are_refused() {
    let (_folder, mut store) = store_with([vpc("blue", None), vpc("red", None)]);
    for change in [
        update(vpc("blue", None), vpc("blue", None)),
        update(vpc("blue", None), vpc("green", None)),
    ] {
        let changeset: Changeset = [change].into_iter().collect();
        assert!(matches!(
            refused(&mut store, &changeset),
            Error::Malformed { .. }
        ));
    }
}

#[test]
fn unique_values_may_be_swapped_and_handed_round() {
    let named = |port: &str, name: &str| interface(name, "blue", port);
    let rows = [
        vpc("blue", None),
        named("null:a", "a"),
        named("null:b", "b"),
        named("null:c", "c"),
    ];
    let (_folder, mut store) = store_with(rows);
    let before = store.configuration().unwrap();
    // a and b swap; d takes c's, which c gives up; nothing is free before something else moves.
    let changeset: Changeset = [
        update(named("null:a", "a"), named("null:b", "a")),
        update(named("null:b", "b"), named("null:a", "b")),
        update(named("null:c", "c"), named("null:d", "c")),
        Change::Insert(named("null:c", "d")),
    ]
    .into_iter()
    .collect();
    commit(&mut store, &changeset).unwrap();
    let mut after = before.clone();
    after.apply(&changeset).unwrap();
    assert_eq!(store.configuration().unwrap(), after);
    rewind(&mut store, 1).unwrap();
    assert_eq!(store.configuration().unwrap(), before);
    store.verify().unwrap();
}

/// Looks at everything that a checker can see, and refuses.
struct Looks {
    expected: Configuration,
    seen: u64,
}

impl Checker for Looks {
    fn check(
        &mut self,
        revision: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(state.configuration()?, self.expected);
        for row in self.expected.rows() {
            assert_eq!(state.find(&row.row_key())?, Some(row));
        }
        let blue = vpc("blue", None).row_key();
        let expected = [
            interface("wan", "blue", "null:a"),
            route("blue", "10.0.0.0/8"),
        ];
        assert_eq!(referring(state, &blue)?, expected);
        assert_eq!(state.find(&vpc("red", None).row_key())?, None);
        let routes = state.below(Table::Route, &[Value::Text("blue".into())])?;
        assert_eq!(routes, [route("blue", "10.0.0.0/8")]);
        assert_eq!(state.below(Table::Route, &[])?, routes);
        assert!(
            state
                .below(Table::Vpc, &[Value::Null, Value::Null])?
                .is_empty()
        );
        let of_blue = state.by(Table::Interface, &["vpc"], &[Value::Text("blue".into())])?;
        assert_eq!(of_blue, [interface("wan", "blue", "null:a")]);
        let unnoted = state.by(Table::Vpc, &["description"], &[Value::Null])?;
        assert_eq!(unnoted, [vpc("blue", None)]);
        for (columns, values) in [(&["colour"][..], &[Value::Null][..]), (&["vpc"], &[])] {
            let error = state.by(Table::Interface, columns, values).unwrap_err();
            let error = error.0.downcast_ref::<Error>();
            assert!(matches!(
                error,
                Some(Error::NoSuchColumns {
                    table: "interface",
                    ..
                })
            ));
        }
        assert_eq!(changeset.len(), 1);
        self.seen = revision;
        Err(std::fmt::Error.into())
    }
}

#[test]
fn the_checker_sees_the_next_state_and_its_refusal_comes_back_whole() {
    let rows = [vpc("blue", None), interface("wan", "blue", "null:a")];
    let (_folder, mut store) = store_with(rows);
    let changeset = insert([route("blue", "10.0.0.0/8")]);
    let mut expected = store.configuration().unwrap();
    expected.apply(&changeset).unwrap();
    save_candidate(&mut store, "ada", 1, &changeset, "ada").unwrap();
    let candidate = store.candidate("ada").unwrap();

    let mut looks = Looks {
        expected: expected.clone(),
        seen: 0,
    };
    let request = CommitRequest {
        clear_candidate: Some("ada"),
        ..request(&store, &changeset)
    };
    match store.commit(request, &mut looks) {
        Err(Error::Refused(source)) => assert!(source.is::<std::fmt::Error>()),
        other => panic!("{other:?}"),
    }
    assert_eq!(looks.seen, 2);
    assert_eq!(store.head().unwrap(), 1);
    assert_eq!(store.candidate("ada").unwrap(), candidate);
    check(&mut store, 1, &changeset).unwrap();
    assert_eq!(store.head().unwrap(), 1);
    // The same request goes through, and uses the candidate up.
    store.commit(request, &mut Unchecked).unwrap();
    assert_eq!(store.candidate("ada").unwrap(), None);
    assert_eq!(store.configuration().unwrap(), expected);
}

#[test]
fn of_two_writers_the_second_is_told_that_it_is_late() {
    let (_folder, path) = folder();
    let mut first = Store::create(&path).unwrap();
    let mut second = Store::open(&path).unwrap();
    let version = second.data_version().unwrap();
    assert_eq!(second.data_version().unwrap(), version);
    let (ours, theirs) = (insert([vpc("blue", None)]), insert([vpc("red", None)]));
    let late = request(&second, &theirs);
    commit(&mut first, &ours).unwrap();
    assert_ne!(second.data_version().unwrap(), version);
    assert!(matches!(
        second.commit(late, &mut Unchecked),
        Err(Error::StaleCandidate { base: 0, head: 1 })
    ));
    assert_eq!(second.changesets_since(0).unwrap(), [(1, ours)]);
    commit(&mut second, &theirs).unwrap();
    assert_eq!(first.head().unwrap(), 2);
}

/// While its transaction is checked, tries to commit through another connection.
struct Interferes {
    other: Store,
    outcome: Option<Result<u64, Error>>,
}

impl Checker for Interferes {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(
            self.other.head()?,
            0,
            "a reader sees nothing of an open transaction, and does not wait"
        );
        let changeset = insert([vpc("red", None)]);
        self.outcome =
            Some(commit(&mut self.other, &changeset).map(|committed| committed.revision));
        Ok(())
    }
}

#[test]
fn of_two_writers_at_once_the_second_is_told_that_the_store_is_busy() {
    let (_folder, path) = folder();
    let mut store = Store::create(&path).unwrap();
    let other = Store::open(&path).unwrap();
    other.set_busy_timeout(Duration::ZERO).unwrap();
    let changeset = insert([vpc("blue", None)]);
    let mut interferes = Interferes {
        other,
        outcome: None,
    };
    let request = request(&store, &changeset);
    store.commit(request, &mut interferes).unwrap();
    assert!(matches!(interferes.outcome, Some(Err(Error::Busy))));
    assert_eq!(interferes.other.head().unwrap(), 1);
}

/// Writers that meet wait for each other: one of them is late, none is turned away.
#[test]
fn writers_take_turns() {
    let (_folder, path) = folder();
    drop(Store::create(&path).unwrap());
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let path = &path;
            scope.spawn(move || {
                let mut store = Store::open(path).unwrap();
                store.set_busy_timeout(Duration::from_secs(60)).unwrap();
                for n in 0..20 {
                    let changeset = insert([vpc(&format!("w{writer}-{n}"), None)]);
                    loop {
                        match commit(&mut store, &changeset) {
                            Ok(_) => break,
                            Err(Error::StaleCandidate { base, head }) => assert!(base < head),
                            Err(error) => panic!("{}", text(&error)),
                        }
                    }
                }
            });
        }
    });
    let verified = Store::open(&path).unwrap().verify().unwrap();
    assert_eq!((verified.revisions, verified.rows), (60, 60));
}

#[test]
fn a_rewind_must_come_out_where_it_says() {
    let (_folder, mut store) = store_with([vpc("blue", None)]);
    commit(&mut store, &insert([vpc("red", None)])).unwrap();
    let changeset = store.rewind_changeset(1).unwrap();
    for (to, other) in [(1, &insert([vpc("green", None)])), (0, &changeset)] {
        let request = CommitRequest {
            kind: EntryKind::Rewind { to },
            ..request(&store, other)
        };
        assert!(matches!(
            store.commit(request, &mut Unchecked),
            Err(Error::DigestMismatch { revision, .. }) if revision == to
        ));
    }
    let request = CommitRequest {
        kind: EntryKind::Rewind { to: 3 },
        ..request(&store, &changeset)
    };
    assert!(matches!(
        store.commit(request, &mut Unchecked),
        Err(Error::NoSuchRevision {
            revision: 3,
            head: 2
        })
    ));
    assert!(matches!(
        store.rewind_changeset(3),
        Err(Error::NoSuchRevision {
            revision: 3,
            head: 2
        })
    ));
    assert!(matches!(
        store.configuration_at(3),
        Err(Error::NoSuchRevision { .. })
    ));
    assert!(store.rewind_changeset(2).unwrap().is_empty());
    let committed = rewind(&mut store, 0).unwrap();
    assert_eq!(committed.state_digest, rewire_configdb::StateDigest::EMPTY);
    assert!(store.configuration().unwrap().is_empty());
    assert_eq!(store.entry(3).unwrap().kind, EntryKind::Rewind { to: 0 });
    store.verify().unwrap();
}
