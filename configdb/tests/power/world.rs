//! All that a store promises to keep.

use std::collections::BTreeMap;
use std::path::Path;

use rewire_configdb::{
    Candidate, CandidateSummary, Error, Hash, LockHolder, LogQuery, PendingConfirmation, Scheduled,
    StateDigest, Store, Tag,
};
use rewire_schema::Changeset;
use tempfile::TempDir;

/// The files of a folder by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What an administrator finds in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// The entries of the journal, from the first.
    pub(crate) revisions: Vec<(u64, StateDigest, Hash)>,
    pub(crate) candidates: BTreeMap<String, Candidate>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) confirmation: Option<PendingConfirmation>,
    pub(crate) scheduled: Vec<(Scheduled, Changeset)>,
    pub(crate) lock: Option<LockHolder>,
}

impl World {
    /// Opens a store, has it verify itself, and reads everything in it.
    pub(crate) fn of(path: &Path) -> Result<World, Error> {
        let store = Store::open(path)?;
        store.verify()?;
        World::read(&store)
    }

    /// Reads everything in a store that is open.
    pub(crate) fn read(store: &Store) -> Result<World, Error> {
        let entries = store.log(LogQuery::last(usize::MAX))?.into_iter().rev();
        let mut world = World {
            revisions: entries
                .map(|entry| (entry.revision, entry.state_digest, entry.hash))
                .collect(),
            candidates: BTreeMap::new(),
            tags: store.tags()?,
            confirmation: store.pending_confirmation()?,
            scheduled: Vec::new(),
            lock: store.lock_holder()?,
        };
        assert_eq!(store.head()?, world.head());
        for CandidateSummary { name, .. } in store.candidates()? {
            let candidate = store.candidate(&name)?.expect("it is in the list");
            world.candidates.insert(name, candidate);
        }
        for scheduled in store.scheduled()? {
            let changeset = store.scheduled_changeset(scheduled.id)?;
            world.scheduled.push((scheduled, changeset));
        }
        Ok(world)
    }

    /// The last revision.
    pub(crate) fn head(&self) -> u64 {
        self.revisions.last().map_or(0, |(revision, ..)| *revision)
    }
}

/// A folder in memory, where there is one: thousands of real syncs would only take time.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// The files of a folder, without the log's index: that is made anew.
pub(crate) fn read_files(folder: &Path) -> Files {
    let paths = std::fs::read_dir(folder).unwrap();
    let paths = paths.map(|entry| entry.unwrap().path());
    let named = paths.map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, path)
    });
    let kept = named.filter(|(name, _)| !name.ends_with("-shm"));
    kept.map(|(name, path)| (name, std::fs::read(path).unwrap()))
        .collect()
}

pub(crate) fn write_files(folder: &Path, files: &Files) {
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}
