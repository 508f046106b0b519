use std::path::PathBuf;

use rewire_configdb::Store;

use crate::Context;
use crate::checker;
use crate::failure::Failure;
use crate::terminal::print;
use crate::view::{self, State, summary};

/// Check the candidate or a document, and change nothing
///
/// A document goes through all that `load` asks of it; the store is not needed. The candidate goes through all that a
/// commit asks of it, in a transaction that is taken back.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The document; - for standard input [default: the candidate]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Check {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        if let Some(file) = self.file {
            let source = checker::read_document(&file)?;
            let rows = source.configuration.len();
            return print(&format!("{} is good: {rows} rows\n", checker::document_name(&file)));
        }
        let mut store = Store::open(&context.store)?;
        let candidate = view::candidate(&store)?;
        if !candidate.changeset.is_empty() {
            // All that is wrong at once, before the store stops at the first.
            checker::check(&State::Candidate.configuration(&store)?)?;
            store.check(candidate.base, &candidate.changeset, &mut checker::checker())?;
        }
        let changes = summary(&candidate.changeset);
        print(&format!("the candidate is good: {changes} against revision {}\n", candidate.base))
    }
}
