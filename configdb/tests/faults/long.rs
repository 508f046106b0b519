//! One connection that lives through many failures.

use std::path::Path;
use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rewire_configdb::{Error, StateDigest, Store};
use rewire_schema::{Changeset, Configuration, testing};

use crate::common::text;
use crate::layer::{Faults, Lasting, What};
use crate::random::Random;
use crate::trial::blames_the_disk;
use crate::verb::{Desk, NAME, commit, rewind};
use crate::world::{World, scratch};

/// What came of a history.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    pub(crate) failed: usize,
    /// Not acknowledged, and there all the same.
    pub(crate) there: usize,
    /// Something failed that the store could do without.
    pub(crate) shrugged_off: usize,
}

/// What a step makes of the store, if it is done.
struct Intent {
    state: Configuration,
    /// The candidate, where the step is about that; otherwise it is a commit.
    candidate: Option<Option<Changeset>>,
}

pub(crate) fn live_through(faults: &Faults, seed: u64, steps: usize) -> Tally {
    let folder = scratch();
    drop(Store::create(folder.path().join(NAME)).unwrap());
    let mut desk = Desk::new(folder.path(), Arc::default());
    let mut random = Random(seed);
    let bytes: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut states = vec![Configuration::default()];
    let mut candidate: Option<Changeset> = None;
    let mut tally = Tally::default();
    desk.open().unwrap();
    for step in 0..steps {
        let place = format!("REWIRE_SEED={seed} REWIRE_HISTORIES=1, step {step}");
        let changeset = testing::changeset_on(states.last().unwrap());
        let changeset = changeset.new_tree(&mut runner).unwrap().current();
        let what = [What::Broken, What::Full][random.below(2)];
        let lasting = [Lasting::Once, Lasting::ForGood][random.below(2)];
        let calls = random.below(16);
        let kind = random.below(8);
        let to = random.below(states.len());
        let store = desk.open().unwrap();
        faults.arm(what, calls, lasting);
        let (result, intent) = act(store, kind, to, &changeset, &states);
        let struck = faults.disarm();
        let found = observe(desk.path.as_path(), &place);
        let was_done = found.is(&states, &candidate, Some(&intent));
        let was_not = found.is(&states, &candidate, None);
        match result {
            Ok(()) => {
                assert!(was_done, "{place} was acknowledged: {found:?}");
                tally.acknowledged += 1;
                tally.shrugged_off += usize::from(struck.is_some());
            }
            Err(Error::NothingToCommit) => assert!(was_not, "{place}: {found:?}"),
            Err(error) => {
                let place = format!("{place}, {struck:?}: {}", text(&error));
                assert!(struck.is_some() && blames_the_disk(&error), "{place}");
                assert!(was_done || was_not, "{place}: {found:?}");
                tally.failed += 1;
                tally.there += usize::from(!was_not);
            }
        }
        if was_done && !was_not {
            match intent.candidate {
                Some(saved) => candidate = saved,
                None => states.push(intent.state),
            }
        }
        if random.below(12) == 0 {
            desk.store = None;
        }
    }
    tally
}

fn act(
    store: &mut Store,
    kind: usize,
    to: usize,
    changeset: &Changeset,
    states: &[Configuration],
) -> (Result<(), Error>, Intent) {
    let running = states.last().unwrap();
    let intent = |state, candidate| Intent { state, candidate };
    match kind {
        0..=3 => {
            let mut state = running.clone();
            state.apply(changeset).unwrap();
            (commit(store, changeset).map(drop), intent(state, None))
        }
        4 | 5 => (
            rewind(store, to as u64).map(drop),
            intent(states[to].clone(), None),
        ),
        6 => {
            let result = crate::verb::save(store, "grace", changeset);
            (
                result,
                intent(running.clone(), Some(Some(changeset.clone()))),
            )
        }
        _ => {
            let result = store.discard_candidate("grace").map(drop);
            (result, intent(running.clone(), Some(None)))
        }
    }
}

#[derive(Debug)]
struct Found {
    digests: Vec<StateDigest>,
    candidate: Option<Changeset>,
}

fn observe(path: &Path, place: &str) -> Found {
    let world = World::of(path).unwrap_or_else(|error| panic!("{place}: {error:?}"));
    let digests = world.revisions.iter().map(|(_, digest, _)| *digest);
    Found {
        digests: digests.collect(),
        candidate: world
            .candidates
            .get("grace")
            .map(|candidate| candidate.changeset.clone()),
    }
}

impl Found {
    /// Whether this is what so many states and this candidate leave, with or without one thing more.
    fn is(
        &self,
        states: &[Configuration],
        candidate: &Option<Changeset>,
        more: Option<&Intent>,
    ) -> bool {
        let mut candidate = candidate;
        let mut last = None;
        match more {
            Some(Intent {
                candidate: Some(saved),
                ..
            }) => candidate = saved,
            Some(intent) => last = Some(&intent.state),
            None => {}
        }
        let digests = states[1..].iter().chain(last).map(StateDigest::of);
        self.digests.iter().copied().eq(digests) && self.candidate == *candidate
    }
}
