use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Delete objects of the candidate, or set fields back to their defaults
///
/// rewire delete vpcs blue routes 10.0.0.0/8
///
/// An object goes with all below it, a section or a map with all that it holds. Entries of a list that come after the
/// deleted one move up.
#[derive(clap::Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Delete {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "delete", &self.words, &self.author.name())
    }
}
