use serde_json::json;

use crate::answer::Answer;
use crate::context::Context;
use crate::failure::Failure;

/// Let everybody commit again
#[derive(clap::Args)]
pub(crate) struct Unlock {
    /// Take the lock away from whoever holds it
    #[arg(long)]
    force: bool,
}

impl Unlock {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let held = store.unlock(self.force)?;
        if held.is_none() {
            context.note("nobody held the lock");
        }
        let holder = held.map(|lock| lock.holder);
        Ok(context.done(
            || match &holder {
                Some(holder) => format!("unlocked; it was locked by {holder}\n"),
                None => String::new(),
            },
            || json!({ "holder": holder }),
        ))
    }
}
