use rewire_configdb::{CandidateEdit, CommitRequest, Counts, EntryKind};
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::committing::{self, Confirm};
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::live::Wait;
use crate::view::{self, Revision};

/// Undo one old commit, and leave what came after it
///
/// Without --commit or a message, the way back is loaded into the candidate. Where later revisions changed the same
/// again, they are named, and nothing is changed.
#[derive(clap::Args)]
pub(crate) struct Revert {
    /// The revision to undo: its number, -N for the Nth before the last one, or a tag
    #[arg(value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    of: Revision,
    /// Commit at once
    #[arg(long)]
    commit: bool,
    /// What it is for, and commit at once [default: "revert revision N"]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Revert {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let base = store.head()?;
        let of = self.of.number(&store)?;
        let changeset = store.revert_changeset(of)?;
        if changeset.is_empty() {
            let message = format!("nothing to commit: nothing is left of what revision {of} changed");
            return Err(Failure::new(Code::NothingToCommit, message));
        }
        let author = self.author.name();
        if self.commit || self.message.is_some() || self.confirm.time().is_some() {
            let message = self.message.unwrap_or_else(|| format!("revert revision {of}"));
            let request = CommitRequest {
                kind: EntryKind::Revert { of },
                merge: true,
                confirm: self.confirm.time(),
                ..CommitRequest::new(base, &changeset, &author, &message)
            };
            let what = format!(": undid revision {of}");
            return committing::commit(context, store, request, self.confirm.auto(), &what, &self.wait, json!({ "of": of }));
        }
        let name = context.candidate();
        let edit = CandidateEdit {
            base,
            changeset: &changeset,
            drafts: "",
            author: &author,
            expected_version: None,
        };
        store.save_candidate(&name, edit)?;
        let counts = Counts::of(&changeset);
        Ok(context.done(
            || format!("candidate: without revision {of}, {} against revision {base}\n", view::sentence(counts)),
            || json!({ "candidate": name, "of": of, "base": base, "rows": view::counts_json(counts) }),
        ))
    }
}
