use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Failure, with_sources};
use crate::status_text::count;
use crate::view::Revision;

/// Shorten the journal from its beginning
///
/// The entries up to a revision go for good; that revision becomes the oldest that can be looked at or gone back to. The
/// configuration stays as it is, and the chain of hashes goes on from a checkpoint.
#[derive(clap::Args)]
pub(crate) struct Prune {
    /// Up to which revision: its number, -N for the Nth before the last one, or a tag
    #[arg(value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    up_to: Revision,
    /// Take the tags of older revisions away, too
    #[arg(long)]
    force: bool,
}

impl Prune {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let up_to = self.up_to.number(&store)?;
        let waiting = context.waiting();
        waiting.step("pruning the journal");
        let pruned = store.prune(up_to, self.force)?;
        drop(waiting);
        if let Err(error) = &pruned.compacted {
            let why = with_sources(error);
            context.note(&format!("the file did not become smaller, its space is used again: {why}"));
        }
        let tags = match pruned.tags.as_slice() {
            [] => String::new(),
            tags => format!("; tags that went: {}", tags.join(", ")),
        };
        let (entries, oldest) = (pruned.entries, pruned.floor);
        Ok(context.done(
            || format!("pruned {}: revision {oldest} is the oldest now{tags}\n", count(entries, "revision")),
            || json!({ "pruned": entries, "floor": oldest, "tags": pruned.tags }),
        ))
    }
}
