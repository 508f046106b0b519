use rewire_configdb::Store;
use rewire_schema::{source, to_document};

use crate::Context;
use crate::failure::{Exit, Failure};
use crate::terminal::print;
use crate::view::State;

/// Print a whole configuration as a document
///
/// What is printed can be loaded again.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// candidate, running or the number of a revision
    #[arg(value_name = "STATE", default_value = "running")]
    state: State,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let store = Store::open(&context.store)?;
        let document = to_document(&self.state.configuration(&store)?);
        let text = match self.format {
            Format::Yaml => source::to_yaml(&document).map_err(|e| e.to_string()),
            Format::Json => source::to_json(&document).map_err(|e| e.to_string()),
        };
        let text = text.map_err(|why| Failure::new(Exit::Failed, format!("cannot write the document: {why}")))?;
        print(&format!("{}\n", text.trim_end()))
    }
}
