use rewire_configdb::{CommitRequest, EntryKind};
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::checker;
use crate::context::Context;
use crate::failure::Failure;
use crate::live::{self, Wait};
use crate::view::{self, milliseconds, nanoseconds};

/// Commit the candidate as the next revision
///
/// When the revision is printed it is durable. Where a gateway runs, the command then waits until its workers use the
/// revision, and prints where the time went.
#[derive(clap::Args)]
pub(crate) struct Commit {
    /// What the change is for
    #[arg(short, long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    message: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Commit {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let name = context.candidate();
        let Some(candidate) = store.candidate(&name)? else {
            let message = "nothing to commit: there is no candidate";
            return Err(view::no_candidate(&name, &store, message));
        };
        let waiting = context.waiting(0);
        waiting.step("committing");
        let request = CommitRequest {
            base: candidate.base,
            changeset: &candidate.changeset,
            author: &self.author.name(),
            message: &self.message,
            kind: EntryKind::Commit,
            clear_candidate: Some(&name),
            candidate_version: Some(candidate.version),
            merge: false,
            confirm: None,
        };
        let committed = store.commit(request, &mut checker::checker())?;
        drop(waiting);
        let (revision, durable) = (committed.revision, live::durable_time(&committed));
        context.say(&format!(
            "revision {revision} committed  durable in {}\n",
            milliseconds(durable)
        ))?;
        // A gateway need not wait for this process to let go of the store.
        drop(store);
        let live = self.wait.until_live(context, revision, durable)?;
        Ok(context.done(
            || live.text,
            || json!({ "revision": revision, "durable_ns": nanoseconds(durable), "live": live.answer }),
        ))
    }
}
