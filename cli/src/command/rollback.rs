use std::str::FromStr;

use rewire_configdb::{CandidateEdit, Counts};
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::Failure;
use crate::view::{self, Revision};

/// Load an earlier state into the candidate
///
/// Nothing is committed: `rewire diff` shows what would change, `rewire commit` makes it so. `rewire rewind` does both at
/// once, and is recorded as a way back.
#[derive(clap::Args)]
pub(crate) struct Rollback {
    /// How many commits to go back: 0 is the last one, which undoes the edits; or a tag
    #[arg(value_name = "N", default_value = "0", allow_negative_numbers = true, add = completion::revisions())]
    to: Back,
    #[command(flatten)]
    author: Author,
}

/// A revision, counted back from the last one.
#[derive(Clone)]
struct Back(Revision);

impl FromStr for Back {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected how many commits to go back, or a tag";
        match text.parse().map_err(|_| EXPECTED)? {
            Revision::Number(count) | Revision::Before(count) => Ok(Back(Revision::Before(count))),
            other => Ok(Back(other)),
        }
    }
}

impl Rollback {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let base = store.head()?;
        let to = self.to.0.number(&store)?;
        let changeset = store.rewind_changeset(to)?;
        let name = context.candidate();
        let edit = CandidateEdit {
            base,
            changeset: &changeset,
            drafts: "",
            author: &self.author.name(),
            expected_version: None,
        };
        store.save_candidate(&name, edit)?;
        let counts = Counts::of(&changeset);
        Ok(context.done(
            || format!("candidate: the state of revision {to}, {} against revision {base}\n", view::sentence(counts)),
            || json!({ "candidate": name, "to": to, "base": base, "rows": view::counts_json(counts) }),
        ))
    }
}
