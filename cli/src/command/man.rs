use std::path::PathBuf;

use clap::CommandFactory;
use clap_mangen::{Man as Page, generate_to};
use serde_json::json;

use crate::Cli;
use crate::answer::Answer;
use crate::context::Context;
use crate::failure::{Code, Failure};

/// Print the manual page, or write those of all commands into a folder
///
/// `rewire man | man -l -` shows it; `rewire man /usr/local/share/man/man1` installs them all.
#[derive(clap::Args)]
pub(crate) struct Man {
    /// Where to write a page for each command
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    folder: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Some(folder) = self.folder else {
            let mut page = Vec::new();
            Page::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Failure::new(Code::Failed, format!("cannot write the page: {error}")))?;
            let page = String::from_utf8_lossy(&page).into_owned();
            return Ok(context.shown(|_| page.clone(), || json!({ "page": page })));
        };
        generate_to(Cli::command(), &folder).map_err(|error| {
            let message = format!("cannot write the pages into {}: {error}", folder.display());
            Failure::new(Code::Output, message)
        })?;
        let folder = folder.display().to_string();
        Ok(context.done(|| format!("wrote the manual pages into {folder}\n"), || json!({ "folder": folder })))
    }
}
