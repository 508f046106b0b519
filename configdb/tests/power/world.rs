//! All that a store promises to keep.

use std::collections::BTreeMap;
use std::path::Path;

use rewire_configdb::{Candidate, Error, Hash, StateDigest, Store};
use tempfile::TempDir;

/// The files of a folder by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What an administrator finds in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    /// The revisions, from the first.
    pub(crate) revisions: Vec<(StateDigest, Hash)>,
    pub(crate) candidates: BTreeMap<String, Candidate>,
}

impl World {
    /// Opens a store, has it verify itself, and reads everything in it.
    pub(crate) fn of(path: &Path) -> Result<World, Error> {
        let store = Store::open(path)?;
        store.verify()?;
        let entries = store.log(usize::MAX)?.into_iter().rev();
        let mut world = World {
            revisions: entries
                .map(|entry| (entry.state_digest, entry.hash))
                .collect(),
            ..World::default()
        };
        assert_eq!(store.head()?, world.revisions.len() as u64);
        for name in store.candidates()? {
            let candidate = store.candidate(&name)?.expect("it is in the list");
            world.candidates.insert(name, candidate);
        }
        Ok(world)
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
