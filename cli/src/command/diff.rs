use rewire_configdb::Store;
use rewire_schema::Changeset;

use crate::Context;
use crate::difference;
use crate::failure::Failure;
use crate::terminal::{colour_output, note, print};
use crate::view::{CANDIDATE, State};

/// Show what differs between two states
///
/// Each object that differs is a line: + is new, - is gone, ~ is a field with its old and new value.
#[derive(clap::Args)]
pub(crate) struct Diff {
    /// From: candidate, running or the number of a revision
    #[arg(value_name = "FROM", default_value = "running")]
    from: State,
    /// To: the same [default: candidate, or running where there is none]
    #[arg(value_name = "TO")]
    to: Option<State>,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Result<(), Failure> {
        let store = Store::open(&context.store)?;
        let from = self.from.configuration(&store)?;
        let to = match self.to {
            Some(to) => to,
            None if store.candidate(CANDIDATE)?.is_some() => State::Candidate,
            None => {
                note("there is no candidate: comparing with running");
                State::Running
            }
        };
        let changeset = Changeset::between(&from, &to.configuration(&store)?);
        if changeset.is_empty() {
            note("no difference");
        }
        print(&difference::render(&changeset, colour_output()))
    }
}
