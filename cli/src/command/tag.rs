use rewire_schema::types::Name;
use serde_json::json;

use super::Author;
use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::view::Revision;

/// Give a revision a name
///
/// Wherever a revision is asked for, its tag will do. A revision with a tag is not pruned. A tag is never moved: delete
/// it, and give it again.
#[derive(clap::Args)]
pub(crate) struct Tag {
    /// The name
    #[arg(value_name = "NAME", add = completion::tags())]
    name: Name,
    /// The revision [default: the last one]
    #[arg(value_name = "N", allow_negative_numbers = true, conflicts_with = "delete", add = completion::revisions())]
    revision: Option<Revision>,
    /// Take the name away
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    author: Author,
}

impl Tag {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut store = context.open_to_write()?;
        let name = self.name.as_str();
        if self.delete {
            let Some(tag) = store.untag(name)? else {
                let message = format!("no revision is tagged \"{name}\"");
                return Err(Failure::new(Code::NoSuchName, message).help("`rewire tags` lists them"));
            };
            return Ok(context.done(
                || format!("tag \"{name}\" of revision {} is deleted\n", tag.revision),
                || json!({ "tag": name, "revision": tag.revision, "deleted": true }),
            ));
        }
        // What already names a state, or looks like a number, would never be found.
        let is_taken = ["candidate", "running", "revision", "routes", "acls"].contains(&name) || name.bytes().all(|b| b.is_ascii_digit());
        if is_taken {
            let message = format!("\"{name}\" cannot be a tag: it names something else wherever a revision is named");
            return Err(Failure::new(Code::WrongArguments, message));
        }
        let revision = self.revision.unwrap_or(Revision::Running).number(&store)?;
        store.tag(name, revision, &self.author.name())?;
        Ok(context.done(
            || format!("revision {revision} is tagged \"{name}\"\n"),
            || json!({ "tag": name, "revision": revision, "deleted": false }),
        ))
    }
}
