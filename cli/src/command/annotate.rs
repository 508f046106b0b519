use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Note something about an object or a field of the candidate
///
/// rewire annotate vpcs blue "until the move in May"
/// rewire annotate interfaces lan mtu "what the provider takes"
///
/// The note is for people, and stays with the object or the field. An empty text takes it away.
#[derive(clap::Args)]
pub(crate) struct Annotate {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Annotate {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "annotate", &self.words, &self.author.name())
    }
}
