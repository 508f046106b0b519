use rewire_schema::{source, to_document};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::view::State;

/// Print a whole configuration as a document
///
/// What is printed can be loaded again. A state is candidate, candidate:NAME, running, a revision's number, -N for the
/// Nth before the last one, or a tag.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// Which state
    #[arg(value_name = "STATE", default_value = "running", allow_negative_numbers = true, add = completion::states())]
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
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        let document = to_document(&self.state.configuration(context, &store)?);
        let cannot = |why: String| Failure::new(Code::Failed, format!("cannot write the document: {why}"));
        if context.json {
            let state = self.state.to_json(context, &store)?;
            return Ok(context.shown(|_| String::new(), || json!({ "state": state, "document": document })));
        }
        let text = match self.format {
            Format::Yaml => source::to_yaml(&document).map_err(|e| e.to_string()),
            Format::Json => source::to_json(&document).map_err(|e| e.to_string()),
        };
        let text = text.map_err(cannot)?;
        Ok(context.shown(|_| format!("{}\n", text.trim_end()), || Value::Null))
    }
}
