//! The verbs of editing on the command line: each takes the candidate, edits it, and saves it.

use rewire_schema::edit::{Command, Node};

use crate::answer::Answer;
use crate::context::Context;
use crate::edit::{Editing, failure};
use crate::failure::Failure;

/// The words after a verb.
#[derive(clap::Args)]
pub(crate) struct Words {
    /// A path and what goes with it; -- before words that begin with a dash
    #[arg(value_name = "WORD", add = crate::edit::editing())]
    words: Vec<String>,
}

/// Does `verb` with these words to the candidate.
pub(crate) fn run(
    context: &Context,
    verb: &str,
    words: &Words,
    author: &str,
) -> Result<Answer, Failure> {
    let mut line = vec![verb];
    line.extend(words.words.iter().map(String::as_str));
    let wrong = |error| failure("the command", 1, &line, &error);
    let command = Command::parse(&line).map_err(wrong)?;
    let mut store = context.open_to_write()?;
    let mut editing = Editing::open(context, &store)?;
    let outcome = editing.apply(&store, &command)?.map_err(wrong)?;
    editing.save(&mut store, author)?;
    if let Command::Annotate(target, Some(note)) = &command
        && let Node::Object(object) = target.node()
        && object
            .fields
            .iter()
            .any(|field| field.name == note.as_str())
    {
        let path = target.path();
        context.note(&format!(
            "note: \"{note}\" is the note of {path} now; one of its field {note} goes behind it"
        ));
    }
    Ok(editing.answer(context, &outcome))
}
