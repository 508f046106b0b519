//! Notes, in order, everything that reaches the files of one folder.
//!
//! A layer under SQLite notes writes, truncations, creations and deletions. The log's index (`-shm`) is shared memory, of
//! no use after a power failure, and not noted.

use std::collections::BTreeMap;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::disk::{Change, Operation};
use crate::vfs::{Layer, Turn, lock, turn};
use crate::world::{Files, read_files};

/// Which syncs the disk carries out; it says that it has done all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    All,
    None,
    /// All but those of write-ahead logs.
    NotOfLogs,
    /// All but those of the folder, which make names durable.
    NotOfTheFolder,
}

/// What is being noted.
struct Recorder {
    folder: PathBuf,
    syncs: Syncs,
    /// Which file each name stands for. A file's number is its own for ever, whatever becomes of its name.
    names: BTreeMap<String, usize>,
    files: usize,
    /// The inodes of files that have a name.
    inodes: BTreeMap<usize, u64>,
    operations: Vec<Operation>,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

/// A recording that goes on until it is dropped.
pub(crate) struct Recording {
    _turn: Turn,
}

impl Recording {
    /// Notes what happens to a folder from now on. Gives the files that are there, too.
    pub(crate) fn start(folder: &Path, syncs: Syncs) -> (Recording, Files) {
        let turn = turn();
        let folder = folder.canonicalize().unwrap();
        let files = read_files(&folder);
        *lock(&RECORDER) = Some(Recorder {
            syncs,
            names: files.keys().cloned().zip(0..).collect(),
            files: files.len(),
            inodes: files
                .keys()
                .map(|name| inode(&folder.join(name)))
                .enumerate()
                .collect(),
            folder,
            operations: Vec::new(),
        });
        turn.install(&RecordingLayer);
        (Recording { _turn: turn }, files)
    }

    /// Notes that something was acknowledged to the outside.
    pub(crate) fn mark(&self, number: usize) {
        note(Operation::Mark(number));
    }

    pub(crate) fn finish(self) -> Vec<Operation> {
        let recorder = lock(&RECORDER).take();
        recorder.unwrap().operations
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        *lock(&RECORDER) = None;
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn note(operation: Operation) {
    if let Some(recorder) = &mut *lock(&RECORDER) {
        recorder.operations.push(operation);
    }
}

impl Recorder {
    /// The name inside of the folder; none for what is elsewhere.
    fn name(&self, path: &Path) -> Option<String> {
        (path.parent() == Some(&self.folder)).then(|| name_of(path))
    }

    fn rename(&mut self, name: String, file: Option<usize>) {
        match file {
            Some(file) => drop(self.names.insert(name.clone(), file)),
            None => drop(self.names.remove(&name)),
        }
        let names = &self.names;
        self.inodes
            .retain(|number, _| names.values().any(|named| named == number));
        self.operations.push(Operation::Name { name, file });
    }

    /// Notes what was linked and removed without SQLite. That a file is new shows when SQLite opens it.
    fn look_around(&mut self) {
        let listing = std::fs::read_dir(&self.folder).unwrap();
        let there: BTreeMap<String, u64> = listing
            .map(|entry| entry.unwrap())
            .map(|entry| (name_of(&entry.path()), entry.ino()))
            .collect();
        for (name, inode) in &there {
            let known = self.inodes.iter().find(|(_, known)| *known == inode);
            let file = known.map(|(number, _)| *number);
            if file.is_some() && !self.names.contains_key(name) {
                self.rename(name.clone(), file);
            }
        }
        let gone = self.names.keys().filter(|name| !there.contains_key(*name));
        for name in gone.cloned().collect::<Vec<String>>() {
            self.rename(name, None);
        }
    }

    /// Notes that a file or the folder was synced. Says whether the disk does it.
    fn sync(&mut self, path: &Path) -> bool {
        if path == self.folder {
            self.look_around();
            let does = matches!(self.syncs, Syncs::All | Syncs::NotOfLogs);
            if does {
                self.operations.push(Operation::SyncFolder);
            }
            return does;
        }
        let name = self.name(path);
        let Some((name, file)) = name.and_then(|name| self.names.get_key_value(&name)) else {
            return true;
        };
        let does = match self.syncs {
            Syncs::All | Syncs::NotOfTheFolder => true,
            Syncs::None => false,
            Syncs::NotOfLogs => !name.ends_with("-wal"),
        };
        if does {
            self.operations.push(Operation::Sync { file: *file });
        }
        does
    }
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

struct RecordingLayer;

impl Layer for RecordingLayer {
    fn opened(&self, path: &Path) -> Option<usize> {
        let mut recorder = lock(&RECORDER);
        let recorder = recorder.as_mut()?;
        let name = recorder.name(path)?;
        if !recorder.names.contains_key(&name) {
            recorder.look_around();
        }
        let known = recorder.names.get(&name).copied();
        Some(known.unwrap_or_else(|| {
            let number = recorder.files;
            recorder.files += 1;
            recorder.rename(name, Some(number));
            recorder.inodes.insert(number, inode(path));
            number
        }))
    }

    fn deleted(&self, path: &Path) {
        if let Some(recorder) = &mut *lock(&RECORDER)
            && let Some(name) = recorder.name(path)
            // Where the folder was synced at once, it has been noted then.
            && recorder.names.contains_key(&name)
        {
            recorder.rename(name, None);
        }
    }

    fn written(&self, file: usize, offset: usize, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        let change = Change::Write { offset, bytes };
        note(Operation::Change { file, change });
    }

    fn truncated(&self, file: usize, size: usize) {
        let change = Change::Truncate(size);
        note(Operation::Change { file, change });
    }

    fn syncs(&self, path: &Path) -> bool {
        match &mut *lock(&RECORDER) {
            Some(recorder) => recorder.sync(path),
            None => true,
        }
    }
}
