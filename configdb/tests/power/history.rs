//! A random history of a store: what it wrote, and what it had acknowledged when.

use std::path::{Path, PathBuf};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rewire_configdb::{
    Candidate, Checker, CommitRequest, Committed, EntryKind, Error, StateReader, Store, Unchecked,
};
use rewire_schema::{Change, Changeset, Configuration, testing};

use crate::common::{insert, interface, request, rewind};
use crate::disk::Operation;
use crate::random::Random;
use crate::record::{Recording, Syncs};
use crate::world::{Files, World};

/// The store's name in its folder.
pub(crate) const NAME: &str = "gateway.db";

/// What happened, in the words of the disk.
pub(crate) struct History {
    /// The files before.
    pub(crate) start: Files,
    /// [`Operation::Mark`]s count the steps that were acknowledged.
    pub(crate) operations: Vec<Operation>,
    /// What is there after so many steps; none where there is no store yet.
    pub(crate) worlds: Vec<Option<World>>,
}

/// All commits and candidates are of this moment, so that what is expected can be told.
const NOW: i64 = 1_700_000_000_000_000;

const CANDIDATES: [&str; 3] = ["ada", "grace", "linus"];

/// The creation of a store, in one step.
pub(crate) fn creation(syncs: Syncs) -> History {
    let folder = tempfile::tempdir().unwrap();
    let (recording, start) = Recording::start(folder.path(), syncs);
    recording.mark(0);
    let store = Store::create(folder.path().join(NAME)).unwrap();
    recording.mark(1);
    drop(store);
    History {
        start,
        operations: recording.finish(),
        worlds: vec![None, Some(World::default())],
    }
}

/// Makes the history of a seed, of so many steps, on a store that was just created. The creation is not part of it.
pub(crate) fn history(seed: u64, steps: usize, syncs: Syncs) -> History {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    drop(Store::create(&path).unwrap());
    let (recording, start) = Recording::start(folder.path(), syncs);
    let mut writer = Writer::new(seed, path);
    let mut worlds = vec![Some(World::default())];
    for step in 0..steps {
        recording.mark(step);
        writer.step();
        worlds.push(Some(writer.world.clone()));
    }
    recording.mark(steps);
    drop(writer);
    History {
        start,
        operations: recording.finish(),
        worlds,
    }
}

struct Writer {
    random: Random,
    runner: TestRunner,
    path: PathBuf,
    store: Option<Store>,
    world: World,
    state: Configuration,
}

fn open(path: &Path) -> Store {
    Store::open(path).unwrap().with_clock(|| NOW)
}

impl Writer {
    fn new(seed: u64, path: PathBuf) -> Writer {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        Writer {
            random,
            runner: TestRunner::new_with_rng(Config::default(), rng),
            store: Some(open(&path)),
            path,
            world: World::default(),
            state: Configuration::default(),
        }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=7 => self.commit(false),
            8..=9 => self.commit(true),
            10..=11 => self.rewind(),
            12..=13 => self.refused(),
            14..=15 => self.save_candidate(),
            16 => self.discard_candidate(),
            17..=18 => self.checkpoint(),
            _ => self.reopen(),
        }
    }

    fn changeset(&mut self) -> Changeset {
        let changesets = testing::changeset_on(&self.state);
        changesets.new_tree(&mut self.runner).unwrap().current()
    }

    fn candidate_name(&mut self) -> &'static str {
        CANDIDATES[self.random.below(CANDIDATES.len())]
    }

    fn committed(&mut self, result: Result<Committed, Error>) {
        match result {
            Ok(committed) => {
                let revision = (committed.state_digest, committed.hash);
                self.world.revisions.push(revision);
                assert_eq!(committed.revision, self.world.revisions.len() as u64);
                self.state = self.store().configuration().unwrap();
            }
            Err(Error::NothingToCommit) => {}
            Err(error) => panic!("{error:?}"),
        }
    }

    /// A commit; it may use up a candidate, which only ever goes together with it.
    fn commit(&mut self, of_candidate: bool) {
        let changeset = self.changeset();
        let name = of_candidate.then(|| self.candidate_name());
        let store = self.store();
        let request = CommitRequest {
            clear_candidate: name,
            ..request(store, &changeset)
        };
        let result = store.commit(request, &mut Unchecked);
        if let (Ok(_), Some(name)) = (&result, name) {
            self.world.candidates.remove(name);
        }
        self.committed(result);
    }

    fn rewind(&mut self) {
        let to = self.random.below(self.world.revisions.len() + 1) as u64;
        let result = rewind(self.store(), to);
        self.committed(result);
    }

    /// A commit that comes to nothing, early or late.
    fn refused(&mut self) {
        let changeset = self.changeset();
        let kind = self.random.below(3);
        let store = self.store();
        let result = match kind {
            0 => {
                let base = store.head().unwrap() + 1;
                let request = CommitRequest {
                    base,
                    ..request(store, &changeset)
                };
                store.commit(request, &mut Unchecked)
            }
            1 => {
                let dangling = insert([interface("lost", "nowhere", "null:lost")]);
                let all = changeset.iter().chain(dangling.iter()).cloned();
                let all: Changeset = all.collect::<Vec<Change>>().into_iter().collect();
                store.commit(request(store, &all), &mut Unchecked)
            }
            _ => {
                let request = CommitRequest {
                    kind: EntryKind::Commit,
                    ..request(store, &changeset)
                };
                store.commit(request, &mut Refusing)
            }
        };
        assert!(result.is_err());
    }

    fn save_candidate(&mut self) {
        let changeset = self.changeset();
        let name = self.candidate_name();
        let base = self.world.revisions.len() as u64;
        self.store()
            .save_candidate(name, base, &changeset, "grace")
            .unwrap();
        let candidate = Candidate {
            base,
            changeset,
            author: "grace".to_owned(),
            updated_at: NOW,
        };
        self.world.candidates.insert(name.to_owned(), candidate);
    }

    fn discard_candidate(&mut self) {
        let name = self.candidate_name();
        let there = self.store().discard_candidate(name).unwrap();
        assert_eq!(there, self.world.candidates.remove(name).is_some());
    }

    /// The log goes into the file, and begins anew, by the hand of a connection other than the store's: as SQLite does by itself
    /// after a thousand pages.
    fn checkpoint(&mut self) {
        let mode = ["PASSIVE", "FULL", "RESTART", "TRUNCATE"][self.random.below(4)];
        let connection = rusqlite::Connection::open(&self.path).unwrap();
        let busy: bool = connection
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                row.get(0)
            })
            .unwrap();
        assert!(!busy);
    }

    fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(&self.path));
    }
}

struct Refusing;

impl Checker for Refusing {
    fn check(
        &mut self,
        _: u64,
        _: &dyn StateReader,
        _: &Changeset,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("not today".into())
    }
}
