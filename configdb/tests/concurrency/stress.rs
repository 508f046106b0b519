//! Administrators who work at the same time, each as fast as they can, in threads and in processes.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use rewire_configdb::{CommitRequest, EntryKind, Error, Store, Unchecked};

use crate::model::change_on;
use crate::random::Random;

/// A revision that was acknowledged, and what had been asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    pub(crate) revision: u64,
    pub(crate) state_digest: String,
    /// The revision that was looked at.
    pub(crate) base: u64,
    pub(crate) asked: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The change that this seed makes of the base's state.
    Change {
        seed: u64,
        merge: bool,
    },
    Rewind {
        to: u64,
    },
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Acknowledged {
            revision,
            state_digest,
            base,
            asked,
        } = self;
        write!(f, "{revision} {state_digest} {base} ")?;
        match asked {
            Asked::Change { seed, merge } => write!(f, "change {seed} {merge}"),
            Asked::Rewind { to } => write!(f, "rewind {to}"),
        }
    }
}

impl FromStr for Acknowledged {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().map_err(|error| error.to_string());
        let [revision, state_digest, base, ..] = words[..] else {
            return Err(text.to_owned());
        };
        let asked = match words[3..] {
            ["change", seed, merge] => Asked::Change {
                seed: number(seed)?,
                merge: merge == "true",
            },
            ["rewind", to] => Asked::Rewind { to: number(to)? },
            _ => return Err(text.to_owned()),
        };
        Ok(Acknowledged {
            revision: number(revision)?,
            state_digest: state_digest.to_owned(),
            base: number(base)?,
            asked,
        })
    }
}

/// Does so many rounds of looking, changing and committing. Gives what was acknowledged.
pub(crate) fn work(path: &Path, mut random: Random, rounds: usize) -> Vec<Acknowledged> {
    let mut store = Store::open(path).unwrap();
    // Others are quick, but there may be many of them, and few processors.
    store.set_busy_timeout(Duration::from_secs(50)).unwrap();
    let mut acknowledged = Vec::new();
    let (mut base, mut state) = store.head_and_configuration().unwrap();
    for _ in 0..rounds {
        // What was looked at some time ago is out of date, by one's own commits at least.
        if random.below(3) == 0 {
            (base, state) = store.head_and_configuration().unwrap();
        }
        let seed = random.next();
        let merge = random.below(3) > 0;
        let (asked, changeset, kind) = if random.below(8) == 0 {
            let to = random.below(1 + usize::try_from(base).unwrap()) as u64;
            // Somebody may have committed since; then this leads from another revision, and is refused.
            let changeset = store.rewind_changeset(to).unwrap();
            (Asked::Rewind { to }, changeset, EntryKind::Rewind { to })
        } else {
            let asked = Asked::Change { seed, merge };
            (asked, change_on(&state, seed), EntryKind::Commit)
        };
        let request = CommitRequest {
            merge: merge && kind == EntryKind::Commit,
            kind,
            ..CommitRequest::new(base, &changeset, "ada", "a test")
        };
        match store.commit(request, &mut Unchecked) {
            Ok(committed) => acknowledged.push(Acknowledged {
                revision: committed.revision,
                state_digest: committed.state_digest.to_string(),
                base,
                asked,
            }),
            // What somebody else did first stands in the way, and nothing else.
            Err(
                Error::StaleCandidate { .. }
                | Error::Conflicts(_)
                | Error::NothingToCommit
                | Error::Dangling(_)
                | Error::Duplicate { .. },
            ) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    acknowledged
}
