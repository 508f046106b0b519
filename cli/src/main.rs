//! `rewire`, the one binary: administration of the store, and the gateway that follows it.
//!
//! One command is one file in `command/`: its arguments with their help, and a short function that calls the libraries
//! and comes to an [`answer::Answer`], which people read as text and machines as JSON.

mod answer;
mod apply;
mod bisect;
mod checker;
mod columns;
mod command;
mod committing;
mod completion;
mod confirming;
mod conflict;
mod connections;
mod context;
mod daemon;
mod difference;
mod document;
mod edit;
mod failure;
mod gateway;
mod history;
mod live;
mod metrics;
mod nat;
mod number;
mod pager;
mod probes;
mod rates;
mod record;
mod replay;
mod routes;
mod rules;
mod selection;
mod settling;
mod status_text;
mod terminal;
mod top;
mod trace;
mod trace_context;
mod trace_id;
mod units;
mod view;
mod waiting;
mod wanted;
mod watch;
mod when;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

use command::Command;
use context::Context;
use failure::{Code, Failure};

/// A network gateway whose behaviour is one committed revision of a database
///
/// Load a document as the candidate, look at what it changes, commit it: the commit is durable, and every gateway that
/// follows the store is live with it moments later. Any revision can be gone back to.
#[derive(Parser)]
#[command(name = "rewire", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

/// What the exit codes mean; `failure.rs` says which failure has which.
const EXIT_CODES: &str = "\
Exit codes:
  0  good
  1  the operation failed, or there is nothing to do
  2  the input is wrong: a document, a candidate that the check refuses, or the arguments
  3  the store cannot be used: missing, foreign, newer or busy; or no gateway runs
  4  committed, but not live in time, or not confirmed by its probes
  5  conflict: somebody else changed the same since
  6  somebody else has locked the store
  7  a check of a replay failed
  8  a check failed that only a fault of rewire can make fail";

fn main() -> ExitCode {
    completion::answer_shell();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command().color(terminal::help_colours(&arguments));
    let parsed = command
        .try_get_matches_from(&arguments)
        .and_then(|matches| {
            let cli = Cli::from_arg_matches(&matches)?;
            Ok((verb(&matches), cli))
        });
    match parsed {
        Ok((verb, cli)) => run(&verb, cli),
        // Help and version go to standard output, errors to standard error; a closed pipe is no reason to panic.
        Err(error) if error.use_stderr() && answer::wants_json(&arguments) => {
            let failure = wrong_arguments(&error);
            terminal::complain(&answer::failure(None, &failure));
            failure.exit_code()
        }
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

fn run(verb: &str, cli: Cli) -> ExitCode {
    let Cli { context, command } = cli;
    match perform(verb, command, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            context.fail(verb, &failure);
            failure.exit_code()
        }
    }
}

/// Does a command, and says what it came to.
fn perform(verb: &str, command: Command, context: &Context) -> Result<(), Failure> {
    let answer = command.run(context)?;
    context.finish(verb, answer)
}

/// Why the arguments cannot be read, without what is only for people.
fn wrong_arguments(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let mut parts = text.split("\n\n").map(str::trim);
    let message = parts.next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let failure = Failure::new(Code::WrongArguments, message);
    match parts.find_map(|part| part.strip_prefix("tip: ")) {
        Some(tip) => failure.help(tip),
        None => failure,
    }
}

/// What was asked for, as it is typed: `commit`, `journal verify`.
fn verb(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut matches = matches;
    while let Some((word, below)) = matches.subcommand() {
        words.push(word);
        matches = below;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_well_defined() {
        Cli::command().debug_assert();
    }

    /// What machines read is a promise: the page that makes it knows every verb.
    #[test]
    fn every_verb_is_documented_for_machines() {
        let page = include_str!("../../docs/json.md");
        let mut verbs = Vec::new();
        gather(&Cli::command(), "", &mut verbs);
        for verb in verbs {
            assert!(
                page.contains(&format!("\n### `{verb}`\n")),
                "docs/json.md has no `{verb}`"
            );
        }
    }

    fn gather(command: &clap::Command, words: &str, verbs: &mut Vec<String>) {
        for below in command
            .get_subcommands()
            .filter(|below| below.get_name() != "help")
        {
            let words = format!("{words} {}", below.get_name()).trim().to_owned();
            match below.has_subcommands() {
                true => gather(below, &words, verbs),
                false => verbs.push(words),
            }
        }
    }
}
