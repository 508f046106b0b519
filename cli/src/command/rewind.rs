use rewire_configdb::{CommitRequest, EntryKind, Store};

use super::Author;
use crate::Context;
use crate::checker;
use crate::failure::{Exit, Failure};
use crate::live::{self, Wait};
use crate::terminal::print;
use crate::view::milliseconds;

/// Go back to the state of an earlier revision, as a new revision
///
/// History stays as it is: the way back is a revision of its own, whose state equals the earlier one. The candidate is
/// left alone.
#[derive(clap::Args)]
pub(crate) struct Rewind {
    /// The revision whose state to take; 0 is the empty beginning
    #[arg(value_name = "N")]
    to: u64,
    /// What it is for [default: "rewind to revision N"]
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    author: Author,
}

impl Rewind {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let mut store = Store::open(&context.store)?;
        let base = store.head()?;
        let to = self.to;
        let changeset = store.rewind_changeset(to)?;
        if changeset.is_empty() {
            let same = if base == to {
                format!("revision {to} is the running one")
            } else {
                format!("revision {base}, the running one, has the state of revision {to}")
            };
            let message = format!("nothing to commit: {same}");
            return Err(Failure::new(Exit::Failed, message));
        }
        let message = self.message.unwrap_or_else(|| format!("rewind to revision {to}"));
        let request = CommitRequest {
            base,
            changeset: &changeset,
            author: &self.author.name(),
            message: &message,
            kind: EntryKind::Rewind { to },
            clear_candidate: None,
        };
        let committed = store.commit(request, &mut checker::checker())?;
        let durable = live::durable_time(&committed);
        print(&format!(
            "revision {} committed: rewound to revision {to}  durable in {}\n",
            committed.revision,
            milliseconds(durable)
        ))?;
        drop(store);
        self.wait.until_live(context, committed.revision, durable)
    }
}
