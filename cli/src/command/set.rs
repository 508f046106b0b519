use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Give fields of the candidate values
///
/// rewire set vpcs blue routes 10.0.0.0/8 next_hops + interface wan via 203.0.113.2
///
/// The words are a path, and then fields with their values; objects on the way are made where they are not there. A path can
/// be written with dots, too. In a list, `+` is a new entry at the end, and `+0` one before the first.
///
/// Where there is no candidate, a new one begins at the running revision. An object whose required fields are not all given
/// is kept, and told; it must be complete before it can be committed.
#[derive(clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Set {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "set", &self.words, &self.author.name())
    }
}
