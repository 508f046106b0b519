//! The journal as a whole. Each of its verbs is a file in `journal/`.

mod export;
mod import;
mod prune;
mod verify;

use rewire_configdb::{Error, Store};

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;

/// Check the journal, carry it elsewhere, shorten it
#[derive(clap::Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    Verify(verify::Verify),
    Export(export::Export),
    Import(import::Import),
    Prune(prune::Prune),
}

impl Journal {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self.verb {
            Verb::Verify(verb) => verb.run(context),
            Verb::Export(verb) => verb.run(context),
            Verb::Import(verb) => verb.run(context),
            Verb::Prune(verb) => verb.run(context),
        }
    }
}

/// The revision that the journal begins after.
fn floor(store: &Store) -> Result<u64, Failure> {
    match store.entry(1) {
        Err(Error::Pruned { floor, .. }) => Ok(floor),
        // Where nothing is committed there is nothing to begin with.
        Ok(_) | Err(Error::NoSuchRevision { .. }) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
