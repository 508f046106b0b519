use rewire_schema::edit::Edits;
use serde_json::json;

use crate::answer::Answer;
use crate::completion;
use crate::context::Context;
use crate::difference;
use crate::failure::Failure;
use crate::selection::PathWords;
use crate::view::State;

/// Show what differs between two states
///
/// Each object that differs is a line: + is new, - is gone, ~ is a field with its old and new value. As set-commands, it is
/// what makes the one into the other. A state is
/// candidate, candidate:NAME, running, a revision's number, -N for the Nth before the last one, or a tag.
#[derive(clap::Args)]
pub(crate) struct Diff {
    /// From which state
    #[arg(value_name = "FROM", default_value = "running", allow_negative_numbers = true, add = completion::states())]
    from: State,
    /// To which state [default: the candidate, or running where there is none]
    #[arg(value_name = "TO", allow_negative_numbers = true, add = completion::states())]
    to: Option<State>,
    #[command(flatten)]
    path: PathWords,
    /// How to write it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// Lines with +, - and ~
    Text,
    /// Commands that `rewire load set` takes
    Set,
}

impl Diff {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let selection = self.path.selection()?;
        let store = context.open()?;
        let from = self.from.to_json(context, &store)?;
        let to = match self.to {
            Some(to) => to,
            None if store.candidate(&context.candidate())?.is_some() => State::Candidate(None),
            None => {
                context.note("there is no candidate: comparing with running");
                State::RUNNING
            }
        };
        let changeset = selection.of(State::between(&self.from, &to, context, &store)?);
        if changeset.is_empty() {
            context.note("no difference");
        }
        let to = to.to_json(context, &store)?;
        let commands = match self.format {
            Format::Set => Some(Edits::new(changeset.clone(), "")?.to_set_commands()),
            Format::Text => None,
        };
        Ok(context.shown(
            |colour| match commands {
                Some(commands) => commands,
                None => difference::render(&changeset, &selection, colour),
            },
            || json!({ "from": from, "to": to, "changes": difference::to_json(&changeset, &selection) }),
        ))
    }
}
