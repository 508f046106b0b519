//! Several administrators with a store each, who take their steps in an order that is given: also in the middle of
//! another one's commit.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rewire_configdb::{
    CandidateEdit, Checker, CommitRequest, EntryKind, Error, LogQuery, StateDigest, StateReader,
    Store, Unchecked,
};
use rewire_schema::{Changeset, Configuration};

use crate::common::insert;
use crate::model::{Edits, Model, change_on};

/// How many administrators there are.
pub(crate) const ADMINISTRATORS: usize = 3;

const NAMES: [&str; 2] = ["candidate", "other"];

/// What an administrator does next.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// Looks at the running state, and begins edits on it.
    Edit(u64),
    /// Commits the edits. Meanwhile, when they are being checked, others do this.
    Commit {
        merge: bool,
        meanwhile: Vec<(usize, Meanwhile)>,
    },
    /// Saves the edits as a candidate, over whatever is there or only over what was there before.
    Save {
        name: usize,
        careful: bool,
    },
    /// Takes a candidate's edits over.
    Load {
        name: usize,
    },
    /// Commits a candidate, which ends with it.
    CommitCandidate {
        name: usize,
        merge: bool,
    },
    /// Moves a candidate onto the last revision.
    Rebase {
        name: usize,
    },
    Discard {
        name: usize,
    },
    /// Goes back, from the revision that was last looked at.
    Rewind(prop::sample::Index),
    /// Closes the store and opens it again.
    Reopen,
}

/// What somebody does in the middle of another one's commit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Meanwhile {
    Look,
    Verify,
    Commit,
    Save,
    Discard,
}

#[derive(Clone, Debug)]
pub(crate) struct Step {
    who: usize,
    action: Action,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let meanwhile = prop_oneof![
        Just(Meanwhile::Look),
        Just(Meanwhile::Verify),
        Just(Meanwhile::Commit),
        Just(Meanwhile::Save),
        Just(Meanwhile::Discard),
    ];
    let meanwhile = prop::collection::vec((0..ADMINISTRATORS - 1, meanwhile), 0..3);
    let action = prop_oneof![
        6 => any::<u64>().prop_map(Action::Edit),
        6 => (any::<bool>(), meanwhile)
            .prop_map(|(merge, meanwhile)| Action::Commit { merge, meanwhile }),
        3 => (name(), any::<bool>()).prop_map(|(name, careful)| Action::Save { name, careful }),
        2 => name().prop_map(|name| Action::Load { name }),
        3 => (name(), any::<bool>())
            .prop_map(|(name, merge)| Action::CommitCandidate { name, merge }),
        1 => name().prop_map(|name| Action::Rebase { name }),
        1 => name().prop_map(|name| Action::Discard { name }),
        2 => any::<prop::sample::Index>().prop_map(Action::Rewind),
        1 => Just(Action::Reopen),
    ];
    (0..ADMINISTRATORS, action).prop_map(|(who, action)| Step { who, action })
}

struct Administrator {
    store: Store,
    /// The last revision when they last looked.
    seen: u64,
    edits: Edits,
    /// The versions of the candidates that they last loaded or saved.
    versions: [u64; NAMES.len()],
}

fn open(path: &Path) -> Store {
    let store = Store::open(path).unwrap().with_clock(|| 0);
    // They take turns: whoever has to wait would wait for ever.
    store.set_busy_timeout(Duration::ZERO).unwrap();
    store
}

/// Takes these steps, and compares the store with the model after each.
pub(crate) fn run(path: &Path, steps: &[Step]) {
    let mut model = Model::new();
    let new = || Administrator {
        store: open(path),
        seen: 0,
        edits: Edits {
            base: 0,
            changeset: Changeset::default(),
        },
        versions: [0; NAMES.len()],
    };
    let mut all: Vec<Administrator> = (0..ADMINISTRATORS).map(|_| new()).collect();
    for Step { who, action } in steps {
        let mut one = all.remove(*who);
        act(&mut model, &mut one, &mut all, action);
        all.insert(*who, one);
        for administrator in &all {
            expect_same(&model, &administrator.store);
        }
    }
    let store = open(path);
    assert_eq!(store.verify().unwrap().revisions, model.head());
    let log = store.log(LogQuery::last(usize::MAX)).unwrap();
    for (entry, state) in log.iter().rev().zip(&model.states[1..]) {
        assert_eq!(entry.state_digest, StateDigest::of(state));
    }
    assert_eq!(log.len() as u64, model.head());
}

fn act(model: &mut Model, one: &mut Administrator, others: &mut [Administrator], action: &Action) {
    let head = model.head();
    match action {
        Action::Edit(seed) => {
            let (seen, state) = one.store.head_and_configuration().unwrap();
            assert_eq!((seen, &state), (head, model.last()));
            one.seen = seen;
            one.edits = Edits {
                base: seen,
                changeset: change_on(&state, *seed),
            };
        }
        Action::Commit { merge, meanwhile } => {
            let mut checker = Interrupted {
                model,
                others,
                meanwhile,
            };
            let request = CommitRequest {
                merge: *merge,
                ..request(&one.edits)
            };
            let result = one.store.commit(request, &mut checker);
            let state = model.commit(&one.edits, *merge).expect(&result);
            model.states.extend(state);
        }
        Action::Save { name, careful } => {
            let now = model.candidates.get(NAMES[*name]);
            let now = now.map_or(0, |(_, version)| *version);
            let edit = CandidateEdit {
                base: one.edits.base,
                changeset: &one.edits.changeset,
                drafts: "",
                author: "ada",
                expected_version: careful.then_some(one.versions[*name]),
            };
            let result = one.store.save_candidate(NAMES[*name], edit);
            if *careful && one.versions[*name] != now {
                assert!(
                    matches!(&result, Err(Error::CandidateChanged { found, .. }) if *found == now),
                    "{result:?}"
                );
            } else {
                let version = result.unwrap();
                assert!(version > now);
                one.versions[*name] = version;
                let saved = (one.edits.clone(), version);
                model.candidates.insert(NAMES[*name], saved);
            }
        }
        Action::Load { name } => {
            if let Some(candidate) = one.store.candidate(NAMES[*name]).unwrap() {
                one.versions[*name] = candidate.version;
                one.edits = Edits {
                    base: candidate.base,
                    changeset: candidate.changeset,
                };
            }
        }
        Action::CommitCandidate { name, merge } => {
            let Some((edits, version)) = model.candidates.get(NAMES[*name]).cloned() else {
                return;
            };
            let request = CommitRequest {
                merge: *merge,
                clear_candidate: Some(NAMES[*name]),
                candidate_version: Some(version),
                ..request(&edits)
            };
            let result = one.store.commit(request, &mut Unchecked);
            if let Some(state) = model.commit(&edits, *merge).expect(&result) {
                model.states.push(state);
                model.candidates.remove(NAMES[*name]);
            }
        }
        Action::Rebase { name } => rebase(model, &mut one.store, NAMES[*name]),
        Action::Discard { name } => {
            let there = one.store.discard_candidate(NAMES[*name]).unwrap();
            assert_eq!(there, model.candidates.remove(NAMES[*name]).is_some());
        }
        Action::Rewind(to) => {
            let to = to.index(model.states.len()) as u64;
            let changeset = one.store.rewind_changeset(to).unwrap();
            let back = Edits {
                base: one.seen,
                changeset,
            };
            let request = CommitRequest {
                kind: EntryKind::Rewind { to },
                ..request(&back)
            };
            let result = one.store.commit(request, &mut Unchecked);
            let state = model.commit(&back, false).expect(&result);
            if let Some(state) = state {
                assert_eq!(&state, model.state(to));
                model.states.push(state);
            }
        }
        Action::Reopen => {
            let path = one.store.path().to_owned();
            one.store = open(&path);
        }
    }
}

fn rebase(model: &mut Model, store: &mut Store, name: &'static str) {
    let result = store.rebase_candidate(name);
    let Some((edits, _)) = model.candidates.get(name) else {
        assert!(matches!(result, Err(Error::NoSuchCandidate { .. })));
        return;
    };
    let theirs = Changeset::between(model.state(edits.base), model.last());
    match rewire_schema::merge::rebase(&edits.changeset, &theirs) {
        Ok(changeset) => {
            let candidate = result.unwrap();
            let rebased = Edits {
                base: model.head(),
                changeset,
            };
            assert_eq!(candidate.changeset, rebased.changeset);
            assert_eq!(candidate.base, rebased.base);
            model.candidates.insert(name, (rebased, candidate.version));
        }
        Err(_) => assert!(matches!(result, Err(Error::Conflicts(_))), "{result:?}"),
    }
}

fn request(edits: &Edits) -> CommitRequest<'_> {
    CommitRequest::new(edits.base, &edits.changeset, "ada", "a test")
}

fn expect_same(model: &Model, store: &Store) {
    let (head, state) = store.head_and_configuration().unwrap();
    assert_eq!(head, model.head());
    assert_eq!(&state, model.last());
    assert_eq!(store.state_digest().unwrap(), StateDigest::of(model.last()));
    let names: Vec<String> = store
        .candidates()
        .unwrap()
        .into_iter()
        .map(|candidate| candidate.name)
        .collect();
    assert!(names.iter().eq(model.candidates.keys()), "{names:?}");
    for (name, (edits, version)) in &model.candidates {
        let found = store.candidate(name).unwrap().unwrap();
        let found_edits = Edits {
            base: found.base,
            changeset: found.changeset,
        };
        assert_eq!((&found_edits, found.version), (edits, *version));
    }
}

/// Lets others act while a commit is checked. They see what was there before, and change nothing.
struct Interrupted<'a> {
    model: &'a Model,
    others: &'a mut [Administrator],
    meanwhile: &'a [(usize, Meanwhile)],
}

impl Checker for Interrupted<'_> {
    fn check(
        &mut self,
        revision: u64,
        state: &dyn StateReader,
        changeset: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(revision, self.model.head() + 1);
        let mut expected: Configuration = self.model.last().clone();
        expected.apply(changeset).unwrap();
        assert_eq!(state.configuration()?, expected);
        for (who, meanwhile) in self.meanwhile {
            let store = &mut self.others[*who].store;
            let changeset = insert([crate::common::vpc("meanwhile", None)]);
            let base = self.model.head();
            let result = match meanwhile {
                Meanwhile::Look => {
                    expect_same(self.model, store);
                    continue;
                }
                Meanwhile::Verify => {
                    assert_eq!(store.verify().unwrap().revisions, base);
                    continue;
                }
                Meanwhile::Commit => {
                    let request = CommitRequest::new(base, &changeset, "grace", "too early");
                    store.commit(request, &mut Unchecked).map(drop)
                }
                Meanwhile::Save => {
                    let edit = CandidateEdit {
                        base,
                        changeset: &changeset,
                        drafts: "",
                        author: "grace",
                        expected_version: None,
                    };
                    store.save_candidate(NAMES[0], edit).map(drop)
                }
                Meanwhile::Discard => store.discard_candidate(NAMES[0]).map(drop),
            };
            assert!(matches!(result, Err(Error::Busy)), "{result:?}");
        }
        Ok(())
    }
}
