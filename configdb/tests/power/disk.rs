//! A disk, as a power failure leaves it.
//!
//! What was synced is there. Of what was not, any part may be, in any order, down to the sector; a disk writes a sector
//! whole or not at all. Names (a file created, a file deleted) are the folder's contents: they too are durable only once
//! the folder was synced, and come in order until then, as file systems with a journal have it.

use std::collections::BTreeMap;

use crate::random::Random;
use crate::world::Files;

/// The unit that a disk writes at once, in bytes.
const SECTOR: usize = 512;

/// A change of a file's contents.
#[derive(Debug)]
pub(crate) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// What happened to the folder.
#[derive(Debug)]
pub(crate) enum Operation {
    /// The name stands for this file from now on, or for none.
    Name {
        name: String,
        file: Option<usize>,
    },
    Change {
        file: usize,
        change: Change,
    },
    Sync {
        file: usize,
    },
    SyncFolder,
    /// Nothing: something was acknowledged to the outside.
    Mark(usize),
}

/// What becomes of that which was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is lost.
    Lost,
    /// It is there.
    Kept,
    /// Some of the writes are there, in an order of the disk's own.
    Reordered,
    /// Some sectors of the writes are there, in an order of the disk's own.
    Torn,
}

impl Fate {
    pub(crate) const ALL: [Fate; 4] = [Fate::Lost, Fate::Kept, Fate::Reordered, Fate::Torn];
}

#[derive(Default)]
struct File<'a> {
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<&'a Change>,
}

/// The disk and what is still on its way there.
pub(crate) struct Disk<'a> {
    files: BTreeMap<usize, File<'a>>,
    names: BTreeMap<&'a str, usize>,
    /// Changes of names since the folder was last synced, in order.
    pending: Vec<(&'a str, Option<usize>)>,
}

impl<'a> Disk<'a> {
    /// A disk with these files, durable; they are numbered in the order of their names.
    pub(crate) fn new(files: &'a Files) -> Disk<'a> {
        let durable = files.values().enumerate().map(|(number, bytes)| {
            let file = File {
                durable: bytes.clone(),
                pending: Vec::new(),
            };
            (number, file)
        });
        Disk {
            files: durable.collect(),
            names: files.keys().map(String::as_str).zip(0..).collect(),
            pending: Vec::new(),
        }
    }

    pub(crate) fn apply(&mut self, operation: &'a Operation) {
        match operation {
            Operation::Name { name, file } => self.pending.push((name, *file)),
            Operation::Change { file, change } => {
                self.files.entry(*file).or_default().pending.push(change);
            }
            Operation::Sync { file } => {
                let File { durable, pending } = self.files.entry(*file).or_default();
                for change in pending.drain(..) {
                    change.apply(durable);
                }
            }
            Operation::SyncFolder => {
                let pending = std::mem::take(&mut self.pending);
                rename(&mut self.names, &pending);
            }
            Operation::Mark(_) => {}
        }
    }

    /// What is found when the power is back.
    pub(crate) fn after_power_failure(&self, fate: Fate, random: &mut Random) -> Files {
        let mut names = self.names.clone();
        let renamed = match fate {
            Fate::Lost => 0,
            Fate::Kept => self.pending.len(),
            Fate::Reordered | Fate::Torn => random.below(self.pending.len() + 1),
        };
        rename(&mut names, &self.pending[..renamed]);
        names
            .into_iter()
            .map(|(name, number)| {
                let bytes = match self.files.get(&number) {
                    Some(file) => file.after_power_failure(fate, random),
                    None => Vec::new(),
                };
                (name.to_owned(), bytes)
            })
            .collect()
    }
}

fn rename<'a>(names: &mut BTreeMap<&'a str, usize>, changes: &[(&'a str, Option<usize>)]) {
    for (name, file) in changes {
        match file {
            Some(file) => drop(names.insert(name, *file)),
            None => drop(names.remove(name)),
        }
    }
}

impl File<'_> {
    fn after_power_failure(&self, fate: Fate, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        match fate {
            Fate::Lost => {}
            Fate::Kept => self
                .pending
                .iter()
                .for_each(|change| change.apply(&mut bytes)),
            Fate::Reordered => {
                let kept = random.some_of(self.pending.clone());
                kept.iter().for_each(|change| change.apply(&mut bytes));
            }
            Fate::Torn => {
                let sectors = self.pending.iter().flat_map(|change| change.sectors());
                let kept = random.some_of(sectors.collect());
                kept.iter().for_each(|change| change.apply(&mut bytes));
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => {
                let end = offset + bytes.len();
                if to.len() < end {
                    to.resize(end, 0);
                }
                to[*offset..end].copy_from_slice(bytes);
            }
            Change::Truncate(size) => to.resize(*size, 0),
        }
    }

    /// The same, a sector at a time.
    fn sectors(&self) -> Vec<Change> {
        match self {
            Change::Write { offset, bytes } => {
                let mut sectors = Vec::new();
                let (mut offset, mut rest) = (*offset, &bytes[..]);
                while !rest.is_empty() {
                    let (sector, after) = rest.split_at(rest.len().min(SECTOR - offset % SECTOR));
                    sectors.push(Change::Write {
                        offset,
                        bytes: sector.to_vec(),
                    });
                    offset += sector.len();
                    rest = after;
                }
                sectors
            }
            Change::Truncate(size) => vec![Change::Truncate(*size)],
        }
    }
}
