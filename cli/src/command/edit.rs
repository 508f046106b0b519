use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::Shell;
use crate::failure::Failure;

/// Edit the candidate in a shell of its own
///
/// Takes the verbs of editing (set, delete, rename, copy, deactivate, activate, annotate) and all other commands of rewire.
/// `edit PATH` goes to a place, and paths are from there on; `up`, `top` and `exit` go back. Tab completes, from what can be
/// said and from what is there; `?` says what can stand next. Each edit is saved in the candidate at once.
///
/// From a file or a pipe, commands are read line by line, up to the first that fails.
#[derive(clap::Args)]
pub(crate) struct Edit {
    /// The place to begin at
    #[arg(value_name = "PATH", add = crate::completion::paths())]
    path: Vec<String>,
    /// Let nobody else commit until the end
    #[arg(long)]
    exclusive: bool,
    #[command(flatten)]
    author: Author,
}

impl Edit {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut shell = Shell::open(context, self.author.name(), self.exclusive)?;
        if !self.path.is_empty() {
            shell.go(&self.path)?;
        }
        shell.run()
    }
}
