//! Editing the candidate by commands: what the one-shot verbs and the shell of `rewire edit` have in common.

mod completion;
mod shell;
mod verb;

use rewire_configdb::{CandidateEdit, Error, Reader, Store};
use rewire_schema::Changeset;
use rewire_schema::edit::{self, Command, EditError, Edits, Incomplete, Outcome, Script};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::difference;
use crate::failure::{Code, Failure, with_sources};
use crate::selection::Selection;

pub(crate) use completion::editing;
pub(crate) use shell::Shell;
pub(crate) use verb::{Words, run};

/// The most changes that a command shows of what it did.
const MOST_SHOWN: usize = 100;

/// A candidate that is being edited.
pub(crate) struct Editing {
    pub(crate) name: String,
    /// The revision that the edits are made on.
    pub(crate) base: u64,
    pub(crate) edits: Edits,
    /// The version that was read, or saved last; 0 where there was no candidate.
    version: u64,
    changed: bool,
}

impl Editing {
    /// The candidate of the context; a new one on the last revision where there is none.
    pub(crate) fn open(context: &Context, store: &Store) -> Result<Self, Failure> {
        Editing::named(context.candidate(), store)
    }

    /// The candidate of this name; a new one on the last revision where there is none.
    pub(crate) fn named(name: String, store: &Store) -> Result<Self, Failure> {
        Ok(match store.candidate(&name)? {
            Some(candidate) => Editing {
                name,
                base: candidate.base,
                edits: Edits::new(candidate.changeset, &candidate.drafts)?,
                version: candidate.version,
                changed: false,
            },
            None => Editing {
                name,
                base: store.head()?,
                edits: Edits::default(),
                version: 0,
                changed: false,
            },
        })
    }

    /// The state that the edits are made on.
    pub(crate) fn base<'a>(&self, store: &'a Store) -> Result<Reader<'a>, Failure> {
        Ok(store.reader(self.base)?)
    }

    /// Does a command to the edits. Nothing is saved yet.
    pub(crate) fn apply(
        &mut self,
        store: &Store,
        command: &Command,
    ) -> Result<Result<Outcome, EditError>, Failure> {
        let base = self.base(store)?;
        let outcome = edit::apply(&base, &mut self.edits, command);
        self.changed |= outcome.as_ref().is_ok_and(|outcome| !outcome.is_empty());
        Ok(outcome)
    }

    /// Adds what a document changes in the state under the edits.
    pub(crate) fn add(&mut self, store: &Store, more: &Changeset) -> Result<(), Failure> {
        let base = self.base(store)?;
        self.edits.changeset.then(more).map_err(Error::from)?;
        edit::complete_drafts(&base, &mut self.edits)?;
        self.changed = true;
        Ok(())
    }

    /// Does the commands of a text; none of them, where one does not fit.
    pub(crate) fn run(&mut self, store: &Store, script: &Script) -> Result<(), Failure> {
        let base = self.base(store)?;
        script.apply(&base, &mut self.edits)?;
        self.changed = true;
        Ok(())
    }

    /// Saves the edits, if there are any that are not saved.
    pub(crate) fn save(&mut self, store: &mut Store, author: &str) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        let edit = CandidateEdit {
            base: self.base,
            changeset: &self.edits.changeset,
            drafts: &self.edits.drafts_text(),
            author,
            expected_version: Some(self.version),
        };
        self.version = store.save_candidate(&self.name, edit)?;
        self.changed = false;
        Ok(())
    }

    /// What a command did, as people and machines are told.
    pub(crate) fn answer(&self, context: &Context, outcome: &Outcome) -> Answer {
        if outcome.is_empty() {
            context.note("note: nothing is other than before");
        }
        for incomplete in outcome.incomplete() {
            context.note(&format!("note: {incomplete}"));
        }
        context.done(
            || {
                shortened(&difference::render(
                    outcome.changes(),
                    &Selection::EVERYTHING,
                    context.colour(),
                ))
            },
            || {
                json!({
                    "candidate": self.name,
                    "base": self.base,
                    "changes": difference::to_json(outcome.changes(), &Selection::EVERYTHING),
                    "incomplete": incomplete_to_json(&outcome.incomplete()),
                })
            },
        )
    }
}

/// Objects that are not complete, for machines.
pub(crate) fn incomplete_to_json(incomplete: &[Incomplete]) -> Value {
    let one = |i: &Incomplete| json!({ "path": i.path.steps(), "missing": i.missing });
    incomplete.iter().map(one).collect()
}

/// The first lines of a text; the rest is counted.
fn shortened(text: &str) -> String {
    let count = text.lines().count();
    if count <= MOST_SHOWN {
        return text.to_owned();
    }
    let shown: Vec<&str> = text.lines().take(MOST_SHOWN).collect();
    format!(
        "{}\nand {} more lines\n",
        shown.join("\n"),
        count - MOST_SHOWN
    )
}

/// What is wrong with a command, with a mark under the word that is meant.
pub(crate) fn failure(place: &str, line: usize, words: &[&str], error: &EditError) -> Failure {
    match error.word() {
        Some(_) => edit::explain(place, line, words, error).into(),
        None => Failure::new(Code::Failed, with_sources(error)),
    }
}
