use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;
use crate::view;

/// Throw the candidate away
///
/// Its edits are gone. Nothing that is committed changes.
#[derive(clap::Args)]
pub(crate) struct Discard {}

impl Discard {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let name = context.candidate();
        if !store.discard_candidate(&name)? {
            return Err(view::no_candidate(&name, &store, "there is no candidate"));
        }
        Ok(context.done(
            || format!("candidate \"{name}\" is discarded\n"),
            || json!({ "candidate": name }),
        ))
    }
}
