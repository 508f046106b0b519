use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Let a deactivated object or field of the candidate count again
///
/// rewire activate vpcs blue routes 10.0.0.0/8
/// rewire activate interfaces lan mtu
#[derive(clap::Args)]
pub(crate) struct Activate {
    #[command(flatten)]
    words: Words,
    #[command(flatten)]
    author: Author,
}

impl Activate {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        edit::run(context, "activate", &self.words, &self.author.name())
    }
}
