//! `rewire`, the one binary: administration of the store, and the gateway that follows it.
//!
//! One command is one file in `command/`: its arguments with their help, and a short function that calls the libraries.

mod checker;
mod columns;
mod command;
mod daemon;
mod difference;
mod failure;
mod gateway;
mod live;
mod replay;
mod status_text;
mod terminal;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use command::Command;

/// A network gateway whose behaviour is one committed revision of a database
///
/// Load a document as the candidate, look at what it changes, commit it: the commit is durable, and every gateway that
/// follows the store is live with it moments later. Any revision can be gone back to.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    context: Context,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  good
  1  the operation failed, or there is nothing to do
  2  the input is wrong: a document or the arguments
  3  the store cannot be used: missing, foreign, newer or busy
  4  committed, but not live in time";

/// What every command knows.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Context {
    /// The store
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REWIRE_STORE",
        hide_env_values = true,
        default_value = "rewire.db"
    )]
    store: PathBuf,
    /// The gateway's socket [default: the store's path and ".sock"]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "REWIRE_SOCKET",
        hide_env_values = true
    )]
    socket: Option<PathBuf>,
}

impl Context {
    /// Where the gateway that follows the store listens.
    fn socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| {
            let mut path = self.store.clone().into_os_string();
            path.push(".sock");
            path.into()
        })
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, errors to standard error; a closed pipe is no reason to panic.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command.run(&cli.context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::complain(&failure.render(terminal::colour_errors()));
            failure.exit_code()
        }
    }
}
