//! A random history of a store: what it wrote, and what it had acknowledged when.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rewire_configdb::{
    CandidateEdit, Checker, CommitRequest, EntryKind, Error, Session, StateReader, Store, Unchecked,
};
use rewire_schema::{Change, Changeset, Row, testing};

use crate::common::{insert, interface, request, rewind, route, vpc};
use crate::disk::Operation;
use crate::random::Random;
use crate::record::{Recording, Syncs};
use crate::world::{Files, World, read_files, scratch, write_files};

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
    /// How often each verb was done, and how often it came to something.
    pub(crate) verbs: Vec<(Verb, bool)>,
}

/// When histories begin, in microseconds since the Unix epoch.
const BEGINNING: i64 = 1_700_000_000_000_000;

const NAMES: [&str; 3] = ["ada", "grace", "linus"];

/// What an administrator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Commit,
    CommitOfCandidate,
    CommitMerged,
    LargeCommit,
    ConfirmedCommit,
    Confirm,
    Rearm,
    Settle,
    Schedule,
    Cancel,
    Rewind,
    Revert,
    Refused,
    SaveCandidate,
    RenameCandidate,
    RebaseCandidate,
    DiscardCandidate,
    Tag,
    Untag,
    Lock,
    Unlock,
    Prune,
    Import,
    Checkpoint,
    Reopen,
}

impl Verb {
    /// With how often each comes.
    pub(crate) const ALL: [(usize, Verb); 25] = [
        (6, Verb::Commit),
        (2, Verb::CommitOfCandidate),
        (2, Verb::CommitMerged),
        (1, Verb::LargeCommit),
        (3, Verb::ConfirmedCommit),
        (1, Verb::Confirm),
        (1, Verb::Rearm),
        (3, Verb::Settle),
        (2, Verb::Schedule),
        (1, Verb::Cancel),
        (3, Verb::Rewind),
        (2, Verb::Revert),
        (2, Verb::Refused),
        (3, Verb::SaveCandidate),
        (1, Verb::RenameCandidate),
        (1, Verb::RebaseCandidate),
        (1, Verb::DiscardCandidate),
        (2, Verb::Tag),
        (1, Verb::Untag),
        (1, Verb::Lock),
        (1, Verb::Unlock),
        (1, Verb::Prune),
        (1, Verb::Import),
        (3, Verb::Checkpoint),
        (2, Verb::Reopen),
    ];

    fn choose(random: &mut Random) -> Verb {
        let mut nth = random.below(Verb::ALL.iter().map(|(weight, _)| weight).sum());
        for (weight, verb) in Verb::ALL {
            if nth < weight {
                return verb;
            }
            nth -= weight;
        }
        unreachable!("it is below the sum")
    }
}

/// The creation of a store, in one step.
pub(crate) fn creation(syncs: Syncs) -> History {
    creation_by(|path| Store::create(path).unwrap(), syncs)
}

/// The creation of a store from the journal of another one, in one step.
pub(crate) fn creation_from(journal: &[u8], syncs: Syncs) -> History {
    creation_by(
        |path| Store::create_from(path, journal, &mut Unchecked).unwrap(),
        syncs,
    )
}

fn creation_by(create: impl FnOnce(&Path) -> Store, syncs: Syncs) -> History {
    let folder = scratch();
    let (recording, start) = Recording::start(folder.path(), syncs);
    recording.mark(0);
    let store = create(&folder.path().join(NAME));
    recording.mark(1);
    let world = World::read(&store).unwrap();
    drop(store);
    History {
        start,
        operations: recording.finish(),
        worlds: vec![None, Some(world)],
        verbs: Vec::new(),
    }
}

/// The upgrade of a store that an earlier version of this program wrote, in one step. Who opens it afterwards, and finds
/// it as it was, upgrades it; so there is one world before and after.
pub(crate) fn upgrade(old: &Path, syncs: Syncs) -> History {
    let folder = scratch();
    let path = folder.path().join(NAME);
    std::fs::copy(old, &path).unwrap();
    let (recording, start) = Recording::start(folder.path(), syncs);
    recording.mark(0);
    let store = Store::open(&path).unwrap();
    recording.mark(1);
    let world = Some(World::read(&store).unwrap());
    drop(store);
    History {
        start,
        operations: recording.finish(),
        worlds: vec![world.clone(), world],
        verbs: Vec::new(),
    }
}

/// Makes the history of a seed, of so many steps, on a store that was just created. The creation is not part of it.
pub(crate) fn history(seed: u64, steps: usize, syncs: Syncs) -> History {
    let folder = scratch();
    let path = folder.path().join(NAME);
    drop(Store::create(&path).unwrap());
    let (recording, start) = Recording::start(folder.path(), syncs);
    let mut writer = Writer::new(seed, path);
    let mut worlds = vec![Some(World::default())];
    let mut verbs = Vec::new();
    for step in 0..steps {
        recording.mark(step);
        let verb = Verb::choose(&mut writer.random);
        verbs.push((verb, writer.act(verb)));
        worlds.push(Some(World::read(&writer.stores[0]).unwrap()));
    }
    recording.mark(steps);
    drop(writer);
    History {
        start,
        operations: recording.finish(),
        worlds,
        verbs,
    }
}

/// Somebody with the same store open twice, as two processes have it.
struct Writer {
    random: Random,
    runner: TestRunner,
    path: PathBuf,
    stores: Vec<Store>,
    clock: Arc<AtomicI64>,
    /// So many large commits were made.
    large: usize,
}

impl Writer {
    fn new(seed: u64, path: PathBuf) -> Writer {
        let mut random = Random(seed);
        let bytes: Vec<u8> = (0..4).flat_map(|_| random.next().to_le_bytes()).collect();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut writer = Writer {
            random,
            runner: TestRunner::new_with_rng(Config::default(), rng),
            stores: Vec::new(),
            path,
            clock: Arc::new(AtomicI64::new(BEGINNING)),
            large: 0,
        };
        writer.stores = vec![writer.open(), writer.open()];
        writer
    }

    fn open(&self) -> Store {
        let clock = Arc::clone(&self.clock);
        let store = Store::open(&self.path).unwrap();
        store
            .with_clock(move || clock.load(Ordering::SeqCst))
            .with_sessions(vec![Session::current().unwrap()])
    }

    /// Does something, by one of the two connections. Says whether it came to anything.
    fn act(&mut self, verb: Verb) -> bool {
        let nth = self.random.below(2);
        let mut store = self.stores.remove(nth);
        let done = match verb {
            Verb::Checkpoint => {
                self.checkpoint();
                Ok(())
            }
            Verb::Reopen => {
                drop(store);
                store = self.open();
                Ok(())
            }
            verb => self.act_on(&mut store, verb),
        };
        self.stores.insert(nth, store);
        match done {
            Ok(()) => true,
            Err(error) => {
                assert!(may_come_to_nothing(&error), "{verb:?}: {error:?}");
                false
            }
        }
    }

    fn act_on(&mut self, store: &mut Store, verb: Verb) -> Result<(), Error> {
        let name = NAMES[self.random.below(NAMES.len())];
        let head = store.head()?;
        let revision = self.random.below(head as usize + 1) as u64;
        let later = Duration::from_secs(self.random.below(1000) as u64);
        match verb {
            Verb::Commit | Verb::LargeCommit => {
                let changeset = match verb {
                    Verb::Commit => self.changeset(store),
                    _ => self.large_changeset(),
                };
                store.commit(request(store, &changeset), &mut Unchecked)?;
            }
            Verb::ConfirmedCommit => {
                let changeset = self.changeset(store);
                let request = CommitRequest {
                    confirm: Some(later),
                    ..request(store, &changeset)
                };
                store.commit(request, &mut Unchecked)?;
            }
            Verb::CommitOfCandidate | Verb::CommitMerged => {
                let Some(candidate) = store.candidate(name)? else {
                    return Err(Error::NothingToCommit);
                };
                let request = CommitRequest {
                    base: candidate.base,
                    clear_candidate: Some(name),
                    candidate_version: Some(candidate.version),
                    merge: verb == Verb::CommitMerged,
                    ..request(store, &candidate.changeset)
                };
                store.commit(request, &mut Unchecked)?;
            }
            Verb::Confirm => drop(store.confirm()?),
            Verb::Rearm => drop(store.rearm_confirmation(later)?),
            Verb::Settle => self.settle(store)?,
            Verb::Schedule => {
                let changeset = self.changeset(store);
                let at = self.clock.load(Ordering::SeqCst) + later.as_micros() as i64;
                store.schedule(request(store, &changeset), at)?;
            }
            Verb::Cancel => {
                let scheduled = store.scheduled()?;
                let id = scheduled.first().map_or(0, |scheduled| scheduled.id);
                store.cancel(id)?;
            }
            Verb::Rewind => drop(rewind(store, revision)?),
            Verb::Revert => {
                let changeset = store.revert_changeset(revision)?;
                let request = CommitRequest {
                    kind: EntryKind::Revert { of: revision },
                    ..request(store, &changeset)
                };
                store.commit(request, &mut Unchecked)?;
            }
            Verb::Refused => self.refused(store),
            Verb::SaveCandidate => {
                let changeset = self.changeset(store);
                let edit = CandidateEdit {
                    base: head,
                    changeset: &changeset,
                    drafts: ["", "interfaces: {half: {}}"][self.random.below(2)],
                    author: "grace",
                    expected_version: None,
                };
                store.save_candidate(name, edit)?;
            }
            Verb::RenameCandidate => {
                let other = NAMES[self.random.below(NAMES.len())];
                store.rename_candidate(name, other)?;
            }
            Verb::RebaseCandidate => drop(store.rebase_candidate(name)?),
            Verb::DiscardCandidate => drop(store.discard_candidate(name)?),
            Verb::Tag => store.tag(name, revision, "grace")?,
            Verb::Untag => drop(store.untag(name)?),
            Verb::Lock => store.lock("grace", Session::current().unwrap(), "hands off")?,
            Verb::Unlock => drop(store.unlock(false)?),
            Verb::Prune => {
                let pruned = store.prune(revision, self.random.below(2) == 0)?;
                pruned.compacted?;
            }
            Verb::Import => {
                let journal = self.journal_from_elsewhere(store)?;
                store.import(&journal[..], &mut Unchecked)?;
            }
            Verb::Checkpoint | Verb::Reopen => unreachable!("these are not done on a store"),
        }
        Ok(())
    }

    /// The last entries of this journal, and those that somebody else added to a copy of it.
    fn journal_from_elsewhere(&mut self, store: &Store) -> Result<Vec<u8>, Error> {
        let folder = scratch();
        write_files(folder.path(), &read_files(self.path.parent().unwrap()));
        let mut elsewhere = Store::open(folder.path().join(NAME))?
            .with_clock(|| BEGINNING)
            .with_sessions(vec![Session::current().unwrap()]);
        for _ in 0..2 {
            let changeset = self.changeset(&elsewhere);
            match elsewhere.commit(request(&elsewhere, &changeset), &mut Unchecked) {
                Ok(_) | Err(Error::NothingToCommit) => {}
                Err(error) => return Err(error),
            }
        }
        let mut journal = Vec::new();
        let head = store.head()?;
        elsewhere.export(head.max(1)..=elsewhere.head()?, &mut journal)?;
        Ok(journal)
    }

    fn changeset(&mut self, store: &Store) -> Changeset {
        let changesets = testing::changeset_on(&store.configuration().unwrap());
        changesets.new_tree(&mut self.runner).unwrap().current()
    }

    /// Rows on many pages.
    fn large_changeset(&mut self) -> Changeset {
        self.large += 1;
        let name = format!("large-{}", self.large);
        let prefixes = (0..150).map(|n| format!("10.{n}.0.0/16"));
        let routes = prefixes.map(|prefix| route(&name, &prefix));
        let rows: Vec<Row> = std::iter::once(vpc(&name, None)).chain(routes).collect();
        insert(rows)
    }

    /// Lets the time come for what is due next. More than one thing at a time would be more than one step.
    fn settle(&mut self, store: &mut Store) -> Result<(), Error> {
        let now = self.clock.load(Ordering::SeqCst);
        let now = store.next_deadline()?.unwrap_or(now).max(now);
        self.clock.store(now, Ordering::SeqCst);
        let waiting = store.scheduled()?;
        let due = waiting
            .iter()
            .filter(|scheduled| scheduled.at <= now && scheduled.failed.is_none());
        let pending = store.pending_confirmation()?;
        let due: Vec<u64> = due.map(|scheduled| scheduled.id).collect();
        match due[..] {
            [first, _, ..] => drop(store.cancel(first)?),
            [first] if pending.is_some() => drop(store.cancel(first)?),
            _ => {
                let settled = store.settle(&mut Unchecked)?;
                assert!(settled.len() <= 1, "{settled:?}");
            }
        }
        Ok(())
    }

    /// A commit that comes to nothing, early or late.
    fn refused(&mut self, store: &mut Store) {
        let changeset = self.changeset(store);
        let result = match self.random.below(3) {
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
            _ => store.commit(request(store, &changeset), &mut Refusing),
        };
        assert!(result.is_err());
    }

    /// The log goes into the file, and begins anew, by the hand of a connection other than the store's: as SQLite does by
    /// itself after a thousand pages.
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
}

/// Whether an administrator who does things at random must be ready for it. The disk is never to blame.
fn may_come_to_nothing(error: &Error) -> bool {
    !matches!(
        error,
        Error::Sqlite { .. }
            | Error::Io { .. }
            | Error::Busy
            | Error::Damaged { .. }
            | Error::DigestMismatch { .. }
            | Error::BrokenChain { .. }
            | Error::Journal { .. }
            | Error::Fold { .. }
    )
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
