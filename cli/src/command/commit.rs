use rewire_configdb::{CommitRequest, EntryKind, Store};

use super::Author;
use crate::Context;
use crate::checker;
use crate::failure::{Exit, Failure};
use crate::live::{self, Wait};
use crate::terminal::print;
use crate::view::{self, CANDIDATE, milliseconds};

/// Commit the candidate as the next revision
///
/// When the revision is printed it is durable. Where a gateway runs, the command then waits until its workers use the
/// revision, and prints where the time went.
#[derive(clap::Args)]
pub(crate) struct Commit {
    /// What the change is for
    #[arg(short, long, value_name = "TEXT")]
    message: String,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Commit {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut store = Store::open(&context.store)?;
        let Some(candidate) = store.candidate(CANDIDATE)? else {
            let message = "nothing to commit: there is no candidate";
            return Err(Failure::new(Exit::Failed, message).help(view::MAKE_A_CANDIDATE));
        };
        let request = CommitRequest {
            base: candidate.base,
            changeset: &candidate.changeset,
            author: &self.author.name(),
            message: &self.message,
            kind: EntryKind::Commit,
            clear_candidate: Some(CANDIDATE),
        };
        let committed = store.commit(request, &mut checker::checker())?;
        let durable = live::durable_time(&committed);
        print(&format!(
            "revision {} committed  durable in {}\n",
            committed.revision,
            milliseconds(durable)
        ))?;
        // A gateway need not wait for this process to let go of the store.
        drop(store);
        self.wait.until_live(context, committed.revision, durable)
    }
}
