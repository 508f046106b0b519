//! Random histories against a model: a list of configurations.

mod common;

use common::*;
use proptest::prelude::*;
use proptest::sample::Index;
use rewire_configdb::{
    Checker, CommitRequest, EntryKind, Error, LogQuery, StateDigest, StateReader, Store, Unchecked,
    Verified,
};
use rewire_schema::{Change, Changeset, Configuration, testing};

#[derive(Clone, Debug)]
enum Step {
    /// Commits whatever leads to this configuration.
    To(Configuration),
    /// Commits edits of the configuration that is there.
    Edit(Vec<rewire_schema::Row>),
    Rewind(Index),
    /// Commits something that the checker refuses.
    Refused(Configuration),
    /// Takes away one row, whatever refers to it.
    Break(Index),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => testing::configuration().prop_map(Step::To),
        4 => proptest::collection::vec(testing::row(), 1..5).prop_map(Step::Edit),
        3 => any::<Index>().prop_map(Step::Rewind),
        1 => testing::configuration().prop_map(Step::Refused),
        2 => any::<Index>().prop_map(Step::Break),
        1 => Just(Step::Reopen),
    ]
}

struct Refuses;

impl Checker for Refuses {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("no".into())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_revision_is_what_the_model_says(steps in proptest::collection::vec(step(), 1..14)) {
        let (_folder, path) = folder();
        let mut store = Store::create(&path).unwrap();
        let mut model = vec![Configuration::default()];
        for step in steps {
            let head = model.len() as u64 - 1;
            let current = model.last().unwrap().clone();
            match step {
                Step::To(target) => {
                    if commit_target(&mut store, &target).unwrap().is_some() {
                        model.push(target);
                    }
                }
                Step::Edit(rows) => {
                    let mut target = current;
                    rows.into_iter().for_each(|row| drop(target.insert(row)));
                    let target = testing::consistent(&target);
                    if commit_target(&mut store, &target).unwrap().is_some() {
                        model.push(target);
                    }
                }
                Step::Rewind(index) => {
                    let to = index.index(model.len());
                    let changeset = store.rewind_changeset(to as u64).unwrap();
                    prop_assert_eq!(&changeset, &Changeset::between(&current, &model[to]));
                    match rewind(&mut store, to as u64) {
                        Ok(committed) => {
                            model.push(model[to].clone());
                            let kind = EntryKind::Rewind { to: to as u64 };
                            prop_assert_eq!(store.entry(committed.revision).unwrap().kind, kind);
                        }
                        Err(Error::NothingToCommit) => prop_assert_eq!(&model[to], &current),
                        Err(error) => panic!("{}", text(&error)),
                    }
                }
                Step::Refused(target) => {
                    let changeset = Changeset::between(&current, &target);
                    let request = request(&store, &changeset);
                    match store.commit(request, &mut Refuses) {
                        Err(Error::Refused(_)) => {}
                        Err(Error::NothingToCommit) => prop_assert!(changeset.is_empty()),
                        other => panic!("{other:?}"),
                    }
                }
                Step::Break(index) => {
                    let rows: Vec<_> = current.rows().collect();
                    if rows.is_empty() {
                        continue;
                    }
                    let row = index.get(&rows);
                    let mut target = current.clone();
                    target.remove(row);
                    // The oracle drops what refers to the row; if nothing does, the database has no reason to refuse.
                    // (A gap in the numbers of next hops is no matter to the database.)
                    let referred = testing::consistent(&target).len() != target.len();
                    let changeset: Changeset = [Change::Delete(row.clone())].into_iter().collect();
                    match commit(&mut store, &changeset) {
                        Ok(_) => {
                            prop_assert!(!referred || matches!(row, rewire_schema::Row::NextHop(_)));
                            model.push(target);
                        }
                        Err(Error::Dangling(dangling)) => {
                            prop_assert!(referred);
                            prop_assert!(!dangling.is_empty());
                            for one in dangling {
                                prop_assert_eq!(one.target, row.row_key());
                                prop_assert_eq!(current.get(&one.row), Some(one.row));
                            }
                        }
                        Err(error) => panic!("{}", text(&error)),
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(&path).unwrap();
                }
            }
            prop_assert!(store.head().unwrap() >= head);
        }
        let head = model.len() - 1;
        prop_assert_eq!(store.head().unwrap(), head as u64);
        prop_assert_eq!(&store.configuration().unwrap(), &model[head]);
        prop_assert_eq!(store.first_state().unwrap(), 0);
        for (revision, state) in model.iter().enumerate() {
            prop_assert_eq!(&store.configuration_at(revision as u64).unwrap(), state);
            for (other, there) in model.iter().enumerate() {
                let between = store.changeset_between(revision as u64, other as u64).unwrap();
                prop_assert_eq!(&between, &Changeset::between(state, there));
            }
            if revision > 0 {
                let entry = store.entry(revision as u64).unwrap();
                prop_assert_eq!(entry.state_digest, StateDigest::of(state));
            }
        }
        // A follower that starts anywhere comes out at the end.
        let start = head / 2;
        let mut follower = model[start].clone();
        for (_, changeset) in store.changesets_since(start as u64).unwrap() {
            follower.apply(&changeset).unwrap();
        }
        prop_assert_eq!(&follower, &model[head]);
        let verified = Verified { revisions: head as u64, floor: 0, rows: model[head].len() };
        prop_assert_eq!(store.verify().unwrap(), verified);
    }
}

/// More entries than are held in memory at once.
#[test]
fn a_long_history_is_gone_through_whole() {
    let (_folder, path) = folder();
    let mut store = Store::create(path).unwrap();
    let mut before = vpc("blue", Some("0"));
    commit(&mut store, &insert([before.clone()])).unwrap();
    for n in 1..150 {
        let after = vpc("blue", Some(&n.to_string()));
        commit(
            &mut store,
            &[update(before, after.clone())].into_iter().collect(),
        )
        .unwrap();
        before = after;
    }
    assert_eq!(store.verify().unwrap().revisions, 150);
    assert_eq!(store.changesets_since(3).unwrap().len(), 147);
    let revisions: Vec<u64> = store
        .log(LogQuery::last(3))
        .unwrap()
        .iter()
        .map(|entry| entry.revision)
        .collect();
    assert_eq!(revisions, [150, 149, 148]);
    for n in [1, 63, 64, 65, 128, 129, 150] {
        let expected = vpc("blue", Some(&(n - 1).to_string()));
        assert_eq!(
            store
                .configuration_at(n)
                .unwrap()
                .rows()
                .collect::<Vec<_>>(),
            [expected]
        );
    }
    let back = store.rewind_changeset(1).unwrap();
    let request = CommitRequest {
        kind: EntryKind::Rewind { to: 1 },
        ..request(&store, &back)
    };
    store.commit(request, &mut Unchecked).unwrap();
    store.verify().unwrap();
}
