use rewire_configdb::Store;
use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;

/// Keep the commit that would go back by itself
///
/// `rewire commit --confirm` commits what goes back unless it is confirmed in time. Any later commit confirms, too.
#[derive(clap::Args)]
pub(crate) struct Confirm {}

impl Confirm {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        confirm(context, context.open_to_write()?)
    }
}

/// Confirms what waits for it.
pub(super) fn confirm(context: &Context, mut store: Store) -> Result<Answer, Failure> {
    let revision = store.confirm()?.revision;
    Ok(context.done(
        || format!("revision {revision} is confirmed\n"),
        || json!({ "revision": revision, "confirmed": true }),
    ))
}
