use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::status_text::count;
use crate::view::revisions;

/// Check every revision against its hash and the digest of its state, and the rows against the last one
///
/// What is wrong is said with the revision where it is. Nothing is changed.
#[derive(clap::Args)]
pub(crate) struct Verify {}

impl Verify {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let store = context.open()?;
        let waiting = context.waiting();
        waiting.step("verifying");
        let verified = store.verify()?;
        drop(waiting);
        let (floor, last) = (verified.floor, verified.revisions);
        let what = match floor {
            0 => count(last, "revision"),
            floor => revisions(&(floor + 1..=last)),
        };
        Ok(context.done(
            || format!("good: {what}, {}\n", count(verified.rows as u64, "row")),
            || json!({ "revisions": verified.revisions, "floor": verified.floor, "rows": verified.rows }),
        ))
    }
}
