//! The history that is replayed: of a store, a journal file, or one document.

use std::fs::File;
use std::path::Path;

use rewire_configdb::{Entry, Error, Store};
use rewire_journal::StateDigest;
use rewire_journal::export::Floor;
use rewire_replay::History;
use rewire_schema::Configuration;

use crate::context::Context;
use crate::document;
use crate::failure::{Code, Failure};
use crate::view::Revision;

/// The history of a document: one revision.
pub(crate) fn of_document(path: &Path, context: &Context) -> Result<History, Failure> {
    let source = document::whole(path, &context.waiting())?;
    Ok(History::of_configuration(&source.configuration))
}

/// The part of a journal file between two revisions, both inclusive, and the first of them.
pub(crate) fn of_file(
    path: &Path,
    from: Option<&Revision>,
    to: Option<&Revision>,
) -> Result<(History, u64), Failure> {
    let file = File::open(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(Code::UnreadableFile, message)
    })?;
    let named = |error| {
        let message = format!("{}: {error}", path.display());
        Failure::new(Code::BadJournalFile, message)
    };
    let history = History::read(file).map_err(named)?;
    let (first, last) = (history.first(), history.last());
    let number = |revision: &Revision| match revision {
        Revision::Number(number) => Ok(*number),
        Revision::Running => Ok(last),
        Revision::Before(back) => Ok(last.saturating_sub(*back)),
        Revision::Tag(tag) => {
            let message = format!("a journal file has no tags, and so no \"{tag}\"");
            Err(Failure::new(Code::NoSuchName, message))
        }
    };
    let from = from.map_or(Ok(first), number)?;
    let to = to.map_or(Ok(last), number)?;
    Ok((history.between(from, to)?, from))
}

/// The part of a store's journal between two revisions, both inclusive, and the first of them: from the oldest state that is known, to the last one, where
/// nothing else is said.
pub(crate) fn of_store(
    store: &Store,
    from: Option<&Revision>,
    to: Option<&Revision>,
) -> Result<(History, u64), Failure> {
    let head = store.head()?;
    let oldest = oldest(store, head)?;
    let to = to.map_or(Ok(head), |revision| revision.number(store))?;
    let from = from.map_or(Ok(oldest.min(to)), |revision| revision.number(store))?;
    // With the entry of the first revision, where it is there.
    let floor = from.saturating_sub(1).max(oldest.min(from));
    let state = store.configuration_at(floor)?;
    let entries: Vec<Entry> = (floor + 1..=to)
        .map(|revision| store.entry(revision))
        .collect::<Result<_, Error>>()?;
    let floor = floor_of(store, floor, &state, entries.first())?;
    let history = History::new(store.identity(), floor, state, entries);
    Ok((history, from))
}

/// The oldest revision whose state is known.
fn oldest(store: &Store, head: u64) -> Result<u64, Failure> {
    match store.entry(1) {
        Err(Error::Pruned { floor, .. }) => Ok(floor.min(head)),
        // Where nothing is committed there is nothing to begin with.
        Ok(_) | Err(Error::NoSuchRevision { .. }) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Where a history begins: the revision, with the hash that the entry behind it says, and the state's digest.
fn floor_of(
    store: &Store,
    revision: u64,
    state: &Configuration,
    next: Option<&Entry>,
) -> Result<Floor, Failure> {
    let beginning = Floor::beginning(&store.identity());
    if revision == 0 {
        return Ok(beginning);
    }
    let hash = match next {
        Some(next) => next.parent,
        None => store
            .entry(revision)
            .map_or(beginning.hash, |entry| entry.hash),
    };
    Ok(Floor {
        revision,
        hash,
        state_digest: StateDigest::of(state),
    })
}
