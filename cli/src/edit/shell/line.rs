//! What the words of one line do in the shell.

use clap::{CommandFactory, FromArgMatches};
use rewire_schema::edit::{Command, Node, Target, VERBS};
use serde_json::json;

use super::{Shell, Then};
use crate::edit::failure;
use crate::failure::{Code, Failure};
use crate::terminal::clean;
use crate::view::State;
use crate::{Cli, perform, verb, wrong_arguments};

/// What only the shell knows: the word, what follows it, and what it does.
pub(super) const WORDS: &[(&str, &str, &str)] = &[
    ("edit", "PATH", "Go to a place: paths are from there on"),
    ("up", "[N]", "Go one step up, or N"),
    (
        "top",
        "[COMMAND]",
        "Go to the top, or do one command from there",
    ),
    (
        "exit",
        "",
        "Go back to the place before; from the first one, leave",
    ),
    ("quit", "", "Leave"),
    (
        "show",
        "[PATH] [| compare]",
        "Show the candidate from here on, or what differs from running; | display set as commands",
    ),
    ("run", "COMMAND", "Do another command of rewire"),
    ("help", "", "Show this; ? says what can stand next"),
];

/// Commands of the command line that have no place in the shell.
pub(super) const NOT_HERE: [&str; 6] = ["edit", "run", "init", "completions", "man", "replay"];

const FILTERS: &str = "show [PATH] | compare, or show [PATH] | display set";

/// Where a line stands.
pub(super) struct At<'a> {
    pub(super) place: &'a str,
    pub(super) number: usize,
}

impl Shell<'_> {
    /// Does the command that these words are.
    pub(super) fn command(&mut self, at: &At<'_>, words: &[&str]) -> Result<Then, Failure> {
        let Some((first, rest)) = words.split_first() else {
            return Ok(Then::Next);
        };
        match *first {
            "quit" if rest.is_empty() => return Ok(Then::Leave),
            "exit" if rest.is_empty() => match self.places.pop() {
                Some(place) => self.place = place,
                None => return Ok(Then::Leave),
            },
            "exit" | "quit" => {
                return Err(wrong(&format!("nothing follows {first}"), "type it alone"));
            }
            "edit" if rest.is_empty() => {
                return Err(wrong(
                    "edit needs a path",
                    "top goes to the top, exit goes back",
                ));
            }
            "edit" => self.go(rest)?,
            "up" => self.up(rest)?,
            "top" => return self.top(at, rest),
            "help" | "?" => self.help()?,
            "show" | "compare" => self.show(words)?,
            "run" if !rest.is_empty() => self.rewire(rest)?,
            verb if VERBS.iter().any(|(name, _, _)| *name == verb) => self.edit(at, words)?,
            _ => self.rewire(words)?,
        }
        Ok(Then::Next)
    }

    fn edit(&mut self, at: &At<'_>, words: &[&str]) -> Result<(), Failure> {
        let explain = |error| failure(at.place, at.number, words, &error);
        let command = Command::parse_below(words, &self.place).map_err(explain)?;
        let outcome = self
            .editing
            .apply(&self.store, &command)?
            .map_err(explain)?;
        if self.is_watched {
            self.save()?;
        }
        let context = self.context.again();
        let answer = self.editing.answer(&context, &outcome);
        context.finish(words.first().unwrap_or(&""), answer)
    }

    fn up(&mut self, words: &[&str]) -> Result<(), Failure> {
        let count = match words {
            [] => Some(1),
            [count] => count.parse::<usize>().ok(),
            _ => None,
        };
        let Some(count) = count else {
            return Err(wrong("up takes a number", "up, or up 2"));
        };
        let mut place = self.place.clone();
        for _ in 0..count.min(place.len()) {
            place.pop();
            // A map and the key in it are one step.
            if let Ok(Node::Collection(..)) = Target::resolve(&place).map(|target| target.node()) {
                place.pop();
            }
        }
        self.places.push(std::mem::replace(&mut self.place, place));
        Ok(())
    }

    fn top(&mut self, at: &At<'_>, words: &[&str]) -> Result<Then, Failure> {
        let place = std::mem::take(&mut self.place);
        if words.is_empty() {
            self.places.push(place);
            return Ok(Then::Next);
        }
        let then = self.command(at, words);
        if self.place.is_empty() {
            self.place = place;
        }
        then
    }

    /// Shows the candidate from here on, or another state where one is named.
    fn show(&mut self, words: &[&str]) -> Result<(), Failure> {
        let (words, filter) = match words.iter().position(|word| *word == "|") {
            Some(at) => (&words[..at], Some(&words[at + 1..])),
            None => (words, None),
        };
        let (first, path) = words.split_first().unwrap_or((&"show", &[]));
        let (is_diff, format) = match filter {
            None => (*first == "compare", None),
            Some(["compare"]) => (true, None),
            Some(["display", format @ ("set" | "json" | "yaml")]) => (false, Some(*format)),
            Some(_) => return Err(wrong("no such filter", FILTERS)),
        };
        self.save()?;
        let place = self.place.clone();
        let mut line = vec![if is_diff { "diff" } else { "show" }];
        if !path.first().is_some_and(|word| self.is_state(word)) {
            let is_there = self.store.candidate(&self.editing.name)?.is_some();
            line.extend(is_diff.then_some("running"));
            line.push(if is_there { "candidate" } else { "running" });
            line.extend(place.iter().map(String::as_str));
        }
        line.extend(path);
        line.extend(format.iter().flat_map(|format| ["--format", *format]));
        self.rewire(&line)
    }

    /// Whether a word names a state, and nothing at this place.
    fn is_state(&self, word: &str) -> bool {
        let mut path = self.place.clone();
        path.push(word.to_owned());
        let is_path = Target::resolve(&path).is_ok();
        !is_path && (word == "revision" || word.parse::<State>().is_ok())
    }

    /// Does any other command of rewire.
    fn rewire(&mut self, words: &[&str]) -> Result<(), Failure> {
        self.save()?;
        let mut grammar = Cli::command();
        let first = words.first().copied().unwrap_or_default();
        if NOT_HERE.contains(&first) {
            let help = "type it on the command line, outside of this shell";
            return Err(wrong(&format!("{first} is no command of this shell"), help));
        }
        let Some(known) = grammar.find_subcommand(first) else {
            return Err(no_such_command(first, &grammar));
        };
        let mut line = vec!["rewire"];
        line.extend(words);
        let takes_author = known
            .get_arguments()
            .any(|argument| argument.get_id() == "author");
        let names_author = words.iter().any(|word| word.starts_with("--author"));
        let author = format!("--author={}", self.author);
        if takes_author && !names_author {
            line.insert(2, &author);
        }
        let matches = match grammar.try_get_matches_from_mut(line) {
            Ok(matches) => matches,
            Err(error) if !error.use_stderr() => {
                // Help was asked for.
                let _ = error.print();
                return Ok(());
            }
            Err(error) => return Err(wrong_arguments(&error)),
        };
        let cli = Cli::from_arg_matches(&matches).map_err(|error| wrong_arguments(&error))?;
        let mut context = self.context.again();
        context.json |= cli.context.json;
        let outcome = perform(&verb(&matches), cli.command, &context);
        // It may have changed the candidate, or what is committed.
        self.reload()?;
        outcome
    }

    fn help(&self) -> Result<(), Failure> {
        let grammar = Cli::command();
        let here = VERBS.iter().chain(WORDS);
        let here = here.map(|(name, takes, help)| {
            (
                format!("{name} {takes}").trim().to_owned(),
                (*help).to_owned(),
            )
        });
        let others = others(&grammar);
        let all: Vec<(String, String)> = here.chain(others).collect();
        let context = self.context.again();
        let answer = context.shown(
            |_| table(&all),
            || {
                let one =
                    |(text, help): &(String, String)| json!({ "command": text, "help": help });
                all.iter().map(one).collect()
            },
        );
        context.finish("help", answer)
    }
}

/// The commands of the command line that the shell takes as they are, with what they do.
pub(super) fn others(grammar: &clap::Command) -> impl Iterator<Item = (String, String)> {
    let here = |name: &str| {
        VERBS
            .iter()
            .chain(WORDS)
            .any(|(known, _, _)| *known == name)
    };
    let commands = grammar.get_subcommands().filter(move |command| {
        let name = command.get_name();
        !command.is_hide_set() && !NOT_HERE.contains(&name) && !here(name)
    });
    commands.map(|command| {
        let about = command.get_about().map(ToString::to_string);
        (command.get_name().to_owned(), about.unwrap_or_default())
    })
}

fn no_such_command(found: &str, grammar: &clap::Command) -> Failure {
    let here = VERBS
        .iter()
        .chain(WORDS)
        .map(|(name, _, _)| (*name).to_owned());
    let near = here
        .chain(others(grammar).map(|(name, _)| name))
        .map(|name| (strsim::osa_distance(found, &name), name))
        .filter(|(distance, name)| *distance <= 2 && *distance < name.len())
        .min();
    let message = format!("no such command \"{}\"", clean(found));
    match near {
        Some((_, name)) => wrong(&message, &format!("did you mean \"{name}\"?")),
        None => wrong(&message, "help lists the commands"),
    }
}

fn wrong(message: &str, help: &str) -> Failure {
    Failure::new(Code::WrongArguments, message).help(help)
}

/// Two columns; a long text on the left has a line of its own.
pub(super) fn table(lines: &[(String, String)]) -> String {
    const WIDEST: usize = 24;
    let widths = lines.iter().map(|(left, _)| left.chars().count());
    let width = widths
        .filter(|width| *width <= WIDEST)
        .max()
        .unwrap_or(WIDEST);
    let mut out = String::new();
    for (left, right) in lines {
        let line = match left.chars().count() > width {
            true => format!("  {left}\n  {:width$}  {right}", ""),
            false => format!("  {left:width$}  {right}"),
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
