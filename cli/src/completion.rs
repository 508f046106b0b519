//! Completion of what people type, grammar and values alike: the shell asks this program itself (`rewire completions`
//! prints the script that does), so that candidates, revisions, tags and paths are those of the store as it is.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::engine::{
    ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};
use clap_complete::env::CompleteEnv;
use rewire_configdb::{LogEntry, LogQuery, Store};
use rewire_schema::edit::{Node, Order, Target};
use rewire_schema::outline::Collection;
use rewire_schema::state::Rows;

use crate::Cli;

/// The variable by which the shell says that it asks, and who it is.
pub(crate) const VARIABLE: &str = "REWIRE_COMPLETE";

/// The largest number of revisions, and of paths, that are offered.
const MOST: usize = 200;

/// Answers a shell that asks for completions, and ends. Returns at once where none does.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .complete();
}

/// The names of the candidates.
pub(crate) fn candidates() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        candidate_names()
            .into_iter()
            .map(CompletionCandidate::new)
            .collect()
    })
}

/// The states that there are: candidates, the running one, revisions and tags.
pub(crate) fn states() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let words = ["candidate", "running"]
            .map(CompletionCandidate::new)
            .into_iter();
        words.chain(revision_candidates()).collect()
    })
}

/// Revisions and tags.
pub(crate) fn revisions() -> ArgValueCandidates {
    ArgValueCandidates::new(revision_candidates)
}

/// Files, and the words that may stand before one.
pub(crate) fn files_and<T>(words: &'static [(&'static str, T)]) -> ArgValueCompleter
where
    T: Sync,
{
    ArgValueCompleter::new(move |current: &OsStr| {
        let typed = current.to_string_lossy();
        let words = words.iter().map(|(word, _)| *word);
        let words = words
            .filter(|word| word.starts_with(&*typed))
            .map(CompletionCandidate::new);
        let mut candidates: Vec<CompletionCandidate> = words.collect();
        candidates.extend(PathCompleter::any().complete(current));
        candidates
    })
}

/// The tags.
pub(crate) fn tags() -> ArgValueCandidates {
    ArgValueCandidates::new(|| tag_candidates(&store()))
}

/// Paths of the running configuration, step by step.
pub(crate) fn paths() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let current = current.to_string_lossy();
        let paths = path_candidates(&current).unwrap_or_default();
        paths
            .into_iter()
            .map(CompletionCandidate::new)
            .collect::<Vec<_>>()
    })
}

/// The store of the command line that is being completed. Whatever is wrong with it is no matter here.
pub(crate) fn store() -> Option<Store> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let apart = words
        .windows(2)
        .filter(|pair| pair[0] == "--store")
        .map(|pair| pair[1].clone());
    let joined = words
        .iter()
        .filter_map(|word| word.to_str()?.strip_prefix("--store=").map(OsString::from));
    let named = apart
        .chain(joined)
        .last()
        .or_else(|| std::env::var_os("REWIRE_STORE"));
    Store::open_read_only(PathBuf::from(named.unwrap_or_else(|| "rewire.db".into()))).ok()
}

fn candidate_names() -> Vec<String> {
    let candidates = store()
        .and_then(|store| store.candidates().ok())
        .unwrap_or_default();
    candidates
        .into_iter()
        .map(|candidate| candidate.name)
        .collect()
}

fn tag_candidates(store: &Option<Store>) -> Vec<CompletionCandidate> {
    let tags = store
        .as_ref()
        .and_then(|store| store.tags().ok())
        .unwrap_or_default();
    let help = |revision: u64| Some(format!("revision {revision}").into());
    tags.into_iter()
        .map(|tag| CompletionCandidate::new(tag.name).help(help(tag.revision)))
        .collect()
}

fn revision_candidates() -> Vec<CompletionCandidate> {
    let store = store();
    let entries = store
        .as_ref()
        .and_then(|store| store.log(LogQuery::last(MOST)).ok())
        .unwrap_or_default();
    let candidate = |entry: LogEntry| {
        let message = entry.message.lines().next().unwrap_or_default().to_owned();
        CompletionCandidate::new(entry.revision.to_string()).help(Some(message.into()))
    };
    entries
        .into_iter()
        .map(candidate)
        .chain(tag_candidates(&store))
        .collect()
}

/// What can stand next in a path with dots: the fields of an object, and the keys that there are in the store.
fn path_candidates(current: &str) -> Option<Vec<String>> {
    let (begin, target) = longest_path(current);
    let names: Vec<String> = match target.node() {
        Node::Object(object) => object
            .fields
            .iter()
            .map(|field| field.name.to_owned())
            .collect(),
        Node::Collection(collection, order) => {
            let keys = keys_of(&store()?, &target, collection)?;
            match order {
                Order::List => keys.into_iter().map(|key| format!("[{key}]")).collect(),
                Order::Map | Order::Set => keys,
            }
        }
        Node::Field(..) => Vec::new(),
    };
    let join = |name: String| match begin.is_empty() || name.starts_with('[') {
        true => format!("{begin}{name}"),
        false => format!("{begin}.{name}"),
    };
    let mut texts: Vec<String> = names
        .into_iter()
        .map(join)
        .filter(|text| text.starts_with(current))
        .collect();
    texts.truncate(MOST);
    Some(texts)
}

/// The longest beginning of what is typed that leads somewhere, and where. What is typed whole goes on with what is below.
fn longest_path(current: &str) -> (&str, Target) {
    let resolve = |text| Target::resolve(&[text]).ok();
    let ends = current
        .char_indices()
        .filter(|(_, c)| ".[".contains(*c))
        .map(|(at, _)| at);
    let mut beginnings: Vec<&str> = ends.map(|end| &current[..end]).collect();
    beginnings.reverse();
    let good = beginnings
        .into_iter()
        .find_map(|text| Some((text, resolve(text)?)));
    good.filter(|(text, _)| !text.is_empty())
        .unwrap_or(("", Target::root()))
}

/// The keys of the objects of a collection in the running configuration.
fn keys_of(store: &Store, target: &Target, collection: &Collection) -> Option<Vec<String>> {
    let mut keys = Vec::new();
    for count in 0..target.words().len() {
        if let Node::Collection(above, _) = Target::resolve(&target.words()[..count]).ok()?.node() {
            keys.push(above.key_column().parse(&target.words()[count]).ok()?);
        }
    }
    let rows = store
        .reader(store.head().ok()?)
        .ok()?
        .below(collection.table, &keys)
        .ok()?;
    Some(
        rows.iter()
            .map(|row| row.values()[collection.key].to_string())
            .collect(),
    )
}
