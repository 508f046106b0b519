use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Rename an object of the candidate, everywhere
///
/// rewire rename interfaces lan to lan0
///
/// Everything below the object moves along, and whatever names it names it by its new name.
#[derive(clap::Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Rename {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "rename", &self.words, &self.author.name())
    }
}
