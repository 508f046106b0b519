use std::path::PathBuf;

use rewire_configdb::Store;

use crate::Context;
use crate::failure::Failure;
use crate::terminal::print;

/// Make an empty store
///
/// It is at revision 0, which configures nothing. A file that is there already is never touched.
#[derive(clap::Args)]
pub(crate) struct Init {
    /// Where to make it, instead of --store
    #[arg(value_name = "STORE")]
    path: Option<PathBuf>,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let path = self.path.as_ref().unwrap_or(&context.store);
        Store::create(path)?;
        print(&format!("made the store {}\n", path.display()))
    }
}
