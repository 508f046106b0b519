//! What can stand next in the shell, for Tab and `?`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use clap::CommandFactory;
use reedline::{CompletionResult, Span, Suggestion};
use rewire_configdb::Store;
use rewire_schema::edit::words::{self, Word, quote};
use rewire_schema::edit::{self, Candidate, Completion, Edits, VERBS};

use super::line::{WORDS, others};
use crate::Cli;
use crate::edit::Editing;

/// What completion goes by: the place, and the candidate there.
pub(super) struct View {
    store: PathBuf,
    pub(super) place: Vec<String>,
    pub(super) base: u64,
    pub(super) edits: Edits,
    reader: Option<Store>,
}

impl View {
    pub(super) fn new(store: &Path, editing: &Editing) -> Self {
        View {
            store: store.to_owned(),
            place: Vec::new(),
            base: editing.base,
            edits: editing.edits.clone(),
            reader: None,
        }
    }

    /// What can stand after these words, where the word that begins so is not finished.
    pub(super) fn complete(&mut self, words: &[String], partial: &str) -> Completion {
        let Some((first, rest)) = words.split_first() else {
            return Completion {
                candidates: commands(partial),
                ..Completion::default()
            };
        };
        match first.as_str() {
            "top" => {
                let place = std::mem::take(&mut self.place);
                let completion = self.complete(rest, partial);
                self.place = place;
                completion
            }
            "run" => self.complete(rest, partial),
            "show" | "compare" => self.path("delete", rest, partial),
            "edit" => self.path("deactivate", rest, partial),
            verb if VERBS.iter().any(|(name, _, _)| *name == verb) => self.edit(words, partial),
            other => options(other, partial),
        }
    }

    /// What can stand in a path, as `verb` takes it.
    fn path(&mut self, verb: &str, rest: &[String], partial: &str) -> Completion {
        let mut words = vec![verb.to_owned()];
        words.extend_from_slice(rest);
        let completion = self.edit(&words, partial);
        Completion {
            complete: true,
            ..completion
        }
    }

    fn edit(&mut self, words: &[String], partial: &str) -> Completion {
        if self.reader.is_none() {
            self.reader = Store::open_read_only(&self.store).ok();
        }
        let store = self.reader.as_ref();
        let Some(reader) = store.and_then(|store| store.reader(self.base).ok()) else {
            return Completion::default();
        };
        // After words that lead nowhere, nothing can stand.
        edit::complete(&reader, &self.edits, &self.place, words, partial).unwrap_or_default()
    }
}

/// The commands whose names begin so.
fn commands(partial: &str) -> Vec<Candidate> {
    let here = VERBS.iter().chain(WORDS);
    let mut all: Vec<Candidate> = here.map(|(name, _, help)| candidate(name, help)).collect();
    all.extend(others(&Cli::command()).map(|(name, help)| candidate(&name, &help)));
    all.retain(|one| one.text.starts_with(partial));
    all
}

/// The options of a command of the command line, and the commands below it.
fn options(command: &str, partial: &str) -> Completion {
    let grammar = Cli::command();
    let Some(command) = grammar.find_subcommand(command) else {
        return Completion::default();
    };
    let help = |argument: &clap::Arg| {
        argument
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let options = command.get_arguments().filter_map(|argument| {
        Some(candidate(
            &format!("--{}", argument.get_long()?),
            &help(argument),
        ))
    });
    let below = command.get_subcommands().map(|command| {
        let about = command.get_about().map(ToString::to_string);
        candidate(command.get_name(), &about.unwrap_or_default())
    });
    let values = command.get_positionals().map(|argument| {
        let name = argument.get_value_names().and_then(|names| names.first());
        candidate(name.map_or("VALUE", |name| name.as_str()), &help(argument))
    });
    let mut candidates: Vec<Candidate> = below.chain(options).collect();
    candidates.retain(|one| one.text.starts_with(partial));
    Completion {
        candidates,
        hints: values.collect(),
        complete: true,
    }
}

fn candidate(text: &str, help: &str) -> Candidate {
    Candidate {
        text: text.to_owned(),
        help: help.to_owned(),
    }
}

/// The words before the end of a line, and the one that it ends in.
pub(super) fn cut(line: &str) -> (Vec<String>, Word) {
    let end = line.len();
    let mut words = words::split(line).unwrap_or_else(|open| open.words);
    let last = words.pop_if(|last| last.span.end == end);
    let partial = last.unwrap_or(Word {
        text: String::new(),
        span: end..end,
    });
    (words.into_iter().map(|word| word.text).collect(), partial)
}

/// Completes on Tab.
pub(super) struct Completer(pub(super) Arc<Mutex<View>>);

impl reedline::Completer for Completer {
    fn complete(&mut self, line: &str, position: usize) -> CompletionResult {
        let (words, partial) = cut(line.get(..position).unwrap_or(line));
        let completion = match self.0.lock() {
            Ok(mut view) => view.complete(&words, &partial.text),
            Err(_) => Completion::default(),
        };
        let span = Span::new(partial.span.start, position.max(partial.span.start));
        let suggestions = completion.candidates.into_iter().map(|one| Suggestion {
            value: quote(&one.text),
            description: Some(one.help),
            span,
            append_whitespace: true,
            ..Suggestion::default()
        });
        CompletionResult::fresh(suggestions.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_that_is_not_finished_is_found() {
        for (line, words, partial, start) in [
            ("", vec![], "", 0),
            ("se", vec![], "se", 0),
            ("set ", vec!["set"], "", 4),
            ("set vpcs bl", vec!["set", "vpcs"], "bl", 9),
            ("set vpcs \"bl", vec!["set", "vpcs"], "bl", 9),
        ] {
            let (before, last) = cut(line);
            assert_eq!(before, words, "{line}");
            assert_eq!(
                (last.text.as_str(), last.span.start),
                (partial, start),
                "{line}"
            );
        }
    }
}
