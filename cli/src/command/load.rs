use std::path::PathBuf;

use rewire_configdb::{CandidateEdit, Counts};
use rewire_schema::Changeset;
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::checker;
use crate::context::Context;
use crate::failure::Failure;
use crate::view;

/// Make a document the whole candidate
///
/// The document, in YAML or JSON, is checked and takes the place of the candidate. Nothing is committed: `rewire diff`
/// shows what would change, `rewire commit` makes it so.
#[derive(clap::Args)]
pub(crate) struct Load {
    /// The document; - for standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    #[command(flatten)]
    author: Author,
}

impl Load {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let waiting = context.waiting(3);
        waiting.step("reading and checking the document");
        let source = checker::read_document(&self.file)?;
        waiting.step("comparing it with the running configuration");
        let mut store = context.open_to_write()?;
        let (base, running) = store.head_and_configuration()?;
        let changeset = Changeset::between(&running, &source.configuration);
        waiting.step("saving the candidate");
        let candidate = context.candidate();
        let edit = CandidateEdit {
            base,
            changeset: &changeset,
            drafts: "",
            author: &self.author.name(),
            expected_version: None,
        };
        store.save_candidate(&candidate, edit)?;
        drop(waiting);
        let counts = Counts::of(&changeset);
        Ok(context.done(
            || format!("candidate: {} against revision {base}\n", view::sentence(counts)),
            || json!({ "candidate": candidate, "base": base, "rows": view::counts_json(counts) }),
        ))
    }
}
