use rewire_configdb::{CommitRequest, EntryKind};
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::committing::{self, Confirm};
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::live::Wait;
use crate::view::Revision;
use crate::when::Moment;

/// Go back to the state of an earlier revision, as a new revision
///
/// History stays as it is: the way back is a revision of its own, whose state equals the earlier one. Candidates are
/// left alone.
///
/// With --at, the way back from today's state is a scheduled commit: what others commit until then stays, field by field, and
/// what they change of the same refuses it. Because its state need not be the earlier one, the log then says commit, and not
/// rewind.
#[derive(clap::Args)]
pub(crate) struct Rewind {
    /// The revision whose state to take: its number (0 is the empty beginning), -N for the Nth before the last one, or a
    /// tag
    #[arg(value_name = "N", allow_negative_numbers = true, add = completion::revisions())]
    to: Revision,
    /// What it is for [default: "rewind to revision N"]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    confirm: Confirm,
    /// Rewind later, by itself: at 2026-11-21T18:00, at 18:00, or in +2h
    #[arg(long, value_name = "TIME")]
    at: Option<Moment>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Rewind {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open_to_write()?;
        let base = store.head()?;
        let to = self.to.number(&store)?;
        let changeset = store.rewind_changeset(to)?;
        if changeset.is_empty() {
            let same = if base == to {
                format!("revision {to} is the running one")
            } else {
                format!("revision {base}, the running one, has the state of revision {to}")
            };
            let message = format!("nothing to commit: {same}");
            return Err(Failure::new(Code::NothingToCommit, message));
        }
        let message = self.message.unwrap_or_else(|| format!("rewind to revision {to}"));
        let author = self.author.name();
        let request = CommitRequest {
            confirm: self.confirm.time(),
            ..CommitRequest::new(base, &changeset, &author, &message)
        };
        if let Some(moment) = self.at {
            return committing::schedule(context, store, request, self.confirm.auto(), moment);
        }
        let request = CommitRequest {
            kind: EntryKind::Rewind { to },
            ..request
        };
        let what = format!(": rewound to revision {to}");
        committing::commit(context, store, request, self.confirm.auto(), &what, &self.wait, json!({ "to": to }))
    }
}
