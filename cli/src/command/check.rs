use std::path::PathBuf;

use rewire_configdb::{CommitRequest, Counts};
use rewire_schema::Configuration;
use serde_json::json;

use crate::answer::Answer;
use crate::apply;
use crate::checker;
use crate::committing::expect_complete;
use crate::context::Context;
use crate::document;
use crate::failure::Failure;
use crate::view::{self, State, revisions};

/// Check the candidate or a document, and change nothing
///
/// A document goes through all that `load` asks of it; the store is not needed. The candidate goes through all that a
/// commit asks of it, merged with what others committed since, in a transaction that is taken back.
///
/// What is probably not meant is warned of on standard error: of a document always, of the candidate with --full; a commit
/// warns of what it changes.
///
/// The candidate is checked at the cost of what it changes: what was committed passed already. What passes compiles, so that
/// neither need be compiled to know. --full checks and compiles all of it all the same, at the cost of the configuration.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The document, or a directory of documents as `apply` takes it; - for standard input [default: the candidate]
    #[arg(value_name = "FILE|DIR", value_hint = clap::ValueHint::AnyPath)]
    file: Option<PathBuf>,
    /// Check all of it, not only what the candidate changes, and compile it as a gateway does when it starts
    #[arg(long)]
    full: bool,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let waiting = context.waiting();
        waiting.step("checking");
        if let Some(directory) = self.file.as_deref().filter(|file| file.is_dir()) {
            let (configuration, documents) = apply::read_checked(directory, self.full)?;
            drop(waiting);
            warn(context, &configuration);
            let (name, rows) = (directory.display().to_string(), configuration.len());
            let s = if documents == 1 { "" } else { "s" };
            return Ok(context.done(
                || format!("{name} is good: {rows} rows in {documents} document{s}\n"),
                || json!({ "document": name, "documents": documents, "rows": rows }),
            ));
        }
        if let Some(file) = self.file {
            let source = document::whole(&file, &waiting)?;
            let rows = source.configuration.len();
            let name = document::name(&file);
            if self.full {
                waiting.step("compiling");
                if let Err(refusal) = checker::compile(source.configuration.clone()) {
                    return Err(source.diagnose(refusal.0).into());
                }
            }
            drop(waiting);
            warn(context, &source.configuration);
            return Ok(context.done(
                || format!("{name} is good: {rows} rows\n"),
                || json!({ "document": name, "rows": rows }),
            ));
        }
        let mut store = context.open_to_write()?;
        let name = context.candidate();
        let candidate = view::candidate(&name, &store)?;
        expect_complete(&name, &candidate)?;
        let whole = match self.full {
            true => Some(State::Candidate(None).configuration(context, &store)?),
            false => None,
        };
        if candidate.base == store.head()? {
            // All that is wrong at once, before the store stops at the first.
            match &whole {
                Some(whole) => checker::check(whole)?,
                None => checker::check_edits(&store.reader(candidate.base)?, &candidate.changeset)?,
            }
        }
        let mut merged = None;
        if !candidate.changeset.is_empty() {
            let request = CommitRequest {
                merge: true,
                ..CommitRequest::new(candidate.base, &candidate.changeset, "", "")
            };
            merged = store.check(request, &mut checker::checker())?.merged;
        }
        if let Some(whole) = whole {
            warn(context, &whole);
            waiting.step("compiling");
            checker::compile(whole)?;
        }
        drop(waiting);
        let (base, counts) = (candidate.base, Counts::of(&candidate.changeset));
        let others = match &merged {
            Some(others) => format!(", and merges with {} of others", revisions(others)),
            None => String::new(),
        };
        let merged = merged.map(|others| [*others.start(), *others.end()]);
        Ok(context.done(
            || format!("the candidate is good: {} against revision {base}{others}\n", view::sentence(counts)),
            || json!({ "candidate": name, "base": base, "rows": view::counts_json(counts), "merged": merged }),
        ))
    }
}

/// Says what is odd about a whole configuration, and refuses nothing.
fn warn(context: &Context, configuration: &Configuration) {
    for warning in rewire_compiler::warnings(configuration) {
        context.note(&format!("warning: {warning}"));
    }
}
