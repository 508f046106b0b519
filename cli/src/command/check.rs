use std::path::PathBuf;

use serde_json::json;

use crate::answer::Answer;
use crate::checker;
use crate::context::Context;
use crate::failure::Failure;
use crate::view::{self, Counts, State};

/// Check the candidate or a document, and change nothing
///
/// A document goes through all that `load` asks of it; the store is not needed. The candidate goes through all that a
/// commit asks of it, in a transaction that is taken back.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The document; - for standard input [default: the candidate]
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let waiting = context.waiting(0);
        waiting.step("checking");
        if let Some(file) = self.file {
            let source = checker::read_document(&file)?;
            let rows = source.configuration.len();
            let name = checker::document_name(&file);
            drop(waiting);
            return Ok(context.done(
                || format!("{name} is good: {rows} rows\n"),
                || json!({ "document": name, "rows": rows }),
            ));
        }
        let mut store = context.open_to_write()?;
        let name = context.candidate();
        let candidate = view::candidate(&name, &store)?;
        if !candidate.changeset.is_empty() {
            // All that is wrong at once, before the store stops at the first.
            checker::check(&State::Candidate(None).configuration(context, &store)?)?;
            let request = rewire_configdb::CommitRequest::new(candidate.base, &candidate.changeset, "", "");
            store.check(request, &mut checker::checker())?;
        }
        drop(waiting);
        let (base, counts) = (candidate.base, Counts::of(&candidate.changeset));
        Ok(context.done(
            || format!("the candidate is good: {} against revision {base}\n", counts.sentence()),
            || json!({ "candidate": name, "base": base, "rows": counts.to_json() }),
        ))
    }
}
