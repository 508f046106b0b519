use std::str::FromStr;

use rewire_configdb::Store;
use rewire_schema::{edit, source, to_document};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::difference;
use crate::failure::{Code, Failure};
use crate::history;
use crate::selection::Selection;
use crate::view::{self, Revision, State};

/// Print a whole configuration as a document, or what one revision changed
///
/// A configuration that is printed can be loaded again. A state is candidate, candidate:NAME, running, a revision's
/// number, -N for the Nth before the last one, or a tag. `rewire show revision N` prints who committed a revision, when,
/// what for, and what it changed.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// Which state; or the word revision, and then which one
    #[arg(value_name = "STATE", default_value = "running", allow_negative_numbers = true, add = completion::states())]
    what: What,
    /// Which revision [default: the last one]
    #[arg(value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    revision: Option<Revision>,
    /// How to write a configuration
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
}

/// What to show.
#[derive(Clone)]
enum What {
    State(State),
    Revision,
}

impl FromStr for What {
    type Err = <State as FromStr>::Err;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "revision" => Ok(What::Revision),
            state => state.parse().map(What::State),
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Yaml,
    Json,
    /// Commands that `rewire load set` takes
    Set,
}

impl Show {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        match (self.what, self.revision) {
            (What::State(state), None) => configuration(context, &store, &state, self.format),
            (What::Revision, revision) => entry(context, &store, &revision.unwrap_or(Revision::Running)),
            (What::State(state), Some(_)) => {
                let message = format!("a second word goes with \"revision\" only, not with \"{state}\"");
                Err(Failure::new(Code::WrongArguments, message))
            }
        }
    }
}

fn configuration(context: &Context, store: &Store, state: &State, format: Format) -> Result<Answer, Failure> {
    let configuration = state.configuration(context, store)?;
    let document = to_document(&configuration);
    let cannot = |why: String| Failure::new(Code::Failed, format!("cannot write the document: {why}"));
    if context.json {
        let state = state.to_json(context, store)?;
        return Ok(context.shown(|_| String::new(), || json!({ "state": state, "document": document })));
    }
    let text = match format {
        Format::Yaml => source::to_yaml(&document).map_err(|e| e.to_string()),
        Format::Json => source::to_json(&document).map_err(|e| e.to_string()),
        Format::Set => Ok(edit::to_set_commands(&configuration)),
    };
    let text = text.map_err(cannot)?;
    Ok(context.shown(|_| format!("{}\n", text.trim_end()), || Value::Null))
}

fn entry(context: &Context, store: &Store, revision: &Revision) -> Result<Answer, Failure> {
    let entry = store.entry(revision.number(store)?)?;
    let changeset = view::changeset(&entry)?;
    let tags = store.tags()?.into_iter().filter(|tag| tag.revision == entry.revision);
    let tags: Vec<String> = tags.map(|tag| tag.name).collect();
    let all = Selection::EVERYTHING;
    Ok(context.shown(
        |colour| history::heading(&entry, &tags, colour) + &difference::render(&changeset, &all, colour),
        || {
            let mut result = history::entry_to_json(&entry, &tags);
            result["changes"] = difference::to_json(&changeset, &all);
            result
        },
    ))
}
