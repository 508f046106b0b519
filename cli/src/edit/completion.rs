//! Completion of the words after the verbs of editing, for the user's own shell.

use std::ffi::{OsStr, OsString};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use rewire_configdb::Store;
use rewire_schema::edit::{self, Completion, VERBS, words};

use crate::completion::store;
use crate::context;
use crate::edit::Editing;

/// The options before the words that have a value of their own.
const OPTIONS: [&str; 5] = ["--store", "--socket", "--candidate", "--color", "--author"];

/// What can stand next, from the model and from the candidate as it is.
pub(crate) fn editing() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let line = Line::of(std::env::args_os());
        let current = current.to_string_lossy();
        let completion = store().and_then(|store| line.complete(&store, &current));
        let candidates = completion.unwrap_or_default().candidates.into_iter();
        candidates
            .map(|one| CompletionCandidate::new(one.text).help(Some(one.help.into())))
            .collect::<Vec<_>>()
    })
}

/// The command line that is being completed, up to the word that is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Line {
    /// The verb, and the words after it.
    words: Vec<String>,
    candidate: Option<String>,
}

impl Line {
    /// From what the shell says: this program, `--`, and the words of the line, of which a variable may say which it is.
    fn of(arguments: impl Iterator<Item = OsString>) -> Line {
        let words = arguments.skip_while(|word| word != "--").skip(1);
        let words: Vec<String> = words
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let index = std::env::var("_CLAP_COMPLETE_INDEX");
        let index = index.ok().and_then(|index| index.parse().ok());
        Line::read(&words, index)
    }

    fn read(words: &[String], index: Option<usize>) -> Line {
        let end = index.unwrap_or(words.len().saturating_sub(1));
        let mut line = Line {
            candidate: std::env::var("REWIRE_CANDIDATE")
                .ok()
                .filter(|name| !name.is_empty()),
            ..Line::default()
        };
        let mut words = words.iter().take(end);
        while let Some(word) = words.next() {
            let (option, value) = match word.split_once('=') {
                Some((option, value)) => (option, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            if OPTIONS.contains(&option) {
                let value = value.or_else(|| words.next().cloned());
                if option == "--candidate" {
                    line.candidate = value;
                }
            } else if word.starts_with("--") {
                continue;
            } else if !line.words.is_empty() || VERBS.iter().any(|(verb, _, _)| verb == word) {
                line.words.push(unquoted(word));
            }
        }
        line
    }

    fn complete(&self, store: &Store, current: &str) -> Option<Completion> {
        let name = self
            .candidate
            .clone()
            .unwrap_or_else(context::own_candidate);
        let editing = Editing::named(name, store).ok()?;
        let base = editing.base(store).ok()?;
        let none: [&str; 0] = [];
        edit::complete(&base, &editing.edits, &none, &self.words, current).ok()
    }
}

/// A word without the quotes that a shell may leave around it.
fn unquoted(word: &str) -> String {
    let words = words::split(word).unwrap_or_else(|open| open.words);
    words.into_iter().map(|word| word.text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_after_the_verb_are_found() {
        for (line, index, words, candidate) in [
            ("rewire set vpcs b", None, vec!["set", "vpcs"], None),
            ("rewire set vpcs b more", Some(3), vec!["set", "vpcs"], None),
            (
                "rewire --store set --candidate=ada delete --quiet 'vpcs' --author x ",
                None,
                vec!["delete", "vpcs"],
                Some("ada"),
            ),
            ("rewire log set", Some(1), vec![], None),
        ] {
            let line: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let read = Line::read(&line, index);
            assert_eq!(read.words, words, "{line:?}");
            assert_eq!(read.candidate.as_deref(), candidate, "{line:?}");
        }
    }
}
