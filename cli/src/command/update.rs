use rewire_configdb::Counts;
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::view;

/// Bring the candidate up to date with what others committed
///
/// The candidate moves onto the running revision, field by field. Where others changed the same, and not in the same way,
/// that is a conflict, and nothing is changed. A commit does the same by itself.
#[derive(clap::Args)]
pub(crate) struct Update {}

impl Update {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let name = context.candidate();
        let before = view::candidate(&name, &store)?;
        let candidate = store.rebase_candidate(&name)?;
        let counts = Counts::of(&candidate.changeset);
        let (from, base) = (before.base, candidate.base);
        Ok(context.done(
            || match from == base {
                true => format!("the candidate is on revision {base}, the last one\n"),
                false => format!("candidate: {} against revision {base}, before {from}\n", view::sentence(counts)),
            },
            || json!({ "candidate": name, "from": from, "base": base, "rows": view::counts_json(counts) }),
        ))
    }
}
