use super::Author;
use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{self, Words};
use crate::failure::Failure;

/// Keep an object or a field of the candidate, but ignore it
///
/// rewire deactivate vpcs blue routes 10.0.0.0/8
/// rewire deactivate interfaces lan mtu
///
/// To the gateway it is as if the object, and all below it, were not there, or the field were not given, until it is
/// activated. A field that is required cannot be deactivated.
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
