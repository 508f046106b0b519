//! What a store does, one verb after the other, in its simplest form: a list of configurations.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rewire_configdb::Error;
use rewire_schema::merge::rebase;
use rewire_schema::{Changeset, Configuration, testing};

/// A change that leads from a state to another one that the database accepts: the same one for the same seed. It may be
/// empty.
pub(crate) fn change_on(state: &Configuration, seed: u64) -> Changeset {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let changes = testing::changeset_on(state);
    changes.new_tree(&mut runner).unwrap().current()
}

/// Edits on top of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edits {
    pub(crate) base: u64,
    pub(crate) changeset: Changeset,
}

/// How a commit must end.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// With this state.
    Done(Box<Configuration>),
    /// Whether the database accepts the state is its to say; if it does, it is this one.
    DoneOrRefused(Box<Configuration>),
    Stale,
    Conflicts,
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Model {
    /// The state of each revision, from the empty beginning.
    pub(crate) states: Vec<Configuration>,
    /// Each with its version.
    pub(crate) candidates: BTreeMap<&'static str, (Edits, u64)>,
}

impl Model {
    pub(crate) fn new() -> Model {
        Model {
            states: vec![Configuration::default()],
            candidates: BTreeMap::new(),
        }
    }

    pub(crate) fn head(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub(crate) fn state(&self, revision: u64) -> &Configuration {
        &self.states[usize::try_from(revision).unwrap()]
    }

    pub(crate) fn last(&self) -> &Configuration {
        self.state(self.head())
    }

    /// How a commit of these edits must end.
    pub(crate) fn commit(&self, edits: &Edits, merge: bool) -> Outcome {
        if edits.changeset.is_empty() {
            return Outcome::Nothing;
        }
        let mut changeset = edits.changeset.clone();
        if edits.base < self.head() {
            if !merge {
                return Outcome::Stale;
            }
            let theirs = Changeset::between(self.state(edits.base), self.last());
            match rebase(&changeset, &theirs) {
                Ok(rebased) => changeset = rebased,
                Err(_) => return Outcome::Conflicts,
            }
            if changeset.is_empty() {
                return Outcome::Nothing;
            }
        }
        let mut state = self.last().clone();
        state.apply(&changeset).unwrap();
        // What is consistent by itself may be inconsistent together: a reference to what the other one deleted.
        if testing::consistent(&state) == state {
            Outcome::Done(state.into())
        } else {
            Outcome::DoneOrRefused(state.into())
        }
    }
}

impl Outcome {
    /// Checks that a commit ended so. Gives the state that it led to, if it led to one.
    pub(crate) fn expect<T: std::fmt::Debug>(
        self,
        result: &Result<T, Error>,
    ) -> Option<Configuration> {
        match (self, result) {
            (Outcome::Done(state) | Outcome::DoneOrRefused(state), Ok(_)) => Some(*state),
            (
                Outcome::DoneOrRefused(_),
                Err(Error::Dangling(_) | Error::Duplicate { .. } | Error::Check { .. }),
            )
            | (Outcome::Stale, Err(Error::StaleCandidate { .. }))
            | (Outcome::Conflicts, Err(Error::Conflicts(_)))
            | (Outcome::Nothing, Err(Error::NothingToCommit)) => None,
            (expected, result) => panic!("expected {expected:?}, found {result:?}"),
        }
    }
}
