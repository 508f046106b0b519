use std::io::{BufRead, IsTerminal, Write};

use serde_json::json;

use crate::answer::Answer;
use crate::connections::Which;
use crate::context::Context;
use crate::daemon::connections::{self, Cleared, Filter};
use crate::failure::{Code, Failure};
use crate::gateway::{self, no_gateway};

/// End connections that the running gateway tracks
///
/// A connection that is ended is forgotten in both directions, with the port that it was translated to; nobody is told. What
/// its ends send next may begin a new one, where the configuration allows that. Options say which are meant; without any, all
/// are, and that must be confirmed.
#[derive(clap::Args)]
pub(crate) struct Clear {
    /// The word connections
    #[arg(value_name = "WHAT", value_parser = ["connections"])]
    what: String,
    /// All of them, without being asked
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

impl Clear {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let filter = self.which.filter();
        if filter == Filter::default() && !self.all {
            confirm(context)?;
        }
        let clear = connections::Clear { filter };
        let answer = gateway::ask(
            &context.socket(),
            "clear_connections",
            &clear,
            connections::VERSION,
        );
        let answer: Option<Cleared> = answer.map_err(|why| Failure::new(Code::Failed, why))?;
        let cleared = answer.ok_or_else(|| no_gateway(&context.socket()))?;
        let what = &self.what;
        Ok(context.done(
            || format!("{} {what} have ended\n", cleared.ended),
            || json!({ "ended": cleared.ended }),
        ))
    }
}

/// Asks a person; there must be one.
fn confirm(context: &Context) -> Result<(), Failure> {
    let refused = |message: &str| {
        Err(Failure::new(Code::WrongArguments, message)
            .help("say which with options, or --all for all of them"))
    };
    if context.json || !std::io::stdin().is_terminal() {
        return refused("all connections would end");
    }
    let mut error = std::io::stderr();
    let _ = write!(error, "End all connections of the gateway? [y/N] ");
    let _ = error.flush();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    match (read, line.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => refused("nothing was ended"),
    }
}
