//! Random interleavings of everything that an administrator can do, against a sequential model: a list of configurations.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::*;
use proptest::prelude::*;
use proptest::sample::Index;
use rewire_configdb::{
    CommitRequest, EntryKind, Error, LogQuery, Needed, Settled, StateDigest, Store, Unchecked,
};
use rewire_schema::merge::rebase;
use rewire_schema::{Changeset, Configuration, Row, testing};

#[derive(Clone, Debug)]
enum Step {
    /// Edits of some revision, committed on the last one.
    Commit {
        base: Index,
        rows: Vec<Row>,
        gone: Vec<Index>,
        merge: bool,
        confirm: Option<u64>,
    },
    Rewind(Index),
    Revert(Index),
    Confirm,
    Rearm(u64),
    Schedule {
        base: Index,
        rows: Vec<Row>,
        after: u64,
        confirm: Option<u64>,
    },
    Cancel(Index),
    /// Time passes, and what is due happens.
    Settle(u64),
    Tag(u8, Index),
    Untag(u8),
    Prune(Index, bool),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = || proptest::collection::vec(testing::row(), 1..6);
    let confirm = || proptest::option::weighted(0.3, 1..20u64);
    prop_oneof![
        8 => (any::<Index>(), rows(), proptest::collection::vec(any::<Index>(), 0..3), any::<bool>(), confirm())
            .prop_map(|(base, rows, gone, merge, confirm)| Step::Commit { base, rows, gone, merge, confirm }),
        2 => any::<Index>().prop_map(Step::Rewind),
        3 => any::<Index>().prop_map(Step::Revert),
        1 => Just(Step::Confirm),
        1 => (1..20u64).prop_map(Step::Rearm),
        3 => (any::<Index>(), rows(), 0..30u64, confirm())
            .prop_map(|(base, rows, after, confirm)| Step::Schedule { base, rows, after, confirm }),
        1 => any::<Index>().prop_map(Step::Cancel),
        4 => (0..15u64).prop_map(Step::Settle),
        1 => (0..4u8, any::<Index>()).prop_map(|(name, index)| Step::Tag(name, index)),
        1 => (0..4u8).prop_map(Step::Untag),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(index, force)| Step::Prune(index, force)),
        1 => Just(Step::Reopen),
    ]
}

/// A commit that waits for its confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pending {
    revision: u64,
    back_to: u64,
    deadline: i64,
}

#[derive(Clone, Debug)]
struct Waiting {
    at: i64,
    base: u64,
    changeset: Changeset,
    confirm: Option<u64>,
    failed: bool,
}

/// What the store should be.
struct Model {
    /// The state of each revision; those before the floor are only remembered.
    states: Vec<Configuration>,
    kinds: Vec<EntryKind>,
    floor: u64,
    pending: Option<Pending>,
    scheduled: BTreeMap<u64, Waiting>,
    last_scheduled: u64,
    tags: BTreeMap<String, u64>,
    clock: Clock,
}

impl Model {
    fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn current(&self) -> &Configuration {
        self.states.last().unwrap()
    }

    fn state(&self, revision: u64) -> &Configuration {
        &self.states[revision as usize]
    }

    /// A revision whose state can be told.
    fn pick(&self, index: Index) -> u64 {
        self.floor + index.index((self.head() - self.floor + 1) as usize) as u64
    }

    fn push(&mut self, state: Configuration, kind: EntryKind, confirm: Option<u64>) {
        let before = self.head();
        self.states.push(state);
        self.kinds.push(kind);
        self.pending = confirm.map(|seconds| Pending {
            revision: before + 1,
            back_to: self.pending.map_or(before, |pending| pending.back_to),
            deadline: self.clock.now() + seconds as i64 * 1_000_000,
        });
    }

    /// The state that a changeset on `base` leads to, by merging whole configurations; none where that is a conflict.
    fn merged(&self, base: u64, changeset: &Changeset) -> Option<Configuration> {
        let theirs = Changeset::between(self.state(base), self.current());
        let rebased = rebase(changeset, &theirs).ok()?;
        let mut merged = self.current().clone();
        merged.apply(&rebased).unwrap();
        Some(merged)
    }

    /// What becomes of a changeset, and what the store may say about it.
    fn expect(&self, base: u64, changeset: &Changeset, merge: bool) -> Expected {
        if changeset.is_empty() {
            return Expected::Nothing;
        }
        if base < self.head() && !merge {
            return Expected::Stale;
        }
        match self.merged(base, changeset) {
            None => Expected::Conflict,
            Some(merged) if merged == *self.current() => Expected::Nothing,
            Some(merged) if testing::consistent(&merged) != merged => {
                Expected::Inconsistent(merged)
            }
            Some(merged) => Expected::State(merged),
        }
    }

    /// What is due at this moment, in order: as [`Settled`] says it, shortened.
    fn settle(&mut self) -> Vec<String> {
        let mut settled = Vec::new();
        loop {
            let now = self.clock.now();
            if let Some(pending) = self.pending {
                if pending.deadline > now {
                    return settled;
                }
                let state = self.state(pending.back_to).clone();
                let went = state != *self.current();
                if went {
                    let to = pending.back_to;
                    self.push(state, EntryKind::Rewind { to }, None);
                }
                self.pending = None;
                settled.push(format!("back to {} {went}", pending.back_to));
                continue;
            }
            let due = self
                .scheduled
                .iter()
                .filter(|(_, waiting)| !waiting.failed && waiting.at <= now)
                .min_by_key(|(id, waiting)| (waiting.at, **id));
            let Some((id, waiting)) = due.map(|(id, waiting)| (*id, waiting.clone())) else {
                return settled;
            };
            let outcome = match waiting.base < self.floor {
                true => Expected::Conflict,
                false => self.expect(waiting.base, &waiting.changeset, true),
            };
            match outcome {
                Expected::State(state) => {
                    self.push(state, EntryKind::Commit, waiting.confirm);
                    self.scheduled.remove(&id);
                    settled.push(format!("committed {id}"));
                }
                Expected::Inconsistent(state) if tolerated(&state) => {
                    self.push(state, EntryKind::Commit, waiting.confirm);
                    self.scheduled.remove(&id);
                    settled.push(format!("committed {id}"));
                }
                _ => {
                    self.scheduled.get_mut(&id).unwrap().failed = true;
                    settled.push(format!("refused {id}"));
                }
            }
        }
    }
}

enum Expected {
    Nothing,
    Stale,
    Conflict,
    /// Merged, but not what the test's own rules take; the database may know fewer.
    Inconsistent(Configuration),
    State(Configuration),
}

/// Whether the database takes a state: asked of a store of its own.
fn tolerated(state: &Configuration) -> bool {
    let (_folder, path) = folder_in_memory();
    let mut store = Store::create(path).unwrap();
    commit_target(&mut store, state).is_ok()
}

struct Run {
    model: Model,
    store: Store,
    path: PathBuf,
    clock: Clock,
}

impl Run {
    fn new(path: &Path) -> Run {
        let clock = Clock::default();
        clock.set(1_700_000_000_000_000);
        Run {
            model: Model {
                states: vec![Configuration::default()],
                kinds: Vec::new(),
                floor: 0,
                pending: None,
                scheduled: BTreeMap::new(),
                last_scheduled: 0,
                tags: BTreeMap::new(),
                clock: clock.clone(),
            },
            store: clock.create(path),
            path: path.to_owned(),
            clock,
        }
    }

    fn edits(&self, base: u64, rows: Vec<Row>, gone: &[Index]) -> Changeset {
        let before = self.model.state(base);
        let mut target = before.clone();
        for index in gone {
            let rows: Vec<Row> = target.rows().collect();
            if !rows.is_empty() {
                target.remove(index.get(&rows));
            }
        }
        rows.into_iter().for_each(|row| drop(target.insert(row)));
        Changeset::between(before, &testing::consistent(&target))
    }

    fn commit(
        &mut self,
        base: u64,
        changeset: &Changeset,
        kind: EntryKind,
        merge: bool,
        confirm: Option<u64>,
    ) {
        let request = CommitRequest {
            kind,
            merge,
            confirm: confirm.map(Duration::from_secs),
            ..CommitRequest::new(base, changeset, "ada", "a test")
        };
        let expected = self.model.expect(base, changeset, merge);
        let head = self.model.head();
        let result = self.store.commit(request, &mut Unchecked);
        match (expected, result) {
            (Expected::Nothing, Err(Error::NothingToCommit))
            | (Expected::Stale, Err(Error::StaleCandidate { .. }))
            | (
                Expected::Inconsistent(_),
                Err(Error::Dangling(_) | Error::Duplicate { .. } | Error::Check { .. }),
            ) => {}
            (Expected::Conflict, Err(Error::Conflicts(conflicts))) => {
                // Somebody after the base is to blame, and really touched that row.
                for conflict in conflicts {
                    let Some(revision) = conflict.revision else {
                        continue;
                    };
                    assert!(revision > base && revision <= head);
                    let changed = self
                        .store
                        .entry(revision)
                        .unwrap()
                        .decode_changeset()
                        .unwrap();
                    assert!(changed.get(&conflict.conflict.key).is_some());
                }
            }
            (Expected::State(state) | Expected::Inconsistent(state), Ok(committed)) => {
                assert_eq!(committed.revision, head + 1);
                assert_eq!(committed.state_digest, StateDigest::of(&state));
                assert_eq!(committed.merged, (base < head).then_some(base + 1..=head));
                let really = committed.rebased.as_ref().unwrap_or(changeset);
                assert_eq!(*really, Changeset::between(self.model.current(), &state));
                self.model.push(state, kind, confirm);
                assert_eq!(
                    committed.deadline,
                    self.model.pending.map(|pending| pending.deadline)
                );
            }
            (_, result) => panic!("{result:?}"),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Commit {
                base,
                rows,
                gone,
                merge,
                confirm,
            } => {
                let base = self.model.pick(base);
                let changeset = self.edits(base, rows, &gone);
                self.commit(base, &changeset, EntryKind::Commit, merge, confirm);
            }
            Step::Rewind(index) => {
                let to = self.model.pick(index);
                let state = self.model.state(to).clone();
                let changeset = self.store.rewind_changeset(to).unwrap();
                assert_eq!(changeset, Changeset::between(self.model.current(), &state));
                let head = self.model.head();
                self.commit(head, &changeset, EntryKind::Rewind { to }, false, None);
            }
            Step::Revert(index) => self.revert(index),
            Step::Confirm => match (self.store.confirm(), self.model.pending.take()) {
                (Ok(confirmed), Some(pending)) => assert_eq!(confirmed.revision, pending.revision),
                (Err(Error::NothingToConfirm), None) => {}
                other => panic!("{other:?}"),
            },
            Step::Rearm(seconds) => {
                let result = self.store.rearm_confirmation(Duration::from_secs(seconds));
                match (result, &mut self.model.pending) {
                    (Ok(_), Some(pending)) => {
                        pending.deadline = self.clock.now() + seconds as i64 * 1_000_000;
                    }
                    (Err(Error::NothingToConfirm), None) => {}
                    other => panic!("{other:?}"),
                }
            }
            Step::Schedule {
                base,
                rows,
                after,
                confirm,
            } => {
                let base = self.model.pick(base);
                let changeset = self.edits(base, rows, &[]);
                let at = self.clock.now() + after as i64 * 1_000_000;
                let request = CommitRequest {
                    confirm: confirm.map(Duration::from_secs),
                    ..CommitRequest::new(base, &changeset, "grace", "later")
                };
                match self.store.schedule(request, at) {
                    Err(Error::NothingToCommit) => assert!(changeset.is_empty()),
                    result => {
                        self.model.last_scheduled += 1;
                        assert_eq!(result.unwrap(), self.model.last_scheduled);
                        let waiting = Waiting {
                            at,
                            base,
                            changeset,
                            confirm,
                            failed: false,
                        };
                        self.model
                            .scheduled
                            .insert(self.model.last_scheduled, waiting);
                    }
                }
            }
            Step::Cancel(index) => {
                let id = index.index(self.model.last_scheduled as usize + 2) as u64;
                match (self.store.cancel(id), self.model.scheduled.remove(&id)) {
                    (Ok(cancelled), Some(_)) => assert_eq!(cancelled.id, id),
                    (Err(Error::NoSuchSchedule { .. }), None) => {}
                    other => panic!("{other:?}"),
                }
            }
            Step::Settle(seconds) => {
                self.clock.advance(Duration::from_secs(seconds));
                let settled = self.store.settle(&mut Unchecked).unwrap();
                let said: Vec<String> = settled.iter().map(in_short).collect();
                assert_eq!(said, self.model.settle());
            }
            Step::Tag(name, index) => {
                let (name, revision) = (format!("tag-{name}"), self.model.pick(index));
                match self.store.tag(&name, revision, "ada") {
                    Ok(()) => assert_eq!(self.model.tags.insert(name, revision), None),
                    Err(Error::TagExists { revision, .. }) => {
                        assert_eq!(self.model.tags.get(&name), Some(&revision));
                    }
                    Err(error) => panic!("{error:?}"),
                }
            }
            Step::Untag(name) => {
                let name = format!("tag-{name}");
                let removed = self.store.untag(&name).unwrap();
                assert_eq!(
                    removed.map(|tag| tag.revision),
                    self.model.tags.remove(&name)
                );
            }
            Step::Prune(index, force) => self.prune(index, force),
            Step::Reopen => self.store = self.clock.open(&self.path),
        }
    }

    fn revert(&mut self, index: Index) {
        let of = self.model.pick(index);
        if of == self.model.floor {
            let error = self.store.revert_changeset(of).unwrap_err();
            assert!(matches!(
                error,
                Error::Pruned { .. } | Error::NoSuchRevision { .. }
            ));
            return;
        }
        let (before, after) = (self.model.state(of - 1), self.model.state(of));
        let inverse = Changeset::between(after, before);
        let theirs = Changeset::between(after, self.model.current());
        match (self.store.revert_changeset(of), rebase(&inverse, &theirs)) {
            (Ok(changeset), Ok(expected)) => {
                assert_eq!(changeset, expected);
                let head = self.model.head();
                self.commit(head, &changeset, EntryKind::Revert { of }, false, None);
            }
            (Err(Error::RevertConflict { revision, depends }), Err(conflicts)) => {
                assert_eq!(revision, of);
                let found: Vec<_> = depends.into_iter().map(|one| one.conflict).collect();
                assert_eq!(found, conflicts);
            }
            other => panic!("{other:?}"),
        }
    }

    fn prune(&mut self, index: Index, force: bool) {
        let up_to = self.model.pick(index);
        let model = &mut self.model;
        let (head, floor) = (model.head(), model.floor);
        let result = self.store.prune(up_to, force);
        let first_tag = model.tags.values().any(|revision| *revision <= up_to);
        match result {
            Ok(pruned) => {
                assert!(up_to < head || up_to == floor);
                pruned.compacted.unwrap();
                if up_to > floor {
                    assert!(model.pending.is_none_or(|pending| up_to <= pending.back_to));
                    assert!(force || !first_tag);
                    model.tags.retain(|_, revision| *revision >= up_to);
                    model.floor = up_to;
                }
                assert_eq!(pruned.entries, up_to - floor);
            }
            Err(Error::StillNeeded { why, .. }) => match why {
                Needed::Last { .. } => assert_eq!(up_to, head),
                Needed::Tag { .. } => assert!(!force && first_tag),
                Needed::Confirmation { back_to } => {
                    assert_eq!(back_to, model.pending.unwrap().back_to);
                    assert!(back_to < up_to);
                }
            },
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Compares everything.
    fn check(&self) {
        let Run { model, store, .. } = self;
        let head = model.head();
        assert_eq!(store.head().unwrap(), head);
        assert_eq!(store.configuration().unwrap(), *model.current());
        for revision in 0..=head {
            match store.configuration_at(revision) {
                Ok(state) => assert_eq!(state, *model.state(revision)),
                Err(Error::Pruned { floor, .. }) => {
                    assert!(revision < floor && floor == model.floor)
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        let kinds: Vec<EntryKind> = store
            .log(LogQuery::last(usize::MAX))
            .unwrap()
            .iter()
            .rev()
            .map(|entry| entry.kind)
            .collect();
        assert_eq!(kinds, model.kinds[model.floor as usize..]);
        let pending = store
            .pending_confirmation()
            .unwrap()
            .map(|pending| Pending {
                revision: pending.revision,
                back_to: pending.back_to,
                deadline: pending.deadline,
            });
        assert_eq!(pending, model.pending);
        let scheduled: BTreeMap<u64, (i64, bool)> = store
            .scheduled()
            .unwrap()
            .into_iter()
            .map(|one| (one.id, (one.at, one.failed.is_some())))
            .collect();
        let expected: BTreeMap<u64, (i64, bool)> = model
            .scheduled
            .iter()
            .map(|(id, waiting)| (*id, (waiting.at, waiting.failed)))
            .collect();
        assert_eq!(scheduled, expected);
        let tags: BTreeMap<String, u64> = store
            .tags()
            .unwrap()
            .into_iter()
            .map(|tag| (tag.name, tag.revision))
            .collect();
        assert_eq!(tags, model.tags);
        let verified = store.verify().unwrap();
        assert_eq!(
            (verified.revisions, verified.floor, verified.rows),
            (head, model.floor, model.current().len())
        );
        self.check_blame();
    }

    /// Each field's blame, against a look at every revision.
    fn check_blame(&self) {
        let Run { model, store, .. } = self;
        let keys: Vec<_> = model.current().rows().map(|row| row.row_key()).collect();
        let blames = store.blame(&keys).unwrap();
        assert_eq!(blames.len(), keys.len());
        for (row, blame) in model.current().rows().zip(blames) {
            assert_eq!(blame.key, row.row_key());
            assert_eq!(blame.created, self.introduced(&row, &|_| true));
            let columns = row.table().definition().columns;
            for (name, revision) in blame.fields {
                let place = columns
                    .iter()
                    .position(|column| column.name == name)
                    .unwrap();
                let value = row.values()[place].clone();
                let same = move |then: &Row| then.values()[place] == value;
                assert_eq!(
                    revision,
                    self.introduced(&row, &same),
                    "{} {name}",
                    row.path()
                );
            }
        }
    }

    /// The revision from which on a row was there without a break and as `same` says; none where that is the floor.
    fn introduced(&self, row: &Row, same: &dyn Fn(&Row) -> bool) -> Option<u64> {
        let model = &self.model;
        let mut first = model.head();
        while first > model.floor {
            match model.state(first - 1).get(row) {
                Some(then) if same(&then) => first -= 1,
                _ => return Some(first),
            }
        }
        None
    }
}

fn in_short(settled: &Settled) -> String {
    match settled {
        Settled::WentBack { to, committed, .. } => format!("back to {to} {}", committed.is_some()),
        Settled::Committed { scheduled, .. } => format!("committed {}", scheduled.id),
        Settled::Refused { scheduled } => {
            assert!(scheduled.failed.is_some());
            format!("refused {}", scheduled.id)
        }
    }
}

/// `REWIRE_HISTORIES` sets how many random histories are tried.
fn cases() -> u32 {
    let set = std::env::var("REWIRE_HISTORIES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn whatever_is_done_the_store_is_what_the_model_says(steps in proptest::collection::vec(step(), 1..30)) {
        let (_folder, path) = folder_in_memory();
        let mut run = Run::new(&path);
        for step in steps {
            run.step(step);
        }
        run.check();
    }
}
