use serde_json::{Value, json};

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::history;
use crate::number::whole_number;
use crate::selection::PathWords;

/// List the revisions, the newest first
///
/// The second column counts back from the last one, as `rewire rollback` does. Times are local. The digest is that of the state: equal digests are equal configurations. With a path, only the
/// revisions that changed what it leads to.
#[derive(clap::Args)]
pub(crate) struct Log {
    /// How many
    #[arg(short, long, value_name = "COUNT", default_value_t = 20, value_parser = whole_number::<usize>)]
    number: usize,
    /// Only those before this revision
    #[arg(long, value_name = "N", value_parser = whole_number::<u64>)]
    before: Option<u64>,
    #[command(flatten)]
    path: PathWords,
}

impl Log {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let selection = self.path.selection()?;
        let store = context.open()?;
        let entries = selection.log(&store, self.before, self.number)?;
        let head = store.head()?;
        if entries.is_empty() && self.number > 0 {
            context.note(match head {
                0 => "nothing is committed yet",
                _ => "there is no such revision",
            });
        }
        Ok(context.shown(
            |_| match entries.is_empty() && self.number > 0 {
                true => String::new(),
                false => history::table(&entries, head),
            },
            || json!({ "revisions": entries.iter().map(history::to_json).collect::<Value>() }),
        ))
    }
}
