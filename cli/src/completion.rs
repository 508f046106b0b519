//! Completion of what people type, grammar and values alike: the shell asks this program itself (`rewire completions`
//! prints the script that does), so that candidates, revisions, tags and paths are those of the store as it is.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use rewire_configdb::{LogEntry, LogQuery, Store};
use rewire_schema::Path;

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
fn store() -> Option<Store> {
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

/// For each path of the configuration that goes on from what is typed, its next step.
fn path_candidates(current: &str) -> Option<BTreeSet<String>> {
    let configuration = store()?.configuration().ok()?;
    let mut found = BTreeSet::new();
    for row in configuration.rows() {
        found.extend(next_step(&row.path(), current));
        if found.len() >= MOST {
            break;
        }
    }
    Some(found)
}

/// The shortest beginning of a path, in whole steps, that is longer than what is typed of it.
fn next_step(path: &Path, current: &str) -> Option<String> {
    let steps = path.steps();
    let beginnings = (1..=steps.len()).map(|count| Path::new(&steps[..count]).to_string());
    let mut longer = beginnings.filter(|text| text.len() > current.len());
    longer.find(|text| text.starts_with(current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_completed_step_by_step() {
        let path = Path::new(["vpcs", "red", "routes", "10.0.0.0/8", "next_hops", "0"]);
        for (typed, completed) in [
            ("", Some("vpcs")),
            ("v", Some("vpcs")),
            ("vpcs", Some("vpcs.red")),
            ("vpcs.", Some("vpcs.red")),
            ("vpcs.red.routes.10.", Some("vpcs.red.routes.10.0.0.0/8")),
            (
                "vpcs.red.routes.10.0.0.0/8.n",
                Some("vpcs.red.routes.10.0.0.0/8.next_hops"),
            ),
            (
                "vpcs.red.routes.10.0.0.0/8.next_hops",
                Some("vpcs.red.routes.10.0.0.0/8.next_hops[0]"),
            ),
            ("vpcs.red.routes.10.0.0.0/8.next_hops[0]", None),
            ("vpcs.blue", None),
            ("nat", None),
        ] {
            assert_eq!(next_step(&path, typed).as_deref(), completed, "{typed}");
        }
    }
}
