use std::path::PathBuf;

use rewire_configdb::Store;
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;

/// Make an empty store
///
/// It is at revision 0, which configures nothing. A file that is there already is never touched.
#[derive(clap::Args)]
pub(crate) struct Init {
    /// Where to make it, instead of --store
    #[arg(value_name = "STORE", value_hint = clap::ValueHint::FilePath)]
    path: Option<PathBuf>,
}

impl Init {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let path = self.path.as_ref().unwrap_or(&context.store);
        Store::create(path)?;
        let store = path.display().to_string();
        Ok(context.done(|| format!("made the store {store}\n"), || json!({ "store": store })))
    }
}
