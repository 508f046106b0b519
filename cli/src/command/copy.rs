use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Copy an object of the candidate, with all below it
///
/// rewire copy vpcs blue to green
///
/// Values that no two objects may share are copied, too: change them before the commit.
#[derive(clap::Args)]
pub(crate) struct Copy {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Copy {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "copy", &self.words, &self.author.name())
    }
}
