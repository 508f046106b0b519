//! What every command knows: the options that all have, and how to speak.

use std::cell::RefCell;
use std::path::PathBuf;

use rewire_configdb::{Session, Store};
use rewire_schema::types::Name;
use serde_json::Value;

use crate::answer::{self, Answer};
use crate::checker;
use crate::completion;
use crate::failure::Failure;
use crate::pager;
use crate::settling;
use crate::terminal::{self, Colour};
use crate::waiting::Waiting;

/// The options of every command.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Context {
    /// The store
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REWIRE_STORE",
        hide_env_values = true,
        default_value = "rewire.db",
        value_hint = clap::ValueHint::FilePath
    )]
    pub(crate) store: PathBuf,
    /// The gateway's socket [default: the store's path and ".sock"]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REWIRE_SOCKET",
        hide_env_values = true,
        hide_short_help = true,
        value_hint = clap::ValueHint::FilePath
    )]
    pub(crate) socket: Option<PathBuf>,
    /// The candidate to work on [default: your own, by your user name]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "REWIRE_CANDIDATE",
        hide_env_values = true,
        add = completion::candidates()
    )]
    candidate: Option<Name>,
    /// For machines: one JSON object, whose form is versioned
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say only what was asked for: no confirmations, notes or progress
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Do not page long output
    #[arg(long, global = true, hide_short_help = true)]
    no_pager: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        value_enum,
        hide_short_help = true,
        default_value_t = Colour::Auto
    )]
    color: Colour,
    #[arg(skip)]
    notes: RefCell<Vec<String>>,
}

impl Context {
    /// Where the gateway that follows the store listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            let mut path = self.store.clone().into_os_string();
            path.push(".sock");
            path.into()
        })
    }

    /// The candidate's name: the one that was given, or the user's own, or `default` where the user has no name.
    pub(crate) fn candidate(&self) -> String {
        match &self.candidate {
            Some(given) => given.as_str().to_owned(),
            None => own_candidate(),
        }
    }

    /// The same for another command.
    pub(crate) fn again(&self) -> Context {
        let context = self.clone();
        context.notes.take();
        context
    }

    /// Opens the store to read from it.
    pub(crate) fn open(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store)?)
    }

    /// Opens the store to write to it, in the name of this process and those that it works for: a lock that one of them
    /// holds is no hindrance. First what is due is done, and said.
    pub(crate) fn open_to_write(&self) -> Result<Store, Failure> {
        let sessions = Session::ancestry().unwrap_or_default();
        let mut store = self.open()?.with_sessions(sessions);
        for settled in store.settle(&mut checker::checker())? {
            self.note(&format!("note: {}", settling::describe(&settled)));
        }
        Ok(store)
    }

    /// Whether standard output gets colours.
    pub(crate) fn colour(&self) -> bool {
        terminal::colour_output(self.color)
    }

    /// Whether standard error gets colours.
    pub(crate) fn colour_errors(&self) -> bool {
        terminal::colour_errors(self.color)
    }

    /// Says something beside the answer: on standard error, or among the notes of the JSON object.
    pub(crate) fn note(&self, text: &str) {
        if self.json {
            self.notes.borrow_mut().push(text.to_owned());
        } else if !self.quiet {
            terminal::note(text);
        }
    }

    /// What was said beside the answer since somebody took it, where machines are told.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        self.notes.take()
    }

    /// Says at once what has been done so far. Machines wait for the answer.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json || self.quiet {
            return Ok(());
        }
        terminal::print(text)
    }

    /// Shows that work goes on, on a terminal, once it takes long.
    pub(crate) fn waiting(&self) -> Waiting {
        Waiting::start(!self.json && !self.quiet)
    }

    /// The answer of a command that shows something. Only what is needed of the two is made.
    pub(crate) fn shown(
        &self,
        text: impl FnOnce(bool) -> String,
        result: impl FnOnce() -> Value,
    ) -> Answer {
        self.answer(true, || text(self.colour()), result)
    }

    /// The answer of a command that did something.
    pub(crate) fn done(
        &self,
        text: impl FnOnce() -> String,
        result: impl FnOnce() -> Value,
    ) -> Answer {
        self.answer(false, text, result)
    }

    fn answer(
        &self,
        asked_for: bool,
        text: impl FnOnce() -> String,
        result: impl FnOnce() -> Value,
    ) -> Answer {
        let (text, result) = match self.json {
            true => (String::new(), result()),
            false => (text(), Value::Null),
        };
        Answer {
            text,
            result,
            asked_for,
        }
    }

    /// Says to people what is wrong, and goes on.
    pub(crate) fn complain(&self, failure: &Failure) {
        if !self.json {
            terminal::complain(&failure.render(self.colour_errors()));
        }
    }

    /// Says why a command failed.
    pub(crate) fn fail(&self, verb: &str, failure: &Failure) {
        terminal::complain(&match self.json {
            true => answer::failure(Some(verb), failure),
            false => failure.render(self.colour_errors()),
        });
    }

    /// Gives the answer to whoever asked.
    pub(crate) fn finish(&self, verb: &str, answer: Answer) -> Result<(), Failure> {
        if self.json {
            let notes = self.notes.borrow();
            return terminal::print(&answer::success(verb, answer.result, &notes));
        }
        match answer.asked_for {
            true if self.no_pager => terminal::print(&answer.text),
            true => pager::print(&answer.text),
            false => self.say(&answer.text),
        }
    }
}

/// The name of the user at the keyboard, who may have taken another's rights.
pub(crate) fn login_name() -> Option<String> {
    let names = ["SUDO_USER", "USER"].into_iter();
    let mut names = names.filter_map(|variable| std::env::var(variable).ok());
    names.find(|name| !name.is_empty())
}

/// The name of the user's own candidate.
pub(crate) fn own_candidate() -> String {
    candidate_of(&login_name().unwrap_or_default())
}

/// The name of a user's own candidate. What a name cannot hold becomes a dash.
fn candidate_of(login: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = login
        .chars()
        .map(|c| if fits(c) { c } else { '-' })
        .take(63)
        .collect();
    match name.parse::<Name>() {
        Ok(_) => name,
        Err(_) => "default".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_candidate() {
        let long = "x".repeat(80);
        for (login, name) in [
            ("ada", "ada"),
            ("ada@example.org", "ada-example.org"),
            ("EXAMPLE\\ada lovelace", "EXAMPLE-ada-lovelace"),
            ("", "default"),
            ("-", "default"),
            ("ädä", "default"),
            (long.as_str(), &long[..63]),
        ] {
            assert_eq!(candidate_of(login), name, "{login}");
        }
    }
}
