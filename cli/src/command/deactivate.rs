use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Keep an object of the candidate, but ignore it
///
/// rewire deactivate vpcs blue routes 10.0.0.0/8
///
/// To the gateway it is as if the object, and all below it, were not there, until it is activated.
#[derive(clap::Args)]
pub(crate) struct Deactivate {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Deactivate {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "deactivate", &self.words, &self.author.name())
    }
}
