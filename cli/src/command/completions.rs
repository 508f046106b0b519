use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};

/// Print the script that makes a shell complete rewire's commands
///
/// Put it where the shell reads it at its start:
///   bash: source <(rewire completions bash)
///   zsh:  source <(rewire completions zsh)
///   fish: rewire completions fish | source
/// Candidates, revisions, tags and paths are completed from the store that the command line names.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        shell
            .write_registration(completion::VARIABLE, "rewire", "rewire", "rewire", &mut script)
            .map_err(|error| Failure::new(Code::Failed, format!("cannot write the script: {error}")))?;
        let script = String::from_utf8_lossy(&script).into_owned();
        Ok(context.shown(|_| script.clone(), || json!({ "script": script })))
    }
}
