use std::path::PathBuf;

use rewire_configdb::Store;
use rewire_schema::Changeset;

use super::Author;
use crate::Context;
use crate::checker;
use crate::failure::Failure;
use crate::terminal::print;
use crate::view::{CANDIDATE, summary};

/// Make a document the whole candidate
///
/// The document, in YAML or JSON, is checked and takes the place of the candidate. Nothing is committed: `rewire diff`
/// shows what would change, `rewire commit` makes it so.
#[derive(clap::Args)]
pub(crate) struct Load {
    /// The document; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    author: Author,
}

impl Load {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let source = checker::read_document(&self.file)?;
        let mut store = Store::open(&context.store)?;
        let (head, running) = store.head_and_configuration()?;
        let changeset = Changeset::between(&running, &source.configuration);
        store.save_candidate(CANDIDATE, head, &changeset, &self.author.name())?;
        print(&format!("candidate: {} against revision {head}\n", summary(&changeset)))
    }
}
